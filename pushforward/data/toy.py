"""Laws of the plane with known densities: mixtures of Gaussians, and curves with Gaussian noise around them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pushforward.data.catalogue import CATALOGUE, Options
from pushforward.data.source import StreamData, digest
from pushforward.data.spec import DataSpec

Floats = NDArray[np.float64]

CHUNK = 2**22  # distances held at once


@dataclass(frozen=True)
class Law(ABC):
    """A density in the plane, in its own units.

    sigma: standard deviation of the noise, each coordinate. scale: own units in one unit of the networks, for which
    the coordinates have about unit spread.
    """

    name: str
    sigma: float
    scale: float

    @property
    def summary(self) -> str:
        return CATALOGUE[self.name].summary

    @property
    def classes(self) -> int | None:
        """Number of labels that `sample` gives, or None."""
        return None

    @property
    def centres(self) -> Floats | None:
        """Modes [K, 2], where the law has them."""
        return None

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, NDArray[np.int64] | None]:
        """`n` points [n, 2], and their labels [n] or None."""

    @abstractmethod
    def log_density(self, x: Floats) -> Floats:
        """log p(x) [n] at points [n, 2]."""

    @abstractmethod
    def distance(self, x: Floats) -> Floats:
        """Euclidean distance [n] of points [n, 2] to the nearest point of the law without its noise."""

    def to_model(self, x: Floats) -> NDArray[np.float32]:
        """Points in the law's units to what the networks see."""
        return (x / self.scale).astype(np.float32)

    def from_model(self, x: NDArray[np.floating]) -> Floats:
        """What the networks see, or make, to points in the law's units."""
        return np.asarray(x, np.float64) * self.scale

    @property
    def fingerprint(self) -> str:
        """Digest of the law itself: its name, parameters, and the first points of one stream."""
        x, _ = self.sample(np.random.default_rng(0), 64)
        # Rounded: the last bits of cos and sin differ between machines, the law does not.
        return digest(self.name, repr((self.sigma, self.scale)), np.round(x, 9))


@dataclass(frozen=True)
class Mixture(Law):
    """Equal Gaussians around `means`; the label is the index of the mean."""

    means: tuple[tuple[float, float], ...]

    @property
    def classes(self) -> int:
        return len(self.means)

    @property
    def centres(self) -> Floats:
        return np.array(self.means)

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, NDArray[np.int64]]:
        label = rng.integers(len(self.means), size=n)
        return self.centres[label] + self.sigma * rng.standard_normal((n, 2)), label

    def log_density(self, x: Floats) -> Floats:
        weights = np.full(len(self.means), 1 / len(self.means))
        return _log_mixture(x, self.centres, weights, self.sigma)

    def distance(self, x: Floats) -> Floats:
        return np.sqrt(_squared_distances(np.asarray(x, np.float64), self.centres).min(axis=1))


@dataclass(frozen=True)
class Curve(Law):
    """Gaussian noise around curves γ(θ), each as likely; θ = a + (b − a) u^(1/power) with u uniform on [0, 1].

    The density is ∫ N(x; γ(θ), σ²) p(θ) dθ by Gauss–Legendre quadrature on panels of at most 2σ: exact to about 1e-9.
    labelled: the label is the index of the curve.
    """

    curves: tuple[Callable[[Floats], Floats], ...]  # angles [n] -> points [n, 2]
    angles: tuple[float, float]
    power: int = 1
    labelled: bool = False

    @property
    def classes(self) -> int | None:
        return len(self.curves) if self.labelled else None

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, NDArray[np.int64] | None]:
        which = rng.integers(len(self.curves), size=n)
        a, b = self.angles
        theta = a + (b - a) * rng.random(n) ** (1 / self.power)
        x = np.empty((n, 2))
        for i, curve in enumerate(self.curves):
            x[which == i] = curve(theta[which == i])
        return x + self.sigma * rng.standard_normal((n, 2)), which if self.labelled else None

    def log_density(self, x: Floats) -> Floats:
        a, b = self.angles
        fine = np.linspace(a, b, 2049)
        length = max(float(np.hypot(*np.diff(curve(fine), axis=0).T).max()) for curve in self.curves) * 2048
        panels = math.ceil(length / (2 * self.sigma))
        t, w = np.polynomial.legendre.leggauss(8)
        v = ((np.arange(panels)[:, None] + (t + 1) / 2) / panels).ravel()
        weights = np.tile(w / 2 / panels, panels) * self.power * v ** (self.power - 1) / len(self.curves)
        nodes = np.concatenate([curve(a + (b - a) * v) for curve in self.curves])
        return _log_mixture(x, nodes, np.tile(weights, len(self.curves)), self.sigma)

    def distance(self, x: Floats) -> Floats:
        from scipy.spatial import KDTree

        x = np.asarray(x, np.float64)
        nearest = np.full(len(x), np.inf)
        for curve in self.curves:
            line = curve(np.linspace(*self.angles, 8193))
            _, at = KDTree(line).query(x)
            for step in (-1, 0):  # the segments before and after the nearest vertex
                begin = np.clip(at + step, 0, len(line) - 2)
                p, d = line[begin], line[begin + 1] - line[begin]
                along = np.clip(((x - p) * d).sum(axis=1) / (d * d).sum(axis=1), 0, 1)
                nearest = np.minimum(nearest, np.hypot(*(x - p - along[:, None] * d).T))
        return nearest


def load(name: str, options: Options) -> StreamData:
    """The law called `name` as an endless stream. Raises ValueError if images are asked of it."""
    for option in ("resolution", "channels"):
        if getattr(options, option) is not None:
            raise ValueError(f"{name} has points of the plane, not images: leave {option} out")
    law = law_named(name)
    spec = DataSpec(name, "points", (2,), law.classes)
    labels = None if law.classes is None else tuple(str(i) for i in range(law.classes))

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        x, label = law.sample(rng, n)
        return law.to_model(x), label

    return StreamData(spec, draw, law.fingerprint, labels, law=law)


def law_named(name: str) -> Law:
    """A law of the catalogue."""
    if name == "ring8":
        ring = tuple((2 * math.cos(k * math.pi / 4), 2 * math.sin(k * math.pi / 4)) for k in range(8))
        return Mixture(name, sigma=0.02, scale=math.sqrt(2), means=ring)
    if name == "grid25":
        grid = tuple((-4.0 + 2 * i, -4.0 + 2 * j) for i in range(5) for j in range(5))
        return Mixture(name, sigma=0.05, scale=math.sqrt(8), means=grid)
    if name == "spiral":
        return Curve(name, sigma=0.1, scale=2.0, curves=(_arm, _opposite_arm), angles=(0, 3 * math.pi), power=2)
    if name == "swissroll":
        return Curve(name, sigma=0.05, scale=0.68, curves=(_roll,), angles=(1.5 * math.pi, 4.5 * math.pi))
    if name == "moons":
        return Curve(name, 0.05, scale=0.7, curves=(_moon, _lower_moon), angles=(0, math.pi), labelled=True)
    raise ValueError(f"{name!r} is not a law of the plane")


def _polar(radius: Floats, theta: Floats) -> Floats:
    return np.stack([radius * np.cos(theta), radius * np.sin(theta)], axis=1)


def _arm(theta: Floats) -> Floats:
    return _polar(theta * (4 / (3 * math.pi)), theta)


def _opposite_arm(theta: Floats) -> Floats:
    return -_arm(theta)


def _roll(theta: Floats) -> Floats:
    return _polar(theta / 10, theta)


def _moon(theta: Floats) -> Floats:
    return _polar(np.ones_like(theta), theta) - np.array([0.5, 0.25])


def _lower_moon(theta: Floats) -> Floats:
    return -_moon(theta)


def _squared_distances(x: Floats, nodes: Floats) -> Floats:
    return (x[:, None, 0] - nodes[:, 0]) ** 2 + (x[:, None, 1] - nodes[:, 1]) ** 2  # [n, K]


def _log_mixture(x: Floats, nodes: Floats, weights: Floats, sigma: float) -> Floats:
    """log Σ_k w_k N(x; node_k, σ² I) [n], in chunks."""
    x, logs = np.asarray(x, np.float64), np.log(weights)
    out = np.empty(len(x))
    rows = max(CHUNK // len(nodes), 1)
    for i in range(0, len(x), rows):
        e = logs - _squared_distances(x[i : i + rows], nodes) / (2 * sigma**2)
        top = e.max(axis=1)
        out[i : i + rows] = top + np.log(np.exp(e - top[:, None]).sum(axis=1))
    return out - math.log(2 * math.pi * sigma**2)
