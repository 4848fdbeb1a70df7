"""Pictures that say what they show: grids of images with names beside them, a curve, and a caption under either."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pushforward import pictures
from pushforward.latent.truncation import Truncated
from pushforward.metrics.intervals import Interval
from pushforward.pictures import FAKE, INK, REAL

SIZE, MARGIN, LEAST = 14, 12, 420  # of letters, around everything, and the least width of a caption


def sheet(
    images: Tensor,
    caption: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    apart: bool = False,
) -> Image.Image:
    """A grid of images [R, N, C, H, W] in [-1, 1] with names of rows and columns, and a caption under it.

    apart: whether the first column stands a little apart, as what the others are to be compared with.
    """
    r, n = images.shape[:2]
    tiles = pictures.to_uint8(images.flatten(0, 1)).reshape(r, n, *images.shape[3:], images.shape[2])
    parts = [tiles[:, :1], tiles[:, 1:]] if apart and n > 1 else [tiles]
    grids = [pictures.grid(part.reshape(-1, *part.shape[2:]), columns=part.shape[1]).convert("RGB") for part in parts]
    gap = 4
    wide, high = (grids[-1].width + gap) // parts[-1].shape[1], (grids[-1].height + gap) // r
    left = MARGIN + (max(_width(name) for name in rows) + 8 if rows else 0)
    lines = max((name.count("\n") + 1 for name in columns), default=0)
    top = MARGIN + (lines * (SIZE + 3) + 4 if columns else 0)
    starts = [left, left + wide + 2 * gap] if len(parts) > 1 else [left]
    width = max(starts[-1] + grids[-1].width + MARGIN, LEAST)
    text = _wrapped(caption, width - 2 * MARGIN)
    height = top + grids[0].height + 10 + len(text) * (SIZE + 5) + MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    for grid, x in zip(grids, starts, strict=True):
        canvas.paste(grid, (x, top))
    places = [starts[0]] + [starts[-1] + i * wide for i in range(n - 1)] if len(parts) > 1 else None
    for i, name in enumerate(columns):
        x = (places[i] if places else left + i * wide) + (wide - gap) // 2
        draw.multiline_text((x, top - 4), name, INK, _font(), anchor="md", spacing=2, align="center")
    for i, name in enumerate(rows):
        draw.text((left - 8, top + i * high + (high - gap) // 2), name, INK, _font(), anchor="rm")
    for i, line in enumerate(text):
        draw.text((MARGIN, top + grids[0].height + 10 + i * (SIZE + 5)), line, "#22262c", _font())
    return canvas


def precision_recall_chart(found: Sequence[Truncated], floor: tuple[Interval, Interval], caption: str) -> Image.Image:
    """Precision over recall, a point a truncation with its name and both intervals, and real against real."""
    # A Figure of its own: pyplot would keep global state and choose a backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.1, 0.86, 0.84))
    recall, precision = ([getattr(f, name) for f in found] for name in ("recall", "precision"))
    style = {"fmt": "o-", "color": FAKE, "ecolor": f"{FAKE}66", "capsize": 2, "linewidth": 1.6, "markersize": 5}
    axes.errorbar(
        [r.value for r in recall],
        [p.value for p in precision],
        xerr=_arms(recall),
        yerr=_arms(precision),
        label="samples, by truncation",
        **style,
    )
    style |= {"fmt": "s", "color": REAL, "ecolor": f"{REAL}88"}
    axes.errorbar(
        [floor[1].value], [floor[0].value], xerr=_arms([floor[1]]), yerr=_arms([floor[0]]), label="real data", **style
    )
    for f in found:
        name = "none" if f.truncation is None else f"{f.truncation:g}"
        place = (f.recall.value, f.precision.value)
        beside = (-10, -16) if f.truncation is None else (6, 6)
        axes.annotate(name, place, beside, textcoords="offset points", fontsize=10, color=INK)
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.03, 1.03), ylim=(-0.03, 1.06))
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.spines[:].set_color("#d5d9df")
    above = {"loc": "lower right", "bbox_to_anchor": (1.02, 0.99), "ncols": 2, "frameon": False}
    axes.legend(fontsize=11, labelcolor=INK, **above)
    canvas.draw()
    return _captioned(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()), caption)


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    text = _wrapped(caption, picture.width - 2 * MARGIN)
    canvas = Image.new("RGB", (picture.width, picture.height + len(text) * (SIZE + 5) + MARGIN), "white")
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for i, line in enumerate(text):
        draw.text((MARGIN, picture.height + i * (SIZE + 5)), line, "#22262c", _font())
    return canvas


def _arms(intervals: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their values."""
    return [[max(i.value - i.low, 0.0) for i in intervals], [max(i.high - i.value, 0.0) for i in intervals]]


@lru_cache(1)
def _font() -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: it has the letters of mathematics, and is the same on every machine."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), SIZE)


def _width(text: str) -> int:
    return max(int(_font().getlength(line)) + 1 for line in text.split("\n"))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of words that fit the width, as far as single words do."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if not lines[-1] or _width(longer) <= width else [*lines, word]
    return lines
