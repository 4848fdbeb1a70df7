"""The page of the optimal critic: learned critics beside p/(p + q), their scores, and where they err."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._two_laws import P, Q, log_ratio
from pushforward.objectives.divergence import gan
from pushforward.report.charts import Figure, axes, curve, decades, dots, heat, plane
from pushforward.report.text import number

LEAST = -math.log(4)  # the score for equal laws


@dataclass(frozen=True)
class Line:
    """A critic of two laws of the line. logits: on the grid; values: E_P log D + E_Q log(1 − D) after these steps."""

    logits: Tensor
    steps: np.ndarray
    values: np.ndarray
    net: nn.Module

    @property
    def value(self) -> float:
        return float(self.values[-1])


@dataclass(frozen=True)
class Told:
    """Fresh draws in bins of D: the mean of D, the share that is of P, its standard error, and how many; all [bins]."""

    said: np.ndarray
    share: np.ndarray
    error: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Plane:
    """D and p/(p + q) at places [cells] along each axis: [cells, cells]; D's score, and the best one."""

    line: np.ndarray
    learned: np.ndarray
    star: np.ndarray
    value: float
    best: float


@dataclass(frozen=True)
class Seen:
    """What was computed. x: the grid of the line; apart: the critic of P and Q; best: their 2 JS − log 4.

    moved: by the distance of two normal laws, a critic of them; distances, optima: 2 JS − log 4 over the distance;
    far: of draws of either law, one in 2,000 is farther from 0.
    """

    x: Tensor
    apart: Line
    best: float
    moved: dict[float, Line]
    distances: np.ndarray
    optima: np.ndarray
    told: Told
    far: float
    plane: Plane


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "The best critic is p/(p + q), and its score is a divergence",
        "A network that is trained to tell draws of P from draws of Q ends as a formula in their densities, which it "
        "never saw. Its score at the end is 2 JS(P, Q) − log 4, so that a generator that fools it lowers JS.",
        numbers,
        (_curves(seen), _values(seen), _calibration(seen.told), _rare(seen), _heats(seen.plane)),
        ("Goodfellow et al. 2014, Generative adversarial nets, arXiv:1406.2661, Proposition 1 and Theorem 1.",),
    )


def _curves(seen: Seen) -> Part:
    near = seen.x.abs() <= 6
    x, logits = seen.x[near], seen.apart.logits[near]
    layout = axes("x", "D(x), and densities")
    layout["yaxis"]["range"] = [0, 1]
    main = [
        curve(x.numpy(), P.prob(x).numpy(), "p", "@c1/0.7", width=1.5),
        curve(x.numpy(), Q.prob(x).numpy(), "q", "@c2/0.7", width=1.5),
        curve(x.numpy(), torch.sigmoid(logits).numpy(), "D, learned", "@c0", width=2.6),
        curve(x.numpy(), torch.sigmoid(log_ratio(x)).numpy(), "p/(p + q)", "@ink", width=1.6, dash="dash"),
    ]
    ratio = [
        curve(x.numpy(), gan.ratio(logits).numpy(), "D/(1 − D), learned", "@c0", width=2.2),
        curve(x.numpy(), log_ratio(x).exp().numpy(), "p/q", "@ink", width=1.6, dash="dash"),
    ]
    return Part(
        "A network becomes a formula",
        "Look at how the learned D follows p/(p + q), up where P is the denser law and down where Q is. The network "
        "saw draws with a label each, and never a density.\n\n"
        "Why this curve: at each x, a share p of what falls there asks for a high D, by log D, and a share q for a low "
        "one, by log(1 − D). The sum p log D + q log(1 − D) is largest at D = p/(p + q), whatever happens elsewhere. "
        "Turned round, D/(1 − D) is the density ratio p/q. Every other thing that a GAN's critic can be used for, "
        "such as weighting draws, rejecting some, or estimating a divergence, starts here.",
        (
            Chart(
                "The learned critic, and p/(p + q)",
                {"data": main, "layout": layout},
                "The learned curve lies on the dashed one wherever either density is visible",
                wide=True,
                tall=True,
            ),
            Chart(
                "The density ratio, read back",
                {"data": ratio, "layout": axes("x", "p/q")},
                "Two bumps, learned and true, that nearly coincide",
                wide=True,
            ),
        ),
        ("max_D { p log D + q log(1 − D) }  at  D* = p/(p + q),   p/q = D*/(1 − D*)",),
    )


def _values(seen: Seen) -> Part:
    apart, best = seen.apart, seen.best
    taken = apart.steps > 0
    x = apart.steps[taken]
    layout = axes("steps", "score", xlog=True)
    layout["yaxis"]["range"] = [LEAST - 0.1, best + 0.06]
    flat = {"width": 1.5, "dash": "dash"}
    learning = [
        curve(x, apart.values[taken], "learned", "@c0", width=2.4),
        curve(x[[0, -1]], [best, best], "2 JS − log 4", "@ink", **flat),
        curve(x[[0, -1]], [LEAST, LEAST], "−log 4", "@soft", width=1.5, dash="dot"),
    ]
    fine = seen.distances
    ends = np.array([(distance, line.value) for distance, line in seen.moved.items()])
    moving = [
        curve(fine, seen.optima, "2 JS − log 4", "@ink", **flat),
        curve(fine[[0, -1]], [0, 0], "0: told apart for sure", "@soft", width=1.5, dash="dot"),
        dots(ends, "a critic trained for each", "@c0", 11),
    ]
    return Part(
        "Its score is a divergence",
        "The critic's score rises to 2 JS(P, Q) − log 4 and stops. For equal laws there is nothing to learn, D is ½ "
        "everywhere, and the score is −log 4: this is the only place where a generator can't be told from the data. "
        "For laws that never meet it is 0.\n\nOn the right, P and Q are normal laws with means ever further apart, and "
        "a new critic learns each pair. The curve is steep in the middle and flat at both ends. Flat on the right "
        "means that a generator far from the data hardly feels its critic: minimax gradients vanish there.",
        (
            Chart("The score as the critic learns", {"data": learning, "layout": layout}, "A curve rising to a line"),
            Chart(
                "The score of trained critics, as Q moves away",
                {"data": moving, "layout": axes("distance of the means", "score")},
                "Dots on a dashed curve that starts at −log 4 and rises towards 0",
            ),
        ),
        ("V(D*) = E_P log D* + E_Q log(1 − D*) = 2 JS(P, Q) − log 4",),
    )


def _calibration(told: Told) -> Part:
    layout = axes("D says", "share that is of P")
    end, bins = [0, 1], len(told.said)

    def marks(y: np.ndarray, name: str, colour: str) -> Figure:
        bar = {"type": "data", "array": 1.96 * told.error, "color": colour, "thickness": 1.5, "width": 3}
        place = {"x": told.said, "y": y, "error_y": bar, "marker": {"color": colour, "size": 8}}
        return {"type": "scatter", "mode": "markers", "name": name, **place}

    figure = {
        "data": [
            curve(end, end, "calibrated", "@ink", width=1.5, dash="dash"),
            marks(told.share, f"{bins} bins, with 95 % intervals", "@c0"),
        ],
        "layout": layout,
    }
    zero = curve(end, [0, 0], "calibrated", "@ink", width=1.5, dash="dash")
    spread = {
        "data": [zero, marks(told.share - told.said, "share − D", "@c3")],
        "layout": axes("D says", "share of P less D"),
    }
    return Part(
        "What it says can be believed",
        f"Fresh draws are sorted by what the critic says of them, into {bins} bins of equal counts. Of those that it "
        "gives 70 %, about 70 % are of P. This holds because the loss is a proper score, the likelihood of the labels: "
        "it is best to say what is so. A hinge or a Wasserstein critic has no such reading.",
        (
            Chart("Reliability on fresh draws", figure, "Points along the diagonal"),
            Chart("The same, less the diagonal", spread, "Points around zero, within a few hundredths"),
        ),
        ("P(draw is of P | x) = p/(p + q) = D*(x), where both laws are drawn equally often",),
    )


def _rare(seen: Seen) -> Part:
    wide = seen.x.abs() <= 14
    x, learned = seen.x[wide], seen.apart.logits[wide]
    both = (P.prob(x) + Q.prob(x)) / 2
    off = (learned - P.log_prob(x) + Q.log_prob(x)).abs()
    density, error = _by_density(both, off)
    layout = axes("density (p + q)/2", "error of log p/q", xlog=True, ylog=True)
    decades(layout["xaxis"], 2)
    decades(layout["yaxis"])
    logits = [
        curve(x.numpy(), learned.numpy(), "learned", "@c0", width=2.2),
        curve(x.numpy(), log_ratio(x).numpy(), "log p/q", "@ink", width=1.6, dash="dash"),
    ]
    shade = [v for edge in (-seen.far, seen.far) for v in (edge, edge, None)]
    low, high = learned.min().item() - 0.5, learned.max().item() + 0.5
    logits.append(curve(shade, [low, high, None] * 2, "one draw in 2,000 is beyond", "@soft", width=1.2, dash="dot"))
    return Part(
        "Where nothing is drawn, anything goes",
        "The score weighs each x by p + q. Where both are small the critic may say what it likes at no cost. Towards "
        "the dotted lines and beyond, its logit leaves the true one and runs on as a straight line: the ratio there is "
        "1, and hardly a draw says so.\n\n"
        "This matters in training. A young generator puts its draws where data are rare, and there the critic "
        "extrapolates. What keeps it honest is that the next round shows it those very draws.",
        (
            Chart(
                "Logits far out",
                {"data": logits, "layout": axes("x", "logit")},
                "The learned logit follows the true one in the middle and departs on both sides",
            ),
            Chart(
                "Error over density",
                {
                    "data": [{**curve(density, error, "", "@c1", shown=False), "mode": "lines+markers"}],
                    "layout": layout,
                },
                "A curve that falls from the rare to the dense",
            ),
        ),
    )


def _by_density(density: Tensor, error: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square errors in bins of density, half a decade each; bins without points are left out."""
    bins = (density.log10() * 2).floor()
    kept = [b for b in bins.unique() if b >= -20]
    x = [10 ** (b.item() / 2 + 0.25) for b in kept]
    return np.array(x), np.array([error[bins == b].square().mean().sqrt().item() for b in kept])


def _heats(found: Plane) -> Part:
    low, high = float(found.line[0]), float(found.line[-1])

    def shown(values: np.ndarray, label: str) -> Figure:
        picture = heat(found.line, found.line, values, label)
        return {"data": [{**picture, "zmin": 0, "zmax": 1}], "layout": plane((low, high, low, high), "x₁", "x₂")}

    return Part(
        "In the plane",
        "P is a wheel of five bumps, Q one broad bump over all of them. The learned critic finds the five, their "
        f"depth and the dark between them. Its score is {number(found.value)}, the best one {number(found.best)}. "
        "Corners, where both laws are rare, are again its own invention.",
        (
            Chart("D, learned", shown(found.learned, "D"), "A heat map with five bright spots on a circle", tall=True),
            Chart("p/(p + q)", shown(found.star, "D*"), "A heat map with five bright spots on a circle", tall=True),
        ),
    )
