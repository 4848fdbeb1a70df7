"""A folder or a .zip of images, decoded and resized once into a packed array that lies in the cache."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data import arrays
from pushforward.data.cache import cache_folder, cached
from pushforward.data.catalogue import Options
from pushforward.data.decoding import ENDINGS, decode, quiet, shorter_side
from pushforward.data.listing import Archive, Files, Folder, image_names, shown, wrapper
from pushforward.data.packing import Packer, counted, in_order, mapped
from pushforward.data.reading import digested, judge, reason, unchanged
from pushforward.data.source import ArrayData
from pushforward.data.spec import DataSpec

RESOLUTION = 64
VERSION = 1  # of decoding and packing: other bytes need another number


def load(name: str, options: Options) -> ArrayData:
    """The images or points at the path `name`. Raises ValueError in one line for what is no data set."""
    path = Path(name).expanduser()
    if path.is_dir():
        return _images(path, Folder(path), options)
    ending = path.suffix.lower()
    if ending == ".zip":
        return _images(path, Archive(path), options)
    if ending in (".npy", ".npz"):
        return arrays.load(path, options)
    if ending in ENDINGS:
        raise ValueError(f"{shown(name)} is one image; give a folder or a .zip with at least 2")
    raise ValueError(f"{shown(name)} is no data set: give a folder or a .zip of images, a .npy or a .npz")


def _images(path: Path, files: Files, options: Options) -> ArrayData:
    """The readable images among the files: RESOLUTION² unless asked otherwise, grey if all are, labelled if sorted."""
    place, names = shown(str(path)), image_names(files.names)
    if not names:
        raise ValueError(f"no images in {place}; files are looked for that end in {' '.join(ENDINGS)}")
    resolution = options.resolution or RESOLUTION
    listed = listed_classes(files, names, place)
    digests = digested(files, names, options)
    head = json.dumps([VERSION, resolution, options.channels, listed])
    key = hashlib.sha256("\n".join([head, *(f"{d} {json.dumps(n)}" for n, d in digests.items())]).encode()).hexdigest()

    sides: list[float] = []

    def build(folder: Path) -> None:
        bad, side = _pack(folder / "x.npy", files, digests, resolution, options)
        sides.append(side)
        (folder / "bad.json").write_text(json.dumps(bad))

    folder = cached(cache_folder(options.cache), key[:32], build)
    bad: dict[str, str] = json.loads((folder / "bad.json").read_text())
    skipped = tuple(f"{shown(name)} ({reason})" for name, reason in bad.items())
    judge(place, len(names), skipped, options)
    if sides:  # decoded now, and so told once: what comes later, from the cache, may have no choice left
        _tell_enlarged(sides[0], options)
    good = [name for name in names if name not in bad]
    y, labels = labels_of(good, listed)
    x = mapped(folder / "x.npy")
    spec = DataSpec(path.resolve().stem, "images", x.shape[1:], None if labels is None else len(labels))
    return ArrayData(spec, x, y, labels, key, skipped)


def _tell_enlarged(side: float, options: Options) -> None:
    """Says so where RESOLUTION, which nobody asked for, is more than images of this median side hold."""
    fitting = 2 ** round(math.log2(max(side, 1)))
    if options.resolution is None and options.progress and fitting < RESOLUTION:
        from rich.console import Console

        told = f"images of about {side:g} pixels a side are enlarged to {RESOLUTION}×{RESOLUTION}"
        Console(stderr=True).print(
            f"{told}; --resolution {max(fitting, 8)} takes less time", style="yellow", highlight=False, soft_wrap=True
        )


def _pack(
    path: Path, files: Files, digests: dict[str, str], resolution: int, options: Options
) -> tuple[dict[str, str], float]:
    """Writes the images that can be read, in the order of their names.

    Returns the others with their reasons, and the median of the shorter sides of those that were written.
    """
    sides: dict[str, int] = {}

    def one(name: str) -> NDArray[np.uint8] | str:
        if digests[name].startswith("! "):
            return digests[name][2:]
        raw = unchanged(files, name, digests[name])
        try:
            if not raw:
                return "empty file"
            image = decode(raw, resolution, options.channels)
            sides[name] = shorter_side(raw)
            return image
        except MemoryError:  # no fault of the file, and not to be remembered as one
            raise
        except Exception as error:  # damaged files raise nearly every type there is from within Pillow
            return reason(error)

    bad: dict[str, str] = {}
    bar = counted("Decoding", len(digests), options.progress)
    with quiet(), Packer(path, resolution, options.channels) as packer, bar as step:
        for name, image in zip(digests, in_order(one, list(digests)), strict=True):
            if isinstance(image, str):
                bad[name] = image
            else:
                packer.add(image)
            step()
    return bad, float(np.median(list(sides.values()))) if sides else 0.0


def listed_classes(files: Files, names: list[str], place: str) -> dict[str, int] | bool:
    """Classes from `dataset.json`; False without that file, True where it lists none.

    {"labels": [["path", class], …]} or {"labels": null}, as NVIDIA's StyleGAN tools write it: their numbered folders
    are no classes. Raises ValueError where it has another form, or leaves images out.
    """
    base = next((b for b in ("", wrapper(names)) if f"{b}dataset.json" in files.names), None)
    if base is None:
        return False
    try:
        content: Any = json.loads(files.read(f"{base}dataset.json"))
        listed = {f"{base}{name}": label for name, label in content["labels"] or ()}
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ValueError(f'dataset.json in {place} is not {{"labels": [["path", class], …]}}: {error!r}') from error
    if not listed:
        return True
    if wrong := [label for label in listed.values() if type(label) is not int]:
        raise ValueError(f"dataset.json in {place} has the class {wrong[0]!r}; classes are whole numbers")
    if missing := [name for name in names if name not in listed]:
        raise ValueError(
            f"dataset.json in {place} has no class for {len(missing)} of {len(names)} images, as {shown(missing[0])}"
        )
    return {name: listed[name] for name in names}


def labels_of(
    names: list[str], listed: dict[str, int] | bool
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Classes from `dataset.json`, or from the first folders below what all images lie in, if each is in one."""
    if listed is True:
        return None, None
    if listed is False:
        base = len(wrapper(names))
        parts = [name[base:].split("/") for name in names]
        if any(len(part) == 1 for part in parts):
            return None, None
        keys: list[Any] = [part[0] for part in parts]
    else:
        keys = [listed[name] for name in names]
    order = sorted(set(keys))
    number = {key: i for i, key in enumerate(order)}
    return np.array([number[key] for key in keys], np.int64), tuple(shown(str(key)) for key in order)
