"""Monte Carlo: the mean of a sample goes to the expectation, with an error that falls as 1/√n in any dimension.

The law of large numbers, the central limit theorem, and the law of the unconscious statistician (LOTUS): E[g(X)] needs
draws of X and never g(X)'s law. Owen 2013, Monte Carlo theory, methods and examples, Sections 2.1 and 2.2.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import torch_generator
from pushforward.estimation import Estimate, expectation
from pushforward.lab import Tell
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.report.charts import axes, band, curve

SIZES = tuple(2**k for k in range(4, 15))
MEAN, DEVIATION = math.exp(0.5), math.sqrt(math.exp(2) - math.exp(1))  # of e^X for a standard normal X
INTERVALS = 1024  # draws behind each interval


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of all draws."""
    repeats: int = 400
    """Independent samples of each size, over which errors are measured."""
    dimensions: int = 20
    """Of the Gaussian whose expectation is taken beside the one on a line."""

    def __post_init__(self) -> None:
        if self.repeats < 100 or self.dimensions < 2:
            raise ValueError(
                f"an error is measured over 100 or more repeats, in 2 or more dimensions, got {self.repeats} repeats "
                f"and {self.dimensions} dimensions; raise them"
            )


def run(cfg: Config, tell: Tell) -> Finding:
    """E[e^X] in one dimension and in several, with intervals; and the Cauchy law, which has no expectation."""
    line = _means(cfg, 1)
    tell(0.1)
    many = _means(cfg, cfg.dimensions)
    tell(0.8)
    errors, errors_many = (np.sqrt(((means - MEAN) ** 2).mean(1)) for means in (line, many))
    intervals = [expectation(_values(x)) for x in _draws(cfg, 1, INTERVALS)]
    cauchy = _cauchy(cfg)
    tell(1.0)
    return Finding(
        "The error of a mean falls as 1/√n, in any dimension",
        "An expectation is estimated by the mean of a sample. Four times the draws halve the error, and how many "
        "dimensions they have does not matter. So a model that can only be sampled can be trained and measured.",
        _numbers(cfg, errors, errors_many, intervals, cauchy),
        (_rate(cfg, errors, errors_many), _path(cfg), _intervals(intervals), _no_mean(cauchy)),
        ("Owen 2013, Monte Carlo theory, methods and examples, Sections 2.1 and 2.2.",),
    )


def _numbers(
    cfg: Config, errors: np.ndarray, errors_many: np.ndarray, intervals: list[Estimate], cauchy: np.ndarray
) -> tuple[Number, ...]:
    # A root mean square over R repeats has a relative standard error of 1/√2R where the means are normal.
    slack = 4 / math.sqrt(2 * cfg.repeats)
    # Means of few draws of the heavy-tailed e^X have a kurtosis of their own: twice the slack at the slope's ends.
    steep = 2 * slack / math.log(SIZES[-1] / SIZES[0])
    share = sum(e.low <= MEAN <= e.high for e in intervals) / len(intervals)
    reason = f"four standard errors of a root mean square over {cfg.repeats:,} repeats"
    return (
        Number("slope of log error over log n, on a line", _slope(errors), -0.5, steep, why="the error is σ/√n"),
        Number(
            f"the same in {cfg.dimensions} dimensions",
            _slope(errors_many),
            -0.5,
            steep,
            why="the dimension does not enter the rate",
        ),
        Number(
            f"error at n = {SIZES[-1]:,}, in units of σ/√n",
            float(errors[-1]) / (DEVIATION / math.sqrt(SIZES[-1])),
            1.0,
            slack,
            why=f"σ² = e² − e for e^X; slack: {reason}",
        ),
        Number(
            f"error on a line over error in {cfg.dimensions} dimensions, same n",
            float(errors[-1] / errors_many[-1]),
            math.sqrt(cfg.dimensions),
            math.sqrt(2 * cfg.dimensions) * slack,
            why="g averages its coordinates: a variance, and not a rate, that the dimension changes",
        ),
        Number(
            "95 % intervals that hold the expectation",
            share,
            0.95,
            4 * math.sqrt(0.95 * 0.05 / cfg.repeats) + 0.01,
            why="central limit theorem; slack: four standard errors, and 0.01 as e^X is skew",
        ),
        Number(
            f"spread of Cauchy means, n = {SIZES[-1]:,} over n = {SIZES[0]}",
            float(cauchy[-1] / cauchy[0]),
            1.0,
            # A sample quartile of the Cauchy law varies by π √(3/4) / √R of it, half the range by π/2 √R.
            4 * math.sqrt(2) * math.pi / 2 / math.sqrt(cfg.repeats),
            why="a mean of n Cauchy draws has the law of one: no expectation, and no law of large numbers",
        ),
    )


def _values(x: Tensor) -> Tensor:
    """g(x), the mean of e^x over the coordinates: [..., D] -> [...]."""
    return x.double().exp().mean(-1)


def _draws(cfg: Config, d: int, n: int) -> Tensor:
    """Independent samples [repeats, n, d] of a standard Gaussian."""
    generator = torch_generator("lab", "monte-carlo", "intervals", cfg.seed, d, n)
    return torch.randn(cfg.repeats, n, d, generator=generator)


def _means(cfg: Config, d: int) -> np.ndarray:
    """Means of g over independent samples of each size: [sizes, repeats]."""
    rows = []
    for n in SIZES:
        generator = torch_generator("lab", "monte-carlo", cfg.seed, d, n)
        step = max(1, 2**20 // (n * d))  # repeats at a time, so that memory stays small
        parts = [
            _values(torch.randn(min(step, cfg.repeats - i), n, d, generator=generator)).mean(1)
            for i in range(0, cfg.repeats, step)
        ]
        rows.append(torch.cat(parts).numpy())
    return np.array(rows)


def _cauchy(cfg: Config) -> np.ndarray:
    """Half the range between the quartiles of Cauchy means, for each size: 1 in theory."""
    rows = []
    for n in SIZES:
        generator = torch_generator("lab", "monte-carlo", "cauchy", cfg.seed, n)
        draws = torch.empty(cfg.repeats, n, dtype=torch.float64).cauchy_(generator=generator)
        low, high = np.quantile(draws.mean(1).numpy(), [0.25, 0.75])
        rows.append((high - low) / 2)
    return np.array(rows)


def _slope(errors: np.ndarray) -> float:
    return float(np.polyfit(np.log(SIZES), np.log(errors), 1)[0])


def _rate(cfg: Config, errors: np.ndarray, errors_many: np.ndarray) -> Part:
    n = np.array(SIZES)
    layout = axes("draws n", "root mean square error", xlog=True, ylog=True)
    theory = {"width": 1.5, "dash": "dash"}
    figure = {
        "data": [
            curve(n, DEVIATION / np.sqrt(n), "σ/√n", "@soft", **theory),
            curve(n, DEVIATION / np.sqrt(n * cfg.dimensions), "", "@soft", shown=False, **theory),
            {**curve(n, errors, "1 dimension", "@c0"), "mode": "lines+markers"},
            {**curve(n, errors_many, f"{cfg.dimensions} dimensions", "@c1"), "mode": "lines+markers"},
        ],
        "layout": layout,
    }
    return Part(
        "The rate",
        "Both curves fall along lines of slope −½: a hundred times the draws for one more digit. A grid of points in d "
        "dimensions needs k^d of them for k a side; the mean of a sample does not know how many dimensions it is in. "
        "What the dimension may change is σ, the height of the line.",
        (
            Chart(
                f"Error of the mean over {cfg.repeats:,} samples of each size",
                figure,
                f"Two straight lines of slope {_slope(errors):.2f} and {_slope(errors_many):.2f} on logarithmic axes",
                wide=True,
            ),
        ),
        ("x̄ₙ = (1/n) Σ g(xᵢ),   E x̄ₙ = E g(X),   √E(x̄ₙ − E g(X))² = σ/√n,   σ² = Var g(X)",),
    )


def _path(cfg: Config) -> Part:
    n = SIZES[-1]
    generator = torch_generator("lab", "monte-carlo", "path", cfg.seed)
    values = _values(torch.randn(5, n, 1, generator=generator)).numpy()
    places = np.unique(np.geomspace(4, n, 300).round().astype(int))
    running = (np.cumsum(values, 1) / np.arange(1, n + 1))[:, places - 1]
    width = 1.96 * DEVIATION / np.sqrt(places)
    layout = axes("draws n", "mean so far", xlog=True)
    layout["yaxis"]["range"] = [0, 2 * MEAN]
    figure = {
        "data": [
            *band(places, MEAN - width, MEAN + width, "√e ± 1.96 σ/√n", "@soft"),
            *(curve(places, path, "", f"@c{i}", width=1.5, shown=False) for i, path in enumerate(running)),
            curve(places, np.full(len(places), MEAN), "√e", "@ink", width=1.5, dash="dash"),
        ],
        "layout": layout,
    }
    return Part(
        "Five running means",
        "Each curve is the mean of e^X as one more normal X is drawn, and E e^X = √e is where it must end. The law of "
        "e^X was never used: means of g(x) over draws of x are enough.",
        (Chart("Five samples as they grow", figure, "Five curves that settle on the square root of e", wide=True),),
        ("E g(X) = ∫ g(x) p(x) dx, without the density of g(X) (the law of the unconscious statistician)",),
    )


def _intervals(intervals: list[Estimate]) -> Part:
    shown = intervals[:100]
    colours = ["@c0" if e.low <= MEAN <= e.high else "@c1" for e in shown]
    bars = []
    for colour, name in (("@c0", "holds √e"), ("@c1", "misses it")):
        which = [i for i, c in enumerate(colours) if c == colour]
        x = [v for i in which for v in (i + 1, i + 1, None)]
        y = [v for i in which for v in (shown[i].low, shown[i].high, None)]
        bars.append(curve(x, y, name, colour, width=2.5))
    layout = axes("sample", "95 % interval")
    figure = {
        "data": [*bars, curve([0, len(shown) + 1], [MEAN, MEAN], "√e", "@ink", width=1.5, dash="dash")],
        "layout": layout,
    }
    missed = colours.count("@c1")
    return Part(
        "What an interval promises",
        f"A hundred samples of {INTERVALS:,} draws, each with the interval x̄ ± 1.96 s/√n that it computes from itself. "
        "About five in a hundred miss, and none of them knows that it does: an interval speaks of the method.",
        (
            Chart(
                f"The intervals of {len(shown)} samples: {missed} miss",
                figure,
                f"{missed} of {len(shown)} vertical bars do not meet the line at the square root of e",
                wide=True,
            ),
        ),
    )


def _no_mean(cauchy: np.ndarray) -> Part:
    n = np.array(SIZES)
    layout = axes("draws n", "half the quartiles' range", xlog=True, ylog=True)
    layout["yaxis"]["dtick"] = "D2"
    figure = {
        "data": [
            curve(n, np.ones(len(n)), "theory: 1, for every n", "@soft", width=1.5, dash="dash"),
            curve(n, 1 / np.sqrt(n / n[0]), "what 1/√n would be", "@soft", width=1.5, dash="dot"),
            {**curve(n, cauchy, "means of Cauchy draws", "@c3"), "mode": "lines+markers"},
        ],
        "layout": layout,
    }
    return Part(
        "Where it fails",
        "The Cauchy law has no expectation: E|X| is infinite. The mean of n draws then has the very law of a single "
        "one, and no number of draws helps. A critic without bounds can make such a law of its outputs.",
        (Chart("The spread of means without an expectation", figure, "A flat line, where 1/√n would fall", wide=True),),
    )
