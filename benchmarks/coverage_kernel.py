"""Do KID's 95 % intervals cover the two laws' own MMD², and how often is the better of two samples called wrongly?

`kid`: Gaussians with a mean, of even and of uneven spectrum (as features have); their MMD² is known in closed form.
`better`: A and B of one law, so that a call of either is wrong and 5 % are allowed; REAL of the same law or another.
`nearer A found`: calls of A where A has REAL's law and the means of B's are 0.4 off.
`under` and `over`: intervals that lie below, or above, the truth. `stderr / sd`: the mean of the standard errors over
the deviation of the values.

    OMP_NUM_THREADS=1 python benchmarks/coverage_kernel.py
    python benchmarks/coverage_kernel.py --cell "kid 500 32" --reps 50
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.comparison import Comparison, kid_difference, paired_bootstrap, paired_difference
from pushforward.metrics.frechet import frechet_between
from pushforward.metrics.intervals import Interval
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import precision_recall
from pushforward.metrics.moments import gaussian

Floats = NDArray[np.float64]

DISTANCES = {"equal": (0.0, 1.0), "slight": (0.06, 1.03), "very": (0.5, 1.5)}  # added to means, times variances


@dataclass(frozen=True)
class Law:
    """The Gaussian with mean [D] and variances [D]."""

    mean: Floats
    variances: Floats

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        z = rng.standard_normal((n, len(self.mean)), dtype=np.float32)
        return z * np.sqrt(self.variances).astype(np.float32) + self.mean.astype(np.float32)


def expected_kernel(p: Law, q: Law) -> float:
    """E (⟨x, y⟩/D + 1)³ of independent x ~ p, y ~ q."""
    d, s = len(p.mean), float(p.mean @ q.mean)
    spread = float(p.variances @ q.variances + p.variances @ q.mean**2 + q.variances @ p.mean**2)
    cube = s**3 + 3 * s * spread + 6 * float((p.variances * q.variances) @ (p.mean * q.mean))
    return 1 + 3 * s / d + 3 * (s * s + spread) / d**2 + cube / d**3


def mmd2(p: Law, q: Law) -> float:
    return expected_kernel(p, p) + expected_kernel(q, q) - 2 * expected_kernel(p, q)


def pair(d: int, spectrum: str, distance: str) -> tuple[Law, Law]:
    shift, scale = DISTANCES[distance]
    variances = np.ones(d) if spectrum == "even" else 8 / np.arange(1, d + 1)
    return Law(np.full(d, 0.4), variances), Law(np.full(d, 0.4 + shift), variances * scale)


def kid_row(name: str, n: int, d: int, spectrum: str, distance: str, reps: int) -> str:
    p, q = pair(d, spectrum, distance)
    rng, truth = numpy_generator("coverage of kid", name), mmd2(p, q)
    found: list[Interval] = [kid(p.sample(n, rng), q.sample(n, rng)) for _ in range(reps)]
    values = np.array([i.value for i in found])
    under, over = np.mean([i.high < truth for i in found]), np.mean([i.low > truth for i in found])
    ratio = np.mean([i.stderr for i in found]) / values.std()
    cells = [name, f"{truth:.4g}", f"{values.mean():.4g}", f"{ratio:.2f}", *(f"{100 * s:.1f}" for s in (under, over))]
    return f"| {' | '.join(cells)} | {100 * (1 - under - over):.1f} |"


def precision_distance(fake: Floats, real: Floats) -> float:
    return -precision_recall(fake, real).precision


METHODS: dict[str, Callable[..., Comparison]] = {
    "Fréchet, jackknife": partial(paired_difference, frechet_between, prepare=gaussian),
    "Fréchet, jackknife, corrected": partial(paired_difference, frechet_between, prepare=gaussian, corrected=True),
    "Fréchet, bootstrap": partial(paired_bootstrap, frechet_between, prepare=gaussian),
    "precision, jackknife": partial(paired_difference, precision_distance),
    "KID, jackknife": partial(paired_difference, lambda fake, real: kid(fake, real).value),
    "KID, closed form": kid_difference,
}


def better_row(name: str, method: str, distance: str, reps: int) -> str:
    real, fake = pair(8, "uneven", distance)
    stream = partial(numpy_generator, "calls of the better", name)
    confidence = np.array([_compared(method, fake, fake, real, stream(i)).confidence for i in range(reps)])
    cells = [f"{100 * np.mean(confidence > level):.1f}" for level in (0.5, 0.8, 0.95)]
    if distance == "equal":
        off = Law(real.mean + 0.4, real.variances)
        found = [_compared(method, real, off, real, stream(i, "found")).better == "A" for i in range(reps)]
        cells.append(f"{100 * np.mean(found):.1f}")
    else:
        cells.append("–")
    return f"| {name} | {' | '.join(cells)} |"


def _compared(method: str, a: Law, b: Law, real: Law, rng: np.random.Generator) -> Comparison:
    return METHODS[method](*(law.sample(300, rng).astype(np.float64) for law in (a, b, real)))


def tables(reps: int, wanted: str) -> Iterator[str]:
    head = "| KID of N, D, spectrum, laws | truth | mean | stderr / sd | under % | over % | covers % |"
    rows = [(n, d, s, w) for n in (500, 2000) for d in (32, 256) for s in ("even", "uneven") for w in DISTANCES]
    named = [(f"kid {n} {d} {s} {w}", n, d, s, w) for n, d, s, w in rows]
    if chosen := [row for row in named if wanted in row[0]]:
        yield from (head, "|---" * 7 + "|")
        yield from (kid_row(*row, reps) for row in chosen)
    head = "| better of two, REAL's law; N = 300, D = 8 | > 50 % | > 80 % | > 95 % sure, wrongly | nearer A found % |"
    named = [(f"better {method} {w}", method, w) for method in METHODS for w in DISTANCES]
    if chosen := [row for row in named if wanted in row[0]]:
        yield from ("", head, "|---" * 5 + "|")
        yield from (better_row(*row, reps) for row in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200, help="samples a row")
    parser.add_argument("--cell", default="", help="rows whose names hold these words")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    for line in tables(asked.reps, asked.cell):
        print(line, flush=True)
    print(f"\n{asked.reps} samples a row; {(time.process_time() - start) / 60:.1f} processor minutes.")


if __name__ == "__main__":
    main()
