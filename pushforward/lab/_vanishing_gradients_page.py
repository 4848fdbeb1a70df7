"""The page of vanishing gradients: perfect critics, two losses' gradients, ratios of white noise, and remedies."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.report.charts import Figure, axes, curve, dots, plane

COLOURS = {
    "noise": "@c0",
    "WGAN, penalty": "@c2",
    "WGAN, spectral": "@c3",
    "minimax, R1": "@c1",
    "least squares": "@c4",
    "hinge": "@c5",
}
Floats = NDArray[Any]


@dataclass(frozen=True)
class Watched:
    """A critic's training on the generator of so many rounds, at each watched step: its accuracy, loss and bound on
    JS, the norms of the generator's gradient under its own loss and under −log D, the mean slope at fakes, and
    Theorem 2.4's bound."""

    rounds: int
    steps: Floats
    accuracy: Floats
    loss: Floats
    js: Floats
    own: Floats
    other: Floats
    slope: Floats
    bound: Floats


@dataclass(frozen=True)
class Seen:
    """What was computed, in the plane of the first harmonic: the data [n, 2], and what the generator made [n, 2] after
    each number of rounds. watched: minimax critics of the three; remedied: by name, those of the middle one; noised:
    the norm of the gradient through the best critic under noise; cauchy: by the number of latents averaged, gradients
    of one weight in their scale."""

    data: Floats
    made: dict[int, Floats]
    watched: list[Watched]
    remedied: dict[str, Watched]
    noised: float
    cauchy: dict[int, Floats]


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "The better the critic, the less it tells the generator",
        "Laws on thin supports can be told apart without error. A critic trained to the end does so; then the gradient "
        "of the minimax loss vanishes and that of −log D is the ratio of two errors. Noise on the examples, or a "
        "critic that may not grow steep, keeps the gradient alive.",
        numbers,
        (
            _curves(seen),
            _perfect(seen),
            _gradients(seen),
            _tails(seen.cauchy),
            _remedies(seen),
        ),
        (
            "Arjovsky & Bottou 2017, arXiv:1701.04862, Theorems 2.1 to 2.6 and Section 3.",
            "Gulrajani et al. 2017, arXiv:1704.00028, Proposition 1; Miyato et al. 2018, arXiv:1802.05957.",
            "Mescheder et al. 2018, arXiv:1801.04406 (R1); Mao et al. 2017, arXiv:1611.04076 (least squares).",
        ),
    )


def _named(rounds: int) -> str:
    return f"{rounds:,} rounds"


def _curves(seen: Seen) -> Part:
    x, y = seen.data.T
    traces = [curve(x, y, "data", "@ink", width=2)]
    traces += [dots(made, _named(rounds), f"@c{i}", 4) for i, (rounds, made) in enumerate(seen.made.items())]
    return Part(
        "A curve and a surface in sixteen dimensions",
        "The data lies on a closed curve, the generator's two latents make a surface, and there are sixteen dimensions "
        "to miss each other in. Seen in one plane, the third generator is already near the data. In the other fourteen "
        "dimensions it is beside it, and that is all that a critic needs.\n\n"
        "Each of the three generators is frozen here, and a fresh critic is trained on it.",
        (
            Chart(
                "Data and three frozen generators, in one of eight planes",
                {"data": traces, "layout": plane((-2.8, 2.8, -2.2, 2.2), "first harmonic, cosine", "sine")},
                "A closed curve, and three clouds of points that come nearer to it the longer the GAN was trained",
                tall=True,
                wide=True,
            ),
        ),
        ("x(t) = R Σ_k (cos kt, sin kt)/k,   k = 1 … 8,   R a rotation of 16 dimensions",),
    )


def _over_steps(watched: list[Watched], what: Callable[[Watched], Floats]) -> list[Figure]:
    """A curve for each stage; step 0 is drawn at ½, as the axis is logarithmic."""
    return [curve(np.maximum(w.steps, 0.5), what(w), _named(w.rounds), f"@c{i}") for i, w in enumerate(watched)]


def _axes(y: str, log: bool = False) -> Figure:
    layout = axes("steps of the critic", y, xlog=True, ylog=log)
    places = (0.5, 1, 3, 10, 30, 100, 300, 1000, 3000)
    layout["xaxis"] |= {"tickvals": places, "ticktext": ["0", *(f"{n:,}" for n in places[1:])]}
    return layout


def _perfect(seen: Seen) -> Part:
    accuracy = {"data": _over_steps(seen.watched, lambda w: w.accuracy), "layout": _axes("accuracy")}
    loss = {"data": _over_steps(seen.watched, lambda w: w.loss), "layout": _axes("critic's loss", log=True)}
    wrong = 1 - min(float(w.accuracy[-1]) for w in seen.watched)
    ends = f"with {100 * wrong:.1f} % of errors at most" if wrong > 0 else "without an error"
    return Part(
        "The critic becomes perfect",
        f"On examples that it never saw, the critic ends {ends} on all three generators; the best of them "
        "only makes it take longer. Its loss, 2 log 2 where it knows nothing, goes to 0, and with it the bound on "
        "Jensen–Shannon goes to log 2, whether the generator is good or bad.",
        (
            Chart("Accuracy on fresh examples", accuracy, "Three curves that rise from a half to 1"),
            Chart("The critic's loss", loss, "Three curves that fall by orders of magnitude on logarithmic axes"),
        ),
        ("loss = −E log D(x) − E log(1 − D(G(z))) ≥ 2 log 2 − 2 JS = 0",),
    )


def _gradients(seen: Seen) -> Part:
    dashed = [
        {**trace, "line": {**trace["line"], "dash": "dash", "width": 1.5}, "showlegend": False}
        for trace in _over_steps(seen.watched, lambda w: w.bound)
    ]
    layout = _axes("norm of the gradient", log=True)
    own = {"data": [*_over_steps(seen.watched, lambda w: w.own), *dashed], "layout": layout}
    other = {"data": _over_steps(seen.watched, lambda w: w.other), "layout": layout}
    return Part(
        "One loss vanishes, the other explodes",
        "The norm of the gradient that reaches the generator's parameters. Under minimax it rises while the critic "
        "learns where the data is, and then falls as fast as the critic's doubt does. Dashed is Theorem 2.4: once D is "
        "within ε of the perfect critic, in value and slope, the norm is at most M ε/(1 − ε), M² being the mean "
        "squared norm of the generator's Jacobian. It is computed here, and it says nothing before ε is below 1.\n\n"
        "With −log D the doubt is divided away. What is left is the slope of the logits, which has no reason to stop: "
        "the norm grows with every step of a critic that has long been right.",
        (
            Chart(
                "Under minimax, with Theorem 2.4's bound dashed",
                own,
                "Three curves that rise, then fall by orders of magnitude, each below its dashed bound",
            ),
            Chart("Under −log D", other, "Three curves that grow by one to two orders of magnitude"),
        ),
        ("‖∇_θ E log(1 − D(G(z)))‖ ≤ M ε/(1 − ε),   M² = E‖∂G(z)/∂θ‖²,   ε = sup |D − D*| + ‖∇D − ∇D*‖",),
    )


def _tails(cauchy: dict[int, Floats]) -> Part:
    t = np.geomspace(0.1, 300, 120)
    data = [
        curve(t, np.where((p := (np.abs(v)[:, None] > t).mean(0)) > 0, p, np.nan), f"mean of {n}", f"@c{i}")
        for i, (n, v) in enumerate(cauchy.items())
    ]
    theory = curve(t, 1 - 2 / math.pi * np.arctan(t), "Cauchy", "@ink", width=1.5, dash="dash")
    normal = [math.erfc(0.4769 * s) for s in t.tolist()]  # of the same quartiles
    gauss = curve(t, np.where(np.array(normal) > 1e-4, normal, np.nan), "normal", "@soft", width=1.5, dash="dot")
    layout = axes("size of the gradient, in its scale", "share beyond", xlog=True, ylog=True)
    return Part(
        "Errors divided by errors",
        "On the fakes the perfect critic is 0 and so is its slope, so that ∇ log D is one error divided by another. "
        "Theorem 2.6 takes both errors to be white noise. Here is the law of one weight's gradient then, with the "
        "middle generator's own Jacobian: it is Cauchy, without mean or variance.\n\n"
        "A batch of 256 does not help: the mean of Cauchy draws has the law of one. A trained critic's errors are not "
        "white, so its gradients are tamer than these; but nothing bounds them.",
        (
            Chart(
                "How often one weight's gradient is large",
                {"data": [*data, theory, gauss], "layout": layout},
                "Three curves on the Cauchy law's, which falls as 1/t, far above the normal law's",
                wide=True,
            ),
        ),
        ("E_z[−∇ log D(G(z))] = −E_z[J r/ε],   P(|g| > t) = 1 − (2/π) arctan t",),
    )


def _remedies(seen: Seen) -> Part:
    minimax = seen.watched[1]
    drawn = next(iter(seen.remedied.values())).steps
    last, steps = float(drawn[-1]), np.maximum(drawn, 0.5)
    kept = minimax.steps <= last
    norms = [curve(np.maximum(minimax.steps, 0.5)[kept], minimax.own[kept], "minimax", "@ink", dash="dash")]
    slopes = []
    for name, colour in COLOURS.items():
        norms.append(curve(steps, seen.remedied[name].own, name, colour))
        slopes.append(curve(steps, seen.remedied[name].slope, name, colour))
    ends = [steps[-1] / 8, last]
    best = curve(ends, np.full(2, seen.noised), "noise, best critic", "@soft", width=1.5, dash="dot")
    slopes.append(curve([0.5, last], [1, 1], "slope 1", "@soft", width=1.5, dash="dash"))
    return Part(
        "What keeps a gradient alive",
        "Fresh critics on the middle generator, each with a remedy; the norm is of the gradient under the generator's "
        "own loss, so that heights of different losses compare only with themselves. What counts is that they level "
        "off where minimax, dashed, falls.\n\n"
        "Noise on data and fakes alike makes the laws overlap, and there is no perfect critic to become: the best one "
        "is known, as both laws are mixtures of Gaussians, and gives the dotted line. The penalty and spectral "
        "normalisation keep the slope near 1 and at most 1. R1 charges for slopes at the data.\n\n"
        "Least squares and hinge saturate no sigmoid, and their critics stop once targets or margins are met. But "
        "nothing bounds their slope, and they are no way out in theory: the best critics' losses are, but for "
        "constants, a Pearson χ² from the mixture of both laws and total variation, which are as constant on disjoint "
        "supports as Jensen–Shannon, and a perfect critic that is flat on both is among the best. "
        "That they level off is what this run shows, and no more.",
        (
            Chart(
                "The generator's gradient with each remedy",
                {"data": [*norms, best], "layout": _axes("norm", log=True)},
                "Minimax falls by orders of magnitude, the six remedies level off",
                wide=True,
            ),
            Chart(
                "The critic's mean slope at the fakes",
                {"data": slopes, "layout": _axes("E‖∇D(G(z))‖", log=True)},
                "Wasserstein critics stay at or below slope 1, hinge and noise grow above",
                wide=True,
            ),
        ),
    )
