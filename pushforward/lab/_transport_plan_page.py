"""The page of the transport plans: on a line, their prices, in the plane, between Gaussians, and in slices."""

import math
from dataclasses import dataclass

import numpy as np

from pushforward.lab._entropic import Blurred, Floats
from pushforward.lab._entropic_page import entropic_part
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.objectives.transport import Plan
from pushforward.report.charts import Figure, arrows, axes, curve, dots, heat, plane

EDGE = 4.0  # of the grid of the histograms


@dataclass(frozen=True)
class Line:
    """Masses p and q on a grid x [N], the cheapest plan for |x − y|², the product's cost, and T = F_Q⁻¹∘F_P at `at`."""

    x: Floats
    p: Floats
    q: Floats
    plan: Plan
    product_cost: float
    at: Floats
    graph: Floats


@dataclass(frozen=True)
class Prices:
    """The critic [N] of W₁ and what it earns, others [K, N] and the most that one of them earns, W₂'s slack [N, N]."""

    critic: Floats
    earned: float
    others: Floats
    most: float
    slack: Floats


@dataclass(frozen=True)
class Matchings:
    """Points x and y [n, 2], their matchings for p = 1 and 2, and the pairs that cross in each and in a random one."""

    x: Floats
    y: Floats
    plans: tuple[Plan, ...]
    crossed: tuple[int, ...]
    random: int


@dataclass(frozen=True)
class Growth:
    """W₂ of two Gaussians in d dimensions, of samples of each size [S, repeats], and two floors of each, [.., 2].

    earned: what the laws' own prices earn on each pair, [S, repeats]; stretch: the most by which the map stretches.
    """

    d: int
    sizes: tuple[int, ...]
    exact: float
    found: Floats
    floors: Floats
    earned: Floats
    stretch: float


@dataclass(frozen=True)
class Slices:
    """The sliced W₂² of a shift of length 1 for each number of dimensions."""

    widths: tuple[int, ...]
    costs: list[float]


@dataclass(frozen=True)
class Seen:
    """What was computed."""

    line: Line
    prices: Prices
    matchings: Matchings
    blurred: Blurred
    growths: tuple[Growth, ...]
    slices: Slices


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "Optimal transport: the cheapest plan, its proof, and what approximates it",
        "A plan says how much mass goes from where to where. The cheapest one keeps the order on a line, crosses no "
        "arrows in the plane, and comes with prices that prove that none is cheaper. Entropy blurs it, samples "
        "overstate its cost, and slices see a part of it: each by an amount that can be computed.",
        numbers,
        (
            _line_part(seen.line),
            _prices_part(seen.line, seen.prices),
            _plane_part(seen.matchings),
            entropic_part(seen.blurred),
            _gaussians_part(seen.growths),
            _slices_part(seen.slices),
        ),
        (
            "Peyré & Cuturi 2019, Computational Optimal Transport, arXiv:1803.00567, Sections 2, 4 and 10.4.",
            "Villani 2003, Topics in Optimal Transportation, Sections 1.1, 2.2 and 2.3.",
            "Feydy et al. 2019, arXiv:1810.08278, Section 1 (Sinkhorn divergences between MMD and transport).",
            "Janati et al. 2020, arXiv:2006.02572, Section 3 (entropic transport between Gaussians).",
            "Bonneel et al. 2015, J. Math. Imaging Vis. 51, p. 22 (sliced distances).",
        ),
    )


def _joint(x: Floats, p: Floats, q: Floats, matrix: Floats, over: list[Figure]) -> Figure:
    """A coupling as a heat map, P's density above it and Q's at its right."""
    inner, outer = [0, 0.82], [0.84, 1]
    layout = axes("x, of P", "y, of Q")
    layout["xaxis"] |= {"domain": inner, "range": [-EDGE, EDGE], "showgrid": False}
    layout["yaxis"] |= {"domain": inner, "range": [-EDGE, EDGE], "showgrid": False}
    layout |= {"xaxis2": {"domain": outer, "visible": False}, "yaxis2": {"domain": outer, "visible": False}}
    layout["legend"] |= {"x": 0.02, "y": 0.8, "yanchor": "top"}
    map_ = {**heat(x, x, matrix.T, "mass"), "showscale": False}
    above = {**curve(x, p, "P", "@c0", shown=False), "yaxis": "y2", "fill": "tozeroy", "fillcolor": "@c0/0.2"}
    beside = {**curve(q, x, "Q", "@c1", shown=False), "xaxis": "x2", "fill": "tozerox", "fillcolor": "@c1/0.2"}
    return {"data": [map_, above, beside, *over], "layout": layout}


def _line_part(line: Line) -> Part:
    x, p, q, plan = line.x, line.p, line.q, line.plan
    graph = curve(line.at, line.graph, "F_Q⁻¹∘F_P", "@ink", width=1, dash="dash")
    charts = (
        Chart(
            f"The cheapest plan: W₂² = {plan.cost:.3f}",
            _joint(x, p, q, plan.dense(), [graph]),
            "Mass along a rising S-shaped curve, between the density of P above and that of Q at the right",
            "Rows of the map add up to Q, columns to P. All mass lies on the graph of the monotone map.",
            tall=True,
        ),
        Chart(
            f"The product coupling: cost {line.product_cost:.3f}",
            _joint(x, p, q, np.outer(p, q), []),
            "Two round spots of mass: each point of P is spread over the whole of Q",
            "The same edges, and so another plan: it sends mass everywhere, and pays for it.",
            tall=True,
        ),
    )
    text = (
        "Look at the edges: both couplings have the same marginals, P above and Q at the right. Inside they differ. A "
        "coupling is any way to fill the square so that its columns add up to P and its rows to Q; the cheapest one "
        "puts all mass on a curve that never falls.\n\n"
        "The curve is known without any solver. If two masses crossed, exchanging their ends would make the convex "
        "cost smaller, so that the lowest share t of P must go to the lowest share t of Q: T = F_Q⁻¹∘F_P, drawn dashed "
        "over what the solver found."
    )
    formulas = ("W_p^p(P, Q) = min over π with marginals P, Q of Σ π(x, y) |x − y|^p = ∫ |F_P⁻¹(t) − F_Q⁻¹(t)|^p dt",)
    return Part("On a line", text, charts, formulas)


def _prices_part(line: Line, prices: Prices) -> Part:
    text = (
        "How do we know that no plan is cheaper? From the other side. Let a carrier charge u(x) for loading at x "
        "and v(y) for unloading at y, never more together than the way costs. Whatever he earns, no plan can cost "
        "less; and the best prices earn exactly the cheapest plan's cost.\n\n"
        "For W₁ the two prices are one function f and its negative, 1-Lipschitz: the critic of a Wasserstein GAN. It "
        "climbs with slope 1 wherever mass has to come down, and turns where nothing has to pass. For W₂ the plan "
        "has mass only where the slack of the prices is 0: laid over one another, the two maps fit."
    )
    formulas = (
        "W₁ = sup over |f(x) − f(y)| ≤ |x − y| of E_P f − E_Q f,    "
        "W₂² = sup over u(x) + v(y) ≤ |x − y|² of E_P u + E_Q v",
    )
    charts = (_critics(line, prices), _slack(line, prices))
    return Part("The proof: prices", text, charts, formulas)


def _critics(line: Line, prices: Prices) -> Chart:
    x, p, q = line.x, line.p, line.q
    layout = axes("x", "f(x)")
    layout["yaxis2"] = {"overlaying": "y", "side": "right", "visible": False, "range": [0, 3 * float(q.max())]}
    on_masses = {"yaxis": "y2", "fill": "tozeroy", "hoverinfo": "skip"}
    some = [curve(x, f - f.mean(), "", "@soft/0.5", width=1, shown=False) for f in prices.others[:12]]
    figure = {
        "data": [
            {**curve(x, p, "P", "@c0", width=1), **on_masses, "fillcolor": "@c0/0.2"},
            {**curve(x, q, "Q", "@c1", width=1), **on_masses, "fillcolor": "@c1/0.2"},
            *some,
            curve(x, prices.critic, "the best f", "@ink", width=2.5),
        ],
        "layout": layout,
    }
    return Chart(
        f"The critic of W₁ earns {prices.earned:.3f}; the best of {len(prices.others)} zigzags earns {prices.most:.3f}",
        figure,
        "A curve of slope plus or minus one that is high over P and low over Q, with random zigzags behind it",
        "Grey: twelve other 1-Lipschitz functions. None can earn more.",
        tall=True,
    )


def _slack(line: Line, prices: Prices) -> Chart:
    x, plan = line.x, line.plan
    # Its root shows the small slacks near the plan, which the largest would drown.
    rows, columns = plan.rows, plan.columns
    hidden = np.sqrt(np.maximum(prices.slack, 0))
    on_plan = dots(np.stack([x[rows], x[columns]], 1), "the plan", "@c3", 3)
    slack_layout = plane((-EDGE, EDGE, -EDGE, EDGE), "x, of P", "y, of Q")
    return Chart(
        "What the prices of W₂ leave of the cost",
        {"data": [heat(x, x, hidden.T, "√slack"), on_plan], "layout": slack_layout},
        "A heat map that is nowhere negative, with a valley of zeros along the plan's curve",
        "Mass may go only where the slack is 0: complementary slackness.",
        tall=True,
    )


def _plane_part(found: Matchings) -> Part:
    x, y, charts = found.x, found.y, []
    layout = plane((-2.2, 2.4, -2.1, 2.2))
    for p, plan, crossed in zip((1, 2), found.plans, found.crossed, strict=True):
        start, end = x[plan.rows], y[plan.columns]
        way = end - start
        tip = end - 0.06 * way / np.linalg.norm(way, axis=1, keepdims=True)  # beside the point, which would hide it
        drawn = [{**t, "showlegend": False} for t in arrows(start, tip, "", "@soft", width=1.2, head=7)]
        charts.append(
            Chart(
                f"W{'₁₂'[p - 1]}: the cheapest matching for |x − y|{'²' if p == 2 else ''}",
                {"data": [*drawn, dots(x, "P", "@c0", 6), dots(y, "Q", "@c1", 6)], "layout": layout},
                f"Arrows from a cloud to an arc around it, {crossed} pairs of which cross",
                f"W{'₁₂'[p - 1]} = {plan.distance:.3f}; {crossed} of {math.comb(len(x), 2):,} pairs cross.",
                tall=True,
            )
        )
    text = (
        f"Two samples of {len(x)} points, matched with each other at the least cost. A matching drawn at "
        f"random has {found.random:,} crossings here. Under W₁ no two arrows cross: by the triangle inequality the two "
        "uncrossed ways are shorter. Under W₂ they may cross, but two points on their way at one speed never meet.\n\n"
        "The general rule is one of cycles: let a few points pass their targets on round a ring, and the cost must "
        "not fall. This holds for every cycle if and only if the matching is a cheapest one."
    )
    formulas = ("Σ |x_i − y_i|^p ≤ Σ |x_i − y_{i+1}|^p for every cycle of matched pairs (cyclical monotonicity)",)
    return Part("In the plane", text, tuple(charts), formulas)


def _gaussians_part(growths: tuple[Growth, ...]) -> Part:
    charts, sizes = [], growths[-1].sizes
    for one in growths:
        exact, n = one.exact, np.array(one.sizes)
        layout = axes("points n", "W₂", xlog=True)
        layout["xaxis"]["tickvals"] = one.sizes
        layout["yaxis"]["rangemode"] = "tozero"
        traces = [
            ("their samples", np.sqrt((one.found**2).mean(1)), "@c0"),
            ("P's samples, the floor", np.sqrt((one.floors[..., 0] ** 2).mean(1)), "@c1"),
            ("Q's samples, the floor", np.sqrt((one.floors[..., 1] ** 2).mean(1)), "@c2"),
        ]
        figure = {
            "data": [
                curve(n, np.full(len(n), exact), "W₂(P, Q)", "@ink", width=1.5, dash="dash"),
                *({**curve(n, y, name, colour), "mode": "lines+markers"} for name, y, colour in traces),
            ],
            "layout": layout,
        }
        described = f"A curve that falls to {exact:.2f} from above, over two lower ones that fall towards 0"
        charts.append(Chart(f"Two Gaussians and samples of them, in {one.d} dimensions", figure, described))
    text = (
        "Between Gaussians W₂ is known: the means' distance, and how far one covariance is from the other. Between "
        "samples it is larger, and slow to come down: two samples of the very same law are apart too, by what is "
        f"called the floor. In the plane {sizes[-1]} points come within a few percent. In {growths[-1].d} dimensions "
        "the floor falls like n^(−1/d): a distance between samples is to be read beside real against real of the same "
        "size.\n\n"
        "By how much larger? Let the prices u and v of the two laws be paid for the samples. They earn W₂² on average, "
        "and the samples' plan costs more than they earn, but by no more than L times the floor of P in squares, where "
        "L is the most by which the map T = ∇φ from P to Q stretches."
    )
    formulas = (
        "W₂²(P̂ₙ, Q̂ₙ) − E_P̂ₙ u − E_Q̂ₙ v ≤ L W₂²(P̂ₙ, T⁻¹Q̂ₙ),    as |x − T(x′)|² − u(x) − v(T(x′)) = "
        "2 (φ(x) − φ(x′) − ⟨∇φ(x′), x − x′⟩) ≤ L |x − x′|²",
        "W₂² = |m₁ − m₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½),    E W₂²(P̂ₙ, Q̂ₙ) ≥ W₂²(P, Q)",
        "|W₂(P̂ₙ, Q̂ₙ) − W₂(P, Q)| ≤ W₂(P̂ₙ, P) + W₂(Q̂ₙ, Q),    E W₂²(P̂ₙ, P) ≤ E W₂²(P̂ₙ, P̂ₙ′)",
    )
    return Part("Between Gaussians, and their samples", text, tuple(charts), formulas)


def _slices_part(found: Slices) -> Part:
    d = np.array(found.widths)
    layout = axes("dimensions D", "cost of a shift by 1", xlog=True, ylog=True)
    layout["xaxis"]["tickvals"] = found.widths
    figure = {
        "data": [
            curve(d, 1 / d, "|s|²/D", "@soft", dash="dash"),
            curve(d, np.ones(len(d)), "W₂² = |s|²", "@ink", width=1.5, dash="dash"),
            {**curve(d, found.costs, "sliced", "@c0"), "mode": "markers", "marker": {"color": "@c0", "size": 9}},
        ],
        "layout": layout,
    }
    text = (
        "Slices are quick: project both samples on a random line, where sorting is all there is to do, and take the "
        "mean over lines. But most lines of a wide space hardly see a given direction. A shift by s costs |s|² in W₂² "
        "and only |s|²/D in its sliced version: values from different dimensions can't be compared."
    )
    formulas = ("SW₂²(P, Q) = E over θ of W₂²(⟨θ, P⟩, ⟨θ, Q⟩) ≤ W₂²(P, Q),    SW₂²(P, P + s) = |s|²/D",)
    described = "Dots on a line of slope minus one, far below the horizontal line of the full cost"
    chart = Chart("The same shift, seen in slices", figure, described, wide=True)
    return Part("Seen in slices", text, (chart,), formulas)
