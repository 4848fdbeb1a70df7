"""Two sets of anything, measured in the features of one network: what `evaluate --features` does, for Python.

scores = measure_by_features("generated/", "photos/", Asked(features="inception", metrics=("kid",)))
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pushforward.beside import is_beside, of_images, of_run
from pushforward.data.catalogue import Options
from pushforward.data.images import Images
from pushforward.embedding import Embedded, embed, is_statistics, saved
from pushforward.encoders.encoder import Encoder
from pushforward.encoders.resize import Mode
from pushforward.metrics.comparison import Comparison
from pushforward.run import Run, resolve_device
from pushforward.scoring import Scores, compare, score
from pushforward.sets import is_run, like, open_set, reals_of
from pushforward.spaces import Tell, encoder_for

FEATURES = "inception"


@dataclass(frozen=True)
class Asked:
    """How two sets are measured.

    features: see `spaces.encoder_for`. metrics: by default what suits the sets. n: samples of a run, or draws of a law.
    held_out: a set that the generator never saw, for memorisation. resolution: brings all images to squares of one size
    before the network's own resize; a run has its own.
    """

    features: str = FEATURES
    metrics: tuple[str, ...] = ()
    resize: Mode | None = None
    weights: Path | None = None
    download: bool = False
    n: int | None = None
    seed: int = 0
    held_out: str | None = None
    checkpoint: Literal["last", "best"] = "last"
    resolution: int | None = None
    max_bad: float = 0.01
    device: str = "auto"
    cache: Path | None = None
    progress: bool = True


@dataclass(frozen=True)
class Measured:
    """Scores, and all that decides them besides the two sets: the network, its hash, the resize, the seed."""

    scores: Scores
    features: str
    sha256: str
    resize: str
    seed: int


@dataclass(frozen=True)
class Compared:
    """Two contestants' numbers and, for each metric, which is nearer to the reals and how sure that is."""

    first: Measured
    second: Measured
    comparisons: dict[str, Comparison]


def measure_by_features(what: str, real: str | None, asked: Asked) -> Measured:
    """`what` (a run, a folder, an archive, an array) against `real`; for a run, by default what it was trained on.

    Either may be an .npz of statistics (`mu`, `sigma`), against which only the Fréchet distance can be told.
    Raises ValueError in one line for what can't be opened, seen or measured.
    """
    beside = tuple(name for name in asked.metrics if is_beside(name))
    others = tuple(name for name in asked.metrics if name not in beside)
    seen = _seen((what,), real, asked)
    fake, reals = seen.fakes[0], seen.reals
    scores = Scores({}, 0, ())
    if others or not beside:
        scores = score(fake.embedded, reals.embedded, metrics=others, held_out=seen.held_out, seed=asked.seed)
    for name in beside:
        if name == "ms_ssim":
            found = of_images(fake.images, reals.images, asked.seed)
        else:
            found = of_run(what, seen.encoder, asked.seed, asked.n, asked.checkpoint, asked.device)
        scores.measurements[name] = found
    return _measured(scores, seen.encoder, asked)


def compare_by_features(first: str, second: str, real: str | None, asked: Asked) -> Compared:
    """Both against the same reals, on as many samples each: a paired comparison for every metric."""
    seen = _seen((first, second), real, asked)
    a, b = (side.embedded for side in seen.fakes)
    reals = seen.reals.embedded
    ones, others = (score(side, reals, metrics=asked.metrics, seed=asked.seed) for side in (a, b))
    verdicts = compare(a, b, reals, metrics=asked.metrics, seed=asked.seed)
    return Compared(_measured(ones, seen.encoder, asked), _measured(others, seen.encoder, asked), verdicts)


def _measured(scores: Scores, encoder: Encoder, asked: Asked) -> Measured:
    return Measured(scores, encoder.name, encoder.weights, encoder.resize, asked.seed)


@dataclass(frozen=True)
class _Side:
    """One set: its images, or None for a file of statistics, and what an encoder makes of it."""

    images: Images | None
    embedded: Embedded


@dataclass(frozen=True)
class _Seen:
    """Every set through one encoder."""

    fakes: list[_Side]
    reals: _Side
    held_out: Embedded | None
    encoder: Encoder


def _seen(whats: tuple[str, ...], real: str | None, asked: Asked) -> _Seen:
    options = Options(asked.resolution, None, asked.max_bad, asked.cache, asked.progress)
    runs = [Run(Path(what)) for what in whats if is_run(what)]
    if runs:
        if asked.resolution is not None:
            raise ValueError(f"a run has its own resolution, got {asked.resolution}; leave the resolution out")
        if any(run.spec.shape != runs[0].spec.shape for run in runs):
            raise ValueError(f"runs are compared at one size, got {' and '.join(str(r.spec.shape) for r in runs)}")
        options = like(runs[0].spec, options)
    elif real is None:
        raise ValueError(
            f"{whats[0]} is not a run folder, so it is not known what to measure it against; "
            "name the real data: pushforward evaluate SAMPLES REAL"
        )

    def opened(name: str) -> Images | None:
        if is_statistics(name):
            return None
        n, seed = asked.n, asked.seed
        return open_set(name, options, n=n, seed=seed, checkpoint=asked.checkpoint, device=asked.device)

    reals = reals_of(runs[0], options, asked.n, asked.seed) if real is None else opened(real)
    fakes = [opened(what) for what in whats]
    held_out = None if asked.held_out is None else opened(asked.held_out)
    models = [images for images in (reals, *fakes) if images is not None]
    if not models:
        raise ValueError(f"{whats[0]} and {real} are both statistics; measure images against one of them")
    with _telling(asked.progress) as tell:
        encoder = encoder_for(
            asked.features,
            models[0],
            resize=asked.resize,
            weights=asked.weights,
            download=asked.download,
            device=resolve_device(asked.device),
            cache=asked.cache,
            tell=tell,
        )

    def side(name: str, images: Images | None) -> _Side:
        return _Side(images, saved(name, encoder) if images is None else embed(images, encoder, asked.cache))

    return _Seen(
        [side(what, images) for what, images in zip(whats, fakes, strict=True)],
        side(real or "", reals),
        None if held_out is None else embed(held_out, encoder, asked.cache),
        encoder,
    )


@contextmanager
def _telling(shown: bool) -> Iterator[Tell | None]:
    """A bar for a download, which shows only when there is one."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: list = []

        def tell(done: int, total: int | None) -> None:
            if not tasks:
                tasks.append(bar.add_task("", total=total))
            bar.update(tasks[0], completed=done)

        yield tell


def as_json(measured: Measured) -> dict:
    """What a program reads: numbers, the network and its hash, the resize, the seed, the floor's size, warnings."""
    scores = measured.scores
    return {
        "features": {"name": measured.features, "sha256": measured.sha256, "resize": measured.resize},
        "seed": measured.seed,
        "floor_n": scores.floor_n,
        "metrics": {name: dataclasses.asdict(m) for name, m in scores.measurements.items()},
        "warnings": list(scores.warnings),
    }
