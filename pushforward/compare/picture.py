"""The samples of all recipes in one picture, and what the page shows of them."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pushforward.compare.results import Results
from pushforward.pictures import grid, scatter
from pushforward.report.run import arrays

ACROSS, DOWN = 8, 4
"""Images of one recipe's grid."""
SIDE = 40
"""Pixels that an image's longer side is brought to in the picture, at least."""
SHOWN = 1000
"""Points of one recipe's cloud."""
CLOUD = 360
"""Pixels of a cloud's side in the picture."""
INK = 32
LINES = 4
"""Lines of a label, at most."""


def samples(folder: Path, results: Results) -> dict[str, np.ndarray]:
    """By name, in the table's order: what `exhibits.npz` holds of the median run; of real data first.

    Images uint8 [32, H, W, C], or points float [1000, 2]; recipes without a finished run are left out.
    """
    found: dict[str, np.ndarray] = {}
    for row in results.rows:
        run = row.median(results.main)
        if run is None:
            continue
        held = arrays(folder / run.folder / "exhibits.npz")
        for label, name in (("real data", "real"), (row.name, "fake")):
            if name in held and label not in found and held[name].ndim in (2, 4):
                found[label] = held[name][: ACROSS * DOWN if held[name].ndim == 4 else SHOWN]
    return found


def picture(shown: dict[str, np.ndarray], columns: int | None = None) -> Image.Image | None:
    """One grid a recipe, each under its label, in so many columns; None where there is nothing that can be drawn.

    A label that is too long for one line has up to four, and then ends in an ellipsis.
    """
    blocks = {label: drawn for label, x in shown.items() if (drawn := _block(x, shown.get("real data"))) is not None}
    if not blocks:
        return None
    across = columns or min(len(blocks) if len(blocks) <= 3 else math.ceil(math.sqrt(len(blocks))), 4)
    font = ImageFont.load_default(size=15)
    wide, high = (max(block.size[i] for block in blocks.values()) for i in (0, 1))
    labels = {label: _lines(label, wide, font) for label in blocks}
    gap, line = 20, 20
    head = 6 + line * max(map(len, labels.values()))
    rows = -(-len(blocks) // across)
    canvas = Image.new("RGB", (across * (wide + gap) + gap, rows * (high + head + gap) + gap), "white")
    pen = ImageDraw.Draw(canvas)
    for i, (label, block) in enumerate(blocks.items()):
        x, y = gap + i % across * (wide + gap), gap + i // across * (high + head + gap)
        for k, text in enumerate(reversed(labels[label]), start=1):  # close to their grid
            pen.text((x, y + head - 6 - k * line), text, fill=(INK, INK, INK), font=font)
        canvas.paste(block.convert("RGB"), (x, y + head))
    return canvas


def _block(x: np.ndarray, real: np.ndarray | None) -> Image.Image | None:
    if x.ndim == 4:
        zoom = max(1, round(SIDE / max(x.shape[1:3])))
        return grid(x, columns=ACROSS, scale=zoom, gap=2)
    if x.shape[1] != 2:
        return None
    # Drawn twice as large, as its words need the room.
    drawn = scatter(x, real if real is not x else None, size=2 * CLOUD)
    return drawn.resize((CLOUD, CLOUD), Image.Resampling.LANCZOS)


def _lines(label: str, wide: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """A label in lines of whole words, as far as there is room for them; what is left of it is cut."""
    words, lines = label.split(), [""]
    for i, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > wide:
            if len(lines) == LINES:
                lines[-1] = " ".join([lines[-1], *words[i:]])
                break
            lines.append(word)
        else:
            lines[-1] = longer
    return [_cut(line, wide, font) for line in lines]


def _cut(label: str, wide: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a label as there is room for."""
    cut = label
    while font.getlength(cut) > wide and len(cut) > 1:
        cut = cut.removesuffix("…")[:-1] + "…"
    return cut
