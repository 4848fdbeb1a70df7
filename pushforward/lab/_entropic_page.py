"""The part of the transport plans' page on entropy: maps of plans, their covariances, and Sinkhorn divergences."""

import math

import numpy as np

from pushforward.lab._entropic import (
    EPSILONS,
    FIRST,
    SECOND,
    SHOWN_EPSILONS,
    Blurred,
    folded,
    gaussian_covariance,
    gaussian_sinkhorn,
    half_energy,
)
from pushforward.lab._finding import Chart, Part
from pushforward.report.charts import Figure, axes, curve, heat, label


def entropic_part(found: Blurred) -> Part:
    """All that is drawn and said of plans that entropy blurs."""
    text = (
        "Entropy makes the problem smooth and quick to solve, at a price: the plan is no longer a curve. From the "
        "left, large ε gives the product, which knows nothing of where mass should go; as ε falls the mass gathers "
        "around the optimal plan's curve, in a ridge about √(ε/2) wide.\n\n"
        "A blurred plan costs more than 0 between equal laws, so OT_ε is no distance. The Sinkhorn divergence takes "
        "that away. It is an honest measure for every ε, but of different things: near W₂² for small ε, near the "
        "squared distance of the means for large ε, where it no longer sees that the deviations differ. For p = 1 "
        "it goes from W₁ to half the energy distance, which does see them. ε is in the units of the cost."
    )
    formulas = (
        "OT_ε = min over π of Σ π cost + ε KL(π ‖ P ⊗ Q),    S_ε(P, Q) = OT_ε(P, Q) − ½ OT_ε(P, P) − ½ OT_ε(Q, Q)",
    )
    charts = (_small_maps(found), _covariances(found), _between(found))
    return Part("Blurred by entropy", text, charts, formulas)


def _small_maps(found: Blurred) -> Chart:
    layout: Figure = {"margin": {"l": 34, "r": 6, "t": 34, "b": 26}, "annotations": []}
    data = []
    for k, (plan, e) in enumerate(zip(found.plans, SHOWN_EPSILONS, strict=True)):
        tail = "" if k == 0 else str(k + 1)
        domain = [k * 0.255, k * 0.255 + 0.235]
        layout[f"xaxis{tail}"] = {"domain": domain, "anchor": f"y{tail}", "tickvals": [-3, 0, 3], "linecolor": "@line"}
        layout[f"yaxis{tail}"] = {"anchor": f"x{tail}", "tickvals": [-3, 0, 3], "linecolor": "@line"}
        layout["annotations"].append(label(f"ε = {e:g}", sum(domain) / 2, 1.03))
        map_ = heat(found.x, found.x, plan.T, "mass")
        data.append({**map_, "showscale": False, "xaxis": f"x{tail}", "yaxis": f"y{tail}"})
    described = "Four heat maps: two round spots, which gather step by step into the curve of the optimal plan"
    return Chart(
        "Entropic plans, from the product to the optimal one",
        {"data": data, "layout": layout},
        described,
        "Each map in its own scale of colours; x of P to the right, y of Q upwards.",
        wide=True,
    )


def _covariances(found: Blurred) -> Chart:
    known = [gaussian_covariance(FIRST[1], SECOND[1], e) for e in EPSILONS]
    most = FIRST[1] * SECOND[1]
    figure = {
        "data": [
            curve(EPSILONS, known, "√(s₁²s₂² + ε²/16) − ε/4", "@soft", dash="dash"),
            curve(EPSILONS, [most] * len(EPSILONS), "optimal: s₁s₂", "@ink", width=1, dash="dot"),
            {
                **curve(EPSILONS, found.covariances, "Sinkhorn", "@c0"),
                "mode": "markers",
                "marker": {"color": "@c0", "size": 8},
            },
        ],
        "layout": axes("ε", "covariance of the plan", xlog=True),
    }
    return Chart(
        "Between two Gaussians the blurred plan is known",
        figure,
        f"Dots on a dashed curve that falls from {most:g} to 0 as epsilon grows",
    )


def _between(found: Blurred) -> Chart:
    (m1, s1), (m2, s2) = FIRST, SECOND
    closed = [gaussian_sinkhorn(FIRST, SECOND, e) for e in EPSILONS]
    limits = [(m1 - m2) ** 2 + (s1 - s2) ** 2, (m1 - m2) ** 2, folded(m1 - m2, s2 - s1), half_energy()]
    names = ("W₂²", "|E P − E Q|²", "W₁", "½ energy distance")
    half = np.array([EPSILONS[0], EPSILONS[-1]])
    lines = [curve(half, [v, v], "", "@soft", width=1, dash="dot", shown=False) for v in limits]
    notes = [
        {"x": math.log10(half[k % 2]), "y": v, "text": n, "showarrow": False, "xanchor": ("left", "right")[k % 2],
         "yanchor": ("bottom", "top")[k == 1], "font": {"color": "@ink", "size": 11}}
        for k, (v, n) in enumerate(zip(limits, names, strict=True))
    ]  # fmt: skip
    layout = axes("ε", "S_ε", xlog=True)
    layout["annotations"] = notes
    layout["yaxis"]["range"] = [0, 1.15 * limits[0]]
    dotted = {"mode": "lines+markers"}
    figure = {
        "data": [
            *lines,
            {**curve(EPSILONS, found.divergences[2], "p = 2", "@c0"), **dotted},
            {**curve(EPSILONS, found.divergences[1], "p = 1", "@c1"), **dotted},
            curve(EPSILONS, closed, "closed form", "@ink", width=1.5, dash="dash"),
        ],
        "layout": layout,
    }
    return Chart(
        "The Sinkhorn divergence between its limits",
        figure,
        "Two falling curves, each from a transport cost at small epsilon to a weaker distance at large epsilon",
    )
