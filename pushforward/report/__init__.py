"""A run folder made into one HTML file that opens without a network."""

from pushforward.report.page import write_report
from pushforward.report.run import Run, Series, read_run

__all__ = ["Run", "Series", "read_run", "write_report"]
