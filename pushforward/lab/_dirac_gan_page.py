"""The page of the Dirac-GAN: phase portraits, distances to the equilibrium, and eigenvalues."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.lab._dirac_game import FIRST, Spectrum, damped
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.report.charts import Figure, arrows, axes, curve, dots, label

EDGE, CELLS = 2.0, 11  # of a portrait, and arrows along its side
SETTLING = ("R1", "instance noise", "R3GAN", "consensus")
TITLES = {"R1": "R1 = R2 = 0-GP"}  # of portraits that are of more than one way
Floats = NDArray[Any]


@dataclass(frozen=True)
class Field:
    """Where points (θ, ψ) [n, 2] are pulled to [n, 2]."""

    at: Floats
    pull: Floats


@dataclass(frozen=True)
class Seen:
    """What was computed; dictionaries go by the ways' names.

    paths: [rounds + 1, 2 starts, 2]; kept: the share of a small distance that a round keeps in theory; locus: the
    eigenvalues with R1 [G, 2] at the weights `gammas` [G]; clip: the limit of a clipped critic.
    """

    fields: dict[str, Field]
    paths: dict[str, Floats]
    kept: dict[str, float]
    spectra: dict[str, Spectrum]
    gammas: Floats
    locus: Spectrum
    clip: float


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "A GAN circles its equilibrium until something damps the critic",
        "The smallest GAN there is: one number θ that generates, one number ψ that judges. Its gradients turn about "
        "the equilibrium and never point at it. Noise, and penalties that ask the critic for no slope, add the pull "
        "inwards; clipping, WGAN-GP, WGAN-LP and DRAGAN, with a fixed number of critic steps, do not.",
        numbers,
        (_circles(seen), _lipschitz(seen), _settle(seen), _distances(seen), _spectrum(seen)),
        (
            "Mescheder et al. 2018, Which training methods for GANs do actually converge?, arXiv:1801.04406.",
            "Gulrajani et al. 2017, Improved training of Wasserstein GANs, arXiv:1704.00028.",
            "Petzka et al. 2018, On the regularization of Wasserstein GANs, arXiv:1709.08894.",
            "Kodali et al. 2017, On convergence and stability of GANs, arXiv:1705.07215.",
            "Mescheder et al. 2017, The numerics of GANs, arXiv:1705.10461.",
            "Huang et al. 2025, The GAN is dead; long live the GAN! A modern GAN baseline, arXiv:2501.05441.",
        ),
    )


def _circles(seen: Seen) -> Part:
    return Part(
        "Without a penalty",
        "Grey arrows: where the two players' gradients pull. Lines: training, from two starts (dots). The arrows turn "
        "about the equilibrium (cross), and none points at it. Where both players step at once, each step follows a "
        "tangent and so ends farther out; where they step in turn, outward and inward errors cancel.\n\n"
        "The non-saturating loss has the same Jacobian at the equilibrium, and circles there as well. It does come in "
        "from afar, by a pull of third order that fades with the distance: 1/r² grows by h/8 a round, so that a "
        "distance ten times as small takes a hundred times as long.",
        (
            _portraits(
                ("minimax, at once", "minimax, in turn"),
                seen,
                "steps at once spiral outwards, in turn they circle",
            ),
            _portraits(("non-saturating", "WGAN"), seen, "ever slower inwards, and round for ever"),
        ),
        ("dθ/dt = ψ f′(−θψ),   dψ/dt = −θ f′(−θψ)   ⇒   θ² + ψ² does not change",),
    )


def _lipschitz(seen: Seen) -> Part:
    return Part(
        "A critic of limited slope",
        f"Clipping holds |ψ| ≤ {seen.clip} and does nothing inside that limit, where training still circles.\n\n"
        "WGAN-GP pulls |ψ| to 1, even where real and fake have met and the best critic is flat. With one critic step a "
        "round, both starts end on one cycle. With five they come to rest, but in the wrong places, (±2λ, 0): on "
        "one side of ψ = 0 the penalty's push and the loss's pull are equal there, and a flat critic tells the "
        "generator nothing.\n\n"
        "WGAN-LP asks only for |ψ| ≤ 1: inside, it is WGAN and circles; from outside it comes in to the widest such "
        "circle. DRAGAN asks for |ψ| = 1 around the data; a slope that is the same everywhere makes that WGAN-GP's "
        "penalty, here beside the non-saturating loss and with λ/2, as that loss pulls half as hard. It keeps a cycle "
        "as well. The loss of WGAN with R1, which asks for a slope of 0, finds the equilibrium.",
        (
            _portraits(("WGAN, clipped", "WGAN-LP", "WGAN-GP"), seen, "circles, and a limit cycle"),
            _portraits(
                ("DRAGAN", "WGAN-GP, 5 critic steps", "WGAN with R1"),
                seen,
                "a limit cycle, at rest in a wrong place, and in the right one",
            ),
        ),
        ("clipping: ψ ← max(−c, min(c, ψ)),   WGAN-GP, DRAGAN: λ (|ψ| − 1)²,   WGAN-LP: λ max(0, |ψ| − 1)²",),
    )


def _settle(seen: Seen) -> Part:
    return Part(
        "What brings it to rest",
        "R1, R2 and the zero-centred penalty ask for no slope at all; for a critic ψx the three are one, (γ/2)ψ², "
        "and so have one portrait. "
        "R3GAN takes R1 and R2, and so twice the damping. Noise on real and fake alike makes a steep critic err, which "
        "costs it as a penalty would. Consensus optimisation lets both players shorten the field itself.\n\n"
        "All of these train with both steps at once, the order that spirals outwards without them.",
        (
            _portraits(("R1", "instance noise"), seen, "both starts spiral in"),
            _portraits(("R3GAN", "consensus"), seen, "both starts spiral in, R3GAN the fastest"),
        ),
        ("dψ/dt = −θ f′(−θψ) − γψ   ⇒   d(θ² + ψ²)/dt = −2γψ² ≤ 0",),
    )


def _portraits(names: tuple[str, ...], seen: Seen, told: str) -> Chart:
    """Two or three phase portraits side by side."""
    data, notes = [], []
    layout: Figure = {"margin": {"l": 40, "r": 8, "t": 26, "b": 38}, "showlegend": False, "hovermode": False}
    for i, name in enumerate(names):
        end = f"{i + 1}" if i else ""
        place = {"xaxis": f"x{end}", "yaxis": f"y{end}"}
        data += [{**trace, **place} for trace in (*_arrows(seen.fields[name]), *_lines(seen.paths[name]))]
        domain = [1.08 / len(names) * i, 1.08 / len(names) * (i + 1) - 0.08]
        whole, side = axes("θ", "ψ" if i == 0 else ""), {"range": [-EDGE, EDGE], "constrain": "domain", "dtick": 1}
        layout[f"xaxis{end}"] = {**whole["xaxis"], **side, "domain": domain, "anchor": f"y{end}"}
        layout[f"yaxis{end}"] = {**whole["yaxis"], **side, "anchor": f"x{end}", "scaleanchor": f"x{end}"}
        notes.append(label(TITLES.get(name, name), sum(domain) / 2, 1.02, size=13))
    titles = [TITLES.get(name, name) for name in names]
    listed = f"{', '.join(titles[:-1])}, and {titles[-1]}"
    return Chart(
        f"{listed[0].upper()}{listed[1:]}: {told}",
        {"data": data, "layout": {**layout, "annotations": notes}},
        f"Phase portraits of {listed}: {told}",
        wide=len(names) > 2,
    )


def _arrows(field: Field) -> list[Figure]:
    """The field's arrows; their length grows as the root of the speed."""
    speed = np.maximum(np.linalg.norm(field.pull, axis=1, keepdims=True), 1e-9)
    length = 0.8 * 2 * EDGE / CELLS * np.sqrt(speed / speed.max())
    half = field.pull / speed * length / 2
    return arrows(field.at - half, field.at + half, "field", "@soft/0.55", head=4)


def _lines(path: Floats) -> list[Figure]:
    traces = []
    for start, colour in enumerate(("@c0", "@c1")):
        line = path[:, start]
        traces += [curve(line[:, 0], line[:, 1], "", colour, width=1.6), dots(line[:1], "", colour, 8)]
    cross = {"symbol": "cross-thin", "size": 11, "line": {"width": 2, "color": "@ink"}}
    return [*traces, {**dots(np.zeros((1, 2)), "", "@ink", 9), "marker": cross}]


def _distances(seen: Seen) -> Part:
    away = {name: np.maximum(np.linalg.norm(path[:, 0], axis=1), 1e-16) for name, path in seen.paths.items()}
    n = np.arange(len(away["R1"]))
    restless = [name for name in away if name not in (*SETTLING, "WGAN with R1")]
    left = axes("round", "distance to the equilibrium", ylog=True)
    left["yaxis"] |= {"tickvals": [0.2, 0.5, 1, 2, 5]}
    right = axes("round", "distance to the equilibrium", ylog=True)
    right["yaxis"] |= {"tickformat": "~e"}
    colours = {name: f"@c{i % 6}" for i, name in enumerate(restless)}
    wandering = [
        curve(n, away[name], name, colours[name], width=1.6, dash="dot" if i > 5 else "solid")
        for i, name in enumerate(restless)
    ]
    low, high = (extreme([extreme(away[name]) for name in restless]) for extreme in (min, max))
    resting = []
    for i, name in enumerate(SETTLING):
        resting.append(curve(n, away[name], name, f"@c{i}"))
        told = away[name][0] * seen.kept[name] ** n
        x, y = n[told > 1e-16], told[told > 1e-16]
        resting.append(curve(x, y, "|1 + hλ|ⁿ, theory", "@soft", width=1.3, dash="dash", shown=i == 0))
    return Part(
        "Distance to the equilibrium",
        "The same runs, from the far start. Above, nothing comes to rest at the equilibrium; the non-saturating loss "
        "is on its way, ever slower. Below, every curve ends along a straight line, whose slope the eigenvalue λ "
        "of largest real part gives; ripples are the spiral's ellipse. Far from the equilibrium the field is not "
        "linear, so a curve may run beside its line, but not at another slope.",
        (
            Chart(
                "No penalty, or one that asks for a slope of 1 or up to 1: not at rest, or not there",
                {"data": wandering, "layout": left},
                f"Distances that stay between {low:.2g} and {high:.2g} over all rounds",
                wide=True,
            ),
            Chart(
                "Damped: a constant share of the distance is lost in every round",
                {"data": resting, "layout": right},
                "Four distances that fall along straight lines, R3GAN the fastest and R1 the slowest",
                wide=True,
            ),
        ),
        ("xₙ₊₁ = (I + hJ) xₙ   ⇒   ‖xₙ‖ ~ max |1 + hλ|ⁿ",),
    )


def _spectrum(seen: Seen) -> Part:
    gammas, found = seen.gammas, seen.locus
    told = np.array([damped(g) for g in np.linspace(0, 4 * FIRST, 401)])
    locus = axes("real part: how fast it comes to rest", "imaginary part: how fast it turns")
    locus["xaxis"] |= {"range": [-1.1, 0.15]}
    theory = [
        curve(told[:, k].real, told[:, k].imag, "R1 in closed form", "@soft", width=1.4, dash="dash", shown=k == 0)
        for k in (0, 1)
    ]
    own = np.stack([found.real, found.imag], -1).reshape(-1, 2)
    marks = [
        {**dots(np.stack([s.real, s.imag], 1), "no penalty" if name == "minimax, at once" else name, f"@c{i}", 11)}
        for i, (name, s) in enumerate(seen.spectra.items())
    ]
    wall = curve([0, 0], [-0.75, 0.75], "", "@ink", width=1, shown=False)
    decay = {
        "data": [
            curve(np.linspace(0, 4 * FIRST, 401), told.real.max(1), "closed form", "@soft", width=1.5, dash="dash"),
            dots(np.stack([gammas, found.real.max(1)], 1), "by autograd", "@c1", 5),
            curve([2 * FIRST, 2 * FIRST], [-0.55, 0], "γ = 2 f′(0)", "@ink", width=1, dash="dot"),
        ],
        "layout": axes("weight γ of R1", "largest real part"),
    }
    return Part(
        "Eigenvalues",
        "Close to the equilibrium all is said by two numbers, the eigenvalues of the field's Jacobian, here by "
        "autograd through the losses and the penalties. On the vertical line training circles; to its left, it comes "
        "to rest, for rates that are small enough.\n\n"
        "With more R1 the pair moves along a circle of radius f′(0), meets at γ = 2 f′(0) and parts along the real "
        "axis. There is a best weight: beyond it the critic is so damped that it follows the generator too slowly, and "
        "the slower of the two eigenvalues comes back towards 0.",
        (
            Chart(
                "Eigenvalues in the complex plane, as γ grows from 0",
                {"data": [wall, *theory, dots(own, "R1, by autograd", "@soft/0.7", 4), *marks], "layout": locus},
                "Points on a half circle to the left of the imaginary axis, and on the real axis",
                tall=True,
            ),
            Chart(
                "The slower eigenvalue: too little and too much R1",
                decay,
                "A curve that falls in a straight line to its lowest at γ = 1 and then rises",
                tall=True,
            ),
        ),
        ("λ = −γ/2 ± √(γ²/4 − f′(0)²)",),
    )
