"""The page: what was run, how good it is, how it went; one file that asks for nothing from anywhere."""

from pathlib import Path
from typing import Any

import numpy as np

from pushforward.report import figures, sections
from pushforward.report.charts import plot
from pushforward.report.document import Section, document, facts, nothing, reproduce, write_whole
from pushforward.report.run import Run, read_run
from pushforward.report.sections import table
from pushforward.report.text import count, duration, escape, number, spaced


def write_report(run: Path) -> Path:
    """Reads a run folder and writes its report.html, whole or not at all; returns where it is.

    Files that are missing or cut short leave a sentence in their place. Raises ValueError for a folder that is no run.
    """
    return write_whole(run / "report.html", render(read_run(run)))


def render(run: Run) -> str:
    """The whole page."""
    parts = [part(run) for part in _PARTS]
    return document(title_of(run), _header(run), [part for part in parts if part is not None])


def title_of(run: Run) -> str:
    """`r3gan on digits`."""
    recipe = run.config.get("recipe") or "a run"
    data = table(run.config, "data").get("name")
    return f"{recipe} on {data}" if data else str(recipe)


def numbers(run: Run) -> Section:
    """The latest value of each metric with its interval, beside its floor."""
    names = run.metric_names()
    if not names:
        body = nothing("No metrics were measured yet: metrics.jsonl is missing or has no whole line.")
        return Section("numbers", "Numbers", body)
    cards = "".join(_card(run, name) for name in names)
    when = count(int(run.metric(names[0]).seen[-1]), "example")
    return Section(
        "numbers",
        "Numbers",
        f"<div class='cards'>{cards}</div><p class='remark'>After {when}. The floor is the same number for real "
        "data against real data: what a perfect model would score.</p>",
    )


def metrics(run: Run) -> Section:
    """Each metric over the examples seen."""
    charts = []
    for name in run.metric_names():
        value = run.metric(name).value
        sound = np.isfinite(value)
        told = f"from {number(float(value[0]))} to {number(float(value[-1]))}" if sound.any() else "never finite"
        description = f"{name} over examples seen, {told}, with its interval and its floor"
        charts.append(plot(figures.metric_figure(run, name), spaced(name), description))
    body = f"<div class='charts'>{''.join(charts)}</div>" if charts else nothing("No metrics were measured yet.")
    return Section("metrics", "Metrics as it trained", body)


def training(run: Run) -> Section:
    """Losses and every other logged scalar over the examples seen."""
    names = run.scalars()
    players = list(dict.fromkeys(name.rpartition("/")[0] for name in names if "/" in name))
    colours = {player: f"@c{i % 6}" for i, player in enumerate(players)} | {"real": "@c0", "fake": "@c1"}
    charts = []
    for title, members in figures.groups(names).items():
        palette = {label: colours.get(label, "@c2") for label in members}
        figure, remarks = figures.scalar_figure(run, members, palette)
        description = f"{title} over examples seen; last: {figures.last_values(run, members)}"
        charts.append(plot(figure, spaced(title), description, remarks))
    speed = figures.speed_figure(run)
    if speed:
        charts.append(plot(speed, "speed", "Examples a second over examples seen"))
    if not charts:
        body = nothing("Nothing was logged yet: stats.jsonl is missing or has no whole line.")
    else:
        body = f"<div class='charts'>{''.join(charts)}</div>"
    return Section("losses", "Losses and other scalars", body)


def settings(run: Run) -> Section:
    """All of the configuration, and the versions it ran on."""
    config = run.config
    data, spec = table(config, "data"), table(table(config, "data"), "spec")
    blocks = {
        "Recipe": table(config, "config"),
        "Data": {"name": data.get("name"), **table(data, "options"), **spec, "fingerprint": data.get("fingerprint")},
        "Run": table(config, "run"),
        "Versions": {key: config.get(key) for key in ("pushforward", "torch", "python", "platform", "commit")},
    }
    body = "".join(_list(title, block) for title, block in blocks.items() if block)
    return Section("settings", "Settings", f"<div class='settings'>{body}</div>")


_PARTS = (
    numbers,
    sections.evolution,
    sections.beside,
    metrics,
    training,
    sections.neighbours,
    sections.interpolations,
    sections.arithmetic,
    sections.surface,
    settings,
)


def _header(run: Run) -> str:
    config, asked = run.config, table(run.config, "run")
    spec = table(table(config, "data"), "spec")
    known = {
        "Seed": asked.get("seed"),
        "Examples": _progress(run.seen, asked.get("examples")),
        "Example size": " × ".join(str(n) for n in spec["shape"]) if isinstance(spec.get("shape"), list) else None,
        "Classes": spec.get("classes"),
        "Batch": asked.get("batch"),
        "Time": _time(run),
        "Device": asked.get("device"),
        "Commit": str(config["commit"])[:12] if config.get("commit") else None,
        "pushforward": config.get("pushforward"),
        "torch": config.get("torch"),
    }
    command = config.get("command")
    again = reproduce(command) if command else nothing("The command that made this run is not in its config.json.")
    return f"<p class='kicker'>pushforward run</p><h1>{escape(title_of(run))}</h1>{facts(known)}{again}"


def _progress(seen: int, asked: Any) -> str:
    if isinstance(asked, int) and seen < asked:
        return f"{seen:,} of {asked:,}"
    return f"{seen:,}"


def _time(run: Run) -> str | None:
    """Training time: the log counts seconds from each start, so a fall in them is a restart."""
    seconds = run.series("seconds").value
    if not len(seconds):
        return None
    ends = seconds[np.append(np.flatnonzero(np.diff(seconds) < 0), len(seconds) - 1)]
    return duration(float(ends.sum()))


def _card(run: Run, name: str) -> str:
    value, low, high, floor, n = (
        float(run.metric(name, field).value[-1]) for field in ("value", "low", "high", "floor", "n")
    )
    lines = [f"<h3>{escape(spaced(name))}</h3><p class='value'>{number(value)}</p>"]
    if floor > 0 <= value:
        lines.append(f"<p class='times'>{number(value / floor, 3)}× the floor</p>")
    facts = {
        "interval": f"{number(low)} to {number(high)}" if np.isfinite(low) and np.isfinite(high) else None,
        "floor": number(floor) if np.isfinite(floor) else None,
        "samples": number(n) if np.isfinite(n) else None,
    }
    rows = "".join(f"<div><dt>{key}</dt><dd>{fact}</dd></div>" for key, fact in facts.items() if fact)
    return f"<div class='card'>{''.join(lines)}<dl>{rows}</dl></div>"


def _list(title: str, block: dict[str, Any]) -> str:
    rows = "".join(
        f"<div><dt>{escape(spaced(str(key)))}</dt><dd>{escape(_shown(value))}</dd></div>"
        for key, value in block.items()
        if value is not None
    )
    return f"<div><h3>{title}</h3><dl>{rows}</dl></div>" if rows else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return str(value)
