"""From sets of images to features: each set goes through a network once, and is kept under the hash of both."""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator
from pushforward.data.cache import cache_folder, cached
from pushforward.data.images import Images
from pushforward.data.packing import mapped
from pushforward.data.source import digest
from pushforward.encoders.encoder import Encoder
from pushforward.metrics.moments import Gaussian, gaussian
from pushforward.metrics.statistics import load_statistics, save_statistics

VERSION = 1  # of what is kept on disk: another form needs another number


@dataclass(frozen=True)
class Embedded:
    """A set's features [N, D] under one encoder, float32, mapped from the cache where they were kept.

    key: hex digest of the images, the encoder and the resize: nothing else is ever found under it. encoder: its name;
    encoder_key: its fingerprint. logits: [N, K] of encoders that classify. labels: [N] of labelled sets; classes: their
    names.
    """

    name: str
    features: NDArray[np.float32]
    key: str
    encoder: str
    encoder_key: str
    logits: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    cache: Path | None = None

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def gaussian(self) -> Gaussian:
        """Mean and covariance, kept under the key of the features where those are kept."""
        if self.cache is None:
            return gaussian(self.features, self.name)

        def build(folder: Path) -> None:
            made = gaussian(self.features, self.name)
            save_statistics(folder / "statistics.npz", made, self.encoder, self.encoder_key)

        found = cached(self.cache / "statistics", self.key, build)
        return load_statistics(found / "statistics.npz", self.encoder, self.encoder_key).gaussian

    def rows(self, chosen: NDArray[np.int64]) -> "Embedded":
        """Some of the rows, in memory; kept nowhere."""
        key = hashlib.sha256(self.key.encode() + chosen.tobytes()).hexdigest()
        logits = None if self.logits is None else self.logits[chosen]
        labels = None if self.labels is None else self.labels[chosen]
        return Embedded(
            self.name, self.features[chosen], key, self.encoder, self.encoder_key, logits, labels, self.classes
        )

    def split(self, share: float, seed: int) -> tuple["Embedded", "Embedded"]:
        """Two random parts without a row in common, the first with this share of the rows."""
        order = numpy_generator("parts", seed).permutation(len(self))
        first = round(share * len(self))
        return self.rows(np.sort(order[:first])), self.rows(np.sort(order[first:]))

    def some(self, n: int, seed: int) -> NDArray[np.float32]:
        """`n` random rows of the features [n, D], in random order; the same places for sets of equal size."""
        return np.asarray(self.features[numpy_generator("some", seed).permutation(len(self))[:n]])

    def cut(self, n: int, seed: int) -> "Embedded":
        """`n` random rows, in their order; the set itself where it has no more."""
        if n >= len(self):
            return self
        return self.rows(np.sort(numpy_generator("cut", seed).permutation(len(self))[:n]))

    @property
    def labelling(self) -> str:
        """A digest of labels and classes, which the key leaves out: features don't depend on them."""
        return "" if self.labels is None else digest(self.labels, *(self.classes or ()))


def embed(images: Images, encoder: Encoder, cache: Path | None = None) -> Embedded:
    """Features of every image that can be read, in the set's order; computed once for each content and encoder.

    Raises ValueError where too many files can't be read, and for features that are not finite.
    """
    key = hashlib.sha256(json.dumps([VERSION, images.fingerprint, encoder.fingerprint]).encode()).hexdigest()
    root = cache_folder(cache)

    def build(folder: Path) -> None:
        features, logits, rows, bad = _through(images, encoder)
        np.save(folder / "features.npy", features)
        if logits is not None:
            np.save(folder / "logits.npy", logits)
        np.save(folder / "rows.npy", rows)
        (folder / "bad.json").write_text(json.dumps(bad), encoding="utf-8")

    folder = cached(root / "features", key, build)
    # Told each time, and judged by what this call allows: the share borne may be another than when they were made.
    images.check(json.loads((folder / "bad.json").read_text(encoding="utf-8")))
    features, rows = (mapped(folder / f"{name}.npy") for name in ("features", "rows"))
    logits = mapped(folder / "logits.npy") if (folder / "logits.npy").exists() else None
    labels = None if images.labels is None else images.labels[rows]
    return Embedded(images.name, features, key, encoder.name, encoder.fingerprint, logits, labels, images.classes, root)


def _through(
    images: Images, encoder: Encoder
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.int64], list[str]]:
    """Features, logits, the rows they belong to, and the bad files."""
    features = np.empty((images.size, encoder.width), np.float32)
    logits: list[NDArray[np.float32]] = []
    rows: list[NDArray[np.int64]] = []
    bad: list[str] = []
    filled = 0
    for part in images.parts():
        bad += part.bad
        if len(part.rows) == 0:
            continue
        if any(len(image) > encoder.channels for image in part.images):
            raise ValueError(
                f"{images.name} has images in colour, and {encoder.name} is made for the grey ones of the reals; "
                "bring both to one number of channels"
            )
        seen = encoder.encode(part.images)
        features[filled : filled + len(part.rows)] = seen.features.cpu().numpy()
        if seen.logits is not None:
            logits.append(seen.logits.cpu().numpy())
        rows.append(part.rows)
        filled += len(part.rows)
    kept = np.concatenate(rows) if rows else np.empty(0, np.int64)
    features = features[:filled]
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{encoder.name} gives NaN or infinity for {int((~finite).sum())} of {filled} images of {images.name} "
            f"(first: number {int(kept[~finite][0])}); use other weights"
        )
    return features, np.concatenate(logits) if logits else None, kept, bad


def is_statistics(name: str) -> bool:
    """Whether a file holds a mean and a covariance, not images."""
    path = Path(name).expanduser()
    if path.suffix.lower() != ".npz" or not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())


def saved(name: str, encoder: Encoder) -> Embedded:
    """The Gaussian of a file of statistics, without features; taken for this encoder's where the file doesn't say."""
    found = load_statistics(Path(name).expanduser(), encoder.name, encoder.fingerprint)
    width = len(found.gaussian.mean)
    if width != encoder.width:
        raise ValueError(f"{name} holds statistics of {width} features, and {encoder.name} has {encoder.width}")
    none = np.empty((0, width), np.float32)
    one = Embedded(name, none, name, encoder.name, encoder.fingerprint)
    one.__dict__["gaussian"] = found.gaussian
    return one
