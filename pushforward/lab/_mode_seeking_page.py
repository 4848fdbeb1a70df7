"""The page of mode-seeking against mass-covering: fits, landscapes, branches and games."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._fits import GRID, HALVES, WEIGHTS, Branch, Fit, Floats, breaks_at, nearest, normal
from pushforward.report.charts import Figure, axes, curve, dots, heat, label

COLOURS = {"KL": "@c0", "JS": "@c2", "Hellinger²": "@c4", "reverse KL": "@c1", "W₁": "@c3", "W₂": "@c5"}


@dataclass(frozen=True)
class Game:
    """An f-GAN's path [rounds, 2] in (m, log s), where it ends on average, and the bound's largest gap meanwhile."""

    path: Floats
    end: Fit
    gap: float


@dataclass(frozen=True)
class Landscape:
    """A divergence, or W₂², over m [M] and log s [S]: values [S, M]."""

    m: Floats
    log_s: Floats
    values: Floats


@dataclass(frozen=True)
class Seen:
    """What was computed. p: the law's density on `GRID`; fits: by divergence, the minima, best first.

    landscapes: by divergence, and of W₂²; weights, halves: branches by the weight π, and by divergence along half the
    distance; games, and the divergence that each played; tail: the share of a game's rounds that is averaged.
    """

    p: Tensor
    fits: dict[str, list[Fit]]
    transport: dict[str, Fit]
    landscapes: dict[str, Landscape]
    weights: dict[str, Branch]
    halves: dict[str, dict[str, Branch]]
    games: dict[str, Game]
    played: dict[str, str]
    tail: float


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "A model that is too small must choose: cover all the mass, or sit on a mode",
        "One Gaussian cannot be two bumps. KL covers both, reverse KL sits on one, and which one depends on where it "
        "starts. Jensen–Shannon takes either side, and its weight moves it from one to the other. Adversarial "
        "training finds the same answers, since it minimises the same divergences.",
        numbers,
        (
            _fits_part(seen),
            _landscapes(seen),
            _weights_part(seen.weights, seen.fits),
            _halves_part(seen.halves),
            _games_part(seen),
        ),
        (
            "Minka 2005, Divergence measures and message passing, Microsoft Research TR-2005-173, Section 2.",
            "Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844, Figure 1.",
            "Huszár 2015, How (not) to train your generative model, arXiv:1511.05101, Section 3.",
            "Nowozin et al. 2016, f-GAN, arXiv:1606.00709, Section 2.5 (univariate mixture of Gaussians).",
        ),
    )


def _hill(p: Tensor) -> Figure:
    """P's density, filled."""
    near = GRID.abs() < 7
    hill = curve(GRID[near].numpy(), p[near].numpy(), "P", "@soft", width=1)
    return {**hill, "fill": "tozeroy", "fillcolor": "@soft/0.25"}


def _bell(at: Fit, name: str, colour: str, dash: str = "solid", shown: bool = True) -> Figure:
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    y = normal(x, at.m, at.s)
    return curve(x.numpy(), y.numpy(), name, colour, dash=dash, shown=shown)


def _shapes(best: dict[str, Fit]) -> str:
    """Which fits are wide, and which sit on the left or the right bump."""
    shapes: dict[str, list[str]] = {}
    for name, one in best.items():
        # A fit on one bump is clearly narrower than the whole law, whose deviation is that of KL's fit.
        narrow = f"narrow on the {'left' if one.m < 0 else 'right'} bump"
        shapes.setdefault(narrow if one.s < 0.75 * best["KL"].s else "wide over both bumps", []).append(name)
    return "Curves: " + "; ".join(f"{shape} for {' and '.join(names)}" for shape, names in shapes.items())


def _fits_part(seen: Seen) -> Part:
    fits = seen.fits
    best = {name: found[0] for name, found in fits.items()} | seen.transport

    def figure(names: tuple[str, ...]) -> Figure:
        layout = axes("x", "density")
        layout["xaxis"]["range"] = [-6, 6]
        bells = [_bell(best[n], n, COLOURS[n]) for n in names]
        for bell in bells:
            bell["line"]["width"] = 5 if bell["name"] == "JS" else 2  # seen under a curve that lies on it
        return {"data": [_hill(seen.p), *bells], "layout": layout}

    local = figure(())
    for k, one in enumerate(fits["reverse KL"]):
        name = f"{one.value:.3f} at m = {one.m:.2f}".replace("-", "−")
        local["data"].append(_bell(one, name, "@c1", ("solid", "dash", "dot", "dashdot")[min(k, 3)]))
    counts = ", ".join(f"{name} {len(found)}" for name, found in fits.items())
    text = (
        "Look at where each curve puts its mass. KL(P‖Q) = E_P log p/q is infinite where the model has none and the "
        "data some: it covers everything, the valley between included, and its answer is the mean and variance of P. "
        "Reverse KL = E_Q log q/p asks the opposite, that the model never be where the data is not: it sits on the "
        "larger bump and forgets the other.\n\n"
        "JS and Hellinger are bounded, and lie between: they cover bumps that are near, and let one go when it is far "
        "enough, JS first. W₂ matches quantiles: the mean again, but a deviation below that of P. W₁ counts "
        "what is far away less.\n\n"
        f"Several answers are locally best. From a handful of starts these many minima were found: {counts}. Which "
        "one gradient descent ends in is a matter of where it starts."
    )
    formulas = (
        "KL: m = E_P x, s² = Var_P x.    W₂: m = E_P x, s = ∫ F_P⁻¹(t) Φ⁻¹(t) dt.    "
        "Reverse KL: E_Q (log p)′ = 0, s² E_Q[−(log p)″] = 1",
    )
    charts = (
        Chart("The best Gaussian for each divergence", figure(tuple(fits)),
              _shapes({name: found[0] for name, found in fits.items()})),
        Chart("The nearest Gaussian in transport", figure(("KL", "W₁", "W₂")),
              "Three wide curves with means close to each other"),
        Chart("Reverse KL's several minima", local, "A narrow curve on each bump that holds one, and a wide one",
              "In the legend: the value of reverse KL at each.", wide=True),
    )  # fmt: skip
    return Part("One Gaussian, two bumps", text, charts, formulas)


def _panel(data: list[Figure], layout: Figure, k: int, of: int, title: str, drawn: Landscape) -> dict[str, str]:
    """Adds the k-th of several maps in a row, and returns the axes for what is drawn over it."""
    tail, width = "" if k == 0 else str(k + 1), (1 - 0.02 * (of - 1)) / of
    domain = [k * (width + 0.02), k * (width + 0.02) + width]
    m, log_s, values = drawn.m, drawn.log_s, drawn.values
    ticks = (0.5, 1, 2, 3)
    layout[f"xaxis{tail}"] = {
        "domain": domain, "anchor": f"y{tail}", "range": [m[0], m[-1]], "tickvals": [-2, 0, 2],
        "title": {"text": "m", "standoff": 4}, "linecolor": "@line",
    }  # fmt: skip
    layout[f"yaxis{tail}"] = {
        "anchor": f"x{tail}", "range": [log_s[0], log_s[-1]], "tickvals": [math.log(t) for t in ticks],
        "ticktext": [f"{t:g}" for t in ticks], "showticklabels": k == 0, "linecolor": "@line",
    }  # fmt: skip
    if k == 0:
        layout["yaxis"]["title"] = {"text": "s", "standoff": 6}
    layout.setdefault("annotations", []).append(label(title, sum(domain) / 2, 1.03))
    # Colours for the low ground alone: the root opens it up, and what is far above the least is one colour.
    above = np.sqrt(np.clip(values - np.nanmin(values), 0, None))
    top = float(np.nanquantile(above[np.isfinite(above)], 0.7))
    on = {"xaxis": f"x{tail}", "yaxis": f"y{tail}"}
    map_ = heat(m, log_s, np.where(np.isfinite(above), np.minimum(above, top), top), "")
    data.append({**map_, **on, "showscale": False, "hoverinfo": "skip"})
    return on


def _stars(found: list[Fit], on: dict[str, str]) -> list[Figure]:
    """The best minimum filled, the others hollow."""
    places = np.array([[one.m, math.log(one.s)] for one in found])
    traces = []
    for symbol, which in (("star", places[:1]), ("star-open", places[1:])):
        trace = dots(which, "", "@c0", 13)
        traces.append({**trace, **on, "showlegend": False, "marker": {**trace["marker"], "symbol": symbol}})
    return traces


def _landscapes(seen: Seen) -> Part:
    data: list[Figure] = []
    layout: Figure = {"margin": {"l": 44, "r": 8, "t": 30, "b": 40}}
    for k, name in enumerate(("KL", "JS", "reverse KL", "W₂")):
        title = "W₂²" if name == "W₂" else name
        on = _panel(data, layout, k, 4, title, seen.landscapes[name])
        data += _stars(seen.fits.get(name) or [seen.transport[name]], on)
    text = (
        "The same two parameters, four landscapes. KL and W₂ have one valley each: W₂² is a quadratic in m and s. "
        "Reverse KL and JS have one at the covering fit and others on the bumps, with a pass between, and a start on "
        "either side of the pass ends on its own side."
    )
    chart = Chart("Divergence over m and s: light is low", {"data": data, "layout": layout},
                  "Four heat maps: one valley for KL and for W2, two and more for JS and reverse KL",
                  "Filled star: the best minimum. Hollow: others. s on a logarithmic axis.", wide=True)  # fmt: skip
    return Part("Landscapes", text, (chart,))


def _branch_curves(
    x: Floats, branches: dict[str, Branch], name: str, colour: str, of: str, width: float = 3
) -> list[Figure]:
    """Both branches faintly, and the better of the two drawn strongly."""
    first, second = branches.values()
    other = np.nan_to_num(second.value, nan=np.inf) < np.nan_to_num(first.value, nan=np.inf) - 1e-9
    shown = (getattr(first, of), getattr(second, of))
    faint = [curve(x, y, "", f"{colour}/0.6", width=1.2, dash="dot", shown=False) for y in shown]
    strong = [np.where(other == k, y, np.nan) for k, y in enumerate(shown)]
    return [
        *faint,
        *(curve(x, y, name if k == 0 else "", colour, width=width, shown=k == 0) for k, y in enumerate(strong)),
    ]


def _weights_part(branches: dict[str, Branch], fits: dict[str, list[Fit]]) -> Part:
    x, charts = np.array(WEIGHTS), []
    for of, name in (("m", "mean"), ("s", "deviation")):
        limits = [getattr(fits[n][0], of) for n in ("KL", "reverse KL")]
        lines = [
            curve([0, 1], [v, v], label, "@soft", width=1.5, dash=dash)
            for v, label, dash in zip(limits, ("KL", "reverse KL"), ("dash", "dot"), strict=True)
        ]
        figure = {
            "data": [*lines, *_branch_curves(x, branches, "weighted JS", "@c2", of)],
            "layout": axes("weight π", f"{of} of the fit"),
        }
        described = "A curve from KL's value at weight 0, which jumps to reverse KL's before weight 1"
        charts.append(Chart(f"The {name}, as π goes from 0 to 1", figure, described))
    text = (
        "The weighted Jensen–Shannon divergence compares both laws with the mixture M = πP + (1 − π)Q. For small π the "
        "mixture is nearly Q, and JS_π/π goes to KL(P‖Q); for π close to 1 it is nearly P, and JS_π/(1 − π) goes to "
        "KL(Q‖P). One weight thus goes all the way from covering to seeking.\n\n"
        "The best fit does not slide over, it jumps: each of the two minima moves a little, and at one weight the "
        "other becomes the lower. Dotted: the minimum that is not the best."
    )
    formulas = ("JS_π(P, Q) = π KL(P‖M) + (1 − π) KL(Q‖M),    M = πP + (1 − π)Q",)
    return Part("From one to the other", text, tuple(charts), formulas)


def _halves_part(halves: dict[str, dict[str, Branch]]) -> Part:
    x = np.array(HALVES)
    layout = axes("half the distance of the bumps, in their deviations", "|m| of the fit")
    traces = [curve(x, x, "on a bump", "@soft", width=1.5, dash="dash")]
    gap_layout = axes("half the distance of the bumps, in their deviations", "value at the fit")
    gap_layout["yaxis"]["range"] = [0, 1]
    gaps = []
    for (name, branches), width in zip(halves.items(), (9, 5.5, 2), strict=True):  # wide ones under narrow ones
        traces += _branch_curves(x, branches, name, COLOURS[name], "m", width)
        at = breaks_at(branches)
        traces.append(curve([at, at], [0, at], "", COLOURS[name], width=1.5, dash="dot", shown=False))
        gaps.append(curve(x, branches["covering"].value, name, COLOURS[name]))
        gaps.append(curve(x, branches["seeking"].value, "", COLOURS[name], dash="dash", shown=False))
    points = [breaks_at(b) for b in halves.values()]
    told = ", ".join(f"{name} at {v:.2f}" if math.isfinite(v) else f"{name} not yet" for name, v in
                     zip(halves, points, strict=True))  # fmt: skip
    text = (
        "Now two equal bumps, moved apart. Close together they are nearly one Gaussian and every divergence covers "
        "them. At some distance it is better to let one of them go, and the fit must choose a side that nothing in "
        f"the problem prefers: the symmetry breaks, for {told}.\n\n"
        "It breaks by a jump. The fit in the middle is never unstable under reverse KL: the curvature in m is exactly "
        "1/s² wherever s is right. A new minimum opens on each bump while the middle is still the best, and later "
        "becomes the lower one. A model that starts wide can so stay in the middle for good. A lost bump costs log 2 "
        "in reverse KL, ¾ log(4/3) in JS and 2 − √2 in squared Hellinger, however far away it is."
    )
    charts = (
        Chart("Where the best fit sits", {"data": traces, "layout": layout},
              "Three curves at 0 that jump up to a diagonal line, reverse KL's first",
              "Strong: the best fit. Dotted: a minimum that is not the best."),
        Chart("What both fits cost", {"data": gaps, "layout": gap_layout},
              "Rising solid curves that cross level dashed ones",
              "Solid: the fit in the middle. Dashed: the fit on a bump. They cross where the symmetry breaks."),
    )  # fmt: skip
    return Part("When the symmetry breaks", text, charts)


def _games_part(seen: Seen) -> Part:
    data: list[Figure] = []
    games, played = seen.games, seen.played
    layout: Figure = {"margin": {"l": 44, "r": 8, "t": 30, "b": 40}}
    for k, (name, game) in enumerate(games.items()):
        on = _panel(data, layout, k, len(games), name, seen.landscapes[played[name]])
        data += _stars(seen.fits[played[name]], on)
        walked = game.path[:: max(1, len(game.path) // 200)]
        data.append({**curve(walked[:, 0], walked[:, 1], "", "@ink", width=1.5, shown=False), **on})
        for x, log_s, size in ((*game.path[0], 5), (game.end.m, math.log(game.end.s), 6)):
            place = dots(np.array([[x, log_s]]), "", "@c3", size)
            data.append({**place, **on, "showlegend": False})
    bells = axes("x", "density")
    bells["xaxis"]["range"] = [-6, 6]
    drawn = [_hill(seen.p)]
    for name, game in games.items():
        drawn.append(_bell(nearest(seen.fits[played[name]], game.end), "", "@ink", "dash", shown=False))
        drawn.append(_bell(game.end, name, COLOURS.get(name, "@c3")))
    text = (
        "The model is x = m + s z, and no density is used: a small critic plays each f-GAN's bound on samples, and the "
        "two numbers follow its gradient. Three games start wide, and reverse KL is played once more from "
        "the left bump. They end where the exact divergences have their minima: what a GAN seeks or covers is decided "
        "by its divergence and its start.\n\n"
        "How near they end is set by two things: the critic's bound lies below the divergence by a gap, and "
        "differences smaller than it are out of the game's sight; and the draws never stop shaking it, so that the "
        f"last {100 * seen.tail:.0f} % of the path are averaged. The generator minimises the bound itself. With the "
        "non-saturating trick it would follow another divergence once the critic is optimal, and end elsewhere."
    )
    charts = (
        Chart("The paths of four games", {"data": data, "layout": layout},
              "Four heat maps with paths that end at minima",
              "Stars: the exact minima. Dots: where the game starts and ends. s on a logarithmic axis.", wide=True),
        Chart("The fits that the games end with", {"data": drawn, "layout": bells},
              "Curves of the games, each over the dashed curve of an exact fit",
              "Dashed: the exact minimum nearest to each.", wide=True),
    )  # fmt: skip
    formulas = ("max over V of E_P σ_f(V) − E_Q f*(σ_f(V)) = D_f(P‖Q)",)
    return Part("The same by adversaries", text, charts, formulas)
