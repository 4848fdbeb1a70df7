"""Tensors to pictures: bytes, grids, scatter plots and PNG files that are there whole or not at all."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

REAL, FAKE, INK = "#8d94a0", "#c2570c", "#5b6472"


def to_uint8(x: Tensor) -> np.ndarray:
    """Networks' images to bytes: round(127.5·x + 127.5), halves to even, clamped to [0, 255].

    x: float [N, C, H, W], -1 is black and 1 is white whatever the other values are. Returns uint8 [N, H, W, C].
    Raises ValueError for another shape and for NaN.
    """
    if x.ndim != 4:
        raise ValueError(f"images are [N, C, H, W], got the shape {tuple(x.shape)}; add the missing dimensions")
    x = x.detach().float()
    if bool(x.isnan().any()):
        raise ValueError(f"images hold numbers, got {int(x.isnan().sum())} NaN; look for the step that made them")
    return (127.5 * x + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def grid(
    images: np.ndarray, columns: int | None = None, scale: int | None = None, gap: int = 4, background: int = 255
) -> Image.Image:
    """Tiles in rows from the top left, each pixel enlarged to scale × scale.

    images: uint8 [N, H, W, C], C is 1 (grey) or 3 (RGB). columns: about √N when None. scale: what brings the longer
    side near 64 pixels when None. gap: pixels between tiles; background: the grey of gaps and empty places.
    Tile i's top left pixel lies at ((i % columns)·(W·scale + gap), (i // columns)·(H·scale + gap)).
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8 or 0 in images.shape:
        raise ValueError(
            f"a grid needs uint8 images [N, H, W, 1 or 3], got {images.dtype} {images.shape}; see pictures.to_uint8"
        )
    n, height, width, channels = images.shape
    across = min(n, math.ceil(math.sqrt(n)) if columns is None else columns)
    zoom = max(1, round(64 / max(height, width))) if scale is None else scale
    if across < 1 or zoom < 1 or gap < 0:
        raise ValueError(f"columns and scale are at least 1 and gap at least 0, got {columns}, {scale} and {gap}")
    step_y, step_x = height * zoom + gap, width * zoom + gap
    canvas = np.full((math.ceil(n / across) * step_y - gap, across * step_x - gap, channels), background, np.uint8)
    for i, tile in enumerate(images.repeat(zoom, axis=1).repeat(zoom, axis=2)):
        y, x = i // across * step_y, i % across * step_x
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def scatter(
    points: np.ndarray,
    real: np.ndarray | None = None,
    extent: tuple[float, float, float, float] | None = None,
    size: int = 720,
) -> Image.Image:
    """Points in the plane over real ones, fainter where they crowd, on equal axes.

    points: [n, 2]; real: [m, 2]. extent: (xmin, xmax, ymin, ymax); when None, around the real points, or around 99 %
    of the points where there are no real ones, so that a few strays don't shrink the rest. Returns RGB, size × size.
    """
    # A Figure of its own: pyplot would keep global state and choose a backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure

    sets = [(_planar(real), REAL, "real")] if real is not None else []
    sets.append((_planar(points), FAKE, "generated"))
    low_x, high_x, low_y, high_y = extent or around(sets[0][0])
    figure = Figure(figsize=(size / 100, size / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.08, 0.06, 0.88, 0.88))
    for xy, colour, name in sets:
        colours = np.repeat(to_rgba_array(colour), len(xy), axis=0)
        colours[:, 3] = alphas(xy, (low_x, high_x, low_y, high_y))
        axes.scatter(xy[:, 0], xy[:, 1], s=11, c=colours, linewidths=0)
        axes.scatter([], [], s=36, c=colour, linewidths=0, label=name)
    axes.set(xlim=(low_x, high_x), ylim=(low_y, high_y), aspect="equal")
    axes.tick_params(length=0, labelsize=10, labelcolor=INK, pad=6)
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_color("#d5d9df")
    if real is not None:
        above = {"loc": "lower right", "bbox_to_anchor": (1.02, 0.99), "ncols": 2, "frameon": False}
        axes.legend(fontsize=11, labelcolor=INK, handletextpad=0.2, columnspacing=1.4, **above)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def around(points: np.ndarray, share: float = 0.99) -> tuple[float, float, float, float]:
    """A square (xmin, xmax, ymin, ymax) with a margin around the middle `share` of the points [n, 2] on each axis."""
    low, high = np.quantile(points, [0.5 - share / 2, 0.5 + share / 2], axis=0)
    centre = (low + high) / 2
    half = 0.6 * max(float((high - low).max()), 1e-6)
    x, y = float(centre[0]), float(centre[1])
    return x - half, x + half, y - half, y + half


def alphas(points: np.ndarray, extent: tuple[float, float, float, float], bins: int = 48) -> np.ndarray:
    """Opacity of each point [n] in [0.15, 0.9]: falls with the square root of the number of points in its cell."""
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    cells = np.clip((points - low) / (high - low) * bins, 0, bins - 1).astype(int)
    index = cells[:, 0] * bins + cells[:, 1]
    crowd = np.bincount(index, minlength=bins * bins)[index]
    return np.clip(1.6 / np.sqrt(crowd), 0.15, 0.9)


def save_png(image: Image.Image, path: Path) -> None:
    """Writes beside and renames: `path` holds the whole picture, or what it held before."""
    beside = path.with_name(f".{path.name}.part")
    try:
        image.save(beside, format="PNG", optimize=True)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _planar(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"a scatter needs points [n, 2], got the shape {points.shape}; choose two columns")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(axis=1).sum())
        raise ValueError(f"a scatter needs finite points, got {bad} of {len(points)} that are not; leave them out")
    return points
