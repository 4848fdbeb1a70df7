"""Metrics of two sets of features by the groups that are computed together; each gives intervals, and what to know."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from pushforward.embedding import Embedded
from pushforward.metrics import frechet as frechets
from pushforward.metrics.inception_score import inception_score
from pushforward.metrics.intervals import Interval, mean_interval
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import precision_recall_density_coverage
from pushforward.metrics.memorisation import authenticity, c_t, memorisation
from pushforward.metrics.modes import mode_coverage
from pushforward.metrics.prd import prd
from pushforward.metrics.probes import knn_probe, linear_probe
from pushforward.objectives.transport import exact_wasserstein, sliced_costs, unit_directions

MATCHED = 2_000  # rows a side of one exact matching
MATCHINGS = 5
DIRECTIONS = 500


@dataclass(frozen=True)
class Sides:
    """What a metric is given: samples, reals, reals that the generator never saw, and those that it was trained on.

    train: where these are not `real`, for memorisation alone.
    matched: rows a side of metrics whose bias depends on their number, the same for the value as for its floor.
    """

    fake: Embedded
    real: Embedded
    held_out: Embedded | None
    matched: int
    seed: int
    train: Embedded | None = None


@dataclass(frozen=True)
class Found:
    """Intervals by name; None for what can't be told from these sets. notes: what to know before believing them."""

    values: dict[str, Interval | None]
    notes: list[str] = field(default_factory=list)


Group = Callable[[Sides, set[str]], Found]


def _frechet(sides: Sides, wanted: set[str]) -> Found:
    fake, real = sides.fake, sides.real
    if len(fake) == 0 or len(real) == 0:  # of statistics alone
        return Found({"frechet": _point(frechets.frechet_between(fake.gaussian, real.gaussian))})
    x, y, known = fake.features, real.features, (fake.gaussian, real.gaussian)
    found, notes = Found({}), []
    if "frechet_corrected" in wanted:
        estimate = frechets.frechet_estimate(x, y, known=known)
        found.values.update(frechet=estimate.plug_in, frechet_corrected=estimate.corrected)
        if estimate.corrected is None:
            notes.append(f"frechet_corrected: can't be told from {estimate.n:,} images in {x.shape[1]:,} features")
        elif estimate.bias_dominates or estimate.bias_shows:
            notes.append(
                f"frechet: about {estimate.bias:.3g} of the {estimate.value:.3g} is bias of {estimate.n:,} images; "
                "compare it at equal sizes only, or read frechet_corrected "
                f"(a tenth of it from about {_round(estimate.rows_needed()):,} images)"
            )
    elif "frechet" in wanted:
        found.values["frechet"] = frechets.frechet_interval(x, y, known=known)
    if "frechet_infinity" in wanted:
        found.values["frechet_infinity"] = frechets.frechet_infinity(x, y)
    if min(len(x), len(y)) <= x.shape[1]:
        notes.append(
            f"frechet: {min(len(x), len(y)):,} images have no full covariance in {x.shape[1]:,} features; "
            "use more images, or kid"
        )
    return Found(found.values, notes)


def _round(n: float) -> int:
    """Two digits: more would claim too much."""
    digits = max(len(str(int(n))) - 2, 0)
    return int(round(n, -digits))


def _per_class(sides: Sides, wanted: set[str]) -> Found:
    fake, real = sides.fake, sides.real
    assert fake.labels is not None
    assert real.labels is not None
    return Found(
        {
            "frechet_per_class": _point(
                frechets.frechet_per_class(fake.features, real.features, fake.labels, real.labels).mean
            )
        }
    )


def _kid(sides: Sides, wanted: set[str]) -> Found:
    return Found({"kid": kid(sides.fake.features, sides.real.features)})


def _inception_score(sides: Sides, wanted: set[str]) -> Found:
    assert sides.fake.logits is not None
    return Found({"inception_score": inception_score(sides.fake.logits, seed=sides.seed).by_split})


def _manifold(sides: Sides, wanted: set[str]) -> Found:
    found = precision_recall_density_coverage(sides.fake.features, sides.real.features)
    return Found({name: getattr(found, name) for name in ("precision", "recall", "density", "coverage")})


def _prd(sides: Sides, wanted: set[str]) -> Found:
    curve = prd(sides.fake.features, sides.real.features, seed=sides.seed)
    return Found({"prd_f8": _point(curve.f8), "prd_f1_8": _point(curve.f1_8)})


def _w2(sides: Sides, wanted: set[str]) -> Found:
    """The mean over parts without a row in common, each against as many reals of its own."""
    size = min(MATCHED, sides.matched)
    parts = min(min(len(sides.fake), len(sides.real)) // size, MATCHINGS)
    fakes, reals = (side.some(parts * size, sides.seed).reshape(parts, size, -1) for side in (sides.fake, sides.real))
    values = [exact_wasserstein(a, b) for a, b in zip(fakes, reals, strict=True)]
    return Found({"w2": mean_interval(values) if parts > 1 else _point(values[0])})


def _sliced(sides: Sides, wanted: set[str]) -> Found:
    """Over random lines: the interval is for these two samples."""
    x, y = (torch.from_numpy(side.some(sides.matched, sides.seed)) for side in (sides.fake, sides.real))
    costs = sliced_costs(x, y, unit_directions(x.shape[1], DIRECTIONS, "sliced", sides.seed)).double().numpy()
    squared = mean_interval(costs)
    value, low, high = (float(np.sqrt(max(v, 0.0))) for v in (squared.value, squared.low, squared.high))
    return Found({"sliced_w2": Interval(value, squared.stderr / (2 * value) if value else 0.0, low, high)})


def _memorised(sides: Sides, wanted: set[str]) -> Found:
    assert sides.held_out is not None
    train = sides.real if sides.train is None else sides.train
    f, t, h = sides.fake.features, train.features, sides.held_out.features
    found, notes = Found({}), []
    if "copies" in wanted:
        test = memorisation(f, t, h, seed=sides.seed)
        found.values["copies"] = test.copies
        if test.memorised:
            rows = ", ".join(map(str, test.flagged[:5]))
            notes.append(f"copies: the training set is repeated (p = {test.p_value:.2g}), first by samples {rows}")
    if "c_t" in wanted:
        found.values["c_t"] = c_t(f, t, h, seed=sides.seed)
        if found.values["c_t"] is None:
            notes.append(f"c_t: can't be told from {len(f):,} samples and {len(h):,} held-out examples; give more")
    if "authenticity" in wanted:
        found.values["authenticity"] = authenticity(f, t)
    return Found(found.values, notes)


def _probes(sides: Sides, wanted: set[str]) -> Found:
    train, test = sides.real.split(0.5, sides.seed)
    assert train.labels is not None
    assert test.labels is not None
    given = (train.features, train.labels, test.features, test.labels)
    found = Found({})
    if "linear_probe" in wanted:
        found.values["linear_probe"] = linear_probe(*given, seed=sides.seed).accuracy
    if "knn_probe" in wanted:
        found.values["knn_probe"] = knn_probe(*given).accuracy
    return found


def _classes(sides: Sides, wanted: set[str]) -> Found:
    assert sides.fake.logits is not None
    assert sides.real.logits is not None
    fake, real = (np.asarray(logits).argmax(1) for logits in (sides.fake.logits, sides.real.logits))
    k = sides.fake.logits.shape[1]
    new = np.setdiff1d(fake, real)
    if len(new):  # the divergence is infinite, and says nothing of the rest
        note = f"class_kl: can't be told, as samples are in {len(new)} classes without a real image"
        return Found({"class_modes": _point(len(np.unique(fake))), "class_kl": None}, [note])
    found = mode_coverage(fake, k, real)
    return Found({"class_modes": _point(found.found), "class_kl": found.kl})


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
MATCHING = {("w2",), ("sliced_w2",)}  # on as many rows for the floor as for the value
OFFERED = tuple(name for group in GROUPS for name in group)


def computed(names: tuple[str, ...], sides: Sides) -> Found:
    """All of the metrics named, and only those. Raises ValueError, naming metrics and sets, for what can't be asked."""
    values: dict[str, Interval | None] = {}
    notes: list[str] = []
    for group, compute in GROUPS.items():
        wanted = set(group) & set(names)
        if not wanted:
            continue
        try:
            found = compute(sides, wanted)
        except ValueError as error:
            asked = ", ".join(name for name in group if name in wanted)
            raise ValueError(f"{asked} of {sides.fake.name} against {sides.real.name}: {error}") from error
        values |= found.values
        notes += found.notes
    return Found({name: values.get(name) for name in names}, notes)
