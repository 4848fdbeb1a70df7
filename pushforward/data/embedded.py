"""Real images that scikit-learn ships: handwritten digits, three of them stacked, and crops of two photographs."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pushforward.core.seeding import numpy_generator
from pushforward.data.cache import cache_folder, cached
from pushforward.data.catalogue import Options
from pushforward.data.decoding import square
from pushforward.data.packing import Packer, counted, in_order, mapped
from pushforward.data.source import ArrayData, StreamData, digest
from pushforward.data.spec import DataSpec

Bytes = NDArray[np.uint8]

PHOTOGRAPHS = ("china", "flower")
CROPS = 8192
VERSION = 1  # of the crops: other ones need another number


def load(name: str, options: Options) -> ArrayData | StreamData:
    """`digits`, `stacked-digits` or `photos`."""
    if name == "digits":
        return digits(options.resolution, options.channels or 1)
    if name == "stacked-digits":
        if options.channels not in (None, 3):
            raise ValueError(f"stacked-digits has a digit in each of 3 channels, got channels {options.channels}")
        return stacked_digits(options.resolution)
    return photos(options)


def digits(resolution: int | None = None, channels: int = 1) -> ArrayData:
    """1,797 handwritten digits in 10 classes, 8×8 grey unless `resolution` asks for them resized (Lanczos).

    Grey levels 0..16 become round(v·255/16). A larger picture holds no more detail than the 8×8 one. channels 3 repeats
    the grey. Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, as scikit-learn ships it.
    """
    x, y = _digits(resolution or 8)
    x = np.repeat(x, channels, axis=1)
    spec = DataSpec("digits", "images", x.shape[1:], 10)
    return ArrayData(spec, x, y, tuple("0123456789"), digest("digits", x, y))


def stacked_digits(resolution: int | None = None) -> StreamData:
    """Endless colour images whose three channels are digits drawn independently: 10³ modes, no classes.

    After StackedMNIST (Metz et al. 2017, arXiv:1611.02163). `channel_data` is the labelled digits of one channel.
    """
    one = digits(resolution)
    x, _ = _digits(resolution or 8)

    def draw(rng: np.random.Generator, n: int) -> tuple[Bytes, None]:
        return x[rng.integers(len(x), size=(n, 3)), 0], None  # [n, 3, H, W]

    spec = DataSpec("stacked-digits", "images", (3, *x.shape[2:]))
    return StreamData(spec, draw, digest("stacked-digits", one.fingerprint), channel_data=one)


def photos(options: Options) -> ArrayData:
    """8,192 square crops of two photographs, one a class (`china`, `flower`): RGB, 64×64 unless asked otherwise.

    Crops have a random side between the resolution and the photograph's shorter side (427), and a random place; the
    same at each opening. Resized by Lanczos with antialiasing. channels 1 is luma. Raises ValueError above 427.
    """
    from sklearn.datasets import load_sample_image

    resolution, channels = options.resolution or 64, options.channels or 3
    images: list[Any] = [load_sample_image(f"{label}.jpg") for label in PHOTOGRAPHS]
    limit = min(min(image.shape[:2]) for image in images)
    if resolution > limit:
        raise ValueError(f"photos have {limit} pixels on the shorter side, got the resolution {resolution}")
    key = digest(f"photos {VERSION} {resolution} {channels}", *images)

    def build(folder: Path) -> None:
        pictures = [Image.fromarray(image).convert("L" if channels == 1 else "RGB") for image in images]
        sides, places = numpy_generator("photos", "sides"), numpy_generator("photos", "places")
        jobs: list[tuple[Image.Image, tuple[int, int, int, int]]] = []
        for i in range(CROPS):
            picture = pictures[i % 2]
            side = int(sides.integers(resolution, min(picture.size), endpoint=True))
            room = np.subtract(picture.size, side)
            left, top = places.integers(0, room, endpoint=True).tolist()
            jobs.append((picture, (left, top, left + side, top + side)))
        bar = counted("Cropping", CROPS, options.progress)
        with Packer(folder / "x.npy", resolution, channels) as packer, bar as step:
            for crop in in_order(lambda job: _cropped(*job, resolution), jobs):
                packer.add(crop)
                step()

    x = mapped(cached(cache_folder(options.cache), f"photos-{key[:32]}", build) / "x.npy")
    spec = DataSpec("photos", "images", x.shape[1:], 2)
    return ArrayData(spec, x, np.arange(CROPS) % 2, PHOTOGRAPHS, key)


def _cropped(picture: Image.Image, box: tuple[int, int, int, int], resolution: int) -> Bytes:
    return np.asarray(square(picture.crop(box), resolution))


@functools.lru_cache(maxsize=2)
def _digits(resolution: int) -> tuple[Bytes, NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    grey = bunch.images * (255 / 16)  # [N, 8, 8]
    if resolution != 8:
        size = (resolution, resolution)
        pictures = [Image.fromarray(g.astype(np.float32)) for g in grey]
        grey = np.stack([np.asarray(p.resize(size, Image.Resampling.LANCZOS)) for p in pictures])
    return np.rint(grey).clip(0, 255).astype(np.uint8)[:, None], bunch.target.astype(np.int64)
