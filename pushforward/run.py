"""A run: the options that decide it, the folder that holds it, and what can be asked of it once trained."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from pushforward import recipes, sampling
from pushforward.core.checkpoint import Checkpoints, read
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Game
from pushforward.core.seeding import seed_of, torch_seeded
from pushforward.core.training import Outcome
from pushforward.data.catalogue import CATALOGUE, open_data
from pushforward.data.source import Data
from pushforward.data.spec import DataSpec
from pushforward.looks import looks

if TYPE_CHECKING:
    from pushforward.data.toy import Law
    from pushforward.evaluation import Evaluator, Measurement

Kind = Literal["points", "images"]


@dataclass(frozen=True)
class DataOptions:
    """What is asked of the data."""

    resolution: int | None = None
    """Height and width of the images; by default the data's own, and 64 of a folder or .zip. Where images are
    resized, the middle square of oblong ones is taken."""
    channels: int | None = None
    """1 for grey, 3 for colour; None leaves the choice to the data."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    limit: int | None = None
    """Train on so many of the examples, always the same ones; the run is measured against all of them."""
    mirror: bool = False
    """Mirror training images left to right, one in two; the run is measured against the images as they are."""

    def reference(self, name: str, data: Data, progress: bool = True) -> Data:
        """What a run on `data`, which these options made of the data `name`, is measured against: all, unmirrored."""
        if self.limit is None:
            return data.unmirrored
        options = dataclasses.replace(self, limit=None, mirror=False)
        return open_data(name, **dataclasses.asdict(options), progress=progress)


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; none of it belongs to a paper."""

    seed: int = 0
    """Seed of everything random."""
    minutes: float | None = None
    """Stop after this many minutes, wherever the examples stand."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes an accelerator where there is one."""
    accumulate: int = 1
    """Micro-batches that each batch is cut into, for small memories."""
    bf16: bool = False
    """Whether objectives run under autocast to bfloat16 (penalties stay in float32)."""
    compile: bool = False
    """Whether networks are compiled with torch.compile."""
    ticks: int = 200
    """Lines of the log along the run."""
    pictures: int = 24
    """Sample grids along the run."""
    evaluations: int = 8
    """Quick evaluations along the run; 0 for none."""
    evaluate: tuple[str, ...] = ()
    """What they are: every=N examples, features=inception, metrics=kid,recall, n=N a side (along the run
    1,000 at most), best=METRIC to keep."""
    measure: bool = True
    """Whether the finished run is measured in full, real against real beside it."""
    checkpoints: int = 8
    """Checkpoints along the run."""
    keep: int = 2
    """Newest checkpoints that stay, beside the best."""

    def __post_init__(self) -> None:
        for name in ("ticks", "pictures", "checkpoints", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        looks(self.evaluate)
        if self.evaluations < 0:
            raise ValueError(f"evaluations must not be negative, got {self.evaluations}")
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")
        if self.seed < 0:
            raise ValueError(f"the seed must not be negative, got {self.seed}")


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run, as `config.json` keeps it."""

    recipe: str
    data: str
    config: dict[str, Any]
    data_options: DataOptions = field(default_factory=DataOptions)
    options: RunOptions = field(default_factory=RunOptions)
    command: str | None = None


class RunError(ValueError):
    """A run can't go on as asked; the message says why and what to do."""


def kind_of(data: str) -> Kind:
    """Whether the data named are points or images, without opening them whole."""
    if data in CATALOGUE:
        return "points" if CATALOGUE[data].module == "toy" else "images"
    path = Path(data).expanduser()
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        from pushforward.data.arrays import dimensions

        return "points" if dimensions(path) == 2 else "images"
    return "images"


def preset(module: ModuleType, name: str | None, kind: Kind, recipe: str) -> Any:
    """The recipe's Config for this kind of data, or the preset of that name."""
    if kind not in module.PRESETS:
        able = [r for r in recipes.names() if kind in recipes.load(r).PRESETS]
        raise ValueError(f"{recipe} does not make {kind}; recipes that do: {', '.join(able)}")
    chosen = name or kind
    if chosen not in module.PRESETS:
        raise ValueError(f"{recipe} has no preset {chosen!r}; choose one of {', '.join(module.PRESETS)}")
    return module.PRESETS[chosen]


def resolve_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`. Raises ValueError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there.get(name, False):
        raise ValueError(f"there is no {name} device on this machine; use --device auto")
    return torch.device(name)


class _Nothing:
    """The source of an engine that only holds networks."""

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        raise AssertionError("a game that was loaded to be looked at is not trained")


@dataclass
class Run:
    """A run folder, and what can be asked of it."""

    folder: Path
    outcome: Outcome | None = None
    """How the training that this process did ended; None for a run that was only opened."""

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        try:
            self.config: dict[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(
                f"{self.folder} is not a run folder: it has no config.json; make one with `pushforward train`"
            ) from error
        except ValueError as error:
            raise RunError(f"{self.folder}/config.json is damaged ({error}); restore it from a copy") from error
        try:
            _ = self.plan, self.spec
        except (KeyError, TypeError) as error:
            raise RunError(
                f"{self.folder}/config.json does not hold what this version of pushforward writes there "
                f"({type(error).__name__}: {error}); use the version that made the run, or train anew"
            ) from error

    @property
    def plan(self) -> Plan:
        c = self.config
        return Plan(
            c["recipe"],
            c["data"]["name"],
            c["config"],
            DataOptions(**c["data"]["options"]),
            RunOptions(**{**c["run"], "evaluate": tuple(c["run"].get("evaluate", ()))}),
            c["command"],
        )

    @property
    def spec(self) -> DataSpec:
        """What one example of its data is."""
        spec = self.config["data"]["spec"]
        return DataSpec(**{**spec, "shape": tuple(spec["shape"])})

    @property
    def law(self) -> "Law | None":
        """The density it was trained on, where that is known; needs no files."""
        name = self.plan.data
        return open_data(name).law if name in CATALOGUE and self.spec.kind == "points" else None

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "checkpoints", self.plan.options.keep)

    def data(self, progress: bool = True) -> Data:
        """The data it was trained on. Raises RunError when they have changed since."""
        plan = self.plan
        data = open_data(plan.data, **dataclasses.asdict(plan.data_options), progress=progress)
        if data.fingerprint != self.config["data"]["fingerprint"]:
            raise RunError(
                f"the data {plan.data} are not those that {self.folder} was trained on (their content changed); "
                "restore them, or train anew into another folder"
            )
        return data

    def reference(self, progress: bool = True) -> Data:
        """What it is measured against: all of its data, unmirrored. Raises RunError when they have changed since."""
        return self.plan.data_options.reference(self.plan.data, self.data(progress), progress)

    def checkpoint(self, which: Literal["last", "best"] = "last") -> Path:
        """The newest checkpoint, or the best that was measured. Raises RunError where there is none."""
        path = self.checkpoints.best() if which == "best" else self.checkpoints.last()
        if path is None and self.checkpoints.last() is not None:
            raise RunError(f"no checkpoint of {self.folder} was measured, so none is the best; use the last one")
        if path is None:
            raise RunError(f"{self.folder} has no checkpoint yet; let it train: pushforward resume {self.folder}")
        return path

    def game(self, checkpoint: Literal["last", "best"] = "last", device: str = "auto") -> Game:
        """The trained players, for sampling and looking."""
        path = self.checkpoint(checkpoint)
        module = recipes.load(self.plan.recipe)
        with torch_seeded("build", self.plan.options.seed):
            game = module.build(module.Config(**self.plan.config), self.spec)
        engine = Engine(game, _Nothing(), batch=1, device=resolve_device(device))
        self.restore(engine, path)
        return game

    def restore(self, engine: Engine, checkpoint: Path) -> None:
        """Has an engine of this run take up where the checkpoint was cut.

        Raises RunError where the networks saved there are others than this version builds.
        """
        state = read(checkpoint)  # whose own errors are of files, not of networks
        try:
            engine.load_state_dict(state)
        except (KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                raise
            told = str(error).strip().splitlines()[-1].strip(" \t.")
            raise RunError(
                f"{checkpoint} holds other networks than this version of pushforward builds for {self.plan.recipe} "
                f"({told}); use the version that made the run, which {self.folder}/config.json names, or train anew"
            ) from error

    def sample(
        self,
        n: int = 64,
        *,
        y: int | None = None,
        seed: int = 0,
        truncation: float | None = None,
        enlarge: int = 0,
        checkpoint: Literal["last", "best"] = "last",
        device: str = "auto",
    ) -> Tensor:
        """`n` samples in the networks' range, [n, ...] on the CPU.

        y: the class of all of them; None takes each class in turn. truncation: of styles, where the generator has
        some, or of latents: see `sampling.truncated`. enlarge: doublings of the size beyond what was learnt, where the
        recipe has them: see `sampling.enlarged`.
        """
        x, _ = self.sample_with_classes(
            n, y=y, seed=seed, truncation=truncation, enlarge=enlarge, checkpoint=checkpoint, device=device
        )
        return x

    def sample_with_classes(
        self,
        n: int,
        *,
        y: int | None = None,
        seed: int = 0,
        truncation: float | None = None,
        enlarge: int = 0,
        checkpoint: Literal["last", "best"] = "last",
        device: str = "auto",
    ) -> tuple[Tensor, Tensor | None]:
        """As `sample`, with the classes that were asked: ([n, ...], [n] or None)."""
        game = self.game(checkpoint, device)
        if n < 1:
            raise ValueError(f"the number of samples must be positive, got {n}")
        if y is not None and game.classes is None:
            raise ValueError(f"this {self.plan.recipe} run is not conditional; leave out the class")
        if y is not None and game.classes is not None and not 0 <= y < game.classes:
            raise ValueError(f"class {y} is not one of 0 to {game.classes - 1}")
        sampling.check_enlarging(game, enlarge)
        game, z = sampling.truncated(game, n, seed, truncation)
        labels = None if game.classes is None else sampling.classes_in_turn(n, game.classes, y)
        where = resolve_device(device)
        x = sampling.generate(game, z, labels, where)
        return sampling.enlarged(game, x, labels, enlarge, seed, where, truncation), labels

    def evaluate(
        self,
        real: str | None = None,
        *,
        seed: int = 0,
        checkpoint: Literal["last", "best"] = "last",
        max_bad: float = 0.01,
        device: str = "auto",
    ) -> "dict[str, Measurement]":
        """Fresh samples measured against `real` (by default all of the run's data), beside the floor.

        Other images are brought to the run's size. max_bad: share of unreadable files above which `real` is refused.
        """
        from pushforward.evaluation import Evaluator

        if real is None or real == self.plan.data:
            data = self.reference()
        else:
            data = _opened_as(real, self.spec, max_bad)
            _comparable(str(self.folder), self.spec, real, data.spec)
        evaluator = Evaluator(data, seed=seed)
        x, asked = samples_for(self.game(checkpoint, device), evaluator, resolve_device(device))
        # A class asked for means the same there only where the classes are the same.
        known = self.config["data"]["labels"] == (data.labels and list(data.labels))
        return evaluator(_in_units_of(data, x, self.law), asked=asked if known else None)

    def report(self) -> Path:
        """Writes `report.html` and returns its path."""
        from pushforward.report import write_report

        return write_report(self.folder)


def measure(game: Game, evaluator: "Evaluator", device: torch.device, quick: bool = False) -> "dict[str, Measurement]":
    """Measures fresh samples of `game` against the evaluator's data."""
    x, asked = samples_for(game, evaluator, device, quick)
    return evaluator(x, asked=asked, quick=quick)


def samples_for(
    game: Game, evaluator: "Evaluator", device: torch.device, quick: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Fresh samples [n, ...], as many as the evaluator wants, and the classes asked for, each in turn, or None."""
    n = evaluator.wanted(quick)
    labels = None if game.classes is None else sampling.classes_in_turn(n, game.classes)
    z = sampling.latents(n, game.latent, seed_of("evaluate", evaluator.seed))
    return sampling.generate(game, z, labels, device), labels


def evaluate_samples(
    samples: str, real: str, *, seed: int = 0, resolution: int | None = None, max_bad: float = 0.01
) -> "dict[str, Measurement]":
    """A folder or .zip of images, or an .npy or .npz, measured against real data, each number beside its floor."""
    from pushforward.evaluation import Evaluator

    data = open_data(real, resolution=resolution, max_bad=max_bad)
    fakes = _opened_as(samples, data.spec, max_bad)
    _comparable(samples, fakes.spec, real, data.spec)
    evaluator = Evaluator(data, seed=seed)
    return evaluator(_in_units_of(data, fakes.examples(evaluator.wanted(), seed)["x"], fakes.law))


def _opened_as(name: str, spec: DataSpec, max_bad: float) -> Data:
    """Data at the size and in the channels of other images; points, and what turns out to be points, as they are."""
    if spec.kind == "images" and kind_of(name) == "images":
        return open_data(name, resolution=spec.shape[1], channels=spec.shape[0], max_bad=max_bad)
    return open_data(name, max_bad=max_bad)


def _comparable(samples: str, spec: DataSpec, real: str, other: DataSpec) -> None:
    if spec.shape != other.shape:
        raise ValueError(
            f"{samples} holds {spec.kind} of shape {spec.shape} and {real} {other.kind} of shape {other.shape}; "
            "they can't be compared: name data of the same shape"
        )


def _in_units_of(data: Data, x: Tensor, law: "Law | None") -> Tensor:
    """Points [n, D] in the model's units of `law` (None: in their own) to those that networks of `data` see."""
    if law == data.law:
        return x
    points = x.numpy() if law is None else law.from_model(x.numpy())
    return torch.from_numpy(points.astype(np.float32) if data.law is None else data.law.to_model(points))
