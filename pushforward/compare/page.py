"""The page of a comparison: a table, quality over time, examples and operations, samples, and how it was done."""

import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward import __version__
from pushforward.compare import results as numbers
from pushforward.compare.picture import ACROSS
from pushforward.compare.plan import short_names
from pushforward.compare.results import Outcome, Point, Results, Row
from pushforward.compare.runs import GUARD
from pushforward.compare.speed import AIM, SHARE
from pushforward.pictures import around
from pushforward.report.charts import Figure, axes, plot
from pushforward.report.document import Section, document, facts, nothing, reproduce
from pushforward.report.points import as_points, cloud, panel
from pushforward.report.text import count, escape
from pushforward.report.tiles import tiles

DASHES = ("solid", "dash", "dot")


def render(results: Results, shown: dict[str, np.ndarray]) -> str:
    """The whole page. shown: see `picture.samples`."""
    c = results.comparison
    labels = list(short_names(c.entries).values())
    told = {
        "Data": c.data,
        "Budget": f"{numbers.span(c.seconds)} a run" if c.seconds else f"{count(c.examples or 0, 'example')} a run",
        "Seeds": c.seeds,
        "Runs at once": c.jobs,
        "Device": c.machine.device,
        "Cores": c.machine.cores,
        "Threads a run": c.machine.threads,
        "Page written by": f"pushforward {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    heading = f"{_listed(labels) if len(labels) <= 4 else count(len(labels), 'recipe')} on {Path(c.data).name}"
    header = (
        f"<p class='kicker'>pushforward compare</p><h1>{escape(heading)}</h1>"
        f"<p class='claim'>{escape(_claim(results))}</p>{facts(told)}{reproduce(c.command)}"
    )
    parts = [_table(results), _curves(results), _samples(shown), _how(results)]
    return document(heading, header, parts)


def _claim(results: Results) -> str:
    done = [row for row in results.rows if row.finished]
    if not done:
        return "No run has finished yet."
    best = done[0]
    ratio, name = best.spread(results.main, ratio=True), _distance(results)
    near = "" if ratio is None else f": its {name} is {ratio.mean:.3g} times the floor of real data against real data"
    lead = f"{best.name}{_survivors(best)} is nearest to the data{near}."
    if len(done) > 1 and ratio is not None:
        second = done[1].spread(results.main, ratio=True)
        overlap = second and None not in (ratio.high, second.low) and (second.low or 0) <= (ratio.high or 0)
        lead += f" Next is {done[1].name}{_survivors(done[1])}" + (
            f" at {second.mean:.3g}{', and the intervals of the two overlap' if overlap else ''}." if second else "."
        )
    return lead


def _survivors(row: Row) -> str:
    """How many of its seeds a row speaks for, where not for all."""
    done, all_ = len(row.finished), len(row.runs)
    return "" if done == all_ else f" ({done} of {all_} seeds)"


def _distance(results: Results) -> str:
    name = numbers.title(results.main)
    return name.replace("Fréchet", "Fréchet distance")


def _table(results: Results) -> Section:
    head = "<th></th>" + "".join(f"<th class='figure'>{escape(text)}</th>" for text in numbers.columns(results))
    body = _line("real data", numbers.real(results))
    for row in results.rows:
        body += _line(f"<code>{escape(row.name)}</code>{_small(row.reason)}", numbers.cells(results, row))
    told = " ".join(filter(None, (numbers.explained(results), numbers.early(results))))
    remark = f"<p class='remark'>{escape(told)}</p>{_options(results)}"
    return Section("numbers", "Side by side", _ruled(head, body) + remark)


def _line(label: str, cells: list[str]) -> str:
    # The interval stands under its value.
    parts = [cell.partition(" (") for cell in cells]
    shown = [escape(a) + (f"<small>{escape(b.removesuffix(')'))}</small>" if sign else "") for a, sign, b in parts]
    return f"<tr><td>{label}</td>" + "".join(f"<td class='figure'>{cell}</td>" for cell in shown) + "</tr>"


def _options(results: Results) -> str:
    """The rows with all their options, where their names leave some out."""
    lines = [f"<li>{escape(row.name)}: <code>{escape(row.entry.label)}</code></li>" for row in results.abridged]
    return f"<p>Where options are not all named above:</p><ul>{''.join(lines)}</ul>" if lines else ""


def _small(text: str | None) -> str:
    return "" if text is None else f"<small class='no'>{escape(text)}</small>"


def _curves(results: Results) -> Section:
    """Quality against what was spent on it, three ways; then the other metrics over time."""
    name, main = _distance(results), results.main
    seconds = [p.seconds for row in results.rows for run in row.finished for p in run.curve]
    if not seconds:
        return Section("curves", "As they trained", nothing("No curves yet: no run has finished."))
    unit, scale = ("minutes", 60.0) if max(seconds) >= 120 else ("seconds", 1.0)
    ways: dict[str, Callable[[Point], float]] = {
        f"{unit} of training": lambda p: p.seconds / scale,
        "examples seen": lambda p: p.seen,
        "FLOPs": lambda p: p.flops,
    }
    charts = []
    for i, (x, get) in enumerate(ways.items()):
        spread = [get(p) for row in results.rows for run in row.finished for p in run.curve]
        log = i > 0 and max(spread) > 8 * min((s for s in spread if s > 0), default=math.inf)
        figure = _figure(results, main, x, f"{name} ÷ floor", get, ratio=True, xlog=log, legend=i == 0)
        drawn = plot(figure, f"{name} over {x}", f"{name} over its floor, by recipe, over {x}", tall=i == 0)
        charts.append(f"<div class='wide'>{drawn}</div>" if i == 0 else drawn)
    x = f"{unit} of training"
    for metric in results.shown:
        title = numbers.title(metric)
        figure = _figure(results, metric, x, title, ways[x], ratio=False, xlog=False, legend=False)
        charts.append(plot(figure, f"{title} over {x}", f"{title} by recipe over {x}, floor dashed"))
    body = (
        "<p>Each point is a checkpoint, measured quickly after its run had ended; bars go from the lowest to the "
        "highest of the seeds. The floor of these, on fewer samples, is not that of the table.</p>"
        f"<div class='charts'>{''.join(charts)}</div>"
    )
    return Section("curves", "As they trained", body)


def _figure(
    results: Results, name: str, x: str, y: str, get: Callable[[Point], float], *, ratio: bool, xlog: bool, legend: bool
) -> Figure:
    """One line a recipe through the means over seeds, with bars from the lowest to the highest."""
    layout, traces, values, order = axes(x, y, xlog=xlog, ylog=False), [], [], _colours(results)
    for row in results.rows:
        points = [_mean(row.finished, i, name, get, ratio) for i in range(results.comparison.evaluations)]
        sound = [p for p in points if p is not None]
        if not sound:
            continue
        xs, mean, low, high = (np.array(column) for column in zip(*sound, strict=True))
        values += [*low, *high]
        colour, dash = order[row.name]
        trace: Figure = {
            "type": "scatter",
            "mode": "lines+markers",
            "x": xs,
            "y": mean,
            "name": escape(row.name),
            "showlegend": legend,
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"color": colour, "size": 5},
            "hovertemplate": f"{escape(row.name)}: %{{y:.3g}}<extra></extra>",
        }
        if len(row.finished) > 1:
            bars = {"array": high - mean, "arrayminus": mean - low, "color": f"{colour}/0.5"}
            trace["error_y"] = {"type": "data", "thickness": 1.2, "width": 3, **bars}
        traces.append(trace)
    if ratio and values and max(values) > 5 * max(min(values), 1e-9) > 0:
        layout["yaxis"] |= {"type": "log", "tickformat": "~g", "dtick": "D2"}
    floor = 1.0 if ratio else _floor(results, name)
    if floor is not None and traces:
        line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": floor, "y1": floor}
        layout["shapes"] = [{**line, "line": {"color": "@soft", "width": 1.2, "dash": "dash"}}]
    layout["xaxis"] |= {"tickformat": "~s", "dtick": "D2"} if xlog else {"tickformat": "~s", "rangemode": "tozero"}
    return {"data": traces, "layout": layout}


def _mean(
    runs: list[Outcome], i: int, name: str, get: Callable[[Point], float], ratio: bool
) -> tuple[float, float, float, float] | None:
    """(x, mean, lowest, highest) over the seeds' i-th checkpoints; None where none has one."""
    found = [run.curve[i] for run in runs if i < len(run.curve) and name in run.curve[i].metrics]
    pairs = [(get(p), p.metrics[name]) for p in found]
    sound = [(x, m["value"] / (m["floor"] if ratio else 1)) for x, m in pairs if m["value"] is not None and m["floor"]]
    if not sound:
        return None
    xs, ys = (np.array(column, np.float64) for column in zip(*sound, strict=True))
    return float(xs.mean()), float(ys.mean()), float(ys.min()), float(ys.max())


def _floor(results: Results, name: str) -> float | None:
    """That of quick evaluations."""
    points = [p.metrics.get(name) for row in results.rows for run in row.finished for p in run.curve]
    return next((m["floor"] for m in points if m is not None and m["floor"] is not None), None)


def _colours(results: Results) -> dict[str, tuple[str, str]]:
    """A colour and a dash for each recipe, the same in all charts."""
    names = [row.name for row in results.rows]
    return {name: (f"@c{i % 6}", DASHES[i // 6 % len(DASHES)]) for i, name in enumerate(names)}


def _samples(shown: dict[str, np.ndarray]) -> Section:
    real = as_points(shown.get("real data"))
    extent = None if real is None else around(real, 1.0)
    cells = []
    for label, x in shown.items():
        body = tiles(x, f"{count(len(x), 'image')} of {label}", ACROSS) if x.ndim == 4 else ""
        plane = as_points(x)
        if plane is not None and extent is not None:
            body = panel([cloud(plane, extent, "c0" if label == "real data" else "c1")], extent, f"points of {label}")
        if body:
            cells.append(f"<figure class='chart'><figcaption>{escape(label)}</figcaption>{body}</figure>")
    body = (
        f"<p>Of each recipe the run in the middle of its seeds, best recipe first; nothing was chosen by eye. "
        f"Conditional recipes go through the classes in turn.</p><div class='charts'>{''.join(cells)}</div>"
        if cells
        else nothing("No samples to show: no run has finished, or what they make can't be drawn.")
    )
    return Section("samples", "Samples side by side", body)


def _how(results: Results) -> Section:
    c = results.comparison
    if c.seconds:
        budget = (
            f"Each run was to train for {numbers.span(c.seconds)}. Recipes plan their learning rates over a number of "
            f"examples, so that first each recipe's speed was measured for {SHARE:.0%} of that time, with its weights "
            f"held still, and its runs were given the examples that fit into {AIM:.0%} of it, the same for every seed. "
            f"A run that took {GUARD:g} times its time was ended where it was. "
        )
    else:
        budget = f"Each run was to see {count(c.examples or 0, 'example')}, however long that takes. "
    added = ""
    if "\n" in c.command:
        added = _ADDED + (_PACED if c.seconds else "")
    counting = (
        "The minutes are those of training, with its checkpoints, logs and sample grids; the speed test before and all "
        "evaluations, which are made from the checkpoints afterwards, are not in them. Runs went "
        f"{'one at a time' if c.jobs == 1 else f'{c.jobs} at a time'}, one seed of every recipe before the next, so "
        f"that a slow hour of the machine meets all{added}."
    )
    flops = (
        "FLOPs are counted, not timed: convolutions and matrix products of whole rounds, forward and backward, a "
        "multiplication and an addition as two."
    )
    head = "".join(f"<th class='{'figure' if i > 1 else ''}'>{text}</th>" for i, text in enumerate(_RUNS))
    rows = "".join(_run(row, run, c.seconds) for row in results.rows for run in row.runs)
    body = f"<p>{budget}{counting}</p><p>{flops}</p>{_ruled(head, rows)}"
    return Section("runs", "How it was done, run by run", body)


_ADDED = "; rows that were added went after the others"
_PACED = (
    ", with as many examples as would have fitted when these were planned, by the speed of one of them, tested again"
)


def _ruled(head: str, rows: str) -> str:
    """A table of the page; head and rows: markup."""
    thead = f"<thead><tr>{head}</tr></thead>"
    return f"<div class='scroll'><table class='verdicts'>{thead}<tbody>{rows}</tbody></table></div>"


_RUNS = ("run", "how it ended", "seconds", "of the budget", "examples", "of those planned", "FLOPs an example")


def _run(row: Row, run: Outcome, seconds: float | None) -> str:
    share = row.share(run)
    ended = run.reason or ("finished" if run.metrics is not None else "not finished")
    if run in row.cut:
        ended = "out of time"
    name = f"<code>{escape(row.name)}</code>, seed {run.seed}"
    linked = name if run.report is None else f"<a href='{escape(run.report)}'>{name}</a>"
    each = run.flops / run.seen if run.seen else math.nan
    cells: list[Any] = [f"{run.seconds:,.0f}", numbers.part(run.seconds / seconds) if seconds else ""]
    cells += [f"{run.seen:,}", numbers.part(share), numbers.si(each)]
    shown = "".join(f"<td class='figure'>{cell}</td>" for cell in cells)
    return f"<tr><td>{linked}</td><td class='{'no' if run.reason else ''}'>{escape(ended)}</td>{shown}</tr>"


def _listed(names: list[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
