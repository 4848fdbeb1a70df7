"""Do the Fréchet distance's 95 % intervals cover the distance between the two laws?

Laws whose distance is known in closed form: `equal` and `shifted` Gaussians of even spectrum, `uneven`, two Gaussians
of spectrum 1/k whose covariances do not commute, and `relu`, features max(W z, 0) of two Gaussians z, not Gaussian.
Prints a Markdown table: the share of repetitions in which each interval holds the laws' distance, and, for
`frechet_interval`, the mean plug-in value; the mean of the estimates, and of their standard errors over the deviation.
One cell has the percentile bootstrap of the plug-in value beside them.

    OMP_NUM_THREADS=1 python benchmarks/coverage_frechet.py
    python benchmarks/coverage_frechet.py --cell "relu 64 5" --reps 50
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.frechet import (
    frechet_distance,
    frechet_estimate,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
)
from pushforward.metrics.intervals import Interval

Floats = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Floats]

CELLS = (
    *(f"{law} 32 {ratio}" for law in ("equal", "shifted", "uneven", "relu") for ratio in (5, 30)),
    *(f"{law} 64 {ratio}" for law in ("equal", "uneven", "relu") for ratio in (5, 30)),
    *("equal 256 5", "relu 256 5", "relu 256 30"),
)
BOOTSTRAPPED = "shifted 32 30"
RESAMPLES = 100


@dataclass(frozen=True)
class Law:
    """Samples [N, D], and the exact mean [D] and covariance [D, D]."""

    draw: Draw
    mean: Floats
    covariance: Floats


@dataclass(frozen=True)
class Repetition:
    """One pair of samples: the plug-in, each interval, and the ends of the bootstrap's."""

    value: float
    corrected: Interval
    infinity: Interval
    plug_in: Interval
    bootstrap: tuple[float, float] | None


def normal(mean: Floats, factor: Floats) -> Law:
    """mean + factor z, z standard normal."""
    return Law(lambda n, rng: rng.standard_normal((n, len(factor))) @ factor.T + mean, mean, factor @ factor.T)


def rectified(factor: Floats) -> Law:
    """max(factor z, 0), z standard normal. Cho & Saul 2009, Kernel Methods for Deep Learning, Eq. 1 and 6 (n = 1)."""
    sigma = np.linalg.norm(factor, axis=1)
    cosine = (factor @ factor.T / np.outer(sigma, sigma)).clip(-1, 1)
    np.fill_diagonal(cosine, 1)
    angle = np.arccos(cosine)
    products = np.outer(sigma, sigma) / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * cosine)
    mean = sigma / np.sqrt(2 * np.pi)
    return Law(
        lambda n, rng: (rng.standard_normal((n, factor.shape[1])) @ factor.T).clip(min=0),
        mean,
        products - np.outer(mean, mean),
    )


def laws(name: str, d: int) -> tuple[Law, Law]:
    zero, one = np.zeros(d), np.eye(d)
    rng = numpy_generator("coverage", "frechet", name, d)
    if name == "equal":
        return normal(zero, one), normal(zero, one)
    if name == "shifted":
        return normal(zero, one), normal(zero + 0.05, 1.2 * one)
    if name == "uneven":
        scale: Floats = np.arange(1, d + 1, dtype=np.float64) ** -0.5
        turn, _ = np.linalg.qr(one + 0.3 * rng.standard_normal((d, d)) / np.sqrt(d))
        return normal(zero, one * scale), normal(zero + 0.03, turn * scale * np.linspace(1.3, 0.8, d))
    weights = rng.standard_normal((d, d)) / np.sqrt(d)
    return rectified(weights), rectified(weights * np.linspace(0.8, 1.3, d))


def repetition(p: Law, q: Law, n: int, rng: np.random.Generator, bootstrapped: bool) -> Repetition:
    x, y = p.draw(n, rng), q.draw(n, rng)
    estimate = frechet_estimate(x, y)
    assert estimate.corrected is not None
    ends = None
    if bootstrapped:
        again = [frechet_distance(x[rng.integers(n, size=n)], y[rng.integers(n, size=n)]) for _ in range(RESAMPLES)]
        low, high = np.quantile(again, [0.025, 0.975])
        ends = float(low), float(high)
    return Repetition(estimate.value, estimate.corrected, frechet_infinity(x, y), frechet_interval(x, y), ends)


def covered(intervals: list[Interval], truth: float) -> str:
    return f"{np.mean([i.low <= truth <= i.high for i in intervals]):.1%}"


def ratio(intervals: list[Interval]) -> str:
    return f"{np.mean([i.stderr for i in intervals]) / np.std([i.value for i in intervals]):.2f}"


def line(cell: str, reps: int) -> str:
    """The table's line for one cell, "law D N/D"."""
    name, d, rows = cell.split()
    p, q = laws(name, int(d))
    n = int(d) * int(rows)
    truth = frechet_from_moments(p.mean, p.covariance, q.mean, q.covariance)
    start = time.process_time()
    found = [
        repetition(p, q, n, numpy_generator("coverage", "frechet", cell, r), cell == BOOTSTRAPPED) for r in range(reps)
    ]
    seconds = time.process_time() - start
    corrected, infinity, plug_in = ([getattr(f, k) for f in found] for k in ("corrected", "infinity", "plug_in"))
    means = [float(np.mean(values)) for values in ([f.value for f in found], [i.value for i in corrected])]
    bootstrap = [f.bootstrap for f in found if f.bootstrap is not None]
    share = f"{np.mean([low <= truth <= high for low, high in bootstrap]):.1%}" if bootstrap else "–"
    words = [name, d, str(n), f"{truth:.4f}", f"{means[0]:.4f}", f"{means[1]:.4f}"]
    words += [covered(corrected, truth), ratio(corrected), covered(infinity, truth), ratio(infinity)]
    words += [covered(plug_in, means[0]), share, f"{seconds:.0f}"]
    return "| " + " | ".join(words) + " |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=CELLS, help='one line of the table: "law D N/D"')
    parser.add_argument("--reps", type=int, default=200, help="pairs of samples a cell; pair r has the seed (cell, r)")
    asked = parser.parse_args()
    if asked.reps < 2:
        parser.error(f"--reps must be at least 2, got {asked.reps}")
    return asked


def main() -> None:
    asked = arguments()
    columns = ("law", "D", "N", "distance", "mean plug-in", "mean corrected", "corrected", "stderr / sd")
    columns += ("FID∞", "stderr / sd", "plug-in interval, of its mean", "percentile bootstrap", "CPU s")
    print(f"{asked.reps} repetitions, seeds 0 to {asked.reps - 1}; torch {torch.__version__}, numpy {np.__version__}\n")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for cell in (asked.cell,) if asked.cell else CELLS:
        print(line(cell, asked.reps), flush=True)


if __name__ == "__main__":
    main()
