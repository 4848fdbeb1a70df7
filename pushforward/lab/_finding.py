"""What an experiment found: numbers beside what theory says of them, charts, and the page and files they make."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pushforward.report.charts import Figure, plot
from pushforward.report.document import Section, document, facts, reproduce, write_whole
from pushforward.report.text import duration, escape, number, spaced


@dataclass(frozen=True)
class Number:
    """A measured value and what theory says of it.

    relation: "=" where they agree within `within`; "≤" or "≥" where the measured one is at most, or at least, the
    theory's, with `within` as slack. why: one sentence on where theory's value, or the slack, comes from.
    """

    name: str
    measured: float
    theory: float
    within: float = 0.0
    relation: Literal["=", "≤", "≥"] = "="
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the measured value is as theory says; never for NaN."""
        if self.relation == "≤":
            return bool(self.measured <= self.theory + self.within)
        if self.relation == "≥":
            return bool(self.measured >= self.theory - self.within)
        return bool(self.measured == self.theory or abs(self.measured - self.theory) <= self.within)


@dataclass(frozen=True)
class Chart:
    """A figure of `report.charts`; description: what a screen reader says. tall: for the plane; wide: a row's width."""

    title: str
    figure: Figure
    description: str
    remark: str = ""
    tall: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Part:
    """A stretch of the page. text: paragraphs with an empty line between them; formulas: lines set apart."""

    title: str
    text: str
    charts: tuple[Chart, ...] = ()
    formulas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """All that an experiment leaves. title: what it shows, as a headline; claim: the same in two or three sentences."""

    title: str
    claim: str
    numbers: tuple[Number, ...]
    parts: tuple[Part, ...]
    sources: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether every number is as theory says."""
        return all(n.holds for n in self.numbers)

    def number(self, name: str) -> Number:
        """The number of that name."""
        return next(n for n in self.numbers if n.name == name)


@dataclass(frozen=True)
class Made:
    """How a finding came about. config: the experiment's `Config`; versions: of what it ran on."""

    command: str
    config: Any
    seconds: float
    versions: dict[str, str]


def save(finding: Finding, made: Made, folder: Path) -> Path:
    """Writes report.html and numbers.json into the folder, each whole or not at all; returns the page's path."""
    record = {
        **made.versions,
        "command": made.command,
        "config": dataclasses.asdict(made.config),
        "seconds": round(made.seconds, 2),
        "holds": finding.holds,
        "numbers": [{**dataclasses.asdict(n), "holds": n.holds} for n in finding.numbers],
    }
    text = json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False)
    page = render(finding, made)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "numbers.json", text + "\n")
    return write_whole(folder / "report.html", page)


def render(finding: Finding, made: Made) -> str:
    """The page."""
    settings = {spaced(name).capitalize(): value for name, value in dataclasses.asdict(made.config).items()}
    told = facts({**settings, "Time": duration(made.seconds), **made.versions})
    header = (
        f"<p class='kicker'>pushforward lab</p><h1>{escape(finding.title)}</h1><p class='claim'>{escape(finding.claim)}"
        f"</p>{told}{reproduce(made.command)}"
    )
    sections = [_numbers(finding), *(_part(part) for part in finding.parts)]
    if finding.sources:
        items = "".join(f"<p>{escape(source)}</p>" for source in finding.sources)
        sections.append(Section("sources", "Sources", f"<div class='sources'>{items}</div>"))
    return document(finding.title, header, sections)


def said(n: Number) -> str:
    """What theory says, in a table's cell: `1 ± 0.25`, `≤ 1 + 0.25`, `≥ 1 − 0.25`."""
    slack = f" {dict(zip('=≤≥', '±+−', strict=True))[n.relation]} {number(n.within, 2)}" if n.within else ""
    sign = "" if n.relation == "=" else f"{n.relation} "
    return f"{sign}{number(n.theory)}{slack}"


def _numbers(finding: Finding) -> Section:
    rows = "".join(
        f"<tr><td>{escape(n.name)}{f'<small>{escape(n.why)}</small>' if n.why else ''}</td>"
        f"<td class='figure'>{number(n.measured)}</td><td class='figure'>{said(n)}</td>"
        f"<td class='{'yes' if n.holds else 'no'}'>{'✓ holds' if n.holds else '✗ does not hold'}</td></tr>"
        for n in finding.numbers
    )
    head = "<tr><th></th><th class='figure'>measured</th><th class='figure'>theory</th><th></th></tr>"
    body = f"<div class='scroll'><table class='verdicts'><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    return Section("numbers", "The numbers, against theory", body)


def _part(part: Part) -> Section:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in part.text.split("\n\n") if text)
    formulas = "".join(f"<p class='formula'>{escape(line)}</p>" for line in part.formulas)
    charts = "".join(_chart(chart) for chart in part.charts)
    body = paragraphs + formulas + (f"<div class='charts'>{charts}</div>" if charts else "")
    return Section("-".join(part.title.lower().split()), escape(part.title), body)


def _chart(chart: Chart) -> str:
    drawn = plot(chart.figure, chart.title, chart.description, [chart.remark] if chart.remark else None, chart.tall)
    return f"<div class='wide'>{drawn}</div>" if chart.wide else drawn


def _finite(value: Any) -> Any:
    """What JSON can hold: a number that is not finite as its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
