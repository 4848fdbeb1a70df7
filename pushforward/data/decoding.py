"""One image file to one small square of bytes, whatever its format, mode, depth, rotation or transparency."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]

# Only these readers are ever tried, whatever a file is called: none starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff"),
    *(".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
)

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(raw: bytes, resolution: int, channels: int | None) -> Bytes:
    """The image's middle square at `resolution`: uint8 [R, R] if it is grey or `channels` is 1, else [R, R, 3].

    Lanczos with antialiasing, on a JPEG from its scaled decoding to at least twice the resolution. Of an animation the
    first frame; EXIF rotation is applied; what is transparent shows white. Grey deeper than 8 bits is scaled by the
    range of its format. Raises any of Pillow's errors for a file that it cannot read, ValueError for too large a one.
    """
    with _opened(raw) as image:
        image.draft(None, (2 * resolution, 2 * resolution))
        image.load()
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
        plain = _plain(image)
        small = square(plain, resolution)
    # The middle square and the filter are symmetric: turning the small picture is turning the large one.
    return _bytes(small if turn is None else small.transpose(turn), channels)


def decode_whole(raw: bytes) -> Bytes:
    """The whole image at its own size: uint8 [H, W] if it is grey, else [H, W, 3]; as `decode` in all else."""
    with _opened(raw) as image:
        image.load()
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
        plain = _plain(image)
    return _bytes(plain if turn is None else plain.transpose(turn), None)


def shorter_side(raw: bytes) -> int:
    """Pixels, as the file's header has them. Raises as `decode` does."""
    with _opened(raw) as image:
        return min(image.size)


def _opened(raw: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(raw), formats=FORMATS)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width}x{image.height} pixels, more than the {limit} that are safe to decode")
    return image


def _bytes(image: Image.Image, channels: int | None) -> Bytes:
    """[H, W], or [H, W, 3] where three channels differ and are not asked to be one."""
    if image.mode == "RGB" and channels == 1:
        image = image.convert("L")
    x = np.asarray(image)
    if image.mode == "F":
        x = np.rint(x).clip(0, 255).astype(np.uint8)
    if x.ndim == 3 and (x == x[..., :1]).all():
        x = x[..., 0]
    return x


def square(image: Image.Image, resolution: int) -> Image.Image:
    """The middle square at `resolution`, by Lanczos with antialiasing."""
    side = min(image.size)
    x, y = image.width - side, image.height - side
    # Cut first, for the filter would reach beyond its box; half a pixel is left where the middle lies between two.
    image = image.crop((x // 2, y // 2, image.width - x // 2, image.height - y // 2))
    box = (x % 2 / 2, y % 2 / 2, image.width - x % 2 / 2, image.height - y % 2 / 2)
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings (odd EXIF, large images, trailing bytes) are silent inside: what matters is checked or raised.

    Filters belong to the whole process: enter this once, around the threads that decode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plain(image: Image.Image) -> Image.Image:
    """In mode L or RGB, or F for values 0 to 255 that are finer than bytes."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep(image)
    if image.has_transparency_data:
        if image.mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _deep(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats, scaled to 0..255.

    16-bit formats by 255/65535. 32-bit integers and floats carry no range: it is the least of 1 (floats only), 255,
    65535 and 2³¹ − 1 that holds the largest value. Raises ValueError for a pixel that is not a number.
    """
    x = np.asarray(image)
    hidden = image.info.get("transparency")
    sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
    clear = (x == hidden) if sixteen and isinstance(hidden, int) else None
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError("holds values that are not finite")
    ranges = [65535.0] if image.mode != "F" and sixteen else [255.0, 65535.0, 2.0**31]
    if image.mode == "F":
        ranges = [1.0, *ranges]
    largest = float(x.max())
    x = x * (255 / next((r for r in ranges if largest <= r), max(largest, 1.0)))
    if clear is not None:
        x[clear] = 255
    return Image.fromarray(x.clip(0, 255))
