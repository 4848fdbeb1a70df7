"""A run's generator, opened for the tools, and what a tool leaves."""

import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from pushforward import sampling
from pushforward.core.checkpoint import write_text
from pushforward.core.game import Game, Generate
from pushforward.data.catalogue import Options
from pushforward.data.decoding import decode, quiet
from pushforward.data.images import as_bytes, of_data
from pushforward.encoders.encoder import Encoder
from pushforward.exhibits import write_npz
from pushforward.latent.generators import Styled, from_styles, is_styled, styles
from pushforward.latent.projection import Distance, Perceptual, pixels
from pushforward.metrics.classifier import SIDE
from pushforward.pictures import save_png
from pushforward.run import Run, resolve_device
from pushforward.spaces import Penultimate, encoder_for

SpaceName = Literal["z", "w"]


@dataclass(frozen=True)
class Shown:
    """What a tool leaves: a picture with its caption, numbers for JSON, and arrays worth keeping."""

    picture: Image
    numbers: dict[str, Any]
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> list[Path]:
        """`path`, a .png, with a .json beside it and, where there are arrays, an .npz; returns what was written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        written = [path, path.with_suffix(".json")]
        if self.arrays:
            written.append(path.with_suffix(".npz"))
            write_npz(written[-1], self.arrays)
        write_text(written[1], json.dumps(self.numbers, indent=1) + "\n")
        save_png(self.picture, path)
        return written


@dataclass(frozen=True)
class Space:
    """Where codes are moved: latents z, or styles w; and what makes images of them."""

    name: SpaceName
    generate: Generate
    codes: Tensor
    """[N, ...] of as many draws as were asked for."""


class Opened:
    """A run's generator on a device. Raises ValueError for a run that makes points."""

    def __init__(self, run: Run, checkpoint: Literal["last", "best"] = "last", device: str = "auto") -> None:
        if run.spec.kind != "images":
            raise ValueError(
                f"{run.folder} makes points, and latent tools show images; its report has paths between its latents: "
                f"pushforward report {run.folder}"
            )
        self.run, self.device = run, resolve_device(device)
        self.game: Game = run.game(checkpoint, device)
        network = getattr(self.game.sample, "network", None)
        self.network: nn.Module | None = network if isinstance(network, nn.Module) else None
        if self.network is not None:
            self.network.eval().requires_grad_(False)
        self._encoders: dict[str, Encoder] = {}

    @property
    def name(self) -> str:
        """`dcgan on digits`."""
        return f"{self.run.plan.recipe} on {self.run.plan.data}"

    @property
    def classes(self) -> int | None:
        """How many classes samples can be asked by."""
        return self.game.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image."""
        c, h, w = self.run.spec.shape
        return c, h, w

    def label(self, k: int) -> str:
        """What the data call a class."""
        names = self.run.config["data"]["labels"]
        return str(names[k]) if names and k < len(names) else str(k)

    def whole(self, tool: str) -> nn.Module:
        """The generator as one network. Raises ValueError where the recipe samples otherwise."""
        if self.network is None:
            raise ValueError(
                f"{tool} needs the generator as one network, and {self.run.plan.recipe} samples by more than one; "
                "use interpolate, classes or truncation"
            )
        return self.network

    def styled(self, tool: str) -> Styled:
        """The generator with its style space. Raises ValueError for those that have none."""
        network = self.network
        if network is None or not is_styled(network):
            raise ValueError(
                f"{tool} needs a generator with styles (a mapping and a synthesis network), and "
                f"{self.run.plan.recipe} has none; use a run of stylegan or stylegan2"
            )
        return network

    def latents(self, n: int, seed: int) -> Tensor:
        """Normal latents [n, Z] on the device."""
        return sampling.latents(n, self.game.latent, seed).to(self.device)

    def in_turn(self, n: int) -> Tensor | None:
        """Labels [n], each class in turn, or None without classes."""
        return None if self.classes is None else sampling.classes_in_turn(n, self.classes).to(self.device)

    def asked(self, label: int | None, n: int) -> Tensor | None:
        """Labels [n]: one class for all, or each in turn; None without classes. Raises ValueError for no such class."""
        if label is None or self.classes is None:
            if label is not None:
                raise ValueError(f"this {self.run.plan.recipe} run is not conditional; leave out the class")
            return self.in_turn(n)
        if not 0 <= label < self.classes:
            raise ValueError(f"class {label} is not one of 0 to {self.classes - 1}")
        return torch.full((n,), label, device=self.device)

    def reals(self, n: int, seed: int) -> Tensor:
        """Up to 2 n examples of the data in random order, as bytes; half of them are to be set against the others."""
        return as_bytes(self.run.reference(progress=False).examples(2 * n, seed)["x"])

    def space(
        self, name: SpaceName | None, z: Tensor, y: Tensor | None, tool: str, *, differentiable: bool = False
    ) -> Space:
        """Latents z [N, Z] as codes of a space: styles where there are any, unless asked otherwise."""
        has_styles = self.network is not None and is_styled(self.network)
        if name == "w" or (name is None and has_styles):
            G = self.styled(f"{tool} in w")
            return Space("w", from_styles(G), styles(G, z, y))
        return Space("z", cast(Generate, self.whole(tool)) if differentiable else self.game.sample, z)

    def encoder(self, name: str | None, purpose: str, otherwise: str) -> Encoder:
        """What images are seen by; by default a classifier of the labels, or pixels where there are none.

        otherwise: what the error of a classifier without labels advises.
        """
        chosen = name or ("pixels" if self.run.config["data"]["labels"] is None else "classifier")
        if chosen not in self._encoders:
            reals = of_data(self.run.reference(progress=False), self.run.plan.data, Options(progress=False))
            if chosen == "classifier" and (reals.classes is None or len(reals.classes) < 2):
                raise ValueError(
                    f"{purpose} needs labels, and {self.run.plan.data} has none; {otherwise}, or train on data with "
                    "classes (sub-folders)"
                )
            small = chosen in ("classifier", "pixels")  # these two stay where they were trained
            self._encoders[chosen] = encoder_for(chosen, reals, device="cpu" if small else self.device)
        return self._encoders[chosen]

    def classifier(self) -> Encoder:
        """What tells classes apart. Raises ValueError for data without labels."""
        return self.encoder("classifier", "arithmetic", "use directions, which needs none")

    def classify(self, images: Tensor) -> Tensor:
        """Classes [N] that a classifier trained on the data takes images [N, C, H, W] for."""
        logits = self.classifier().encode(as_bytes(images), batch=256).logits
        assert logits is not None
        return logits.argmax(1)

    @property
    def accuracy(self) -> float:
        """Of the classifier, on examples that it never saw."""
        network = self.classifier().network
        assert isinstance(network, Penultimate)
        return network.classifier.accuracy

    def distance(self, name: Literal["features", "pixels"] | None) -> tuple[str, Distance]:
        """A differentiable distance and what it is called; by default features where there are labels."""
        if name == "pixels" or (name is None and self.run.config["data"]["labels"] is None):
            return "mean squared difference of pixels", pixels
        network = self.encoder("classifier", "the distance between features", "give --distance pixels").network
        assert isinstance(network, Penultimate)
        body = copy.deepcopy(network.classifier.network.body).to(self.device)
        return "pixels and the classifier's activations", Perceptual(convolutions(body), SIDE)

    def image(self, name: str) -> tuple[str, Tensor]:
        """An image file, or the number of an example, as the run's networks see it: its name, and [C, R, R]."""
        path = Path(name).expanduser()
        if path.is_file():
            return path.name, self._read(path)
        data = self.run.reference(progress=False)
        if not name.isdecimal():
            raise ValueError(f"there is no image {name}; give an image file, or the number of an example of the data")
        if data.size is None or int(name) >= data.size:
            last = "no numbered examples" if data.size is None else f"examples 0 to {data.size - 1}"
            raise ValueError(f"{self.run.plan.data} has {last}, got {name}; give an image file, or another number")
        x, _ = data.levels(data.size, 0)
        return f"example {name}", x[int(name)].float().div(127.5).sub(1)

    def _read(self, path: Path) -> Tensor:
        c, side, width = self.shape
        if side != width:
            raise ValueError(f"{self.run.folder} makes images of {side}×{width}, and files are read as squares")
        try:
            with quiet():
                x = decode(path.read_bytes(), side, c)
        except Exception as error:  # damaged files raise nearly every type there is from within Pillow
            raise ValueError(f"{path} is no image that can be read ({error}); give another") from error
        planes = np.broadcast_to(x[None] if x.ndim == 2 else x.transpose(2, 0, 1), (c, side, side))
        return torch.from_numpy(planes.copy()).float().div(127.5).sub(1)


def check_count(n: int, what: str) -> None:
    """Raises ValueError where not even one was asked for."""
    if n < 1:
        raise ValueError(f"at least 1 of the {what} is needed, got {n}; give 1 or more")


def plain(x: Tensor | None) -> Any:
    """Numbers [...] as lists, with 6 digits, for JSON."""
    if x is None:
        return None
    if x.dim() > 1:
        return [plain(row) for row in x]
    return [float(f"{v:.6g}") for v in x.tolist()]


def convolutions(body: nn.Sequential) -> list[nn.Module]:
    """A classifier's convolutions, each with the pooling before it: run one after the other, they make its activations.

    What follows the last convolution is left out.
    """
    stages: list[nn.Module] = []
    before: list[nn.Module] = []
    for layer in body:
        before.append(layer)
        if isinstance(layer, nn.Sequential):
            stages.append(nn.Sequential(*before))
            before = []
    return stages


def ranges(numbers: Sequence[int]) -> str:
    """`0–3, 5`."""
    runs: list[list[int]] = []
    for k in numbers:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
