"""Features of two sets to numbers: each with its interval, and beside it the same number for reals against reals."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pushforward.data.cache import remembered
from pushforward.embedding import Embedded
from pushforward.evaluation import Measurement
from pushforward.groups import ALONE, GROUPS, MATCHING, MEMORISED, OFFERED, Sides, computed
from pushforward.metrics.catalogue import METRICS, unknown
from pushforward.metrics.comparison import Comparison, frechet_difference, kid_difference, paired_differences
from pushforward.metrics.intervals import Interval
from pushforward.metrics.manifold import precision_recall_density_coverage

VERSION = 2  # of the floors kept on disk
LEAST = 20  # rows of either part that a floor is measured on
COMPARED, BLOCKS = 5_000, 10  # rows a side, and parts left out, of nearest-neighbour metrics compared
USUAL = ("frechet", "frechet_corrected", "kid", "precision", "recall", "density", "coverage")
COMPARABLE = ("frechet", "kid", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Scores:
    """Measurements by name; the reals of a floor that stood in for samples, and those they were held against.

    floor_sizes: (0, 0) without a floor. notes: what to know before believing the numbers.
    """

    measurements: dict[str, Measurement]
    floor_sizes: tuple[int, int]
    notes: tuple[str, ...]


def score(
    fake: Embedded,
    real: Embedded,
    *,
    metrics: Sequence[str] = (),
    held_out: Embedded | None = None,
    train: Embedded | None = None,
    seed: int = 0,
) -> Scores:
    """Measures `fake` against all of `real`; by default what suits the two.

    The floor is the same number for some of the reals against the others, in the proportion of the two sets; kept on
    disk with the features. The Fréchet distance's is brought to the sizes measured by its bias's leading term, which
    goes as 1/N + 1/M where both have more rows than features, and is left out where they haven't; W2 and its slices
    take as many rows for the value as for the floor; memorisation's is of a half of the held-out set beside the other.
    held_out: needed for memorisation of what the generator was trained on: `train`, by default `real`.
    Raises ValueError for a metric that is not known or that these sets can't be asked for, and for features of two
    encoders.
    """
    names = tuple(metrics) or usual(fake, real, held_out)
    _check(names, fake, real, held_out)
    train = real if train is None else train
    known = held_out is not None and held_out.key in (real.key, train.key)  # to the generator
    if known and not (names := tuple(name for name in names if name not in MEMORISED)):
        raise ValueError(
            "the held-out set is the training set itself, which tells nothing of memorisation; give examples that the "
            "generator never saw"
        )
    n, m = len(fake) or fake.gaussian.n, len(real) or real.gaussian.n
    matched = max(min(n, m // 2), 1)
    found = computed(names, Sides(fake, real, held_out, matched, seed, train))
    notes = list(found.notes)
    sizes = _floor_sizes(len(fake), len(real))
    floors = _floors(names, real, held_out, train, sizes, matched, seed, notes)
    if floors.get("frechet") is not None:
        if min(sizes) > real.features.shape[1]:
            floors["frechet"] = floors["frechet"] * (1 / n + 1 / m) / (1 / sizes[0] + 1 / sizes[1])
        else:
            del floors["frechet"]
            notes.append("frechet: without a floor, which would take more reals a part than there are features")
    if fake.key == real.key:
        notes.append("both sides are the same images: nothing is measured but the metrics' own conventions")
    if known:
        notes.append("the held-out set is the training set itself: nothing is told of memorisation")
    if fake.encoder == "classifier":
        notes.append("classifier: it was trained on these reals, and is surer of them than of any fresh images")
    measured = {
        name: Measurement(i.value, *_ends(i), floors.get(name), n) for name, i in found.values.items() if i is not None
    }
    return Scores(measured, sizes if floors else (0, 0), tuple(dict.fromkeys(notes)))


def usual(fake: Embedded, real: Embedded, held_out: Embedded | None) -> tuple[str, ...]:
    """The metrics that suit two sets when none are named."""
    least = min(len(fake), len(real))
    if least == 0:
        return ("frechet",)
    names = USUAL
    if least - -(-least // 10) <= fake.features.shape[1] or least < 20:  # the bias can't be told
        names = tuple(name for name in names if name != "frechet_corrected")
    if fake.encoder == "inception" and fake.logits is not None:
        names += ("inception_score",)
    return names if held_out is None else (*names, *MEMORISED)


def _check(names: Sequence[str], fake: Embedded, real: Embedded, held_out: Embedded | None) -> None:
    for name in names:
        if name not in METRICS:
            raise ValueError(unknown(name))
        if name not in OFFERED:
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


def _floor_sizes(fakes: int, reals: int) -> tuple[int, int]:
    """The reals cut in the proportion of the two sets; (0, 0) where a part would be too small."""
    if fakes == 0 or reals == 0:
        return 0, 0
    stand_in = round(reals * fakes / (fakes + reals))
    return (stand_in, reals - stand_in) if min(stand_in, reals - stand_in) >= LEAST else (0, 0)


def _floors(
    names: Sequence[str],
    real: Embedded,
    held_out: Embedded | None,
    train: Embedded,
    sizes: tuple[int, int],
    matched: int,
    seed: int,
    notes: list[str],
) -> dict[str, float]:
    """Each metric for reals as samples. A group that so few of them can't tell has no floor, and a note says so."""
    out: dict[str, float] = {}
    for group in GROUPS:
        wanted = tuple(name for name in group if name in names)
        memorised = group == MEMORISED
        if not wanted or group in ALONE or sizes == (0, 0):
            continue
        if memorised and (held_out is None or len(held_out) < 2 * LEAST):
            notes.append(f"{', '.join(wanted)}: without a floor, which takes {2 * LEAST} held-out examples")
            continue

        def compute(wanted: tuple[str, ...] = wanted, group: tuple[str, ...] = group) -> dict[str, float | None]:
            if group == MEMORISED and held_out is not None:
                stand_in, rest = held_out.split(0.5, seed)
                sides = Sides(stand_in, real, rest, matched, seed, train)
            else:
                share = 0.5 if group in MATCHING else sizes[0] / sum(sizes)
                stand_in, rest = real.split(share, seed)
                sides = Sides(stand_in, rest, None, matched, seed)
            values = computed(wanted, sides).values
            return {name: None if i is None else i.value for name, i in values.items()}

        parts = [VERSION, real.key, real.labelling, sizes, matched, wanted, seed]
        parts += [held_out.key, train.key] if memorised and held_out is not None else []
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        try:
            found = compute() if real.cache is None else remembered(real.cache / "floors", key, compute)
        except ValueError as error:
            notes.append(f"{', '.join(wanted)}: without a floor ({error})")
            continue
        out |= {name: value for name, value in found.items() if value is not None}
    return out


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return (None, None) if interval.low != interval.low else (interval.low, interval.high)


def comparable(metrics: Sequence[str]) -> tuple[str, ...]:
    """Those that two sets can be compared by. Raises ValueError, naming it, for another."""
    names = tuple(dict.fromkeys("frechet" if name == "frechet_corrected" else name for name in metrics))
    for name in names:
        if name not in COMPARABLE:
            raise ValueError(f"two sets are compared by {', '.join(COMPARABLE)}, got {name}; measure each for that")
    return names or COMPARABLE


def compare(
    a: Embedded, b: Embedded, real: Embedded, *, metrics: Sequence[str] = (), seed: int = 0
) -> dict[str, Comparison]:
    """Which of two sets, of equal size, is nearer to the reals, for each metric that can tell.

    Fréchet distance: by the influence of each image, the reals' in common. KID in closed form. Precision, recall,
    density and coverage by the block jackknife, on 5,000 images a side at most, in a random order: blocks of A, B and
    the reals are left out together. Differences are of distances, or of negative shares: below 0 where A is nearer.
    """
    wanted = comparable(metrics)
    if min(len(a), len(b), len(real)) == 0:
        raise ValueError("a comparison takes the images of A, of B and of the reals, got statistics; name the images")
    out: dict[str, Comparison] = {}
    if "frechet" in wanted:
        out["frechet"] = frechet_difference(a.features, b.features, real.features)
    if "kid" in wanted:
        out["kid"] = kid_difference(a.features, b.features, real.features)
    shares = [name for name in wanted if name in ("precision", "recall", "density", "coverage")]
    if shares:

        def less(fake: Any, reals: Any) -> list[float]:
            found = precision_recall_density_coverage(fake, reals)
            return [-getattr(found, name).value for name in shares]

        # One order for A and B: row i of both may come from one latent. Sorted rows would make classes of the blocks.
        few = [side.some(min(len(side), COMPARED), seed) for side in (a, b, real)]
        out |= dict(zip(shares, paired_differences(less, *few, blocks=BLOCKS), strict=True))
    return out
