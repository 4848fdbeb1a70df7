"""The spaces that images are compared in, by name: published networks, pixels, a classifier of the reals, one's own."""

import difflib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.seeding import numpy_generator, seed_of
from pushforward.data.cache import cache_folder, cached
from pushforward.data.images import Images
from pushforward.encoders.catalogue import NAMES as PUBLISHED
from pushforward.encoders.catalogue import encoder_named
from pushforward.encoders.encoder import Encoder, Scale
from pushforward.encoders.own import from_file
from pushforward.encoders.resize import Mode, resized
from pushforward.encoders.weights import Tell, digest_of
from pushforward.metrics import classifier as classifiers
from pushforward.metrics.classifier import Classifier, train_classifier

NAMES = (*PUBLISHED, "pixels", "classifier")
PIXELS = 1_024  # numbers in one image's pixel features, at most
SIDE = 32  # of the squares that images of several sizes are brought to for pixels and the classifier
TRAINED_ON = 20_000  # images a classifier learns from, at most


class Pixels(nn.Module):
    """Images as they are, averaged over areas to at most 1,024 numbers."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        c, h, w = shape
        shrink = 1
        while c * -(-h // shrink) * -(-w // shrink) > PIXELS and shrink < max(h, w):
            shrink += 1
        self.size = (-(-h // shrink), -(-w // shrink))
        self.width = c * self.size[0] * self.size[1]

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return F.adaptive_avg_pool2d(x, self.size).flatten(1), None


class Penultimate(nn.Module):
    """A trained classifier's last features, and its logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.classifier(x)
        return seen.features, seen.logits


def encoder_for(
    name: str,
    reals: Images,
    *,
    resize: Mode | None = None,
    weights: Path | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Encoder:
    """The encoder of a name, or of a `.pt2` file of torch.export; `reals` decide sizes, and teach a classifier.

    resize: how images come to the network's size, by default `clean`. weights: a file for a published network.
    download: whether its weights may be fetched. cache: folder of classifiers. tell: see `encoders.weights.find`.
    Raises ValueError for an unknown name, missing weights, or a classifier without labels.
    """
    mode: Mode = resize or "clean"
    if name in PUBLISHED:
        return encoder_named(name, weights, download, mode, device, tell)
    if weights is not None:
        raise ValueError(f"weights are for {', '.join(PUBLISHED)}, got {name}; leave them out")
    if name == "pixels":
        return _pixels(reals, mode, device)
    if name == "classifier":
        return _classifier(reals, mode, device, cache_folder(cache))
    if name.endswith(".pt2"):
        return from_file(Path(name), resize=mode, device=device)
    near = difflib.get_close_matches(name, NAMES, n=1)
    raise ValueError(
        f"no features are called {name!r}{f'; did you mean {near[0]}?' if near else ''} "
        f"(features: {', '.join(NAMES)}, or a .pt2 file)"
    )


def _shape(reals: Images) -> tuple[int, int, int]:
    """The common shape where there is one, and is small; else a square."""
    if reals.shape is None:
        return 3, SIDE, SIDE
    c, h, w = reals.shape
    return (c, h, w) if max(h, w) <= 64 else (c, SIDE, SIDE)


def _unit(_: Mode) -> Scale:
    return Scale((127.5,), (127.5,))


def _pixels(reals: Images, mode: Mode, device: torch.device | str) -> Encoder:
    c, h, w = _shape(reals)
    network = Pixels((c, h, w)).eval()
    return Encoder("pixels", network, network.width, (h, w), _unit, mode, "none", torch.device(device), c)


def _classifier(reals: Images, mode: Mode, device: torch.device | str, cache: Path) -> Encoder:
    if reals.labels is None or reals.classes is None or len(reals.classes) < 2:
        raise ValueError(f"a classifier is trained on labelled reals, and {reals.name} has no classes; use pixels")
    c, h, w = _shape(reals)
    h, w = (h, w) if max(h, w) <= SIDE else (SIDE, SIDE)
    labels, classes = torch.from_numpy(reals.labels), len(reals.classes)

    def build(folder: Path) -> None:
        # The examples that `Data.examples` gives for this seed, in its order.
        order = numpy_generator("examples", seed_of("classifier", 0)).permutation(reals.size)[:TRAINED_ON]
        place = np.full(reals.size, -1)
        place[order] = np.arange(len(order))
        x, good = torch.empty(len(order), c, h, w), np.zeros(len(order), bool)
        for part in reals.parts():
            for row, image in zip(part.rows.tolist(), part.images, strict=True):
                if place[row] >= 0:
                    x[place[row]] = resized(image[None], (h, w), mode)[0].expand(c, -1, -1).div(127.5).sub(1)
                    good[place[row]] = True
        train_classifier(x if good.all() else x[torch.from_numpy(good)], labels[order[good]], classes).save(folder)

    key = f"{reals.fingerprint}-{reals.labelling[:16]}-{c}x{h}x{w}-{mode}-{classifiers.VERSION}"
    folder = cached(cache / "encoders", key, build)
    trained = Classifier.load(folder)
    weights = digest_of(folder / classifiers.TENSORS)
    return Encoder(
        "classifier", Penultimate(trained), trained.network.width, (h, w), _unit, mode, weights, torch.device(device), c
    )
