"""Charts of any numbers as plotly figures: plain dicts whose colours are names such as `@c0` and `@c0/0.3`.

The page gives a name its theme's colour: `c0` to `c5`, `ink`, `soft`, `line`; keys that hold colours end in `color`.
"""

from typing import Any

import numpy as np

from pushforward.report.text import embed, escape

Figure = dict[str, Any]
Extent = tuple[float, float, float, float]
"""Left, right, bottom, top."""
DIVERGING = [[0, "#6f4a9b"], [0.25, "#ab94c4"], [0.5, "#ece7df"], [0.75, "#e3b377"], [1, "#c4711d"]]
"""Colours from below to above a middle."""
SEQUENTIAL = [[0, "#f7f3ec"], [0.25, "#f0cf9e"], [0.5, "#dd8f4c"], [0.75, "#a3480a"], [1, "#3f1a05"]]
"""Colours from nothing to much."""


def plot(figure: Figure, title: str, description: str, remarks: list[str] | None = None, tall: bool = False) -> str:
    """The chart's place in the page, with its data; `description` is what a screen reader says."""
    notes = "".join(f"<p class='remark'>{escape(remark)}</p>" for remark in remarks or [])
    kind = "plot tall" if tall else "plot"
    return (
        f"<figure class='chart'><figcaption>{escape(title)}</figcaption>"
        f"<div class='{kind}' role='img' aria-label='{escape(description)}'>{embed(figure)}</div>{notes}</figure>"
    )


def axes(x: str = "", y: str = "", *, xlog: bool = False, ylog: bool = False) -> Figure:
    """A layout for curves: titles of the axes, and which of them are logarithmic; its legend stands above."""
    return {
        "margin": {"l": 56 if y else 44, "r": 10, "t": 28, "b": 36},
        "hovermode": "closest",
        "xaxis": _axis(x, xlog),
        "yaxis": _axis(y, ylog),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
    }


def plane(extent: Extent, x: str = "", y: str = "") -> Figure:
    """A layout for points in the plane: both axes of one scale."""
    layout = axes(x, y)
    layout["margin"] = {"l": 50 if y else 36, "r": 10, "t": 28, "b": 40 if x else 30}
    layout["xaxis"] |= {"range": list(extent[:2]), "constrain": "domain"}
    layout["yaxis"] |= {"range": list(extent[2:]), "scaleanchor": "x", "constrain": "domain"}
    layout["legend"] = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "itemsizing": "constant"}
    return layout


def curve(
    x: Any, y: Any, name: str, colour: str, *, width: float = 2, dash: str = "solid", shown: bool = True
) -> Figure:
    """A line through (x, y); dash: solid, dash or dot; shown: in the legend."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": escape(name),
        "showlegend": shown,
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": "(%{x:.4g}, %{y:.4g})",
    }


def band(x: Any, low: Any, high: Any, name: str, colour: str) -> list[Figure]:
    """What lies between two curves, faintly filled; no entry in the legend where the name is empty."""
    edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    filled = {**edge, "fill": "tonexty", "fillcolor": f"{colour}/0.18", "name": escape(name), "showlegend": bool(name)}
    return [{"x": x, "y": low, **edge}, {"x": x, "y": high, **filled}]


def dots(points: np.ndarray, name: str, colour: str, size: float) -> Figure:
    """Points [n, 2]."""
    marker = {"color": colour, "size": size}
    place = {"x": points[:, 0], "y": points[:, 1]}
    return {"type": "scatter", "mode": "markers", **place, "name": escape(name), "marker": marker, "hoverinfo": "skip"}


def heat(x: Any, y: Any, z: Any, label: str, *, diverging: bool = False) -> Figure:
    """A matrix z [len(y), len(x)] as colours; label: of the scale; diverging: 0 has the middle colour."""
    values = np.asarray(z, np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if diverging:
        low, high = -max(-low, high), max(-low, high)
    return {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": values,
        "zmin": low,
        "zmax": high,
        "colorscale": DIVERGING if diverging else SEQUENTIAL,
        "colorbar": {"thickness": 12, "len": 0.7, "outlinewidth": 0, "title": {"text": escape(label), "side": "right"}},
        "hovertemplate": "%{z:.4g}<extra></extra>",
    }


def arrows(
    start: np.ndarray, end: np.ndarray, name: str, colour: str, *, width: float = 1, head: float = 5
) -> list[Figure]:
    """Arrows from start [n, 2] to end [n, 2]: one trace of shafts, one of heads that point along them."""
    gaps = np.full_like(start, np.nan)
    shafts = np.stack([start, end, gaps], 1).reshape(-1, 2)
    move = end - start
    # A plotly triangle points up; its angle is clockwise in degrees.
    angle = np.degrees(np.arctan2(move[:, 0], move[:, 1]))
    common = {"type": "scatter", "hoverinfo": "skip", "legendgroup": escape(name), "name": escape(name)}
    marker = {"symbol": "triangle-up", "size": head, "angle": angle, "color": colour}
    return [
        {**common, "mode": "lines", "x": shafts[:, 0], "y": shafts[:, 1], "line": {"color": colour, "width": width}},
        {**common, "mode": "markers", "x": end[:, 0], "y": end[:, 1], "marker": marker, "showlegend": False},
    ]


def _axis(title: str, log: bool) -> Figure:
    axis: Figure = {"gridcolor": "@line", "linecolor": "@line", "zerolinecolor": "@line", "automargin": True}
    if log:
        axis |= {"type": "log", "tickformat": "~g"}
    if title:
        axis["title"] = {"text": escape(title), "standoff": 8}
    return axis


def panels(shown: list[tuple[str, list[Figure]]], columns: int) -> Figure:
    """Small charts in one figure, row by row: (title, traces) of each; axes of their own, and no legend."""
    rows = -(-len(shown) // columns)
    layout: Figure = {"margin": {"l": 34, "r": 8, "t": 24, "b": 24}, "hovermode": "closest", "showlegend": False}
    data, titles = [], []
    wide, high = 1 / (columns - 0.2), 1 / (rows - 0.24)  # of a panel and the room before the next
    for i, (title, traces) in enumerate(shown):
        row, column = divmod(i, columns)
        left, top, key = column * wide, 1 - row * high, str(i + 1) if i else ""
        for name, ends in (("x", [left, left + 0.8 * wide]), ("y", [top - 0.76 * high, top])):
            small = {"domain": [max(0.0, ends[0]), min(1.0, ends[1])], "nticks": 4, "tickfont": {"size": 10}}
            layout[f"{name}axis{key}"] = {**_axis("", False), "anchor": f"{'y' if name == 'x' else 'x'}{key}", **small}
        titles.append(label(title, left, top, anchor="left"))
        data += [{**trace, "xaxis": f"x{key}", "yaxis": f"y{key}"} for trace in traces]
    return {"data": data, "layout": {**layout, "annotations": titles}}


def label(text: str, x: float, y: float, *, colour: str = "@ink", size: int = 12, anchor: str = "center") -> Figure:
    """An annotation that stands on a point of the whole figure, which goes from 0 to 1 both ways.

    anchor: what of the text is at x: left, center or right.
    """
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": anchor, "yanchor": "bottom"}
    return {**place, "text": escape(text), "showarrow": False, "font": {"size": size, "color": colour}}


def decades(axis: Figure, every: int = 1) -> None:
    """Makes a logarithmic axis of a layout show powers of ten only, every so many of them."""
    axis.pop("tickformat", None)
    axis |= {"dtick": every, "exponentformat": "power"}
