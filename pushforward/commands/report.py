"""Writes a run's report again."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pushforward.commands._words import parse


@dataclass(frozen=True)
class Report:
    """Write the run's report.html again."""

    run: Positional[Path]
    """The run folder."""


def do_report(arguments: list[str]) -> int:
    asked = parse(Report, arguments, "pushforward report")
    from pushforward.report import write_report

    print(write_report(asked.run))
    return 0
