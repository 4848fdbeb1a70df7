"""Curves as plotly figures: plain dicts whose colours are names such as `@c0`, which the page gives its theme's."""

import numpy as np

from pushforward.report.charts import Figure, axes
from pushforward.report.run import Run, Series
from pushforward.report.text import escape, number

POINTS = 1500


def downsample(series: Series, limit: int = POINTS) -> Series:
    """At most `limit` points: the first, the last, and each stretch's lowest, highest and one that is not finite.

    No extreme of the series is lost. limit: at least 5.
    """
    n = len(series.seen)
    if n <= limit:
        return series
    kept = {0, n - 1}
    for stretch in np.array_split(np.arange(n), (limit - 2) // 3):
        value = series.value[stretch]
        finite = np.flatnonzero(np.isfinite(value))
        kept.update(stretch[~np.isfinite(value)][:1].tolist())
        if len(finite):
            kept.add(int(stretch[finite[value[finite].argmin()]]))
            kept.add(int(stretch[finite[value[finite].argmax()]]))
    index = np.array(sorted(kept))
    return Series(series.seen[index], series.value[index])


def smooth(series: Series, log: bool, limit: int = 400) -> Series:
    """Centred running mean over a fortieth of the series (geometric when `log`), at `limit` places at most."""
    sound = np.isfinite(series.value)
    seen, value = series.seen[sound], series.value[sound]
    n = len(value)
    half = max(1, n // 80)
    total = np.concatenate([[0.0], np.cumsum(np.log(value) if log else value)])
    index = np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(int))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, n)
    mean = (total[high] - total[low]) / (high - low)
    return Series(seen[index], np.exp(mean) if log else mean)


def wants_log(values: np.ndarray, ratio: float = 30.0) -> bool:
    """Whether the values are positive and their middle 98 % spans more than `ratio`-fold."""
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return False
    low, high = np.quantile(values, [0.01, 0.99])
    return bool(high / low > ratio)


def groups(names: list[str]) -> dict[str, dict[str, str]]:
    """Scalars to charts: {chart: {legend entry: scalar}}; losses first, then one chart a term, with its players.

    `real` and `fake` of one player share a chart, for it is their distance that tells.
    """
    charts: dict[str, dict[str, str]] = {"loss": {}}
    for name in names:
        player, _, term = name.rpartition("/")
        if player and term in ("real", "fake"):
            charts.setdefault(f"{player}: real and fake", {})[term] = name
        elif name != "seconds":
            charts.setdefault(term, {})[player or term] = name
    return {title: members for title, members in charts.items() if members}


def scalar_figure(run: Run, members: dict[str, str], colours: dict[str, str]) -> tuple[Figure, list[str]]:
    """Curves of one chart, faint as logged and strong when smoothed; and remarks on what the chart leaves out."""
    series = {label: run.series(name) for label, name in members.items()}
    values = np.concatenate([s.value for s in series.values()])
    log = wants_log(values)
    faint, strong, remarks = [], [], []
    for label, s in series.items():
        lost = int((~np.isfinite(s.value)).sum())
        if lost:
            remarks.append(f"{lost:,} of {len(s.value):,} values of {members[label]} were not finite.")
        curves = _curves(s, label, colours[label], log)
        faint, strong = faint + curves[:-1], strong + curves[-1:]
    layout = _layout(log)
    if not log and (bounds := _robust(values)):
        layout["yaxis"]["range"] = bounds
        sound = values[np.isfinite(values)]
        whole = f"{number(float(sound.min()))} to {number(float(sound.max()))}"
        remarks.append(f"The axis shows the middle 99 %; all values: {whole}.")
    return {"data": faint + strong, "layout": layout}, remarks


def speed_figure(run: Run) -> Figure | None:
    """Examples a second between the lines of the log."""
    clock = run.series("seconds")
    seen, seconds = np.diff(clock.seen), np.diff(clock.value)
    sound = (seen > 0) & (seconds > 0)
    if not sound.any():
        return None
    speed = Series(clock.seen[1:][sound], seen[sound] / seconds[sound])
    layout = _layout(False)
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": _curves(speed, "examples a second", "@c2", False), "layout": layout}


def metric_figure(run: Run, name: str) -> Figure:
    """A metric with its interval as a band and its floor dashed; apart from them, what was measured on more samples.

    Many metrics depend on the number of samples, so that values at different numbers are no one curve.
    """
    fields = {field: run.metric(name, field) for field in ("value", "low", "high", "floor")}
    n = run.metric(name, "n").value
    most = n[np.isfinite(n)].max(initial=0)
    apart = (n == most) & bool((n < most).any())
    layout = _layout(wants_log(np.concatenate([fields["value"].value, fields["floor"].value]), 20.0))
    curve, point = ({field: _where(s, which) for field, s in fields.items()} for which in (~apart, apart))
    traces = _metric_curve(**curve)
    if apart.any():
        label = f"on {int(most):,} samples"
        traces.append(_metric_points(point["value"], point["low"], point["high"], label, "@c0", "diamond"))
        if np.isfinite(point["floor"].value).any():
            none = Series(point["floor"].seen, np.full(len(point["floor"].seen), np.nan))
            traces.append(_metric_points(point["floor"], none, none, "its floor", "@soft", "diamond-open"))
    return {"data": traces, "layout": layout}


def _where(series: Series, which: np.ndarray) -> Series:
    return Series(series.seen[which], series.value[which])


def _metric_points(value: Series, low: Series, high: Series, label: str, colour: str, symbol: str) -> Figure:
    """Values that no line joins, with their intervals as bars."""
    marker = {"size": 9, "color": colour, "symbol": symbol}
    figure = {**_line(value, label, colour, 2, True), "mode": "markers", "marker": marker}
    if np.isfinite(low.value).all() and np.isfinite(high.value).all():
        up, down = (high.value - value.value).tolist(), (value.value - low.value).tolist()
        figure["error_y"] = {"type": "data", "array": up, "arrayminus": down, "color": colour}
    return figure


def _metric_curve(value: Series, low: Series, high: Series, floor: Series) -> list[Figure]:
    banded = np.isfinite(low.value) & np.isfinite(high.value)
    traces = []
    if banded.sum() > 1:
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        seen = low.seen[banded]
        traces.append({"x": seen, "y": low.value[banded], **edge})
        band = {"fill": "tonexty", "fillcolor": "@c0/0.18", "name": "interval", "showlegend": True}
        traces.append({"x": seen, "y": high.value[banded], **edge, **band})
    line = _line(downsample(value), "value", "@c0", 2, True)
    traces.append({**line, "mode": "lines+markers", "marker": {"size": 6, "color": "@c0"}})
    if banded.sum() == 1:
        up, down = (high.value - value.value).tolist(), (value.value - low.value).tolist()
        traces[-1]["error_y"] = {"type": "data", "array": up, "arrayminus": down, "color": "@c0"}
    if np.isfinite(floor.value).any():
        x, y = [0, *floor.seen.tolist()], [float(floor.value[0]), *floor.value.tolist()]
        dashed = _line(Series(np.array(x), np.array(y)), "floor", "@soft", 1.5, True)
        traces.append({**dashed, "line": {"color": "@soft", "width": 1.5, "dash": "dash"}})
    return traces


def last_values(run: Run, members: dict[str, str]) -> str:
    """`critic 0.69, generator 0.71`: the last of each scalar, for those who can't see its curve."""
    return ", ".join(f"{label} {number(float(run.series(name).value[-1]))}" for label, name in members.items())


def _curves(series: Series, label: str, colour: str, log: bool) -> list[Figure]:
    """A short series as it is; a long one faint as it is and strong when smoothed."""
    if np.isfinite(series.value).sum() < 60:
        return [_line(downsample(series), label, colour, 2, True)]
    faint = _line(downsample(series), label, f"{colour}/0.3", 1, False)
    return [faint, {**_line(smooth(series, log), label, colour, 2, True), "hoverinfo": "skip"}]


def _line(series: Series, label: str, colour: str, width: float, legend: bool) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": series.seen,
        "y": series.value,
        "name": escape(label),
        "legendgroup": escape(label),
        "showlegend": legend,
        "line": {"color": colour, "width": width},
        "hovertemplate": "%{y:.4g}",
    }


def _layout(log: bool) -> Figure:
    layout = axes("examples seen", ylog=log)
    layout["hovermode"] = "x unified"
    layout["xaxis"] |= {"rangemode": "tozero", "tickformat": "~s", "hoverformat": ",d"}
    return layout


def _robust(values: np.ndarray) -> list[float] | None:
    """A range without a few wild values that would flatten all the others; None when there are none such."""
    values = values[np.isfinite(values)]
    if len(values) < 60:
        return None
    low, high = np.quantile(values, [0.005, 0.995])
    if high <= low or values.max() - values.min() < 3 * (high - low):
        return None
    return [float(low - 0.1 * (high - low)), float(high + 0.1 * (high - low))]
