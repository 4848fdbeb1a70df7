"""The page of conjugates: fans of tangents, conjugates with the maxima found, gaps and activations."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.lab._fans import crosses, dual, fan_traces, finite, window
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._suprema import sup_over_ratios
from pushforward.objectives.divergence import Divergence
from pushforward.report.charts import axes, curve, decades, dots, heat, panels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """The largest errors of one divergence, relative to the terms they are differences of."""

    conjugate: float
    biconjugate: float
    lowest: float
    touching: float
    slope: float
    outside: int
    composed: float
    end: float


@dataclass(frozen=True)
class Seen:
    """What was computed. shown: the divergence of the large figures; tangents: how many a fan has.

    checks: by name, of every divergence, and the error they allow; missing: by name, f's largest height over its
    envelope of so many tangents (counts) at ratios between two; pearson: what theory says of it for Pearson's.
    """

    shown: Divergence
    tangents: int
    every: list[Divergence]
    checks: dict[str, Check]
    allowed: float
    counts: tuple[int, ...]
    missing: dict[str, Floats]
    pearson: Floats


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "A divergence is a game because f is the envelope of its tangents",
        f"Each of {len(seen.every)} generators f is rebuilt from the lines below it, and each closed form of its "
        "conjugate f* is found again by plain maximisation. Where a line touches f, a critic is optimal.",
        numbers,
        (
            _fan(seen.shown, seen.tangents),
            _all_fans(seen),
            _conjugates(seen),
            _gap(seen.shown),
            _activations(seen.every),
        ),
        (
            "Nowozin, Cseke, Tomioka 2016, f-GAN, arXiv:1606.00709, Section 2.2 and tables 1, 2 and 6.",
            "Rockafellar 1970, Convex Analysis, Section 12: conjugates of convex functions.",
        ),
    )


def _fan(d: Divergence, tangents: int) -> Part:
    traces, shown = fan_traces(d, tangents)
    u0 = torch.tensor([2.0], dtype=torch.float64)
    t0 = d.derivative(u0)
    intercept = -d.conjugate(t0).item()
    y = (torch.tensor([0.0, 3.0], dtype=torch.float64) * t0 + intercept).numpy()
    layout = axes("density ratio u = p/q", "f(u)")
    layout["xaxis"]["range"], layout["yaxis"]["range"] = [-0.08, 3], [min(shown[0], intercept * 1.15), shown[1]]
    touching = np.array([[0, intercept], [2, d.f(u0).item()]])
    left = {
        "data": [
            *traces,
            curve([0, 3], y, "the one at u = 2", "@c3", width=2),
            dots(touching, "−f*(t), and the contact", "@c3", 9),
        ],
        "layout": layout,
    }
    return Part(
        f"A curve made of lines: {d.name}",
        "Look at the highest line over each u: together they are f. Every line lies below f and touches it, so that "
        "f(u) is the largest of all ut − f*(t). A line is known by its slope t and its height at u = 0, which is "
        "−f*(t). So f* holds the same knowledge as f, read from the other side.\n\nThe roles can be exchanged: f* is "
        "the envelope of the lines ut − f(u), whose slopes are the ratios. Where the line of slope t touches f at u, "
        "the line of slope u touches f* at t.\n\n"
        "Put u = p(x)/q(x) and average over Q. Then E_Q[f(p/q)] is at least E_P[T] − E_Q[f*(T)], whatever slope T(x) "
        "is chosen at each x, and p and q are needed no more: samples will do. A critic is a choice of tangents.",
        (
            Chart(
                f"f of {d.name}, and {tangents} tangents below it",
                left,
                f"A convex curve and {tangents} straight lines that touch it from below; one has its intercept "
                f"marked at {intercept:.3g}",
                tall=True,
            ),
            Chart(
                f"f* of {d.name}, and the lines of the same contacts",
                dual(d, tangents),
                "The conjugate with straight lines that touch it from below; crosses from maximisation lie on it",
                tall=True,
            ),
        ),
        ("f*(t) = sup_u { ut − f(u) },   f(u) = sup_t { ut − f*(t) },   D_f(P‖Q) ≥ E_P[T] − E_Q[f*(T)]",),
    )


def _short(d: Divergence) -> str:
    return d.name.replace("weighted_jensen_shannon", "weighted JS").replace("_", " ")


def _columns(every: list[Divergence]) -> int:
    return -(-len(every) // 2)


def _all_fans(seen: Seen) -> Part:
    fans, ranges = [], []
    for d in seen.every:
        traces, shown = fan_traces(d, seen.tangents)
        fans.append((_short(d), traces))
        ranges.append(shown)
    figure = panels(fans, _columns(seen.every))
    for i, shown in enumerate(ranges):
        figure["layout"][f"yaxis{i + 1 if i else ''}"]["range"] = list(shown)
    errors = axes("tangents", "largest height of f over them", xlog=True, ylog=True)
    errors["xaxis"] |= {"tickvals": seen.counts}
    n = np.array(seen.counts)
    lines = [
        {**curve(n, heights, name, f"@c{i}"), "mode": "lines+markers"}
        for i, (name, heights) in enumerate(seen.missing.items())
    ]
    theory = curve(n, seen.pearson, "h²/4, Pearson in theory", "@ink", width=1.5, dash="dash")
    return Part(
        "Every divergence as a fan",
        "The same picture for each. What sets divergences apart is how f bends. KL bends most near u = 0 and grows "
        "steeper without end; reverse KL levels off to a straight line, but rises without end as u goes to 0, where "
        "the model puts mass and the data have none. The Jensen–Shannon pair, Hellinger and total "
        "variation do neither: f(0) and f′(∞) are both finite, and so the divergence is at most their sum, which it "
        "reaches for laws that do not meet. Total variation is two lines and no more: its critic has but two "
        "opinions.\n\n"
        "A fan with few lines leaves gaps. They close with the square of the distance between the tangents: a critic "
        "that is nearly right is already very good, its error entering only squared.",
        (
            Chart("f(u) over u, each with its tangents", figure, "Small charts, a convex curve each", "", True, True),
            Chart(
                "What a fan of few tangents misses",
                {"data": [*lines, theory], "layout": errors},
                "Straight lines of slope −2 on logarithmic axes; Pearson's lies on the theory",
                wide=True,
            ),
        ),
    )


def _conjugates(seen: Seen) -> Part:
    every, shown = seen.every, []
    for d in every:
        _, t = window(d)
        y = d.conjugate(t)
        below = d.conjugate(d.derivative(torch.tensor([2.8], dtype=torch.float64))).item() * 3 + 3
        found = t[:-1:20]
        traces = [
            curve(t.numpy(), finite(y, below), "f*(t)", "@c0", width=2.2),
            crosses(found, torch.where(d.conjugate(found) <= below, sup_over_ratios(d, found), math.nan), "sup", 6),
        ]
        if math.isfinite(d.high):
            inner = y[y.isfinite() & (y <= below)]
            ends = [inner.min().item(), inner.max().item()]
            traces.append(curve([d.high, d.high], ends, "end of the domain", "@c1", width=1.5, dash="dash"))
        shown.append((_short(d), traces))
    names = [_short(d) for d in every]
    errors = axes("", "largest relative error", ylog=True)
    errors["barmode"] = "group"
    errors["yaxis"]["range"] = [-17.5, -8]
    decades(errors["yaxis"], 2)
    bars = []
    for field, name, colour in (("conjugate", "f* against sup", "@c0"), ("biconjugate", "f** against f", "@c2")):
        # A zero has no place on a logarithmic axis: the last bit of 1 stands for it.
        y = [max(getattr(seen.checks[d.name], field), 2**-53) for d in every]
        points = {"x": names, "y": y, "marker": {"color": colour, "size": 9}}
        bars.append({"type": "scatter", "mode": "markers", "name": name, **points, "hovertemplate": "%{y:.1e}"})
    edge = curve(names, [seen.allowed] * len(names), "allowed", "@soft", width=1.5, dash="dash")
    return Part(
        "Every conjugate, twice",
        "Each line is the closed form that the losses use, each cross the outcome of a search over u that knows "
        "nothing but f. A dashed line marks f′(∞), where the domain of f* ends: no line steeper than that stays below "
        "f, so that f* is infinite there. A critic must not give such values, whatever its network says.\n\n"
        "To the left, f* levels off or falls, but never ends: ratios can't be negative, so that at the worst u = 0 "
        "is chosen. Pearson's f* is −1 below t = −2 for that reason.",
        (
            Chart("f*(t) over t", panels(shown, _columns(every)), "Small charts: a curve with crosses", "", True, True),
            Chart(
                "How far the closed forms are from the searches",
                {"data": [*bars, edge], "layout": errors},
                "Two points for each divergence, all below one part in ten thousand million",
                wide=True,
            ),
        ),
    )


def _gap(d: Divergence) -> Part:
    u = torch.linspace(0.05, 3, 110, dtype=torch.float64)
    _, t = window(d)
    t = t[::3]
    gap = d.f(u) + d.conjugate(t)[:, None] - t[:, None] * u  # [t, u]
    top = torch.quantile(gap[gap.isfinite()], 0.93)
    root = torch.where(gap.isfinite(), gap.clamp(min=0, max=top.item()).sqrt(), math.nan)
    zero = d.derivative(u)
    seen = (zero >= t[0]) & (zero <= t[-1])
    layout = axes("density ratio u", "slope t")
    layout["yaxis"]["range"] = t[[0, -1]].tolist()
    heats = [
        heat(u.numpy(), t.numpy(), root.numpy(), "√gap"),
        curve(u[seen].numpy(), zero[seen].numpy(), "t = f′(u)", "@c0", width=2.5),
    ]
    cuts = []
    for i, ratio in enumerate((0.5, 1.0, 2.0)):
        at = torch.tensor(ratio, dtype=torch.float64)
        y = d.f(at) + d.conjugate(t) - t * at
        cuts.append(curve(t.numpy(), finite(y, 2 * top.item()), f"u = {ratio:g}", f"@c{i}"))
        cuts.append(dots(np.array([[d.derivative(at).item(), 0.0]]), "", f"@c{i}", 9) | {"showlegend": False})
    return Part(
        "The gap",
        "A line of a slope that f does not have at u passes below it there, by f(u) + f*(t) − ut. Nowhere is that "
        "negative (Fenchel and Young), and it is zero along the curve t = f′(u), and at a corner of f for every slope "
        "between those of its two sides. Averaged over Q it is just what a critic's bound falls short of the "
        "divergence: a critic is trained to walk into the valley, at each x.",
        (
            Chart(
                f"The gap of {d.name} over ratio and slope, its root as colour",
                {"data": heats, "layout": layout},
                "A heat map, darker away from a rising curve along which the gap is zero",
            ),
            Chart(
                "Cuts through it at three ratios",
                {"data": cuts, "layout": axes("slope t", "f(u) + f*(t) − ut")},
                "Three convex curves that come down to zero at f′(0.5), f′(1) and f′(2)",
            ),
        ),
        (
            "f(u) + f*(t) − ut ≥ 0, and = 0 just where t is a slope of f at u",
            "D_f − bound(T) = E_Q[ f(p/q) + f*(T) − T·p/q ]",
        ),
    )


def _activations(every: list[Divergence]) -> Part:
    v = torch.linspace(-4, 4, 161, dtype=torch.float64)
    shown = []
    for d in every:
        traces = [curve(v.numpy(), d.activation(v).clamp(min=-8).numpy(), "σ_f(v)", "@c2", width=2.2)]
        if math.isfinite(d.high):
            traces.append(curve([-4, 4], [d.high, d.high], "f′(∞)", "@c1", width=1.5, dash="dash"))
        # T = f′(1), on which P = Q agrees: the slope of f at 1.
        one = d.derivative(torch.ones((), dtype=torch.float64)).item()
        traces.append(curve([-4, 4], [one, one], "f′(1)", "@soft", width=1.2, dash="dot"))
        shown.append((_short(d), traces))
    return Part(
        "From a network's logit into the domain",
        "A network's output v is any real number, T = σ_f(v) is in the domain of f*. Each σ_f rises, towards the "
        "dashed f′(∞) where there is one: a large logit always means “from P”. The dotted line is f′(1), the slope for "
        "u = 1, which an optimal critic gives everywhere once P = Q. Curves that fall steeply are cut at −8.",
        (Chart("T = σ_f(v) over v", panels(shown, _columns(every)), "Small charts of rising curves", "", True, True),),
        ("T(x) = σ_f(V(x)),   σ_f : ℝ → dom f*",),
    )
