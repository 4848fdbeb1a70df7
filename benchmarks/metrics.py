"""Metrics of 2,048 features side by side with other libraries: value, seconds and peak memory, each in its own process.

    python benchmarks/metrics.py --python PEERS/bin/python     # the table in full, an hour on one core
    python benchmarks/metrics.py --tasks kid --sizes 2000 --repeats 1

PEERS is an environment with torch, pytorch-fid, torch-fidelity, torchmetrics, clean-fid and prdc (by default this one);
what can't be imported there is left out, and said. Implementations take turns, so that a slow minute of the machine
meets all; the median of the repeats is told, or the only run where one takes minutes. Memory is the peak beyond imports
and the two feature matrices. Features look like Inception's: not negative, many nearly 0, of a few hundred effective
dimensions; float32, written once.

Tasks: `frechet` (moments of both sides and the distance), `distance` (from means and covariances alone), `kid` (ours in
full with its standard error, the others' 100 subsets of 1,000), `manifold` (precision, recall, density and coverage;
torch-fidelity's has the first two only). `large` is `manifold` at 50,000, where others take a quarter of an hour or
all memory.
"""

import argparse
import importlib.machinery
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
D = 2_048
SIZES = (2_000, 10_000, 50_000)
TIMEOUT = 1_500  # seconds after which an implementation counts as not finishing
ONCE = 100  # seconds after which one run is enough
MEMORY = 14 << 30  # bytes that an implementation may allocate; prdc asks for 20 GB a matrix at 50,000
Floats = NDArray[Any]


def features(n: int, seed: int) -> NDArray[np.float32]:
    """[n, D] like Inception's; the two seeds' laws differ a little."""
    shared, own = np.random.default_rng(7), np.random.default_rng(100 + seed)
    mix = shared.standard_normal((300, D)).astype(np.float32) / np.sqrt(300)
    offset = shared.standard_normal(D).astype(np.float32) * 0.3
    out = np.empty((n, D), np.float32)
    for i in range(0, n, 2_000):
        z = own.standard_normal((min(2_000, n - i), 300)).astype(np.float32)
        noise = own.standard_normal((len(z), D)).astype(np.float32)
        out[i : i + len(z)] = np.maximum(z @ mix * (1 + 0.05 * seed) + offset + 0.3 * noise, 0)
    return out


def moments(x: Floats) -> tuple[Floats, Floats]:
    return np.mean(x, axis=0), np.cov(x, rowvar=False)


def ours(task: str) -> Callable[..., Any]:
    if task in ("frechet", "distance"):
        from pushforward.metrics.frechet import frechet_distance, frechet_from_moments

        return frechet_distance if task == "frechet" else frechet_from_moments
    if task == "kid":
        from pushforward.metrics.kernel import kid

        return lambda x, y: [(found := kid(x, y)).value, found.stderr]
    from pushforward.metrics.manifold import precision_recall_density_coverage

    def manifold(x: Floats, y: Floats) -> list[float]:
        found = precision_recall_density_coverage(x, y)
        return [i.value for i in (found.precision, found.recall, found.density, found.coverage)]

    return manifold


def pytorch_fid(task: str) -> Callable[..., Any]:
    _stand_in_for_torchvision()
    from pytorch_fid.fid_score import calculate_frechet_distance as distance

    return {"frechet": lambda x, y: distance(*moments(x), *moments(y)), "distance": distance}[task]


def clean_fid(task: str) -> Callable[..., Any]:
    _stand_in_for_torchvision()
    from cleanfid.fid import fid_from_feats, frechet_distance, kernel_distance

    return {"frechet": fid_from_feats, "distance": frechet_distance, "kid": kernel_distance}[task]


def torch_fidelity(task: str) -> Callable[..., Any]:
    _stand_in_for_torchvision()
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    def distance(*given: Floats) -> float:
        sides = [{"mu": given[i], "sigma": given[i + 1]} for i in (0, 2)]
        return next(iter(fid_statistics_to_metric(*sides, verbose=False).values()))

    def frechet(x: Floats, y: Floats) -> float:
        sides = [fid_features_to_statistics(torch.from_numpy(a)) for a in (x, y)]
        return next(iter(fid_statistics_to_metric(*sides, verbose=False).values()))

    def both(metric: Callable[..., dict[str, float]], **options: Any) -> Callable[..., Any]:
        return lambda x, y: list(metric(torch.from_numpy(x), torch.from_numpy(y), verbose=False, **options).values())

    kid = both(kid_features_to_metric, kid_subsets=100, kid_subset_size=1_000, rng_seed=0)
    manifold = both(prc_features_to_metric, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=True)
    return {"frechet": frechet, "distance": distance, "kid": kid, "manifold": manifold}[task]


def torchmetrics(task: str) -> Callable[..., Any]:
    _stand_in_for_torchvision()
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Features(torch.nn.Module):
        num_features = D

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    def run(metric: Any, x: Floats, y: Floats) -> Any:
        for side, real in ((x, False), (y, True)):
            for part in torch.from_numpy(side).split(500):
                metric.update(part, real=real)
        return metric.compute()

    def frechet(x: Floats, y: Floats) -> float:
        metric = FrechetInceptionDistance(feature=Features(), input_img_size=(1, 1, 1))
        return float(run(metric.set_dtype(torch.float64), x, y))

    def kid(x: Floats, y: Floats) -> list[float]:
        return [
            float(v) for v in run(KernelInceptionDistance(feature=Features(), subsets=100, subset_size=1_000), x, y)
        ]

    return {"frechet": frechet, "kid": kid}[task]


def prdc(task: str) -> Callable[..., Any]:
    from prdc import compute_prdc

    def manifold(x: Floats, y: Floats) -> list[float]:
        found = compute_prdc(real_features=y, fake_features=x, nearest_k=3)
        return [float(found[name]) for name in ("precision", "recall", "density", "coverage")]

    return {"manifold": manifold}[task]


IMPLEMENTATIONS = {
    "pushforward": (ours, ("frechet", "distance", "kid", "manifold")),
    "pytorch-fid": (pytorch_fid, ("frechet", "distance")),
    "clean-fid": (clean_fid, ("frechet", "distance", "kid")),
    "torch-fidelity": (torch_fidelity, ("frechet", "distance", "kid", "manifold")),
    "torchmetrics": (torchmetrics, ("frechet", "kid")),
    "prdc": (prdc, ("manifold",)),
}


def _stand_in_for_torchvision() -> None:
    """Most import it at the top, and need nothing of it for features that are there."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    for name in ("", ".transforms", ".transforms.functional", ".models", ".models.inception", ".datasets"):
        module = MagicMock(name=f"torchvision{name}", __path__=[], __version__="0.0")
        module.__spec__ = importlib.machinery.ModuleSpec(f"torchvision{name}", None, is_package=True)
        sys.modules[f"torchvision{name}"] = module
    # Two subclass this at import.
    sys.modules["torchvision.models.inception"].InceptionA = object
    sys.modules["torchvision.models.inception"].InceptionC = object
    sys.modules["torchvision.models.inception"].InceptionE = object
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]
    sys.modules["torchvision.models"].inception = sys.modules["torchvision.models.inception"]


def child(name: str, task: str, folder: Path) -> None:
    """Runs one implementation on the files of `folder` and prints seconds, MiB and the value."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    call = IMPLEMENTATIONS[name][0](task)
    given = [np.load(folder / f"{side}.npy") for side in ("fake", "real")]
    if task == "distance":
        saved = np.load(folder / "moments.npz")
        given = [saved[key] for key in ("mu1", "sigma1", "mu2", "sigma2")]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _memory("VmRSS")
    start, busy = time.perf_counter(), time.process_time()
    value = call(*given)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = _memory("VmHWM") - before
    print(json.dumps({"seconds": seconds, "busy": busy, "peak": peak, "value": np.ravel(value).tolist()}))


def _memory(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure(python: str, name: str, task: str, folder: Path, timeout: float) -> dict[str, Any] | str:
    """One run in a process of its own: its numbers, or why there are none."""
    words = [python if name != "pushforward" else sys.executable, __file__, "--child", name, task, str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"more than {timeout:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return f"status {done.returncode}: {lines[-1] if lines else 'killed'}"[:90]
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other libraries")
    parser.add_argument("--tasks", nargs="*", default=["frechet", "distance", "kid", "manifold", "large"])
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--only", nargs="*", default=[*IMPLEMENTATIONS], help="implementations to keep")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], asked.child[1], Path(asked.child[2]))
        return
    lines = []
    for n in asked.sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for side, name in enumerate(("real", "fake")):
                np.save(folder / f"{name}.npy", features(n, side))
            if "distance" in asked.tasks:
                (mu1, sigma1), (mu2, sigma2) = (moments(np.load(folder / f"{s}.npy")) for s in ("fake", "real"))
                np.savez(folder / "moments.npz", mu1=mu1, sigma1=sigma1, mu2=mu2, sigma2=sigma2)
            for task in asked.tasks:
                if (task == "large") != (n >= 50_000 and task in ("manifold", "large")):
                    continue
                lines += cell("manifold" if task == "large" else task, n, asked, folder)
    if asked.json:
        asked.json.write_text(json.dumps(lines, indent=1))


def cell(task: str, n: int, asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All implementations of one task at one size, in turns; prints their lines of the table."""
    able = [name for name, (_, tasks) in IMPLEMENTATIONS.items() if task in tasks and name in asked.only]
    found: dict[str, list[Any]] = {name: [] for name in able}
    for _ in range(asked.repeats):
        for name in able:
            last = found[name][-1] if found[name] else None
            # What failed once is not tried again, what took minutes not repeated.
            if last is None or not (isinstance(last, str) or last["seconds"] > ONCE):
                found[name].append(measure(asked.python, name, task, folder, TIMEOUT))
    print(
        f"\n{task}, {n:,} x {D:,}\n| | seconds | processor | MiB | x ours | value |\n|---|---|---|---|---|---|",
        flush=True,
    )
    lines = []
    own = 0.0
    for name, runs in found.items():
        good = [run for run in runs if not isinstance(run, str)]
        if not good:
            print(f"| {name} | {runs[-1]} | | | | |", flush=True)
            lines.append({"task": task, "n": n, "name": name, "failed": runs[-1]})
            continue
        middle = {key: statistics.median(run[key] for run in good) for key in ("seconds", "busy", "peak")}
        own = own or middle["seconds"]
        value = ", ".join(f"{v:.9g}" for v in good[-1]["value"])
        numbers = (
            f"{middle['seconds']:.2f} | {middle['busy']:.2f} | {middle['peak']:.0f} | {middle['seconds'] / own:.2f}"
        )
        print(f"| {name} | {numbers} | {value} |", flush=True)
        lines.append({"task": task, "n": n, "name": name, "value": good[-1]["value"], **middle})
    return lines


if __name__ == "__main__":
    main()
