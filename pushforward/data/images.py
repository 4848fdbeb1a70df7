"""Sets of images at their own sizes, read a part at a time: what feature networks measure.

Training data are squares of one size (`open_data`); here nothing is cut or resized before a network asks for it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.data import arrays
from pushforward.data.catalogue import CATALOGUE, Options, open_data
from pushforward.data.decoding import ENDINGS, decode_whole, quiet
from pushforward.data.files import labels_of, listed_classes
from pushforward.data.listing import Archive, Files, Folder, image_names, shown
from pushforward.data.packing import counted, in_order
from pushforward.data.reading import digested, judge, reason, unchanged
from pushforward.data.source import Data, digest

PART = 128  # images in memory at once
VERSION = 1  # of decoding at full size: other bytes need another number


@dataclass(frozen=True)
class Part:
    """Some images of a set, in its order.

    images: uint8 [n, C, H, W], or a list of uint8 [C, H, W] of several sizes. rows: their places in the set [n], from
    0 up; those of files that can't be read are left out. bad: those files, each with its reason.
    """

    images: Tensor | list[Tensor]
    rows: NDArray[np.int64]
    bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """A finite set of images, read anew by each call of `parts`.

    fingerprint: hex digest of the content, labels left out. size: how many there are, bad files too. labels: classes
    [size], or None. classes: their names. shape: [C, H, W] where all are known to have it. drawn: whether the size was
    asked for. options.max_bad: the share of bad files to bear.
    """

    name: str
    fingerprint: str
    size: int
    parts: Callable[[], Iterator[Part]]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    shape: tuple[int, int, int] | None = None
    drawn: bool = False
    options: Options = field(default_factory=Options)

    @property
    def labelling(self) -> str:
        """A digest of labels and classes, "" without."""
        return "" if self.labels is None else digest(self.labels, *(self.classes or ()))

    def check(self, bad: Sequence[str]) -> None:
        """Raises ValueError where too many files could not be read; else tells of them."""
        judge(self.name, self.size, tuple(bad), self.options)


def as_bytes(x: Tensor) -> Tensor:
    """Floats in [-1, 1] to the 256 levels that image files have, uint8."""
    return x.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def open_images(name: str, options: Options, n: int | None = None, seed: int = 0) -> Images:
    """A folder or .zip of images of any sizes, an .npy or .npz of images, or a set of the catalogue.

    n: how many, for a law without end, by default 10,000; drawn from `seed`. Raises ValueError in one line for what is
    no set of images.
    """
    path = Path(name).expanduser()
    if name in CATALOGUE or not path.exists():
        return of_data(squares(name, options), name, options, n, seed)
    if path.is_dir():
        return _files(path, Folder(path), options)
    if path.suffix.lower() == ".zip":
        return _files(path, Archive(path), options)
    if path.suffix.lower() in (".npy", ".npz"):
        return of_data(arrays.load(path, options), shown(name), options)
    what = "is one image" if path.suffix.lower() in ENDINGS else "is no set of images"
    raise ValueError(f"{shown(name)} {what}; give a folder or a .zip of images, a .npy or a .npz")


def of_data(data: Data, name: str, options: Options, n: int | None = None, seed: int = 0) -> Images:
    """All images of a data set, or `n` of a law without end, as bytes."""
    if data.spec.kind != "images":
        raise ValueError(f"{name} holds points, not images; points are measured without a feature network")
    size = (10_000 if n is None else n) if data.size is None else data.size
    x, y = data.levels(size, seed)
    fingerprint = data.fingerprint if data.size is not None else digest(data.fingerprint, f"{size} of seed {seed}")
    images = of_tensor(x, name, fingerprint, None if y is None else y.numpy(), data.labels, options)
    return replace(images, drawn=data.size is None)


def of_tensor(
    x: Tensor,
    name: str,
    fingerprint: str,
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] | None = None,
    options: Options | None = None,
) -> Images:
    """Images uint8 [N, C, H, W] that are in memory."""
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"{name} must be uint8 [N, 1 or 3, H, W], got {x.dtype} {tuple(x.shape)}; convert it to bytes")

    def parts() -> Iterator[Part]:
        for i in range(0, len(x), PART):
            yield Part(x[i : i + PART], np.arange(i, min(i + PART, len(x))))

    shape = (x.shape[1], x.shape[2], x.shape[3])
    return Images(name, fingerprint, len(x), parts, labels, classes, shape, options=options or Options())


def squares(name: str, options: Options) -> Data:
    """The data set as training has it: `open_data` with these options."""
    return open_data(
        name,
        resolution=options.resolution,
        channels=options.channels,
        max_bad=options.max_bad,
        cache=options.cache,
        progress=options.progress,
    )


def _files(path: Path, files: Files, options: Options) -> Images:
    place, names = shown(str(path)), image_names(files.names)
    if not names:
        raise ValueError(f"no images in {place}; files are looked for that end in {' '.join(ENDINGS)}")
    labels, classes = labels_of(names, listed_classes(files, names, place))
    digests = digested(files, names, options)
    lines = [json.dumps(["whole", VERSION]), *(f"{d} {json.dumps(n)}" for n, d in digests.items())]
    fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def one(name: str) -> Tensor | str:
        if digests[name].startswith("! "):
            return digests[name][2:]
        raw = unchanged(files, name, digests[name])
        try:
            return _planes(decode_whole(raw)) if raw else "empty file"
        except MemoryError:  # no fault of the file
            raise
        except Exception as error:  # damaged files raise nearly every type there is from within Pillow
            return reason(error)

    def parts() -> Iterator[Part]:
        with quiet(), counted("Measuring", len(names), options.progress) as step:
            for i in range(0, len(names), PART):
                some = names[i : i + PART]
                read = list(in_order(one, some))
                good = [(i + j, x) for j, x in enumerate(read) if isinstance(x, Tensor)]
                bad = [f"{shown(name)} ({x})" for name, x in zip(some, read, strict=True) if isinstance(x, str)]
                yield Part([x for _, x in good], np.array([row for row, _ in good], np.int64), tuple(bad))
                for _ in some:
                    step()

    return Images(place, fingerprint, len(names), parts, labels, classes, options=options)


def _planes(image: NDArray[np.uint8]) -> Tensor:
    """[H, W] or [H, W, 3] to [1 or 3, H, W]."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(planes.copy())
