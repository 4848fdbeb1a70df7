"""Exact optimal transport between two samples of 5,000 points: time, memory and agreement with other exact solvers.

    python benchmarks/transport.py                        # the table in full, some minutes
    python benchmarks/transport.py --laws gaussian --dimensions 64 --solvers pushforward scipy

Every line is a process of its own, on one thread: seconds of processor time and the peak of memory beyond the samples
and the imports. `scipy` is `linear_sum_assignment` on the matrix of costs, `pot` the network simplex of POT with its
iteration limit raised. The laws: two standard Gaussian samples; in the plane, a sample of 20 of 25 modes against one of
all 25, where much has to travel far together, and 8 modes on a ring, tight or wide, as often in both samples (`ring`)
or not (`uneven`: the one's shares are as 1 to 8). Exit status 1 where solvers disagree by more than 1e-9 of the value.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import ot
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pushforward.objectives.transport import transport_plan

Floats = NDArray[np.float64]

AGREEMENT = 1e-9


@dataclass(frozen=True)
class Line:
    """One solver on one problem: W_p^p, seconds of processor time, MiB at the peak."""

    law: str
    d: int
    p: int
    solver: str
    cost: float
    seconds: float
    peak: float


def gaussian(n: int, d: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)), rng.standard_normal((n, d))


def modes(n: int, d: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    x, y = (centres[rng.integers(count, size=n)] + 0.05 * rng.standard_normal((n, 2)) for count in (20, 25))
    return x, y


def ring(n: int, d: int, sigma: float = 0.02, shares: Floats | None = None) -> tuple[Floats, Floats]:
    """Both with 8 modes at radius 2; shares: of x's modes."""
    rng = np.random.default_rng(0)
    angles = np.arange(8) * math.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    x, y = (centres[rng.choice(8, n, p=p)] + sigma * rng.standard_normal((n, 2)) for p in (shares, None))
    return x, y


def uneven(n: int, d: int, sigma: float = 0.02) -> tuple[Floats, Floats]:
    return ring(n, d, sigma, np.arange(1, 9) / 36)


def ours(x: Floats, y: Floats, p: int) -> float:
    return transport_plan(x, y, p).cost


def costs(x: Floats, y: Floats, p: int) -> Floats:
    return np.asarray(cdist(x, y, "sqeuclidean" if p == 2 else "euclidean"), np.float64)


def by_scipy(x: Floats, y: Floats, p: int) -> float:
    matrix = costs(x, y, p)
    return float(matrix[linear_sum_assignment(matrix)].mean())


def by_pot(x: Floats, y: Floats, p: int) -> float:
    weights = np.full(len(x), 1 / len(x))
    value, log = ot.emd2(weights, weights, costs(x, y, p), numItermax=1 << 40, log=True)
    if log["warning"] is not None:
        raise SystemExit(f"POT stopped early: {log['warning']}")
    return float(value)


LAWS: dict[str, Callable[[int, int], tuple[Floats, Floats]]] = {
    "gaussian": gaussian,
    "modes": modes,
    "ring": ring,
    "uneven": uneven,
    "wide-ring": partial(ring, sigma=0.2),
    "wide-uneven": partial(uneven, sigma=0.2),
}
SOLVERS: dict[str, Callable[[Floats, Floats, int], float]] = {"pushforward": ours, "scipy": by_scipy, "pot": by_pot}


def peak() -> float:
    """MiB at this process's peak so far."""
    import resource  # not on every system

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def measure(law: str, n: int, d: int, p: int, solver: str) -> Line:
    """Here and now; the memory means something only in a process that has done nothing else."""
    x, y = LAWS[law](n, d)
    before, start = peak(), time.process_time()
    cost = SOLVERS[solver](x, y, p)
    return Line(law, d, p, solver, cost, time.process_time() - start, peak() - before)


def apart(law: str, n: int, d: int, p: int, solver: str) -> Line:
    """The same in a process of its own, on one thread."""
    words = [sys.executable, __file__, "--one", law, str(n), str(d), str(p), solver]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | threads)
    return Line(**json.loads(done.stdout.splitlines()[-1]))


def gap(line: Line, lines: Sequence[Line]) -> float:
    """How far from the first solver's value, relative to it."""
    first = next(other for other in lines if (other.law, other.d, other.p) == (line.law, line.d, line.p))
    return abs(line.cost - first.cost) / first.cost


def show(lines: Sequence[Line], n: int, console: Console) -> None:
    """The table: each solver's time over the fastest other's, and how far its value is from the first's, relatively."""
    columns = ("law", "D", "p", "solver", "CPU s", "× best other", "peak MiB", "apart")
    table = Table(*columns, title=f"W_p between two samples of {n:,} points")
    for line in lines:
        same = [o for o in lines if (o.law, o.d, o.p) == (line.law, line.d, line.p) and o.solver != line.solver]
        ratio = f"{line.seconds / min(o.seconds for o in same):.2f}" if same else ""
        numbers = (f"{line.seconds:.2f}", ratio, f"{line.peak:.0f}", f"{gap(line, lines):.1e}")
        table.add_row(line.law, str(line.d), str(line.p), line.solver, *numbers)
    console.print(table)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5000, help="points a sample")
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=list(LAWS))
    parser.add_argument("--dimensions", nargs="+", type=int, default=[2, 64])
    parser.add_argument("--powers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 where two solvers disagree."""
    asked = arguments(words)
    if asked.one:
        law, n, d, p, solver = asked.one
        print(json.dumps(asdict(measure(law, int(n), int(d), int(p), solver))))
        return 0
    lines: list[Line] = []
    for law in asked.laws:
        for d in asked.dimensions if law == "gaussian" else [2]:
            for p in asked.powers:
                lines += [apart(law, asked.n, d, p, solver) for solver in asked.solvers]
    show(lines, asked.n, Console())
    if asked.json:
        asked.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    return int(any(gap(line, lines) > AGREEMENT for line in lines))


if __name__ == "__main__":
    sys.exit(main())
