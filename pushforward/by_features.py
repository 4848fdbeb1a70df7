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
from pushforward.groups import MEMORISED
from pushforward.metrics.comparison import Comparison
from pushforward.run import Run, resolve_device
from pushforward.scoring import Scores, comparable, compare, score
from pushforward.sets import is_run, like, open_set, reals_of, trained_on
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
    """`what` (a run, a folder, an archive, an array) against `real`; for a run, by default all of its data.

    Memorisation is then of what the run was trained on, which may be a part.
    Either may be an .npz of statistics (`mu`, `sigma`), against which only the Fréchet distance can be told.
    Raises ValueError in one line for what can't be opened, seen or measured.
    """
    beside = tuple(name for name in asked.metrics if is_beside(name))
    others = tuple(name for name in asked.metrics if name not in beside)
    opened = _opened((what,), real, asked)
    scores = Scores({}, (0, 0), ())
    if others or not beside:
        fake, reals, held_out = (opened.embedded(images) for images in (*opened.fakes, opened.reals, opened.held_out))
        assert fake is not None
        assert reals is not None
        train = opened.embedded(opened.train)
        scores = score(fake, reals, metrics=others, held_out=held_out, train=train, seed=asked.seed)
    if opened.mirrored:
        told = "memorisation: mirror images, which training saw too, are not searched"
        scores = dataclasses.replace(scores, notes=(*scores.notes, told))
    for name in beside:
        if name == "ms_ssim":
            found = of_images(opened.fakes[0], opened.reals, asked.seed)
        else:
            found = of_run(what, opened.encoder, asked.seed, asked.n, asked.checkpoint, asked.device)
        scores.measurements[name] = found
    return _measured(scores, opened.encoder, asked)


def compare_by_features(first: str, second: str, real: str | None, asked: Asked) -> Compared:
    """Both against the same reals, on as many images each: the longer set is cut at random, and measured so."""
    names = comparable(asked.metrics)
    if asked.held_out is not None:
        raise ValueError("two sets are not compared by memorisation, got held_out; measure each for that")
    opened = _opened((first, second), real, asked)
    a, b, reals = (opened.embedded(images) for images in (*opened.fakes, opened.reals))
    assert a is not None
    assert b is not None
    assert reals is not None
    n = min(len(a), len(b))
    a, b = a.cut(n, asked.seed), b.cut(n, asked.seed)
    verdicts = compare(a, b, reals, metrics=names, seed=asked.seed)
    ones, others = (score(side, reals, metrics=names, seed=asked.seed) for side in (a, b))
    return Compared(_measured(ones, opened.encoder, asked), _measured(others, opened.encoder, asked), verdicts)


def _measured(scores: Scores, encoder: Encoder, asked: Asked) -> Measured:
    return Measured(scores, encoder.name, encoder.weights, encoder.resize, asked.seed)


@dataclass(frozen=True)
class _Opened:
    """Every set, a file of statistics by its name, and the encoder that sees them."""

    fakes: list[Images | str]
    reals: Images | str
    held_out: Images | None
    encoder: Encoder
    cache: Path | None
    train: Images | None = None
    """What a run was trained on, for memorisation; None where that is `reals`, or nobody asks."""
    mirrored: bool = False
    """Whether it was shown mirror images of these too."""

    def embedded(self, images: Images | str | None) -> Embedded | None:
        if images is None:
            return None
        return saved(images, self.encoder) if isinstance(images, str) else embed(images, self.encoder, self.cache)


def _opened(whats: tuple[str, ...], real: str | None, asked: Asked) -> _Opened:
    options = Options(asked.resolution, None, asked.max_bad, asked.cache, asked.progress)
    names = [*whats, *(name for name in (real, asked.held_out) if name is not None)]
    runs = [Run(Path(name)) for name in names if is_run(name)]
    if asked.checkpoint != "last" and not runs:
        raise ValueError(f"checkpoint {asked.checkpoint} is of a run, got none; leave it out")
    if asked.resolution is not None and runs:
        raise ValueError(f"a run has its own resolution, got {asked.resolution}; leave the resolution out")
    if any(run.spec.shape != runs[0].spec.shape for run in runs):
        raise ValueError(f"runs are measured at one size, got {' and '.join(str(r.spec.shape) for r in runs)}")
    if runs:
        options = like(runs[0].spec, options)
    if real is None and not is_run(whats[0]):
        raise ValueError(
            f"{whats[0]} is not a run folder, so it is not known what to measure it against; "
            "name the real data: pushforward evaluate SAMPLES REAL"
        )

    def opened(name: str) -> Images | str:
        if is_statistics(name):
            return name
        n, seed = asked.n, asked.seed
        return open_set(name, options, n=n, seed=seed, checkpoint=asked.checkpoint, device=asked.device)

    reals = reals_of(runs[0], options, asked.n, asked.seed) if real is None else opened(real)
    fakes = [opened(what) for what in whats]
    held_out = None if asked.held_out is None else opened(asked.held_out)
    if isinstance(held_out, str):
        raise ValueError(f"{asked.held_out} holds statistics, and memorisation takes the held-out images; name those")
    models = [images for images in (reals, *fakes) if isinstance(images, Images)]
    if not models:
        raise ValueError(f"{whats[0]} and {real} are both statistics; measure images against one of them")
    if asked.n is not None and not any(images.drawn for images in models):
        raise ValueError(f"n is for runs and for laws without end, got {asked.n} and neither; leave it out")
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
    wanted = not asked.metrics or any(name in MEMORISED for name in asked.metrics)
    own = real is None and held_out is not None and wanted
    train = trained_on(runs[0], options, asked.n, asked.seed) if own else None
    mirrored = own and runs[0].plan.data_options.mirror
    return _Opened(fakes, reals, held_out, encoder, asked.cache, train, mirrored)


@contextmanager
def _telling(shown: bool) -> Iterator[Tell | None]:
    """A bar for a download, which shows only when there is one."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: list[TaskID] = []

        def tell(done: int, total: int | None) -> None:
            if not tasks:
                tasks.append(bar.add_task("", total=total))
            bar.update(tasks[0], completed=done)

        yield tell


def as_json(measured: Measured) -> dict:
    """What a program reads: numbers, the network and its hash, the resize, the seed, the floor's sizes, notes."""
    scores = measured.scores
    return {
        "features": {"name": measured.features, "sha256": measured.sha256, "resize": measured.resize},
        "seed": measured.seed,
        "floor_sizes": scores.floor_sizes,
        "metrics": {name: dataclasses.asdict(m) for name, m in scores.measurements.items()},
        "notes": list(scores.notes),
    }
