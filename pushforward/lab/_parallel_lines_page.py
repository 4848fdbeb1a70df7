"""The page of parallel lines: what each distance says of θ, critics from the data to the fakes, and ways down to 0."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.report.charts import Figure, axes, curve

LOG2 = math.log(2)
COLOURS = {
    "minimax": "@c0",
    "−log D": "@c1",
    "WGAN, penalty": "@c2",
    "WGAN, spectral": "@c3",
    "WGAN, clipping": "@c4",
}
Floats = NDArray[Any]


@dataclass(frozen=True)
class Bounds:
    """A critic's variational bounds at distance θ on fresh points, after each of `steps` of its steps."""

    theta: float
    steps: Floats
    js: Floats
    tv: Floats


@dataclass(frozen=True)
class Noised:
    """Over θ [T]: JS by the noise's σ; and of noise `sigma`, d/dθ of the minimax and −log D losses [T, 2]."""

    theta: Floats
    js: dict[float, Floats]
    sigma: float
    measured: Floats
    exact: Floats


@dataclass(frozen=True)
class Descent:
    """θ [steps + 1] and its gradient [steps]; of a critic also what it says over `Seen.grid` before θ moved, σ(D) or
    1 + D(x) − D(0), and Theorem 2.4's ε [steps]."""

    theta: Floats
    gradient: Floats
    profile: Floats = field(default_factory=lambda: np.empty(0))
    errors: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Fit:
    """Of a loss without a critic: values at `Seen.places` and the closed form at `Seen.fine`; the descent, and the way
    of θ [steps + 1] down the closed form."""

    values: Floats
    exact: Floats
    descent: Descent
    way: Floats


@dataclass(frozen=True)
class Seen:
    """What was computed. transport: θ, and W₁ between samples; by their names: descents through critics, and fits of
    losses without one; way: θ's down W₁ itself."""

    transport: tuple[Floats, Floats]
    near: list[Bounds]
    noised: Noised
    grid: Floats
    played: dict[str, Descent]
    way: Floats
    places: Floats
    fine: Floats
    fits: dict[str, Fit]


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "Two lines that never meet: log 2 at every distance, or the distance",
        "Where supports do not meet, Jensen–Shannon, total variation and KL are constant, and a perfect critic gives "
        "their gradient: none. Optimal transport, its approximations, and any critic that may not be steep say how far "
        "away the data is, and gradient descent arrives.",
        numbers,
        (_distances(seen), _critics(seen), _noise(seen.noised), _learning(seen), _samples(seen)),
        (
            "Arjovsky, Chintala & Bottou 2017, arXiv:1701.07875, Example 1 and Theorem 2.",
            "Arjovsky & Bottou 2017, arXiv:1701.04862, Theorems 2.4 and 2.5, and Section 3 (noise).",
            "Gulrajani et al. 2017, arXiv:1704.00028; Miyato et al. 2018, arXiv:1802.05957.",
            "Feydy et al. 2019, arXiv:1810.08278; Gretton et al. 2012, JMLR 13.",
            "Shepp 1982, Ann. Probab. 10, p. 234 (the law of ∫|B| for a Brownian bridge B).",
        ),
    )


def _distances(seen: Seen) -> Part:
    (theta, w1), near = seen.transport, seen.near
    places = np.array([b.theta for b in near])
    left, right = np.array([-1.5, -0.02]), np.array([0.02, 1.5])
    flat = [
        curve(side, np.full(2, level), "", "@soft", width=1.5, dash="dash", shown=False)
        for level in (LOG2, 1.0)
        for side in (left, right)
    ]
    data = [
        curve(theta, np.abs(theta), "theory: |θ|, log 2, 1", "@soft", width=1.5, dash="dash"),
        *flat,
        _marks(theta, w1, "W₁ of samples", "@c2", 6),
        _marks(places, [b.js[-5:].mean() for b in near], "JS, trained critic", "@c0", 9),
        _marks(places, [b.tv[-5:].mean() for b in near], "TV, same critic", "@c1", 9),
        _marks(np.zeros(2), [0, 0], "JS = TV = 0 at θ = 0", "@ink", 7),
    ]
    return Part(
        "What each distance says of θ",
        "Look at the two flat lines. For every θ but 0 the lines have no point in common: Jensen–Shannon is log 2, "
        "total variation is 1, both KL divergences are infinite. A generator that is off by a hair looks as bad as one "
        "that is off by a mile, and none of these has a slope that leads home.\n\n"
        "W₁ is |θ|, what it costs to carry one line onto the other: continuous, with a slope that points to the data.",
        (
            Chart(
                "Jensen–Shannon and total variation are flat, transport is not",
                {"data": data, "layout": axes("θ", "distance")},
                "A V of slope 1 for Wasserstein, and flat lines at log 2 and 1 with a hole at 0",
                wide=True,
            ),
        ),
        ("W₁(P, Q_θ) = |θ|,   JS = log 2,   TV = 1,   KL(P‖Q_θ) = KL(Q_θ‖P) = ∞   for θ ≠ 0;   all are 0 at θ = 0",),
    )


def _marks(x: object, y: object, name: str, colour: str, size: float) -> Figure:
    return {**curve(x, y, name, colour), "mode": "markers", "marker": {"color": colour, "size": size}}


def _critics(seen: Seen) -> Part:
    near, played = seen.near, seen.played
    learned = [curve(b.steps, b.js, f"θ = {b.theta:g}", f"@c{i}") for i, b in enumerate(near)]
    ends = near[0].steps[[0, -1]]
    bound = {
        "data": [*learned, curve(ends, np.full(2, LOG2), "log 2", "@soft", width=1.5, dash="dash")],
        "layout": axes("steps of the critic", "E_P[T] − E_Q[f*(T)]"),
    }
    labels = {"minimax": "σ(D), minimax", **{name: name for name in played if name.startswith("WGAN")}}
    said = [
        curve([0, 1], [1, 0], "slope −1", "@soft", width=1.5, dash="dash"),
        *(curve(seen.grid, played[name].profile, label, COLOURS[name]) for name, label in labels.items()),
    ]
    return Part(
        "A critic finds it out",
        "On the left, the variational bound that a critic reaches, measured on points that it never saw. The nearer "
        "the lines, the longer it takes, but it ends at log 2: what looks like a smooth loss early on is only a critic "
        "that has not been trained enough.\n\n"
        "On the right, what critics look like once trained, with the data at x = 0. The minimax one says 1 at the data "
        "and 0 at the fakes, and is flat at both: that is the perfect critic, and a generator there feels nothing. A "
        "critic that may not be steeper than 1 has to slope all the way. The penalty leaves it slightly steeper, "
        "1 + θ/2λ; weight clipping has slope 1 at most as the weights' limit is width^(−2/3), with three layers.",
        (
            Chart(
                "The bound goes to log 2 however near the lines",
                bound,
                "Three curves that rise to the dashed line at log 2, the latest where the lines are nearest",
            ),
            Chart(
                "Perfect, or not steep: critics from the data to the fakes",
                {"data": said, "layout": axes("x, data at 0", "σ(D), or 1 + D(x) − D(0)")},
                "A step that is flat at both ends for minimax, straight lines of slope near −1 for Wasserstein critics",
            ),
        ),
        ("JS(P‖Q) ≥ E_P[T] − E_Q[f*(T)],   T = (log 2 + log σ(D)) / 2",),
    )


def _noise(noised: Noised) -> Part:
    theta = noised.theta
    curves = [curve(theta, js, f"σ = {sigma:g}", f"@c{i}") for i, (sigma, js) in enumerate(noised.js.items())]
    flat = curve(theta[[0, -1]], np.full(2, LOG2), "log 2", "@soft", width=1.5, dash="dash")
    lines = []
    for i, (name, colour) in enumerate((("minimax", "@c0"), ("−log D", "@c1"))):
        lines.append(curve(theta, noised.measured[:, i], name, colour))
        dotted = {"width": 1.5, "dash": "dot", "shown": i > 0}
        lines.append(curve(theta, noised.exact[:, i], "Theorem 2.5" if i else "", "@ink", **dotted))
    return Part(
        "What noise does",
        "Add N(0, σ²I) to both laws, and they meet everywhere. Jensen–Shannon becomes smooth, near 0 a parabola of "
        "curvature 1/4σ², and it has a slope as far as the noise reaches: some 5 σ, "
        "where it is a tenth of its steepest. Beyond, it is flat again.\n\n"
        "The generator's gradient through the best critic, which is known here, p/(p + q), is on the right. Minimax's "
        "is that of 2 JS and dies with distance. That of −log D is the gradient of KL(Q‖P) − 2 JS: it grows with "
        "distance, and as 1/σ² as the noise is taken away. One vanishes, the other explodes.",
        (
            Chart(
                "Jensen–Shannon after noise of deviation σ",
                {"data": [*curves, flat], "layout": axes("θ", "JS")},
                "Curves that rise from 0 to log 2, the more slowly the larger the noise",
            ),
            Chart(
                f"The generator's gradient at the best critic, σ = {noised.sigma:g}",
                {"data": lines, "layout": axes("θ", "dL/dθ")},
                "A hump that dies for minimax; a line that keeps rising for minus log D; both on the theory's curves",
            ),
        ),
        (
            "JS(P * N, Q_θ * N) = θ²/8σ² + …",
            "E_q[−∇ log(1 − D*)] = −∇ 2 JS,   E_q[−∇ log D*] = ∇ [KL(Q‖P) − 2 JS]",
        ),
    )


def _learning(seen: Seen) -> Part:
    steps, start = np.arange(len(seen.way)), float(seen.way[0])
    paths = [curve(steps, seen.played[name].theta, name, colour) for name, colour in COLOURS.items()]
    layout = axes("step of θ", "θ")
    layout["yaxis"]["range"] = [-1.3 * start, 1.5 * start]
    sizes = []
    for name, colour in COLOURS.items():
        size = np.abs(seen.played[name].gradient)
        # An underflowed gradient is a gap on a logarithmic axis.
        sizes.append(curve(steps[:-1], np.where(size > 0, size, np.nan), name, colour))
    exact = curve(steps, seen.way, "exact W₁", "@ink", width=1.5, dash="dash")
    return Part(
        "Learning θ through a critic",
        f"Plain gradient descent on θ from {start:g}, the same rates for all, each step through a critic that has "
        "been trained on where θ stands. Minimax never leaves: its critic is perfect and its gradient is "
        "below a thousandth, and falling. The trick of −log D trades this for steps whose size is that of the critic's "
        "own slope, which knows nothing of the distance: θ is thrown across the data again and again.\n\n"
        "The three Wasserstein critics give a slope near 1 until they arrive. There |θ| has a kink, the critic must "
        "turn round, and θ swings about 0 until the rate is small. Weight clipping is the clumsiest of the three: its "
        "slope is a product of weights that must all cross 0 to turn.",
        (
            Chart(
                "θ through five critics",
                {"data": [*paths, exact], "layout": layout},
                "Minimax stays at the start, minus log D jumps about, three Wasserstein critics come to 0",
                wide=True,
            ),
            Chart(
                "The size of the gradient that θ is given",
                {"data": sizes, "layout": axes("step of θ", "|dL/dθ|", ylog=True)},
                "Minimax lies orders of magnitude below, minus log D far above, Wasserstein critics at 1 until the end",
                wide=True,
            ),
        ),
        ("θ ← θ − rate · dL_G/dθ",),
    )


def _samples(seen: Seen) -> Part:
    landscapes, paths = [], []
    for i, (name, fit) in enumerate(seen.fits.items()):
        dashed = {"name": "closed form", "colour": "@soft", "width": 1.5, "dash": "dash", "shown": i == 0}
        steps = np.arange(len(fit.way))
        landscapes += [_marks(seen.places, fit.values, name, f"@c{i}", 5), curve(seen.fine, fit.exact, **dashed)]
        paths += [curve(steps, fit.descent.theta, name, f"@c{i}"), curve(steps, fit.way, **dashed)]
    layout = axes("θ", "loss")
    layout["yaxis"]["range"] = [-0.1, 2.3]
    return Part(
        "Learning θ without a critic",
        "Losses of the two samples themselves. Sinkhorn's divergence with quadratic cost is θ² for every ε, for a "
        "shift adds its square to each plan's cost; the sliced cost is θ²/2, the mean of ⟨direction, shift⟩². Both "
        "slope wherever θ is.\n\n"
        "A Gaussian MMD sees as far as its bandwidth h. At h = 0.5 it arrives first; at h = 0.1 its slope at θ = 1 is "
        "of the order e^−50, and it stays where it is: a kernel too narrow is as blind as Jensen–Shannon.",
        (
            Chart(
                "Four losses of samples, as functions of θ",
                {"data": landscapes, "layout": layout},
                "Two parabolas, a wide well and a narrow one with flat sides; measured points lie on the closed forms",
            ),
            Chart(
                "θ by gradient descent on each",
                {"data": paths, "layout": axes("step of θ", "θ")},
                "Three curves fall to 0 along their closed forms; that of the narrow kernel stays at the start",
            ),
        ),
        ("S_ε = θ²,   SW₂² = θ²/2,   MMD² = 2 E k(u, u′) (1 − exp(−θ²/2h²))",),
    )
