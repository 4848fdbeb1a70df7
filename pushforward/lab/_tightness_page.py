"""The page of tightness: critics of growing capacity, what they miss, the gradients they give, and overfitting."""

from dataclasses import dataclass

import numpy as np
import torch

from pushforward.estimation import Estimate
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._two_laws import P, Q, log_ratio
from pushforward.lab._variational_bound import Mixed, Stretched, Trained
from pushforward.objectives.divergence import Divergence
from pushforward.report.charts import axes, curve, decades, dots


@dataclass(frozen=True)
class Overfit:
    """Large critics' bounds on what they were trained on and on the laws themselves: [looks, repeats], by step [looks].

    best: what T* scores on the same draws [repeats].
    """

    steps: np.ndarray
    train: np.ndarray
    laws: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class Seen:
    """What was computed. divergence: that of the pictures of critics; names: of the critics, from small to large.

    ladders, mixed: by divergence; overfit: by the number of draws, the small one being `samples`; estimate: from
    `crossed` draws of each law; exact: the Jensen–Shannon divergence.
    """

    divergence: Divergence
    names: tuple[str, ...]
    ladders: dict[str, list[Trained]]
    mixed: dict[str, Mixed]
    stretched: Stretched
    overfit: dict[int, Overfit]
    samples: int
    sizes: tuple[int, ...]
    estimate: Estimate
    crossed: int
    exact: float


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "A larger critic makes the bound tight, and too few samples make it lie",
        "For every critic the bound stays below the divergence, and it reaches it where the critic is f′(p/q). The gap "
        "closes as the critic grows. On a small sample a large critic climbs past the truth, but not on fresh draws.",
        numbers,
        (_critics(seen), _gaps(seen), _gradients(seen), _samples(seen)),
        (
            "Nguyen, Wainwright, Jordan 2010, arXiv:0809.0853, Lemma 1.",
            "Nowozin, Cseke, Tomioka 2016, f-GAN, arXiv:1606.00709, Sections 2.2 and 2.4.",
            "Chernozhukov et al. 2018, arXiv:1608.00060: cross-fitting.",
        ),
    )


def _critics(seen: Seen) -> Part:
    d = seen.divergence
    ladder = seen.ladders[d.name]
    x = torch.linspace(-5, 5, 301, dtype=torch.float64)
    laws = [
        curve(x.numpy(), P.prob(x).numpy(), "p", "@c0", width=2.2),
        curve(x.numpy(), Q.prob(x).numpy(), "q", "@c1", width=2.2),
    ]
    star = d.derivative(log_ratio(x).exp()).numpy()
    with torch.no_grad():
        learned = [
            curve(x.numpy(), d.activation(ladder[i].critic(x)).numpy(), seen.names[i], f"@c{k}", width=2)
            for k, i in enumerate((1, 2, 3, -1))
        ]
    layout = axes("x", "T(x)")
    room = 0.35 * (star.max() - star.min())
    layout["yaxis"]["range"] = [star.min() - room, star.max() + room]
    theory = curve(x.numpy(), star, "T* = f′(p/q)", "@ink", width=1.8, dash="dash")
    return Part(
        f"The best critic, approached: {d.name}",
        "Look at how the learned critics bend towards the dashed one. A linear critic can only say left or right, a "
        "quadratic one inside or outside, and two bumps in p need a few units. Each class holds the one before it, and "
        "each critic starts from it.\n\nEvery T gives a lower bound. The best one is no choice of the designer's: it "
        "is f′(p/q), one function for a pair of laws and a divergence.",
        (
            Chart("Two laws with a known ratio", {"data": laws, "layout": axes("x", "density")}, "Two density curves"),
            Chart(
                "Learned critics, and the best one",
                {"data": [*learned, theory], "layout": layout},
                "Curves of rising flexibility; the last one covers the dashed optimum",
            ),
        ),
        ("D_f(P‖Q) = max_T { E_P[T] − E_Q[f*(T)] },   T*(x) = f′(p(x)/q(x))",),
    )


def _gaps(seen: Seen) -> Part:
    names = list(seen.names)
    share, gap = [], []
    for i, (name, ladder) in enumerate(seen.ladders.items()):
        label = name.replace("_", " ")
        y = np.array([r.bound / r.exact for r in ladder])
        share.append({**curve(names, y, label, f"@c{i}"), "mode": "lines+markers"})
        gap.append({**curve(names, np.maximum(1 - y, 1e-12), label, f"@c{i}"), "mode": "lines+markers"})
    one = curve(names, np.ones(len(names)), "the divergence", "@ink", width=1.5, dash="dash")
    logs = axes("", "gap / divergence", ylog=True)
    decades(logs["yaxis"])
    return Part(
        "The gap over capacity",
        "No curve crosses the line, and none falls. The steps are uneven: a unit helps where T* still has a bend that "
        "nothing follows. What is left at the end is the optimiser's, not the theory's.\n\nA number such as “the "
        "critic's loss is 0.3” is thus a statement about a divergence and a class of critics together. Two critics of "
        "different size can't be compared by it, nor two generators by critics of different age.",
        (
            Chart(
                "Bound as a share of the divergence, by quadrature",
                {"data": [*share, one], "layout": axes("", "bound / divergence")},
                "Five rising curves below one",
                tall=True,
            ),
            Chart(
                "What is missing",
                {"data": gap, "layout": logs},
                "Five falling curves on a logarithmic axis, from 1 to about a thousandth or below",
                tall=True,
            ),
        ),
        ("D_f(P‖Q) − bound(T) = E_Q[ f(u) + f*(T) − uT ],   u = p/q",),
    )


def _gradients(seen: Seen) -> Part:
    d, moved = seen.divergence, seen.stretched
    frozen = [
        curve(moved.scales, bounds, name, f"@c{k}", width=1.8) for k, (name, bounds) in enumerate(moved.bounds.items())
    ]
    layout = axes("scale of Q", "D_f, and each critic's bound")
    layout["yaxis"]["range"] = [-0.6 * seen.ladders[d.name][0].exact, 1.1 * moved.exact.max()]
    truth = curve(moved.scales, moved.exact, "the divergence", "@ink", width=2, dash="dash")
    points = []
    for i, (name, rungs) in enumerate(seen.ladders.items()):
        x, y = np.array([(max(r.gap / r.exact, 1e-12), r.gradient_error) for r in rungs[1:]]).T
        marker = {"color": f"@c{i}", "size": 8}
        points.append({**curve(x, y, name.replace("_", " "), f"@c{i}"), "mode": "markers", "marker": marker})
        points.append(curve(seen.mixed[name].gap, seen.mixed[name].error, "", f"@c{i}/0.6", width=1.5, shown=False))
    spread = np.geomspace(min(t["x"].min() for t in points), 1, 50)
    root = curve(spread, np.sqrt(spread), "√gap", "@soft", width=1.5, dash="dash")
    logs = axes("gap / divergence", "relative error of the gradient", xlog=True, ylog=True)
    for axis in ("xaxis", "yaxis"):
        decades(logs[axis])
    return Part(
        "What the generator is told",
        "A generator moves Q while the critic stands still. As Q is stretched, each frozen critic still gives a lower "
        "bound, and the bound's slope at scale 1 is the generator's gradient. The constant critic's line is flat: it "
        "tells the generator nothing. The quadratic one's slope is too small although it is a true bound. The largest "
        "touches the divergence from below, and two smooth curves that touch have one slope.\n\n"
        "How wrong is the gradient of a critic that is a little wrong? The thin lines on the right go from T* towards "
        "the quadratic critic: an error ε in T costs the bound ε², but the gradient ε, so that a gradient can be wrong "
        "by 10 % where the bound is right to 1 %. The dots are trained critics. They do better than that, as training "
        "leaves only errors of the ratio that are orthogonal to all that the critic can change. A critic that was "
        "stopped early, or lags behind a moving generator, has no such luck.",
        (
            Chart(
                f"Bounds of frozen critics as Q is stretched: {d.name}",
                {"data": [*frozen, truth], "layout": layout},
                "Curves below the divergence's; the largest critic's touches it at 1",
                tall=True,
            ),
            Chart(
                "Error of the gradient over the gap",
                {"data": [*points, root], "layout": logs},
                "Lines of slope one half on logarithmic axes, and dots below them that fall faster",
                "Gradients in a shift and a scale of Q; the constant critic, whose gradient is zero, is left out.",
                tall=True,
            ),
        ),
        ("|∇bound(T) − ∇D_f| ≤ √( E_Q[score²] · E_Q[(f*(T) − f*(T*))²] ) ∝ √gap",),
    )


def _samples(seen: Seen) -> Part:
    few, estimate, exact = seen.overfit[seen.samples], seen.estimate, seen.exact
    steps, repeats = int(few.steps[-1]), few.train.shape[1]
    flat = {"width": 1.5, "dash": "dash"}
    layout = axes("steps", "Jensen–Shannon bound")
    layout["yaxis"]["range"] = [-1.5 * exact, float(few.train.max()) * 1.05]
    by_step = []
    for values, name, colour in ((few.train, "on its own samples", "@c1"), (few.laws, "on the laws", "@c0")):
        for one in values.T:
            by_step.append(curve(few.steps, one, "", f"{colour}/0.35", width=1, shown=False))
        by_step.append(curve(few.steps, values.mean(1), f"{name}, mean", colour, width=2.8))
    by_step.append(curve([0, steps], [exact, exact], "the divergence", "@ink", **flat))
    sizes, by_size = np.array(seen.sizes), []
    for field, name, colour in (("train", "on its own samples", "@c1"), ("laws", "on the laws", "@c0")):
        values = np.array([getattr(seen.overfit[n], field)[-1] for n in seen.sizes])  # [sizes, repeats]
        places = np.stack([np.repeat(sizes, repeats), values.ravel()], 1)
        by_size.append(dots(places, name, f"{colour}/0.5", 6) | {"showlegend": False})
        by_size.append({**curve(sizes, values.mean(1), name, colour), "mode": "lines+markers"})
    by_size.append(curve([seen.sizes[0], seen.crossed], [exact, exact], "the divergence", "@ink", **flat))
    bar = {"type": "data", "array": [estimate.high - estimate.value], "color": "@c3", "thickness": 2, "width": 6}
    cross = {"x": [seen.crossed], "y": [estimate.value], "error_y": bar, "marker": {"color": "@c3", "size": 9}}
    by_size.append({"type": "scatter", "mode": "markers", "name": "cross-fitted, 95 %", **cross})
    ticks = axes("samples of each law", "Jensen–Shannon bound", xlog=True)
    ticks["xaxis"] |= {"tickvals": [*seen.sizes, seen.crossed]}
    ticks["yaxis"]["range"] = layout["yaxis"]["range"]
    return Part(
        "What few samples do",
        f"Here {repeats} networks of two layers of 64 units see {seen.samples:,} draws of each law, each its own, "
        "again and again. On those draws the bound passes the divergence and goes on: the network learns where they "
        "happen to lie. On the laws themselves the same network first rises, then falls.\n\n"
        "A bound holds for a critic that was fixed before the draws were made. So an estimate must use draws that its "
        "critic never saw. To hold out half for good would waste it, and so each part is judged by a critic trained on "
        "the others (cross-fitting), and training stops where the loss on what is held out no longer falls. The purple "
        f"dot is such an estimate from {seen.crossed:,} draws of each law: its two critics saw half of them each.",
        (
            Chart(
                f"Large critics on {seen.samples:,} samples of each law",
                {"data": by_step, "layout": layout},
                "Curves on the own samples rise above the dashed line, those on the laws turn down",
                tall=True,
            ),
            Chart(
                f"After {steps} steps, over the number of samples",
                {"data": by_size, "layout": ticks},
                "The two curves close in on the dashed line from above and from below as samples grow",
                tall=True,
            ),
        ),
    )
