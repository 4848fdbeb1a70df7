"""Features of two sets to numbers: each with its interval, and beside it the same number for reals against reals."""

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pushforward.core.seeding import numpy_generator
from pushforward.data.cache import remembered
from pushforward.embedding import Embedded
from pushforward.evaluation import Measurement
from pushforward.metrics import frechet as frechets
from pushforward.metrics.catalogue import METRICS
from pushforward.metrics.comparison import Comparison, frechet_difference, kid_difference, paired_differences
from pushforward.metrics.inception_score import inception_score
from pushforward.metrics.intervals import Interval, mean_interval
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import precision_recall_density_coverage
from pushforward.metrics.memorisation import authenticity, c_t, memorisation
from pushforward.metrics.modes import mode_coverage
from pushforward.metrics.prd import prd
from pushforward.metrics.probes import knn_probe, linear_probe
from pushforward.objectives.transport import exact_wasserstein, sliced_costs, unit_directions

VERSION = 1  # of the floors kept on disk
MATCHED = 2_000  # rows a side of one exact matching
MATCHINGS = 5
LEAST = 20  # rows of a half that a floor is measured on
COMPARED, BLOCKS = 5_000, 10  # rows a side, and parts left out, of nearest-neighbour metrics compared
DIRECTIONS = 500
USUAL = ("frechet", "frechet_corrected", "kid", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Sides:
    """What a metric is given: samples, reals, reals that the generator never saw (where `real` is its training set)."""

    fake: Embedded
    real: Embedded
    held_out: Embedded | None
    seed: int


@dataclass(frozen=True)
class Scores:
    """Measurements by name; the rows a side that floors were measured with; what to know before believing them."""

    measurements: dict[str, Measurement]
    floor_n: int
    warnings: tuple[str, ...]


def score(
    fake: Embedded,
    real: Embedded,
    *,
    metrics: Sequence[str] = (),
    held_out: Embedded | None = None,
    seed: int = 0,
) -> Scores:
    """Measures `fake` against all of `real`; by default what suits the two.

    The floor is the same number for one random half of the reals against the other: kept on disk with the features.
    The Fréchet distance's is brought to the sizes measured by its bias's leading term, which goes as 1/N + 1/M.
    held_out: needed for memorisation; `real` is then what the generator was trained on.
    Raises ValueError for a metric that is not known or that these sets can't be asked for, and for features of two
    encoders.
    """
    names = tuple(metrics) or usual(fake, real, held_out)
    _check(names, fake, real, held_out)
    sides = Sides(fake, real, held_out, seed)
    values = _computed(names, sides)
    half = len(real) // 2
    floors = _floors(names, real, held_out, seed) if half >= LEAST else {}
    if floors.get("frechet") is not None:
        floors["frechet"] *= (1 / len(fake) + 1 / len(real)) / (2 / half)
    measured = {
        name: Measurement(i.value, *_ends(i), floors.get(name), len(fake))
        for name, i in values.items()
        if name in names
    }
    return Scores(measured, half, tuple(_warnings(values, sides)))


def usual(fake: Embedded, real: Embedded, held_out: Embedded | None) -> tuple[str, ...]:
    """The metrics that suit two sets when none are named."""
    if len(fake) == 0 or len(real) == 0:
        return ("frechet",)
    names = USUAL
    if fake.encoder == "inception" and fake.logits is not None:
        names += ("inception_score",)
    return names if held_out is None else (*names, *MEMORISED)


def _check(names: Sequence[str], fake: Embedded, real: Embedded, held_out: Embedded | None) -> None:
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            raise ValueError(f"no metric is called {name!r}{f'; did you mean {near[0]}?' if near else ''}")
        if name not in {n for group in GROUPS for n in group}:
            raise ValueError(f"{name} takes {METRICS[name].takes}, not two sets of features; leave it out")
    for other in (real, held_out):
        if other is not None and other.encoder_key != fake.encoder_key:
            raise ValueError(
                f"{fake.name} and {other.name} must be seen by one encoder, got {fake.encoder} and {other.encoder}"
            )
    wanted = set(names)
    alone = [side.name for side in (fake, real) if len(side) == 0]
    if alone and wanted != {"frechet"}:
        rest = ", ".join(sorted(wanted - {"frechet"}))
        raise ValueError(f"{alone[0]} holds statistics alone, which tell the Fréchet distance and no {rest}")
    if wanted & set(MEMORISED) and held_out is None:
        raise ValueError(f"{', '.join(sorted(wanted & set(MEMORISED)))} needs reals that were not trained on: held_out")
    if (classes := wanted & {"inception_score", "class_modes", "class_kl"}) and fake.logits is None:
        name = sorted(classes)[0]
        raise ValueError(f"{name} needs features with classes, got {fake.encoder}; use inception or classifier")
    if wanted & {"linear_probe", "knn_probe"} and real.labels is None:
        raise ValueError(f"a probe needs labelled reals, and {real.name} has no classes")
    if "frechet_per_class" in wanted and (fake.labels is None or real.labels is None or fake.classes != real.classes):
        raise ValueError(f"frechet_per_class needs the same classes on both sides: {fake.name} and {real.name}")


# Metrics that are computed together, and how: each takes the sides and the names wanted among its own.
Group = Callable[[Sides, set[str]], dict[str, Interval | None]]


def _frechet(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    x, y = sides.fake.features, sides.real.features
    if len(x) == 0 or len(y) == 0:  # of statistics alone
        return {"frechet": _point(frechets.frechet_between(sides.fake.gaussian, sides.real.gaussian))}
    found: dict[str, Interval | None] = {}
    if "frechet_corrected" in wanted:
        estimate = frechets.frechet_estimate(x, y)
        found |= {"frechet": estimate.plug_in, "frechet_corrected": estimate.corrected}
    elif "frechet" in wanted:
        found["frechet"] = frechets.frechet_interval(x, y)
    if "frechet_infinity" in wanted:
        found["frechet_infinity"] = frechets.frechet_infinity(x, y)
    return found


def _per_class(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    fake, real = sides.fake, sides.real
    assert fake.labels is not None
    assert real.labels is not None
    found = frechets.frechet_per_class(fake.features, real.features, fake.labels, real.labels)
    return {"frechet_per_class": _point(found.mean)}


def _kid(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    return {"kid": kid(sides.fake.features, sides.real.features)}


def _inception_score(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    assert sides.fake.logits is not None
    return {"inception_score": inception_score(sides.fake.logits, seed=sides.seed).by_split}


def _manifold(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    found = precision_recall_density_coverage(sides.fake.features, sides.real.features)
    return {name: getattr(found, name) for name in ("precision", "recall", "density", "coverage")}


def _prd(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    curve = prd(sides.fake.features, sides.real.features, seed=sides.seed)
    return {"prd_f8": _point(curve.f8), "prd_f1_8": _point(curve.f1_8)}


def _w2(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    """Means over parts without a row in common, each against as many reals of its own."""
    orders = [
        numpy_generator("w2", sides.seed, side).permutation(len(x))
        for side, x in (("fake", sides.fake), ("real", sides.real))
    ]
    n = min(len(sides.fake), len(sides.real))
    size = min(MATCHED, n)
    parts = min(n // size, MATCHINGS)
    pairs = [
        [
            x.features[np.sort(order[i * size : (i + 1) * size])]
            for x, order in zip((sides.fake, sides.real), orders, strict=True)
        ]
        for i in range(parts)
    ]
    values = [exact_wasserstein(a, b) for a, b in pairs]
    return {"w2": mean_interval(values) if parts > 1 else _point(values[0])}


def _sliced(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    x, y = (torch.from_numpy(np.asarray(s.features)) for s in (sides.fake, sides.real))
    costs = sliced_costs(x, y, unit_directions(x.shape[1], DIRECTIONS, "sliced", sides.seed)).double().numpy()
    squared = mean_interval(costs)  # over directions: for these two samples
    value, low, high = (float(np.sqrt(max(v, 0.0))) for v in (squared.value, squared.low, squared.high))
    return {"sliced_w2": Interval(value, squared.stderr / (2 * value) if value else 0.0, low, high)}


def _memorised(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    assert sides.held_out is not None
    f, t, h = sides.fake.features, sides.real.features, sides.held_out.features
    return {
        "copies": memorisation(f, t, h, seed=sides.seed).copies if "copies" in wanted else None,
        "c_t": c_t(f, t, h, seed=sides.seed) if "c_t" in wanted else None,
        "authenticity": authenticity(f, t) if "authenticity" in wanted else None,
    }


def _probes(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    train, test = sides.real.halves(sides.seed)
    assert train.labels is not None
    assert test.labels is not None
    given = (train.features, train.labels, test.features, test.labels)
    return {
        "linear_probe": linear_probe(*given, seed=sides.seed).accuracy if "linear_probe" in wanted else None,
        "knn_probe": knn_probe(*given).accuracy if "knn_probe" in wanted else None,
    }


def _classes(sides: Sides, wanted: set[str]) -> dict[str, Interval | None]:
    assert sides.fake.logits is not None
    assert sides.real.logits is not None
    fake, real = (
        side.logits.argmax(1).astype(np.int64) for side in (sides.fake, sides.real) if side.logits is not None
    )
    found = mode_coverage(fake, sides.fake.logits.shape[1], real)
    return {"class_modes": _point(found.found), "class_kl": found.kl}


def _point(value: float) -> Interval:
    """A number whose interval is not known."""
    return Interval(value, np.nan, np.nan, np.nan)


MEMORISED = ("copies", "c_t", "authenticity")
GROUPS: dict[tuple[str, ...], Group] = {
    ("frechet", "frechet_corrected", "frechet_infinity"): _frechet,
    ("frechet_per_class",): _per_class,
    ("kid",): _kid,
    ("inception_score",): _inception_score,
    ("precision", "recall", "density", "coverage"): _manifold,
    ("prd_f8", "prd_f1_8"): _prd,
    ("w2",): _w2,
    ("sliced_w2",): _sliced,
    MEMORISED: _memorised,
    ("linear_probe", "knn_probe"): _probes,
    ("class_modes", "class_kl"): _classes,
}
ALONE = {("linear_probe", "knn_probe")}  # of the reals, so that reals against reals say nothing more


def _computed(names: Sequence[str], sides: Sides) -> dict[str, Interval]:
    found: dict[str, Interval | None] = {}
    for group, compute in GROUPS.items():
        if wanted := set(group) & set(names):
            found |= compute(sides, wanted)
    return {name: value for name in names if (value := found.get(name)) is not None}


def _floors(names: Sequence[str], real: Embedded, held_out: Embedded | None, seed: int) -> dict[str, float]:
    """Each metric for one half of the reals as samples, against the other; memorisation's for held-out halves."""
    out: dict[str, float] = {}
    for group in GROUPS:
        wanted = tuple(name for name in group if name in names)
        if not wanted or group in ALONE:
            continue

        def compute(wanted: tuple[str, ...] = wanted, memorised: bool = group == MEMORISED) -> dict[str, float]:
            if memorised:
                assert held_out is not None
                stand_in, rest = held_out.halves(seed)
                sides = Sides(stand_in, real, rest, seed)
            else:
                stand_in, rest = real.halves(seed)
                sides = Sides(stand_in, rest, None, seed)
            return {name: i.value for name, i in _computed(wanted, sides).items()}

        if real.cache is None:
            out |= compute()
            continue
        parts = [VERSION, real.key, held_out.key if held_out and group == MEMORISED else "", wanted, seed]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        out |= remembered(real.cache / "floors", key, compute)
    return out


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return (None, None) if np.isnan(interval.low) else (interval.low, interval.high)


def _warnings(values: dict[str, Interval], sides: Sides) -> list[str]:
    """What a reader must know before believing the numbers."""
    fake, real = sides.fake, sides.real
    said = []
    if {"frechet", "frechet_corrected"} <= set(values):
        value, corrected = values["frechet"].value, values["frechet_corrected"]
        bias = value - corrected.value
        if bias > corrected.value or bias > corrected.high - corrected.value:
            said.append(
                f"frechet: about {bias:.3g} of the {value:.3g} is bias of {len(fake):,} and {len(real):,} images; "
                "compare it at equal sizes only, or read frechet_corrected"
            )
    if min(len(fake), len(real)) <= fake.features.shape[1] and "frechet" in values:
        said.append(
            f"frechet: {min(len(fake), len(real)):,} images have no full covariance in {fake.features.shape[1]:,} "
            "features; use more images, or kid"
        )
    if fake.key == real.key:
        said.append("both sides are the same images: nothing is measured but the metrics' own conventions")
    return said


def compare(
    a: Embedded, b: Embedded, real: Embedded, *, metrics: Sequence[str] = (), seed: int = 0
) -> dict[str, Comparison]:
    """Which of two sets is nearer to the reals, for each metric that can tell; the longer is cut to the shorter.

    Fréchet distance: by the influence of each image, the reals' in common. KID in closed form. Precision, recall,
    density and coverage by the block jackknife, on 5,000 images a side at most: blocks of A, B and the reals are left
    out together. Differences are of distances, or of negative shares: below 0 where A is nearer.
    """
    wanted = set(metrics or USUAL)
    n = min(len(a), len(b))
    x, y, r = (np.asarray(e.features[:rows]) for e, rows in ((a, n), (b, n), (real, len(real))))
    out: dict[str, Comparison] = {}
    if wanted & {"frechet", "frechet_corrected"}:
        out["frechet"] = frechet_difference(x, y, r)
    if "kid" in wanted:
        out["kid"] = kid_difference(x, y, r)
    shares = [name for name in ("precision", "recall", "density", "coverage") if name in wanted]
    if shares:

        def less(fake: Any, reals: Any) -> list[float]:
            found = precision_recall_density_coverage(fake, reals)
            return [-getattr(found, name).value for name in shares]

        orders = [numpy_generator("compare", seed, i).permutation(len(s))[:COMPARED] for i, s in enumerate((x, y, r))]
        few = [s[np.sort(order)] for s, order in zip((x, y, r), orders, strict=True)]
        out |= dict(zip(shares, paired_differences(less, *few, blocks=BLOCKS), strict=True))
    if not out:
        raise ValueError(f"nothing compares two sets by {', '.join(wanted)}; ask for {', '.join(USUAL)}")
    return out
