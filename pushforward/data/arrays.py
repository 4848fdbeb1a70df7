"""Arrays of one's own: .npy and .npz files of images or points."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pushforward.data.catalogue import Options
from pushforward.data.decoding import square
from pushforward.data.listing import shown
from pushforward.data.packing import mapped
from pushforward.data.source import ArrayData
from pushforward.data.spec import DataSpec

FORMS = "uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3, or float points [N, D]"


def load(path: Path, options: Options) -> ArrayData:
    """The examples of a .npy, or of a .npz under `x` or `images` (or its only array), labelled by its `y` or `labels`.

    uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W]; float points [N, D], taken as they are: bring them to about
    unit spread. Raises ValueError in one line for other contents.
    """
    place = shown(str(path))
    try:
        x, y = _read(path, place)
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"cannot read {place}: {error}") from error
    if len(x) < 2:
        raise ValueError(f"{len(x)} example in {place}; a data set has at least 2")
    if y is not None and y.shape != (len(x),):
        raise ValueError(f"{place} holds {len(x)} examples and labels of shape {y.shape}; give one label for each")
    x = _images(x, place, options) if x.ndim in (3, 4) else _points(x, place, options)
    labels = None
    if y is not None:
        if y.dtype.kind not in "iuU":
            raise ValueError(f"the labels in {place} are {y.dtype}; give whole numbers or names")
        names, y = np.unique(y, return_inverse=True)
        labels = tuple(str(name) for name in names)
    kind = "points" if x.ndim == 2 else "images"
    spec = DataSpec(path.resolve().stem, kind, x.shape[1:], None if labels is None else len(labels))
    chosen = json.dumps([content, options.resolution, options.channels])
    return ArrayData(spec, x, y, labels, hashlib.sha256(chosen.encode()).hexdigest())


def _read(path: Path, place: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        if path.suffix.lower() == ".npy":
            x, y = mapped(path), None
        else:
            with np.load(path, allow_pickle=False) as archive:
                names = archive.files
                name = next((n for n in ("x", "images") if n in names), names[0] if len(names) == 1 else None)
                if name is None:
                    raise ValueError(f"found {', '.join(map(shown, names)) or 'nothing'}; name the examples x")
                label = next((n for n in ("y", "labels") if n in names), None)
                x, y = archive[name], None if label is None else archive[label]
    except (ValueError, TypeError, AttributeError) as error:  # np.load gives back bare bytes for what is no .npz
        raise ValueError(f"no array of numbers can be read from {place}: {error}") from error
    if x.ndim == 0:
        raise ValueError(f"{place} holds a single value; give {FORMS}")
    return x, y


def dimensions(path: Path) -> int:
    """Dimensions of the examples' array: 2 for points, 3 or 4 for images. Raises ValueError where there is none."""
    return _read(path, shown(str(path)))[0].ndim


def _points(x: NDArray[Any], place: str, options: Options) -> NDArray[np.float32]:
    for option in ("resolution", "channels"):
        if getattr(options, option) is not None:
            raise ValueError(f"{place} holds points, not images: leave {option} out")
    if x.ndim != 2 or x.dtype.kind != "f" or x.shape[1] == 0:
        raise ValueError(f"{place} holds {x.dtype} {list(x.shape)}; give {FORMS}")
    bad = int((~np.isfinite(x).all(axis=1)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(x)} points in {place} are not finite; remove them")
    return np.ascontiguousarray(x, np.float32)


def _images(x: NDArray[Any], place: str, options: Options) -> NDArray[np.uint8]:
    """[N, C, H, W], a view of `x` where nothing else is asked."""
    last, first = x.shape[-1] in (1, 3), x.shape[1] in (1, 3)
    if x.dtype != np.uint8 or not (x.ndim == 3 or (x.ndim == 4 and (last or first))) or min(x.shape) == 0:
        raise ValueError(f"{place} holds {x.dtype} {list(x.shape)}; give {FORMS}")
    if x.ndim == 3:
        x = x[:, None]
    elif last:
        x = x.transpose(0, 3, 1, 2)
    resolution = options.resolution
    if resolution is not None and x.shape[2:] != (resolution, resolution):
        x = np.stack([_resized(image, resolution) for image in x])
    return with_channels(x, options.channels or x.shape[1])


def with_channels(x: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """[N, 1 or 3, H, W] to [N, channels, H, W]: grey repeated, or colour's luma (ITU-R 601) rounded."""
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return np.repeat(x, 3, axis=1)
    weights = np.array([299, 587, 114], np.uint32)
    rows = [np.tensordot(weights, image.astype(np.uint32), 1) for image in x]
    return ((np.stack(rows)[:, None] + 500) // 1000).astype(np.uint8)


def _resized(image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """[C, H, W] to its middle square [C, R, R]."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    small = np.asarray(square(picture, resolution))
    return small[None] if small.ndim == 2 else small.transpose(2, 0, 1)
