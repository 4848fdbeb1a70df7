"""How often the 95 % intervals of precision, recall, density and coverage hold the expected value, by simulation.

    python benchmarks/coverage_manifold.py                    # the table in full: minutes on one core
    python benchmarks/coverage_manifold.py --cell moved-500-8 --reps 50

Reals are standard Gaussians; fakes are moved by 1 in all, shrunk to 0.8, or at 0.5 of the width, where precision is
near 1. The expected value at N and k is the mean over the repetitions. `ratio` is the mean standard error over the
estimate's own spread: a binomial interval's is beside it, which takes the balls for given. Prints a Markdown table.
Exit status 1 where precision or recall is held less often than 90 % or more often than 98 %, by more than chance.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.intervals import Interval
from pushforward.metrics.manifold import precision_recall_density_coverage

Floats = NDArray[np.float64]

METRICS = ("precision", "recall", "density", "coverage")
LEAST, MOST = 0.90, 0.98


@dataclass(frozen=True)
class Cell:
    """N fakes and N reals in D dimensions: how far the fakes' mean is from the reals', and their width."""

    n: int
    d: int
    distance: float
    width: float

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Fakes and reals [N, D]."""
        fake = self.width * rng.standard_normal((self.n, self.d)) + self.distance / np.sqrt(self.d)
        return fake, rng.standard_normal((self.n, self.d))


CELLS = {
    f"{law}-{n}-{d}": Cell(n, d, distance, width)
    for law, distance, width in (("moved", 1.0, 1.0), ("shrunk", 0.0, 0.8))
    for d in (8, 64)
    for n in (500, 2000)
} | {"near-1-500-8": Cell(500, 8, 0.0, 0.5)}


def simulate(name: str, reps: int) -> dict[str, list[Interval]]:
    """The four intervals of each repetition, by metric."""
    found: dict[str, list[Interval]] = {metric: [] for metric in METRICS}
    for rep in range(reps):
        fake, real = CELLS[name].draw(numpy_generator("coverage", "manifold", name, rep))
        overlap = precision_recall_density_coverage(fake.astype(np.float32), real.astype(np.float32), seed=rep)
        for metric in METRICS:
            found[metric].append(getattr(overlap, metric))
    return found


def row(name: str, metric: str, intervals: list[Interval]) -> tuple[str, float]:
    """A row of the table, and the share of intervals that hold the mean."""
    cell = CELLS[name]
    value, stderr, low, high = np.array([(i.value, i.stderr, i.low, i.high) for i in intervals]).T
    mean, spread = value.mean(), value.std(ddof=1)
    held = float(((low <= mean) & (mean <= high)).mean())
    binomial = np.sqrt(max(mean * (1 - mean), 0.0) / cell.n) if metric != "density" else np.nan
    ratios = [f"{r / spread:.2f}" if spread > 0 and np.isfinite(r) else "–" for r in (stderr.mean(), binomial)]
    words = [name, cell.n, cell.d, metric, f"{mean:.4f}", f"{spread:.4f}", *ratios, f"{100 * held:.1f} %"]
    return "| " + " | ".join(map(str, words)) + " |", held


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 where precision's or recall's intervals are too short or too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200, help="repetitions a cell")
    parser.add_argument("--cell", nargs="+", choices=CELLS, default=list(CELLS))
    asked = parser.parse_args(words)
    print("| cell | N | D | metric | expected | spread | ratio | binomial | held |")
    print("|---|---|---|---|---|---|---|---|---|")
    failed = False
    for name in asked.cell:
        for metric, intervals in simulate(name, asked.reps).items():
            line, held = row(name, metric, intervals)
            print(line, flush=True)
            chance = 2 * np.sqrt(0.05 * 0.95 / asked.reps)
            failed |= metric in METRICS[:2] and not LEAST - chance <= held <= MOST + chance
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
