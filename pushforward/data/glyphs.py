"""Letters and digits drawn from the typefaces that matplotlib ships, each in sixteen hands."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pushforward.core.seeding import numpy_generator
from pushforward.data.cache import cache_folder, cached
from pushforward.data.catalogue import Options
from pushforward.data.source import ArrayData, digest
from pushforward.data.spec import DataSpec

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The text faces that have all of these: no symbols, and not cmmi10, whose digits are old-style and hang below the line.
FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-BoldOblique", "-Oblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-BoldOblique", "-Oblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-BoldItalic", "-Italic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "BolIta", "Italic")),
    *("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
JITTERS = 16
VERSION = 2  # of the drawing below: another picture needs another number


def load(name: str, options: Options) -> ArrayData:
    """`glyphs`: 62 classes × 21 faces × 16 jitters = 20,832 pictures, white on black, 32×32 unless asked otherwise.

    Jitters: rotation within 8°, scale 0.9 to 1.1, shear within 0.15, shifts within 5 % of the side; the same at every
    resolution, and the same bits for the same version of Pillow. channels 3 repeats the grey.
    """
    resolution = options.resolution or 32
    paths = _faces()
    key = digest(f"glyphs {VERSION} {resolution}", *(path.read_bytes() for path in paths))[:32]

    def build(folder: Path) -> None:
        np.save(folder / "x.npy", np.concatenate([_drawn(i, path, resolution) for i, path in enumerate(paths)]))

    x = np.load(cached(cache_folder(options.cache), f"{name}-{key}", build) / "x.npy")
    y = np.tile(np.repeat(np.arange(len(CHARACTERS)), JITTERS), len(paths))
    x = np.repeat(x[:, None], options.channels or 1, axis=1)  # [N, H, W] -> [N, C, H, W]
    spec = DataSpec(name, "images", x.shape[1:], len(CHARACTERS))
    return ArrayData(spec, x, y, tuple(CHARACTERS), digest(name, x, y))


def _faces() -> list[Path]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = [folder / f"{face}.ttf" for face in FACES]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"glyphs needs the typefaces that matplotlib ships, {missing[0]} is missing: reinstall it")
    return paths


def _drawn(face: int, path: Path, resolution: int) -> NDArray[np.uint8]:
    """All characters of one face [62 · 16, R, R]: drawn once at four times the size, then moved and reduced."""
    side = 4 * resolution
    font = ImageFont.truetype(str(path), side, layout_engine=ImageFont.Layout.BASIC)
    _, top, _, bottom = font.getbbox("H")
    # Every face's capitals are as high: half of the side before the jitter.
    font = font.font_variant(size=max(round(side * side / 2 / (bottom - top)), 1))
    _, top, _, bottom = font.getbbox("H")
    rows = []
    for c, character in enumerate(CHARACTERS):
        left, _, right, _ = font.getbbox(character)
        large = Image.new("L", (side, side))
        at = ((side - left - right) / 2, (side - top - bottom) / 2)  # the box's middle on the picture's
        ImageDraw.Draw(large).text(at, character, font=font, fill=255)
        jitter = numpy_generator("glyphs", face, c).uniform(-1, 1, size=(JITTERS, 5))
        rows += [_moved(large, *amounts) for amounts in jitter.tolist()]
    return np.stack(rows)


def _moved(large: Image.Image, turn: float, size: float, shear: float, right: float, down: float) -> NDArray[Any]:
    """The picture turned, scaled, sheared and shifted by amounts in [-1, 1], at a quarter of the side."""
    side = large.width
    angle, scale = math.radians(8) * turn, 1 + 0.1 * size
    # Pillow asks where each pixel comes from: the inverse of scale · rotation · shear, about the middle.
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = scale * rotation @ np.array([[1, 0.15 * shear], [0, 1]])
    back = np.linalg.inv(forward)
    middle = np.full(2, side / 2)
    offset = middle - back @ (middle + 0.05 * side * np.array([right, down]))
    half = 2 * back  # from a picture of half the side: a bilinear sample then stands amid the four pixels it replaces
    data = (*half[0].tolist(), offset[0].item(), *half[1].tolist(), offset[1].item())
    moved = large.transform((side // 2, side // 2), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(moved.reduce(2))
