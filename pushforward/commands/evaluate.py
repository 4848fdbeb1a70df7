"""Measures samples against real data, or two sets of them against a third."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from pushforward.commands._words import parse, table_of

if TYPE_CHECKING:
    from pushforward.by_features import Measured


@dataclass(frozen=True)
class Evaluate:
    """Measure samples against real data, each number beside the same number for real against real.

    With --features, or with --against to compare two, all images of both sides go through one network; otherwise what
    suits the data is measured: points exactly, images by their pixels and a classifier of the labels.
    """

    what: Positional[str]
    """A run folder, a folder or .zip of images of any sizes, or an .npy or .npz of samples."""
    real: Positional[str | None] = None
    """The real data: a name or a path; for a run, by default all of its data. With --against: the second set."""
    against: str | None = None
    """The real data that two sets are compared by: `evaluate A B --against REAL` says which is nearer."""
    features: str | None = None
    """inception, dinov2, dinov2-b, clip, clip-l, pixels, classifier, or a .pt2 file of your own; with --against alone,
    inception. The options down to -n are for these."""
    metrics: tuple[str, ...] = ()
    """Which; by default what suits the sets. `pushforward list metrics` says what each is worth."""
    resize: Literal["clean", "legacy-pytorch", "legacy-tf"] | None = None
    """How images come to the network's size: clean (antialiased), or as published numbers were made."""
    weights: Path | None = None
    """A file with the network's weights."""
    download: bool = False
    """Whether missing weights may be fetched from where they are published."""
    held_out: str | None = None
    """Reals that were not trained on: asks for memorisation."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Samples of a run, 10,000 by default."""
    json: bool = False
    """Print only JSON on standard output."""
    seed: int = 0
    """Seed of the latents and of the splits of the real data."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint of a run."""
    resolution: int | None = None
    """Height and width to bring images to, the real ones and the samples; a run has its own."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def do_evaluate(arguments: list[str]) -> int:
    asked = parse(Evaluate, arguments, "pushforward evaluate")
    only = ("metrics", "resize", "weights", "download", "held_out", "n")
    if asked.features is not None or asked.against is not None:
        return _by_features(asked)
    if given := [name for name in only if getattr(asked, name) != getattr(Evaluate, name)]:
        raise ValueError(f"--{given[0].replace('_', '-')} needs --features, e.g. --features pixels")
    from pushforward.run import Run, evaluate_samples

    if (Path(asked.what) / "config.json").is_file():
        run = Run(Path(asked.what))
        if asked.resolution is not None:
            raise ValueError(
                f"a run is measured at its own resolution, got --resolution {asked.resolution}; leave it out"
            )
        numbers = run.evaluate(
            real=asked.real,
            seed=asked.seed,
            checkpoint=asked.checkpoint,
            max_bad=asked.max_bad,
            device=asked.device,
        )
        real = asked.real or run.plan.data
    elif asked.real is None:
        raise ValueError(
            f"{asked.what} is not a run folder, so it is not known what to measure it against; "
            "name the real data: pushforward evaluate SAMPLES REAL"
        )
    else:
        real = asked.real
        numbers = evaluate_samples(
            asked.what, real, seed=asked.seed, resolution=asked.resolution, max_bad=asked.max_bad
        )
    if asked.json:
        metrics = {name: dataclasses.asdict(m) for name, m in numbers.items()}
        print(json.dumps({"what": asked.what, "real": real, "seed": asked.seed, "metrics": metrics}))
    else:
        table_of(numbers)
    return 0


def _by_features(asked: Evaluate) -> int:
    """Two sets, or two against a third, in the features of one network."""
    from pushforward import by_features

    names = {f.name for f in dataclasses.fields(by_features.Asked)}
    given = {name: value for name, value in dataclasses.asdict(asked).items() if name in names and value is not None}
    options = by_features.Asked(**{"progress": not asked.json, **given})
    if asked.against is None:
        measured = by_features.measure_by_features(asked.what, asked.real, options)
        if asked.json:
            print(json.dumps({"what": asked.what, "real": asked.real} | by_features.as_json(measured)))
            return 0
        _provenance(measured)
        table_of(measured.scores.measurements)
        return _noted(measured.scores.notes)
    if asked.real is None:
        raise ValueError("--against compares two sets: pushforward evaluate A B --against REAL")
    both = by_features.compare_by_features(asked.what, asked.real, asked.against, options)
    if asked.json:
        sides = {name: by_features.as_json(side) for name, side in (("A", both.first), ("B", both.second))}
        verdicts = {name: dataclasses.asdict(verdict) for name, verdict in both.comparisons.items()}
        print(json.dumps({"what": [asked.what, asked.real], "real": asked.against} | sides | {"comparisons": verdicts}))
        return 0
    from rich.console import Console
    from rich.table import Table

    _provenance(both.first)
    table = Table("metric", "A", "B", "A - B", "95 % interval", "nearer", "confidence")
    for name, verdict in both.comparisons.items():
        a, b = (side.scores.measurements[name].value for side in (both.first, both.second))
        # Shares were compared by their negatives, so that less is nearer throughout.
        sign = 1 if name in ("frechet", "kid") else -1
        d = verdict.difference
        low, high = sorted((sign * d.low, sign * d.high))
        cells = (f"{a:.4g}", f"{b:.4g}", f"{sign * d.value:.3g}", f"{low:.3g} – {high:.3g}")
        table.add_row(
            name,
            *cells,
            verdict.better or "can't tell",
            "> 99.9 %" if verdict.confidence > 0.999 else f"{100 * verdict.confidence:.1f} %",
        )
    Console().print(f"A  {asked.what}\nB  {asked.real}\nagainst  {asked.against}", table)
    return _noted((*both.first.scores.notes, *both.second.scores.notes))


def _provenance(measured: "Measured") -> None:
    from rich.console import Console

    ones, others = measured.scores.floor_sizes
    floor = f"floor: {ones:,} reals against {others:,} others" if ones else "no floor: too few reals"
    Console().print(
        f"features {measured.features} (weights {measured.sha256[:12]}), resize {measured.resize}, "
        f"seed {measured.seed}; {floor}",
        highlight=False,
        soft_wrap=True,
    )


def _noted(notes: tuple[str, ...]) -> int:
    for note in dict.fromkeys(notes):
        print(f"note: {note}", file=sys.stderr)
    return 0
