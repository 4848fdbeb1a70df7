"""Samples against data: the measurements that suit the data, each beside its sampling floor.

The floor is the same number for real against real at the same sizes: what a perfect generator would score. All chance
comes from streams of its own, so that measuring changes no run, and what depends on the data alone is made once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator, seed_of
from pushforward.data.cache import cache_folder, cached, remembered
from pushforward.data.images import as_bytes
from pushforward.data.source import ArrayData, Data
from pushforward.encoders.encoder import Encoder
from pushforward.metrics.classifier import VERSION, Classifier, train_classifier
from pushforward.metrics.frechet import frechet_between, frechet_interval
from pushforward.metrics.intervals import Interval, mean_interval, wilson
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import Manifold, compare, manifold, precision_recall_density_coverage
from pushforward.metrics.modes import high_quality, kl_to_uniform, modes
from pushforward.metrics.moments import Gaussian, gaussian
from pushforward.objectives.transport import exact_wasserstein
from pushforward.spaces import TRAINED_ON, Pixels

AGAINST = ("frechet", "kid", "precision", "recall", "density", "coverage")
USUAL = ("frechet", "precision", "recall")
SIDE = 5_000  # examples a side, at most
QUICK_SIDE = 1_000
SPLITS, SMALL_SPLITS, QUICK_SPLITS = 4, 16, 4  # halves of a thousand differ more: they are also cheap to do again
JACKKNIFED = 256  # features up to which 20 more Fréchet distances cost little
CHUNK = 512
POINTS = 20_000  # points of the plane looked at for modes and quality
STACKED = 26_000  # images looked at for the thousand modes of three digits
MATCHED, QUICK_MATCHED = 2_000, 500  # points a side of one exact matching
PAIRS, QUICK_PAIRS = 40, 2  # one W2 of 2,000 points of grid25 varies by 13 %: by chance, its modes are uneven
SCORES = 3  # version of what is remembered on disk


@dataclass(frozen=True)
class Measurement:
    """A value with its 95 % interval, the floor (real against real), and the number of samples; None: not known."""

    value: float
    low: float | None
    high: float | None
    floor: float | None
    n: int


@dataclass(frozen=True)
class Sides:
    """One split's reals, that fakes are held against; floors: what the other half scores, which stands in for fakes."""

    against: NDArray[np.floating]
    gaussian: Gaussian
    manifold: Manifold
    floors: dict[str, float]


def evaluate(
    fakes: Tensor,
    data: Data,
    *,
    asked: Tensor | None = None,
    n: int | None = None,
    seed: int = 0,
    quick: bool = False,
    cache: Path | None = None,
) -> dict[str, Measurement]:
    """Measures `fakes` [N, ...], in the networks' range, against `data`; `Evaluator` keeps what it computes."""
    return Evaluator(data, n=n, seed=seed, cache=cache)(fakes, asked=asked, quick=quick)


class Evaluator:
    """Measures one sample after another against the same data; the reals' features and floors are computed once.

    n: examples a side, at most (by default 5,000). seed: of the choice of reals and of splits. cache: folder for the
    classifier and for floors that take seconds. A finite data set is halved at random: fakes are held against one half,
    and so is the other half, for the floor; an endless one gives fresh examples. Images are rounded to the 256 levels
    that real ones have; pixel features are averaged down to at most 1,024 numbers. Intervals: see each metric; for
    Fréchet distances above 256 features there is none.
    encoders: networks to compare images by, in place of a classifier of the labels and pixels; each measurement then
    ends with the network's name. metrics: which of the comparisons with reals; `modes` and the like are always there.
    """

    def __init__(
        self,
        data: Data,
        *,
        n: int | None = None,
        seed: int = 0,
        cache: Path | None = None,
        encoders: Sequence[Encoder] = (),
        metrics: Sequence[str] = (),
    ) -> None:
        if n is not None and n < 2:
            raise ValueError(f"an evaluation needs at least 2 samples a side, got n = {n}")
        if encoders and data.spec.kind != "images":
            raise ValueError(f"{data.spec.name} holds points, which no network sees; leave the features out")
        self.data, self.seed, self.cache = data, seed, cache_folder(cache)
        self.encoders = {f"_{encoder.name}": encoder for encoder in encoders}
        self.metrics = tuple(name for name in AGAINST if name in (metrics or USUAL))
        self.side = n or SIDE
        self._features: dict[tuple[str, int], NDArray[np.floating]] = {}
        self._splits: dict[tuple[str, int, int, int], Sides] = {}
        self._floors: dict[tuple[str, int], float] = {}
        self._classifier: Classifier | None = None

    def __call__(self, fakes: Tensor, *, asked: Tensor | None = None, quick: bool = False) -> dict[str, Measurement]:
        """Every measurement that suits the data, by name.

        fakes: [N, ...] shaped as the data's examples, N >= 2. asked: the class [N] that each was asked for. quick: at
        most 1,000 samples a side, four splits, matchings of 500 points: for a look during training.
        Raises ValueError for another shape, values that are not finite, or too few samples.
        """
        fakes = _checked(fakes, self.data, asked)
        # In an order of our own: fakes often come class by class, and a part of them must not be one class.
        order = torch.from_numpy(numpy_generator("evaluation", self.seed, "fakes").permutation(len(fakes)))
        fakes, asked = fakes[order], None if asked is None else asked.detach().cpu()[order]
        if self.data.law is not None:
            return self._plane(fakes, quick)
        self._side(self.side, len(fakes))  # too few is said before a classifier is trained
        if self.data.spec.kind == "points":
            return self._against_reals("", fakes.double().numpy(), quick)
        return self._images(fakes, asked, quick)

    @property
    def classify(self) -> Callable[[Tensor], Tensor] | None:
        """Images [N, C, H, W] to classes [N], by the classifier that measures; None where no classifier does."""
        if self.data.spec.kind != "images" or self.encoders or (self.data.spec.classes or 0) < 2:
            return None
        if self.data.channel_data is not None:
            return None

        def classes(x: Tensor) -> Tensor:
            return self._trained(self.data)(_floats(as_bytes(x.detach().cpu()))).classes

        return classes

    @property
    def names(self) -> tuple[str, ...]:
        """The measurements there will be, save those of classes asked for."""
        if self.data.law is not None:
            return ("high_quality", "w2") if self.data.law.centres is None else ("modes", "high_quality", "kl", "w2")
        stacked = ("modes", "kl") if self.data.channel_data is not None else ()
        labelled = self.data.channel_data is not None or (self.data.spec.classes or 0) > 1
        usual = ("", "_pixels") if labelled and self.data.spec.kind == "images" else ("",)
        return *(f"{name}{end}" for end in self.encoders or usual for name in self.metrics), *stacked

    def wanted(self, quick: bool = False) -> int:
        """How many fakes the measurements use; more are ignored, fewer make them coarser."""
        if self.data.law is not None:
            return QUICK_PAIRS * QUICK_SIDE if quick else max(POINTS, PAIRS * MATCHED)
        if quick:
            return QUICK_SIDE
        if self.data.channel_data is not None:
            return STACKED
        side = self.side if self.data.size is None else min(self.side, self.data.size // 2)
        return side * (SMALL_SPLITS if side <= QUICK_SIDE else SPLITS)

    def _plane(self, fakes: Tensor, quick: bool) -> dict[str, Measurement]:
        law = self.data.law
        assert law is not None
        points = law.from_model(fakes.float().numpy())
        few = points[:POINTS]
        reals = self._real_points("quality", len(few))
        out: dict[str, Measurement] = {}
        if law.centres is not None:
            own, real = modes(few, law.centres, law.sigma), modes(reals, law.centres, law.sigma)
            out["modes"] = Measurement(own.found, None, None, real.found, len(few))
            out["high_quality"] = _measured(own.high_quality, real.high_quality.value, len(few))
            out["kl"] = _measured(kl_to_uniform(own.counts), kl_to_uniform(real.counts).value, len(few))
        else:
            share, floor = (high_quality(law.distance(p), law.sigma) for p in (few, reals))
            out["high_quality"] = _measured(share, floor.value, len(few))
        size = min(QUICK_MATCHED if quick else min(MATCHED, self.side), len(points))
        pairs = QUICK_PAIRS if quick else PAIRS
        # The floor's pairs share their second sample with the value's: noise in common cancels between the two.
        reals = self._real_points("w2", pairs * size).reshape(pairs, size, -1)
        parts = [points[i * size : (i + 1) * size] for i in range(min(pairs, len(points) // size))]
        # Where the fakes are too few, each part meets several reals; only the parts are independent then.
        values = [exact_wasserstein(parts[i % len(parts)], real) for i, real in enumerate(reals)]
        if len(parts) > 1:
            values = [float(np.mean(values[i :: len(parts)])) for i in range(len(parts))]
        floor = self._remembered(f"w2-{pairs}", size, lambda: self._w2_floor(reals))
        out["w2"] = _measured(mean_interval(values), floor, size)
        return out

    def _real_points(self, use: str, n: int) -> NDArray[np.float64]:
        assert self.data.law is not None
        x = self.data.examples(n, seed_of("evaluation", self.seed, use))["x"]
        return self.data.law.from_model(x.numpy())

    def _w2_floor(self, reals: NDArray[np.float64]) -> float:
        others = self._real_points("w2 floor", len(reals) * reals.shape[1]).reshape(reals.shape)
        return float(np.mean([exact_wasserstein(other, real) for other, real in zip(others, reals, strict=True)]))

    def _images(self, fakes: Tensor, asked: Tensor | None, quick: bool) -> dict[str, Measurement]:
        levels = torch.cat([as_bytes(part) for part in fakes.split(CHUNK)])
        out: dict[str, Measurement] = {}
        labelled = self.data.channel_data is not None or (self.data.spec.classes or 0) > 1
        few = levels[: QUICK_SIDE if quick else SPLITS * self.side]
        if self.encoders:
            for ending in self.encoders:
                out |= self._against_reals(ending, self._embedded(ending, few), quick)
            return out | (self._stacked(levels[: QUICK_SIDE if quick else STACKED]) if self.data.channel_data else {})
        if labelled:
            out |= self._against_reals("", self._seen(few)[0], quick)
            if asked is not None:
                out["accuracy"] = self._accuracy(few, asked[: len(few)])
        if self.data.channel_data is not None:
            out |= self._stacked(levels[: QUICK_SIDE if quick else STACKED])
        return out | self._against_reals("_pixels" if labelled else "", _pixels(few), quick)

    def _accuracy(self, levels: Tensor, asked: Tensor) -> Measurement:
        classifier = self._trained(self.data)
        hits = int((classifier(_floats(levels)).classes == asked).sum())
        return _measured(wilson(hits, len(asked)), classifier.accuracy, len(asked))

    def _stacked(self, levels: Tensor) -> dict[str, Measurement]:
        classes = self._trained(self.data.channel_data).classes
        counts = self._mode_counts(levels, classes)
        n = len(levels)

        def real() -> NDArray[np.int64]:
            chunks = _drawn(self.data, n, seed_of("evaluation", self.seed, "modes"))
            return sum((self._mode_counts(chunk, classes) for chunk in chunks), np.zeros_like(counts))

        found = self._remembered("modes", n, lambda: float((real() > 0).sum()))
        kl = self._remembered("kl", n, lambda: kl_to_uniform(real()).value)
        return {
            "modes": Measurement(int((counts > 0).sum()), None, None, int(found), n),
            "kl": _measured(kl_to_uniform(counts), kl, n),
        }

    def _mode_counts(self, levels: Tensor, classes: int) -> NDArray[np.int64]:
        digits = self._seen(levels)[1]  # [N, channels]
        places = classes ** np.arange(digits.shape[1])[::-1]
        return np.bincount(digits @ places, minlength=classes ** digits.shape[1]).astype(np.int64)

    def _against_reals(self, ending: str, fakes: NDArray[np.floating], quick: bool) -> dict[str, Measurement]:
        """Fréchet distance, precision and recall, each the mean over random splits of the reals."""
        side = min(QUICK_SIDE, self.side) if quick else self.side
        m = self._side(side, len(fakes))
        count = QUICK_SPLITS if quick else SMALL_SPLITS if m <= QUICK_SIDE else SPLITS
        splits = [self._split(ending, s, m, side) for s in range(count)]
        starts = [s % (len(fakes) // m) * m for s in range(count)]  # other fakes each time, as far as they go
        parts = [fakes[start : start + m] for start in starts]
        rows = [self._numbers(part, real) for part, real in zip(parts, splits, strict=True)]
        out = {}
        for name in self.metrics:
            value, floor = (float(np.mean([row[name] for row in r])) for r in (rows, [s.floors for s in splits]))
            low, high = self._ends(name, value, parts[0], splits[0].against)
            out[f"{name}{ending}"] = Measurement(value, low, high, floor, m)
        return out

    def _numbers(self, fakes: NDArray[np.floating], real: Sides) -> dict[str, float]:
        """Each metric of one sample of fakes against one split's reals."""
        out: dict[str, float] = {}
        if "frechet" in self.metrics:
            out["frechet"] = frechet_between(gaussian(fakes, "the fakes"), real.gaussian)
        if "kid" in self.metrics:
            out["kid"] = kid(fakes, real.against).value
        if {"density", "coverage"} & set(self.metrics):
            found = precision_recall_density_coverage(fakes, real.against)
            return out | {name: getattr(found, name).value for name in ("precision", "recall", "density", "coverage")}
        if {"precision", "recall"} & set(self.metrics):
            shares = compare(manifold(fakes, centre=real.manifold.centre, name="the fakes"), real.manifold)
            out |= {"precision": shares.precision, "recall": shares.recall}
        return out

    def _ends(
        self, name: str, value: float, fakes: NDArray[np.floating], reals: NDArray[np.floating]
    ) -> tuple[float | None, float | None]:
        """A 95 % interval of one split, about the mean of all: they share fakes and reals."""
        m = len(fakes)
        if name in ("precision", "recall", "coverage"):
            share = wilson(round(value * m), m)
            return share.low, share.high
        if name == "frechet" and fakes.shape[1] <= JACKKNIFED and m >= 20:
            half = frechet_interval(fakes, reals)
            return max(value - (half.value - half.low), 0.0), value + (half.high - half.value)
        if name == "kid":
            half = kid(fakes, reals)
            return value - (half.value - half.low), value + (half.high - half.value)
        return None, None

    def check(self) -> None:
        """Raises ValueError where there are too few reals to measure against."""
        if self.data.law is None:
            self._side(self.side, self.side)

    def _side(self, side: int, fakes: int) -> int:
        size = self.data.size
        m = min(side, fakes, side if size is None else size // 2)
        if m < 5:
            raise ValueError(
                f"real against fake needs at least 5 samples a side, got {fakes} fakes and {size or 'endless'} reals "
                "(half of them a side); give more"
            )
        return m

    def _split(self, ending: str, index: int, m: int, side: int) -> Sides:
        key = (ending, index, m, side)
        if key not in self._splits:
            reals = self._real_features(ending, side)
            order = numpy_generator("evaluation", self.seed, "split", index).permutation(len(reals))
            against, stand_in = reals[order[:m]], reals[order[m : 2 * m]]
            real = Sides(against, gaussian(against), manifold(against), {})
            self._splits[key] = replace(real, floors=self._numbers(stand_in, real))
        return self._splits[key]

    def _real_features(self, ending: str, side: int) -> NDArray[np.floating]:
        """Features of up to 2 × `side` reals; classifier's and pixels' come from one reading of the images."""
        if (ending, side) not in self._features:
            data = self.data
            n = 2 * side if data.size is None else min(2 * side, data.size)
            seed = seed_of("evaluation", self.seed, "reals")
            if ending in self.encoders:
                parts = [self._embedded(ending, chunk) for chunk in _drawn(data, n, seed)]
                self._features[ending, side] = np.concatenate(parts)
            elif data.spec.kind == "points":
                self._features[ending, side] = data.examples(n, seed)["x"].double().numpy()
            else:
                labelled = data.channel_data is not None or (data.spec.classes or 0) > 1
                chunks = [(_pixels(c), self._seen(c)[0] if labelled else None) for c in _drawn(data, n, seed)]
                self._features["_pixels" if labelled else "", side] = np.concatenate([p for p, _ in chunks])
                if labelled:
                    self._features["", side] = np.concatenate([f for _, f in chunks if f is not None])
        return self._features[ending, side]

    def _embedded(self, ending: str, levels: Tensor) -> NDArray[np.floating]:
        return self.encoders[ending].encode(levels).features.numpy()

    def _seen(self, levels: Tensor) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Classifier's features [N, F] in float64 and classes [N, channels]; one channel but for stacked images."""
        stacked = self.data.channel_data is not None
        classifier = self._trained(self.data.channel_data if stacked else self.data)
        n, channels = len(levels), levels.shape[1] if stacked else 1
        seen = classifier(_floats(levels).reshape(n * channels, *classifier.shape))
        return seen.features.reshape(n, -1).double().numpy(), seen.classes.reshape(n, channels).numpy()

    def _trained(self, data: Data | ArrayData | None) -> Classifier:
        if self._classifier is None:
            assert data is not None
            classes = data.spec.classes
            assert classes is not None

            def build(folder: Path) -> None:
                n = TRAINED_ON if data.size is None else min(TRAINED_ON, data.size)
                examples = data.examples(n, seed_of("classifier", 0))
                train_classifier(examples["x"], examples["y"], classes).save(folder)

            folder = cached(self.cache / "classifiers", f"{data.fingerprint}-{VERSION}", build)
            self._classifier = Classifier.load(folder)
        return self._classifier

    def _remembered(self, name: str, n: int, compute: Callable[[], float]) -> float:
        """A floor that takes seconds: kept in this object, and on disk under the data's content, size and seed."""
        if (name, n) not in self._floors:
            key = f"{self.data.fingerprint}-{name}-{n}-{self.seed}-{SCORES}-{VERSION}"
            self._floors[name, n] = remembered(self.cache / "floors", key, compute)
        return self._floors[name, n]


def _checked(fakes: Tensor, data: Data, asked: Tensor | None) -> Tensor:
    if tuple(fakes.shape[1:]) != data.spec.shape:
        own, got = data.spec.shape, tuple(fakes.shape[1:])
        raise ValueError(f"fakes must be {own} as {data.spec.name} is, got {got}; resize them")
    if len(fakes) < 2:
        raise ValueError(f"an evaluation needs at least 2 fakes, got {len(fakes)}; sample more")
    if asked is not None and asked.shape != fakes.shape[:1]:
        raise ValueError(f"there must be one asked class a fake, got {tuple(asked.shape)} for {len(fakes)} fakes")
    fakes = fakes.detach().cpu()
    if not fakes.is_floating_point():
        raise ValueError(f"fakes must be floats, got {fakes.dtype}; convert bytes by x / 127.5 - 1")
    bad = ~torch.isfinite(fakes).flatten(1).all(1)
    if bad.any():
        raise ValueError(f"fakes must be finite, got NaN or infinity in {int(bad.sum())} of {len(fakes)}; train anew")
    return fakes


def _floats(levels: Tensor) -> Tensor:
    return levels.float().div_(127.5).sub_(1)


def _pixels(levels: Tensor) -> NDArray[np.floating]:
    """Pixel features [N, D], D <= 1,024, in [-1, 1]: larger images are averaged over areas."""
    network = Pixels((levels.shape[1], levels.shape[2], levels.shape[3]))
    return torch.cat([network(_floats(part))[0] for part in levels.split(CHUNK)]).numpy()


def _drawn(data: Data, n: int, seed: int) -> Iterator[Tensor]:
    """`n` reals in chunks of levels, so that large images are never all floats at once; distinct if the data has n."""
    for i in range(0, n, CHUNK):
        yield as_bytes(data.batch(seed, i, min(i + CHUNK, n), torch.device("cpu"))["x"])


def _measured(interval: Interval, floor: float, n: int) -> Measurement:
    return Measurement(interval.value, interval.low, interval.high, floor, n)
