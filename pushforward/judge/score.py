"""How often people were wrong: the error rate of all raters with its 95 % interval, as JSON and as a table."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pushforward.judge.answers import Answer
from pushforward.judge.trial import Design
from pushforward.metrics.intervals import Interval, Z, student, wilson_share
from pushforward.report.document import write_whole

if TYPE_CHECKING:
    from rich.table import Table

FEWEST = 10
"""Answers on each kind of image from which an unfinished rater counts, and below which nothing is concluded."""
MARGIN = 0.1
"""How near 50 % the whole interval lies where people are said not to tell the two apart."""
Verdict = Literal["told apart", "not told apart", "taken for real", "inconclusive"]


@dataclass(frozen=True)
class RaterScore:
    """One rater's counted answers. The intervals are Wilson's, and speak of this rater alone."""

    rater: str
    answered: int
    finished: bool
    counts: bool
    error: Interval | None
    on_fakes: Interval | None
    on_reals: Interval | None


@dataclass(frozen=True)
class Judgement:
    """The outcome. error: over both kinds; on_fakes: fakes taken for real; on_reals: reals taken for fakes.

    A rate is the mean over the raters who count (finished, or FEWEST answers of each kind); None where there is none.
    """

    error: Interval | None
    on_fakes: Interval | None
    on_reals: Interval | None
    verdict: Verdict
    sentence: str
    answers: int
    raters: tuple[RaterScore, ...]


def judgement(answers: Sequence[Answer], design: Design) -> Judgement:
    """Scores all answers; practice is left out. Zhou et al. 2019, arXiv:1904.01121, section 3.

    Differs from the paper: the exposure is fixed (its HYPE-time moves it to find a threshold; seconds = 0 is its
    HYPE-infinity), and the interval is `error_rate`'s rather than a bootstrap of raters.
    """
    by_rater: dict[str, list[Answer]] = {}
    for answer in answers:
        if not answer.practice:
            by_rater.setdefault(answer.rater, []).append(answer)
    raters = tuple(_rater(name, given, design) for name, given in by_rater.items())
    counted = [answer for rater in raters if rater.counts for answer in by_rater[rater.rater]]
    fakes, reals = _kinds(counted)
    error = error_rate(counted) if counted else None
    verdict, sentence = _verdict(error, min(len(fakes), len(reals)), sum(rater.counts for rater in raters))
    return Judgement(
        error,
        error_rate(fakes) if fakes else None,
        error_rate(reals) if reals else None,
        verdict,
        sentence,
        len(counted),
        raters,
    )


def error_rate(answers: Sequence[Answer]) -> Interval:
    """The mean over raters of their error rates, the two kinds of images weighing the same, with a 95 % interval.

    So one who always says "real" errs at 50 %, however many of each kind came before a stop.

    One rater: Wilson's interval, for the answers are independent; it speaks of that rater. From two on, answers of one
    rater are alike (people differ), and so are answers on one image that several saw (some fakes are worse): the
    variance is clustered both ways, V = V_raters + V_images - V_answers (Cameron, Gelbach and Miller 2011,
    doi:10.1198/jbes.2010.07136, Eq. 2.11), at least V_raters. It enters Wilson's interval as the number of independent
    answers p(1 - p)/V, at most those there are, taken down by (z / t)² with Student's t of raters - 1 degrees of
    freedom (Korn and Graubard 1998, Survey Methodology 24, p. 193, for the two corrections).

    Why: in simulations with 50 answers each, normal effects of raters and images on the probit scale, and 2, 3, 5, 10
    and 30 raters (400 to 150 repetitions), it held the truth in 91 to 100 % where p is 0.2 or 0.5, and in 86 to 100 %
    where p is 0.03. On another seed of the same model, all answers pooled as independent (Wilson) held it in 37 % at
    worst, the percentile bootstrap of raters in 38 % (2 raters), Student's t of their rates in 51 % (30 raters who saw
    the same 60 images); and where all are right, the last two say that nothing is uncertain. Two raters leave a wide
    interval: two people say little about people.

    Raises ValueError without answers, or where a rater answered on one kind only and another on both.
    """
    if not answers:
        raise ValueError("an error rate needs answers, got none; let somebody judge first")
    rater = np.unique([answer.rater for answer in answers], return_inverse=True)[1]
    real = np.array([answer.real for answer in answers])
    image = np.unique(np.array([(answer.real, answer.image) for answer in answers]), axis=0, return_inverse=True)[1]
    wrong = np.array([answer.wrong for answer in answers], np.float64)
    cell = 2 * rater + real
    n, raters = len(answers), int(rater.max()) + 1
    sizes = np.bincount(cell, minlength=2 * raters)
    judged = sizes.reshape(raters, 2) > 0
    if (judged != judged[0]).any():
        raise ValueError("each rater needs answers on fakes and on reals, got one kind only; leave that rater out")
    weight = 1 / (np.count_nonzero(sizes) * sizes[cell])
    p = float(weight @ wrong)
    if raters == 1:
        return _wilson(p, n)
    level = np.where(real, _mean(weight, wrong, real), _mean(weight, wrong, ~real))
    e = weight * (wrong - level)
    among_raters = float(np.sum(np.bincount(rater, e) ** 2)) * raters / (raters - 1)
    among_images = float(np.sum(np.bincount(image.ravel(), e) ** 2) - e @ e)
    variance = among_raters + max(0.0, among_images)
    spread = p * (1 - p) * (Z / student(raters - 1)) ** 2
    # Rounding leaves 1e-34 where all raters agree.
    return _wilson(p, n if variance * n <= spread or variance < 1e-20 else spread / variance)


def write(result: Judgement, design: Design, path: Path) -> Path:
    """Writes the judgement and the design as JSON, whole or not at all; returns where it is."""
    values = {**dataclasses.asdict(result), "design": dataclasses.asdict(design)}
    return write_whole(path, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def table(result: Judgement) -> "Table":
    """A row for all raters together and one for each, rates in per cent."""
    from rich.table import Table
    from rich.text import Text

    made = Table("rater", title=Text(result.sentence), title_justify="left")
    for title in ("answers", "error rate", "95 % interval", "on fakes", "on reals"):
        made.add_column(title, justify="right")
    counted = sum(rater.counts for rater in result.raters)
    rows = [(f"all ({counted})", result.answers, result.error, result.on_fakes, result.on_reals)]
    for rater in result.raters:
        name = rater.rater if rater.counts else f"{rater.rater} (too few, not counted)"
        rows.append((name, rater.answered, rater.error, rater.on_fakes, rater.on_reals))
    for name, answered, error, on_fakes, on_reals in rows:
        ends = f"{_percent(error.low)} – {_percent(error.high)}" if error else ""
        rates = [_percent(rate.value) if rate else "" for rate in (error, on_fakes, on_reals)]
        # Names come from people: as Text they are no markup.
        made.add_row(Text(name), f"{answered:,}", rates[0], ends, rates[1], rates[2])
    return made


def _rater(name: str, answers: list[Answer], design: Design) -> RaterScore:
    fakes, reals = _kinds(answers)
    finished = len(answers) >= design.trials
    return RaterScore(
        name,
        len(answers),
        finished,
        finished or min(len(fakes), len(reals)) >= FEWEST,
        error_rate(answers),
        error_rate(fakes) if fakes else None,
        error_rate(reals) if reals else None,
    )


def _kinds(answers: Sequence[Answer]) -> tuple[list[Answer], list[Answer]]:
    return [a for a in answers if not a.real], [a for a in answers if a.real]


def _mean(weight: np.ndarray, wrong: np.ndarray, part: np.ndarray) -> float:
    return float(weight[part] @ wrong[part] / weight[part].sum()) if part.any() else 0.0


def _wilson(p: float, n: float) -> Interval:
    """Wilson's interval of a share of n answers that weights and rounding may have left 1e-16 outside of 0 to 1."""
    return wilson_share(1.0 if math.isclose(p, 1.0, abs_tol=1e-12) else min(1.0, max(0.0, p)), n)


def _verdict(error: Interval | None, fewest: int, raters: int) -> tuple[Verdict, str]:
    """What the interval says, and in words. fewest: answers on the kind of images with fewer."""
    if error is None or fewest < FEWEST:
        need = f"{FEWEST} answers on each kind of image are needed"
        return "inconclusive", f"Inconclusive: too few answers; {need}, got {fewest} that count."
    who = "one person (no word on others)" if raters == 1 else f"{raters} people"
    said = f"{_percent(error.value)} of answers were wrong (95 %: {_percent(error.low)} to {_percent(error.high)})"
    if error.high < 0.5:
        return "told apart", f"Told apart by {who}: {said}; 50 % would be guessing."
    if error.low > 0.5:
        return "taken for real", f"Fakes pass for real more than reals do, by {who}: {said}; 50 % would be guessing."
    if error.low >= 0.5 - MARGIN and error.high <= 0.5 + MARGIN:
        return "not told apart", f"Not told apart by {who}: {said}, within {_percent(MARGIN)} of guessing."
    more = "more raters" if 1 < raters < 5 else "more answers"
    return "inconclusive", f"Inconclusive: {said} by {who}, which guessing explains as well; {more} would tell."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
