"""Points in the plane: clouds that the page draws itself, and plotly figures of paths and of the critic's surface."""

import base64
from typing import Any

import numpy as np

from pushforward.pictures import around
from pushforward.report.charts import DIVERGING, Extent, Figure, dots, plane
from pushforward.report.text import embed, escape
from pushforward.report.tiles import player

MOST = 4000
"""Points of one cloud that are drawn."""
SURFACE = 120
"""Rows and columns of the critic's surface that are kept."""


def as_points(array: Any) -> np.ndarray | None:
    """A float array [n, 2] as float64; None for anything else, and where no row is finite."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != 2 or array.shape[1] != 2:
        return None
    return array.astype(np.float64) if np.isfinite(array).all(axis=1).any() else None


def frame_of(exhibits: dict[str, np.ndarray], last: np.ndarray | None) -> Extent:
    """What all clouds of a page are drawn in: the exhibits' extent, else around the real points, else the last ones."""
    given = exhibits.get("extent")
    if given is not None and given.shape == (4,) and given.dtype.kind == "f" and np.isfinite(given).all():
        left, right, bottom, top = (float(v) for v in given)
        if left < right and bottom < top:
            return left, right, bottom, top
    real = as_points(exhibits.get("real"))
    xy, share = (last, 0.99) if real is None else (real, 1.0)
    return (-1.0, 1.0, -1.0, 1.0) if xy is None else around(xy[np.isfinite(xy).all(axis=1)], share)


def cloud(points: np.ndarray, extent: Extent, colour: str) -> dict[str, Any]:
    """Points [n, 2] inside the extent as little-endian uint16 pairs in base64, and how many are not inside."""
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    unit = (points - low) / (high - low)
    inside = ((unit >= 0) & (unit <= 1)).all(axis=1)
    code = (unit[inside][:MOST] * 65535).round().astype("<u2")
    text = base64.b64encode(code.tobytes()).decode("ascii")
    return {"xy": text, "colour": colour, "outside": int((~inside).sum()), "of": len(points)}


def panel(clouds: list[dict[str, Any]], extent: Extent, alt: str) -> str:
    """A square with clouds in it."""
    data = embed({"clouds": clouds, "extent": list(extent)})
    return f"<div class='panel'>{data}<canvas role='img' aria-label='{escape(alt)}'></canvas></div>"


def points_film(frames: list[tuple[int, np.ndarray]], real: np.ndarray | None, extent: Extent, alt: str) -> str:
    """A square in which the cloud of each frame [(examples seen, points)] is drawn over the real one."""
    behind = [] if real is None else [cloud(real, extent, "soft")]
    data = {
        "kind": "points",
        "frames": [{"seen": f"{seen:,}", "cloud": cloud(xy, extent, "c1")} for seen, xy in frames],
        "behind": behind,
        "extent": list(extent),
    }
    stage = f"<div class='stage'><canvas role='img' aria-label='{escape(alt)}'></canvas></div>"
    return player(stage, data, [seen for seen, _ in frames])


def neighbours_figure(query: np.ndarray, neighbours: np.ndarray, real: np.ndarray | None, extent: Extent) -> Figure:
    """Samples [q, 2] joined to their nearest training examples [q, k, 2], over the real points."""
    ends = np.stack([np.broadcast_to(query[:, None], neighbours.shape), neighbours], axis=2)
    gaps = np.full((*neighbours.shape[:2], 1, 2), np.nan)
    joined = np.concatenate([ends, gaps], axis=2).reshape(-1, 2)
    line = {"mode": "lines", "line": {"color": "@soft", "width": 1}, "hoverinfo": "skip", "showlegend": False}
    samples = dots(query, "samples", "@c1", 9)
    samples["marker"]["symbol"] = "x"
    near = dots(neighbours.reshape(-1, 2), "nearest training examples", "@c0", 6)
    return _plane([*_backdrop(real), {"type": "scatter", **_xy(joined), **line}, near, samples], extent)


def paths_figure(paths: np.ndarray, real: np.ndarray | None, extent: Extent) -> Figure:
    """Interpolations [rows, steps, 2] as paths over the real points."""
    traces = _backdrop(real)
    for i, path in enumerate(paths):
        style = {"line": {"color": f"@c{i % 6}", "width": 2}, "marker": {"color": f"@c{i % 6}", "size": 5}}
        traces.append({"type": "scatter", "mode": "lines+markers", **_xy(path), "name": f"path {i + 1}", **style})
        traces[-1]["showlegend"] = False
    return _plane(traces, extent)


def surface_figure(surface: np.ndarray, extent: Extent, real: np.ndarray | None, fake: np.ndarray | None) -> Figure:
    """The critic's logits [S, S] (row: second coordinate, ascending) as filled contours, with points on them."""
    step = -(-max(surface.shape) // SURFACE)
    rows, columns = surface.shape
    x = np.linspace(extent[0], extent[1], columns)[::step]
    y = np.linspace(extent[2], extent[3], rows)[::step]
    z = surface[::step, ::step].astype(np.float64)
    finite = z[np.isfinite(z)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (-1.0, 1.0)
    if low < 0 < high:
        # Zero, where the critic is undecided, takes the middle colour.
        low, high = -max(-low, high), max(-low, high)
    contour = {
        "type": "contour",
        "x": x,
        "y": y,
        "z": z,
        "zmin": low,
        "zmax": high,
        "colorscale": DIVERGING,
        "contours": {"coloring": "heatmap"},
        "line": {"width": 0.6, "color": "rgba(40,40,45,0.35)"},
        "ncontours": 18,
        "colorbar": {"thickness": 12, "len": 0.7, "outlinewidth": 0, "title": {"text": "logit", "side": "right"}},
        "hovertemplate": "logit %{z:.3g}<extra></extra>",
    }
    traces = [contour]
    if real is not None:
        traces.append(dots(real[:1500], "real", "rgba(20,22,26,0.75)", 4))
    if fake is not None:
        white = dots(fake[:1500], "generated", "rgba(255,255,255,0.95)", 5)
        white["marker"]["line"] = {"color": "rgba(20,22,26,0.9)", "width": 0.8}
        traces.append(white)
    return _plane(traces, extent)


def _xy(points: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _backdrop(real: np.ndarray | None) -> list[Figure]:
    return [] if real is None else [dots(real[:1000], "real", "@soft/0.3", 4)]


def _plane(traces: list[Figure], extent: Extent) -> Figure:
    return {"data": traces, "layout": plane(extent)}
