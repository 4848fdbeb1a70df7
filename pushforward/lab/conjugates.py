"""Conjugates: a convex f is the upper envelope of its tangents, and f* keeps their intercepts.

This is the step that turns a divergence of densities into a game of samples: D_f(P‖Q) = E_Q[f(p/q)] with f(u) written
as the largest of the lines ut − f*(t), and a critic that chooses the line's slope t at each point. Nowozin et al. 2016,
arXiv:1606.00709, Section 2.2 and tables 1, 2 and 6; Rockafellar 1970, Convex Analysis, Section 12.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import torch_generator
from pushforward.lab import Tell
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.objectives.divergence import DIVERGENCES, Divergence, alpha, by_name, weighted_jensen_shannon
from pushforward.report.charts import Figure, axes, curve, dots, heat, panels

DRAWS = 200  # ratios, slopes and logits at which each divergence is checked
ROUNDING = 1e-10  # relative to the terms of ut − f(u), after a search that leaves 1e-16 of the interval
FAR = 1e12  # a ratio that stands for infinity
COUNTS = (3, 5, 9, 17, 33, 65, 129, 257)  # tangents, for the envelope's error
BETWEEN = (0.5, 4.0)  # ratios between which the envelope's error is measured


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the ratios, slopes and logits that are tried."""
    divergence: str = "kl"
    """Which one the large figures show: a name of the library, alpha(a) or weighted_jensen_shannon(pi)."""
    tangents: int = 9
    """Tangents drawn in a fan."""
    alpha: float = 1.5
    """Order of the alpha divergence; 1 − alpha, that of its reverse, is shown with it."""
    pi: float = 0.3
    """Weight of P in the weighted Jensen–Shannon divergence."""

    def __post_init__(self) -> None:
        by_name(self.divergence)
        weighted_jensen_shannon(self.pi)
        if not 3 <= self.tangents <= 40:
            raise ValueError(f"a fan has from 3 to 40 tangents, got {self.tangents}; use 9")
        if self.alpha in (0, 1) or not -3 <= self.alpha <= 4:
            raise ValueError(
                f"the alpha divergence's order is from -3 to 4 and neither 0 nor 1, which are reverse_kl and kl, "
                f"got {self.alpha}; use e.g. 1.5"
            )


@dataclass(frozen=True)
class _Check:
    """The largest errors of one divergence, relative to the terms they are differences of."""

    conjugate: float
    biconjugate: float
    lowest: float
    touching: float
    slope: float
    outside: int
    composed: float
    end: float


def run(cfg: Config, tell: Tell) -> Finding:
    """Every divergence's f, f*, f** and σ_f against numerical maximisation; fans, conjugates and gaps as figures."""
    every, checks = _every(cfg), {}
    for i, d in enumerate(every):
        checks[d.name] = _check(d, cfg.seed)
        tell(0.8 * (i + 1) / len(every))
    shown = by_name(cfg.divergence)
    parts = (_fan(shown, cfg), _all_fans(every, cfg), _conjugates(every, checks), _gap(shown), _activations(every))
    tell(1.0)
    return Finding(
        "A divergence is a game because f is the envelope of its tangents",
        f"Each of {len(every)} generators f is rebuilt from the lines below it, and each closed form of its conjugate "
        "f* is found again by plain maximisation. Where a line touches f, a critic is optimal.",
        _numbers(every, checks),
        parts,
        (
            "Nowozin, Cseke, Tomioka 2016, f-GAN, arXiv:1606.00709, Section 2.2 and tables 1, 2 and 6.",
            "Rockafellar 1970, Convex Analysis, Section 12: conjugates of convex functions.",
        ),
    )


def _every(cfg: Config) -> list[Divergence]:
    family = (alpha(cfg.alpha), alpha(1 - cfg.alpha), weighted_jensen_shannon(cfg.pi), by_name(cfg.divergence))
    return list({d.name: d for d in (*DIVERGENCES.values(), *family)}.values())


def _supremum(g: Callable[[Tensor], Tensor], low: float, high: float, n: int) -> tuple[Tensor, Tensor]:
    """The largest values [n] of n functions on [low, high], each rising, then falling, and their places [n].

    g: [n, points] -> [n, points]. A grid is laid over the interval, then over the best point's neighbours, and so on.
    """
    a, b = torch.full((n, 1), low, dtype=torch.float64), torch.full((n, 1), high, dtype=torch.float64)
    share = torch.linspace(0, 1, 121, dtype=torch.float64)
    best = torch.full((n, 1), -math.inf, dtype=torch.float64)
    place = a
    for _ in range(8):
        points = a + (b - a) * share
        values = g(points)
        top, at = values.max(1, keepdim=True)
        place = torch.where(top > best, points.gather(1, at), place)
        best = torch.maximum(best, top)
        step = (b - a) / 120
        a, b = (place - step).clamp(min=low), (place + step).clamp(max=high)
    return best[:, 0], place[:, 0]


def _sup_over_ratios(d: Divergence, t: Tensor) -> Tensor:
    """sup over u of ut − f(u), without the closed form: t [n] -> [n]. u runs over e^−60 … e^60, and 0."""
    inside, _ = _supremum(lambda s: s.exp() * t[:, None] - d.f(s.exp()), -60, 60, len(t))
    at_zero = -d.f(torch.zeros((), dtype=torch.float64))
    return torch.maximum(inside, at_zero)


def _sup_over_slopes(d: Divergence, u: Tensor) -> Tensor:
    """sup over t of ut − f*(t), from f* alone: u [n] -> [n]. t runs over all scales of the domain."""

    def slope(s: Tensor) -> Tensor:
        return d.high - (-s).exp() if math.isfinite(d.high) else s.sinh()

    return _supremum(lambda s: u[:, None] * slope(s) - d.conjugate(slope(s)), -30, 30, len(u))[0]


def _check(d: Divergence, seed: int) -> _Check:
    generator = torch_generator("lab", "conjugates", d.name, seed)
    u, w = (8 * torch.rand(2, DRAWS, dtype=torch.float64, generator=generator) - 4).exp()
    v = 20 * torch.rand(DRAWS, dtype=torch.float64, generator=generator) - 10
    t = d.derivative(w)
    scale = 1 + (u * t).abs() + d.f(u).abs() + d.conjugate(t).abs()
    own = d.derivative(u)
    own_scale = 1 + (u * own).abs() + d.f(u).abs()
    gap = (d.f(u) + d.conjugate(own) - u * own).abs() / own_scale
    logits = torch.cat([v, torch.logspace(-3, 4, 500, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    sent = d.activation(torch.cat([logits, -logits]))
    slope = own.clone().requires_grad_(True)
    (turned,) = torch.autograd.grad(d.conjugate(slope).sum(), slope)
    chosen = d.activation(v)
    return _Check(
        conjugate=_worst(_sup_over_ratios(d, t) - d.conjugate(t), 1 + d.conjugate(t).abs() + (w * t).abs()),
        biconjugate=_worst(_sup_over_slopes(d, u) - d.f(u), own_scale),
        lowest=((d.f(u) + d.conjugate(t) - u * t) / scale).min().item(),
        touching=gap.max().item(),
        # |u − 1| / 2 has a corner: f* is a segment, whose slope at its ends is not one number.
        slope=_worst(turned.log() - u.log(), torch.ones_like(u)) if d.log_ratio else 0.0,
        outside=int((~d.conjugate(sent).isfinite() & (sent != d.high)).sum() + (sent > d.high).sum()),
        composed=_worst(_sup_over_ratios(d, chosen) - d.conjugate_at(v), 1 + d.conjugate_at(v).abs() + chosen.abs()),
        end=abs(_recession(d) - d.high) if math.isfinite(d.high) else 0.0,
    )


def _worst(error: Tensor, scale: Tensor) -> float:
    return (error.abs() / scale).max().item()


def _recession(d: Divergence) -> float:
    """f(u)/u far out."""
    return d.f(torch.tensor(FAR, dtype=torch.float64)).item() / FAR


def _envelope(d: Divergence, u: Tensor, n: int) -> Tensor:
    """The largest of n tangents at ratios evenly apart: u [...] -> [...]."""
    t = d.derivative(torch.linspace(*BETWEEN, n, dtype=torch.float64))
    return (u[..., None] * t - d.conjugate(t)).max(-1).values


def _missing(d: Divergence) -> np.ndarray:
    """The largest height of f over its envelope, for each count of tangents."""
    u = torch.linspace(*BETWEEN, 64 * 256 + 1, dtype=torch.float64)  # with every tangent's ratio, and every middle
    return np.array([(d.f(u) - _envelope(d, u, n)).max().item() for n in COUNTS])


def _numbers(every: list[Divergence], checks: dict[str, _Check]) -> tuple[Number, ...]:
    def largest(field: str) -> float:
        return max(getattr(check, field) for check in checks.values())

    tested = f"{len(every)} divergences, {DRAWS} points each"
    missing = _missing(DIVERGENCES["pearson"])
    width = (BETWEEN[1] - BETWEEN[0]) / (COUNTS[2] - 1)
    slope = float(np.polyfit(np.log(np.array(COUNTS[-3:]) - 1), np.log(_missing(DIVERGENCES["kl"])[-3:]), 1)[0])
    rounding = "slack: float64, relative to the terms whose difference it is"
    return (
        Number(
            "f*(t) against sup over u of ut − f(u), largest error",
            largest("conjugate"),
            0.0,
            ROUNDING,
            why=f"the conjugate's definition, over {tested}; {rounding}",
        ),
        Number(
            "f(u) against sup over t of ut − f*(t), largest error",
            largest("biconjugate"),
            0.0,
            ROUNDING,
            why="f** = f, as every f here is convex and closed (Fenchel–Moreau)",
        ),
        Number(
            "f(u) + f*(t) − ut, the smallest seen",
            min(check.lowest for check in checks.values()),
            0.0,
            1e-12,
            "≥",
            "Fenchel–Young: every tangent lies below f; slack: float64",
        ),
        Number(
            "the same at t = f′(u), the largest seen",
            largest("touching"),
            0.0,
            1e-12,
            why="a tangent touches f where it was drawn; slack: float64",
        ),
        Number(
            "log of the slope of f* at f′(u) against log u, largest error",
            largest("slope"),
            0.0,
            1e-8,
            why="(f*)′ is the inverse of f′: the best critic's T gives the ratio back. Slack: cancellation near f′(∞)",
        ),
        Number(
            "logits that σ_f sends out of the domain of f*",
            float(sum(check.outside for check in checks.values())),
            0.0,
            why="of 1,402 logits from −10,000 to 10,000 for each divergence; rounded to f′(∞) counts as inside",
        ),
        Number(
            "f*(σ_f(v)) in closed form against the supremum, largest error",
            largest("composed"),
            0.0,
            ROUNDING,
            why="what the losses compute, for logits from −10 to 10",
        ),
        Number(
            "upper end of the domain of f* against f(u)/u far out, largest error",
            largest("end"),
            0.0,
            1e-5,
            why="no line steeper than f′(∞) stays below f. Slack: f(u)/u at u = 10¹², within 2/√u for Hellinger",
        ),
        Number(
            f"Pearson's f over its envelope of {COUNTS[2]} tangents",
            float(missing[2]),
            width**2 / 4,
            1e-12,
            why=f"(u − 1)² rises over a tangent by the distance squared; tangents {width:.3g} apart meet halfway",
        ),
        Number(
            "slope of log missing height over log number of tangents, KL",
            slope,
            -2.0,
            0.05,
            why=f"between tangents h apart f″h²/8 is missing; from {COUNTS[-3]} tangents on. Slack: f″ = 1/u varies "
            "by 6 % within the widest gap that counts",
        ),
    )


def _window(d: Divergence) -> tuple[Tensor, Tensor]:
    """Ratios and slopes to be shown: u [300] from 0 to 3, t [300] from below f′(0.2) to f′(3), or the domain's end."""
    u = torch.linspace(0, 3, 301, dtype=torch.float64)
    low, high = d.derivative(torch.tensor([0.2, 3.0], dtype=torch.float64)).tolist()
    room = 0.15 * (high - low)
    return u, torch.linspace(low - room, min(high + room, d.high), 301, dtype=torch.float64)


def _finite(y: Tensor, below: float) -> np.ndarray:
    """For a curve: a gap where it is not finite, or above what is shown."""
    return torch.where(y.isfinite() & (y <= below), y, math.nan).numpy()


def _fan_traces(d: Divergence, n: int, colour: str = "@c0") -> tuple[list[Figure], tuple[float, float]]:
    """f over n tangents; and what of the vertical axis to show."""
    u, _ = _window(d)
    at = torch.linspace(0.2, 2.8, n, dtype=torch.float64)
    t = d.derivative(at)
    lines = at.new_tensor([0.0, 3.0])[:, None] * t - d.conjugate(t)  # [2, n]
    y = d.f(u)
    inner = y[(u > 0.1) & y.isfinite()]
    spread = (inner.max() - inner.min()).item()
    low, high = inner.min().item() - 0.6 * spread, inner.max().item() + 0.08 * spread
    x = [v for _ in range(n) for v in (0, 3, None)]
    fan = [v for a, b in lines.T.tolist() for v in (a, b, None)]
    return [
        curve(x, fan, "tangents", "@c1/0.55", width=1.2),
        curve(u.numpy(), _finite(y, high + spread), "f(u)", colour, width=2.6),
    ], (low, high)


def _fan(d: Divergence, cfg: Config) -> Part:
    traces, shown = _fan_traces(d, cfg.tangents)
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
        "Look at the highest line over each u: together they are f. Every line lies below f and touches it in one "
        "point, so that f(u) is the largest of all ut − f*(t). A line is known by its slope t and its height at u = 0, "
        "which is −f*(t). So f* holds the same knowledge as f, read from the other side.\n\nThe roles can be "
        "exchanged: f* is the envelope of the lines ut − f(u), whose slopes are the ratios. Where the line of slope t "
        "touches f, there the line of slope u touches f*.\n\n"
        "Put u = p(x)/q(x) and average over Q. Then E_Q[f(p/q)] is at least E_P[T] − E_Q[f*(T)], whatever slope T(x) "
        "is chosen at each x, and p and q are needed no more: samples will do. A critic is a choice of tangents.",
        (
            Chart(
                f"f of {d.name}, and {cfg.tangents} tangents below it",
                left,
                f"A convex curve and {cfg.tangents} straight lines that touch it from below; one has its intercept "
                f"marked at {intercept:.3g}",
                tall=True,
            ),
            Chart(
                f"f* of {d.name}, and the lines of the same contacts",
                _dual(d, cfg),
                "The conjugate with straight lines that touch it from below; crosses from maximisation lie on it",
                tall=True,
            ),
        ),
        ("f*(t) = sup_u { ut − f(u) },   f(u) = sup_t { ut − f*(t) },   D_f(P‖Q) ≥ E_P[T] − E_Q[f*(T)]",),
    )


def _dual(d: Divergence, cfg: Config) -> Figure:
    _, t = _window(d)
    at = torch.linspace(0.2, 2.8, cfg.tangents, dtype=torch.float64)
    ends = t[[0, -1]]
    lines = ends[:, None] * at - d.f(at)
    y = d.conjugate(t)
    inner = y[y.isfinite()]
    low, high = inner.min().item(), min(inner.max().item(), d.conjugate(d.derivative(at[-1:])).item() * 1.6 + 0.3)
    found = t[:-1:12]  # not the domain's end, where the supremum may be at u = ∞
    layout = axes("slope t", "f*(t)")
    layout["yaxis"]["range"] = [low - 0.5 * (high - low), high + 0.05 * (high - low)]
    x = [v for _ in range(len(at)) for v in (*ends.tolist(), None)]
    fan = [v for a, b in lines.T.tolist() for v in (a, b, None)]
    u0 = torch.tensor(2.0, dtype=torch.float64)
    return {
        "data": [
            curve(x, fan, "lines ut − f(u)", "@c1/0.55", width=1.2),
            curve(t.numpy(), _finite(y, high * 2 + 1), "f*(t)", "@c0", width=2.6),
            _crosses(found, _sup_over_ratios(d, found), "by maximisation"),
            curve(ends.numpy(), (ends * u0 - d.f(u0)).numpy(), "the one of u = 2", "@c3", width=2),
        ],
        "layout": layout,
    }


def _crosses(x: Tensor, y: Tensor, name: str, size: float = 7) -> Figure:
    place = {"x": x.numpy(), "y": torch.where(y.isfinite(), y, math.nan).numpy()}
    return {
        "type": "scatter",
        "mode": "markers",
        **place,
        "name": name,
        "marker": {"color": "@ink", "size": size, "symbol": "x-thin", "line": {"color": "@ink", "width": 1.4}},
        "hoverinfo": "skip",
    }


def _short(d: Divergence) -> str:
    return d.name.replace("weighted_jensen_shannon", "weighted JS").replace("_", " ")


def _columns(every: list[Divergence]) -> int:
    return -(-len(every) // 2)


def _all_fans(every: list[Divergence], cfg: Config) -> Part:
    fans, ranges = [], []
    for d in every:
        traces, shown = _fan_traces(d, cfg.tangents)
        fans.append((_short(d), traces))
        ranges.append(shown)
    figure = panels(fans, _columns(every))
    for i, shown in enumerate(ranges):
        figure["layout"][f"yaxis{i + 1 if i else ''}"]["range"] = list(shown)
    errors = axes("tangents", "largest height of f over them", xlog=True, ylog=True)
    errors["xaxis"] |= {"tickvals": COUNTS}
    n = np.array(COUNTS)
    chosen = ("kl", "reverse_kl", "jensen_shannon", "pearson")
    lines = [
        {**curve(n, _missing(DIVERGENCES[name]), name, f"@c{i}"), "mode": "lines+markers"}
        for i, name in enumerate(chosen)
    ]
    first = (BETWEEN[1] - BETWEEN[0]) ** 2 / 4
    theory = curve(n, first / (n - 1) ** 2, "h²/4, Pearson in theory", "@ink", width=1.5, dash="dash")
    return Part(
        "Every divergence as a fan",
        "The same picture for each. What sets divergences apart is how f bends. KL bends most near u = 0 and goes on "
        "rising; reverse KL rises without end as u goes to 0, where the model puts mass and the data have none; the "
        "Jensen–Shannon pair and Hellinger level off to a straight line, which is why they stay finite for laws that "
        "do not meet. Total variation is two lines and no more: its critic has but two opinions.\n\n"
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


def _conjugates(every: list[Divergence], checks: dict[str, _Check]) -> Part:
    shown = []
    for d in every:
        _, t = _window(d)
        y = d.conjugate(t)
        below = d.conjugate(d.derivative(torch.tensor([2.8], dtype=torch.float64))).item() * 3 + 3
        found = t[:-1:20]
        traces = [
            curve(t.numpy(), _finite(y, below), "f*(t)", "@c0", width=2.2),
            _crosses(found, torch.where(d.conjugate(found) <= below, _sup_over_ratios(d, found), math.nan), "sup", 6),
        ]
        if math.isfinite(d.high):
            inner = y[y.isfinite() & (y <= below)]
            ends = [inner.min().item(), inner.max().item()]
            traces.append(curve([d.high, d.high], ends, "end of the domain", "@c1", width=1.5, dash="dash"))
        shown.append((_short(d), traces))
    names = [_short(d) for d in every]
    errors = axes("", "largest relative error", ylog=True)
    errors["barmode"] = "group"
    errors["yaxis"] |= {"exponentformat": "power", "dtick": 2, "range": [-17.5, -8]}
    errors["yaxis"].pop("tickformat")
    bars = []
    for field, name, colour in (("conjugate", "f* against sup", "@c0"), ("biconjugate", "f** against f", "@c2")):
        # A zero has no place on a logarithmic axis: the last bit of 1 stands for it.
        y = [max(getattr(checks[d.name], field), 2**-53) for d in every]
        points = {"x": names, "y": y, "marker": {"color": colour, "size": 9}}
        bars.append({"type": "scatter", "mode": "markers", "name": name, **points, "hovertemplate": "%{y:.1e}"})
    edge = curve(names, [ROUNDING] * len(names), "allowed", "@soft", width=1.5, dash="dash")
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
    _, t = _window(d)
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
        cuts.append(curve(t.numpy(), _finite(y, 2 * top.item()), f"u = {ratio:g}", f"@c{i}"))
        cuts.append(dots(np.array([[d.derivative(at).item(), 0.0]]), "", f"@c{i}", 9) | {"showlegend": False})
    return Part(
        "The gap",
        "A line of another slope than f′(u) passes below f at u, by f(u) + f*(t) − ut. Nowhere is that negative "
        "(Fenchel and Young), and it is zero along the curve t = f′(u). Averaged over Q it is just what a critic's "
        "bound falls short of the divergence: a critic is trained to walk into the valley, at each x.",
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
        ("f(u) + f*(t) − ut ≥ 0, and = 0 just where t = f′(u);   D_f − bound(T) = E_Q[ f(p/q) + f*(T) − T·p/q ]",),
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
