"""Tightness: the variational bound on a divergence rises to it as the critic grows, if it sees enough of both laws.

E_P[T] − E_Q[f*(T)] ≤ D_f(P‖Q) for every T, with equality at T* = f′(p/q). Nguyen et al. 2010, arXiv:0809.0853, Lemma 1;
Nowozin et al. 2016, arXiv:1606.00709, Section 2.2 and 2.4.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.seeding import torch_generator, torch_seeded
from pushforward.estimation import Estimate, estimate_divergence
from pushforward.lab import Tell
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._laws import Grid, LineMixture
from pushforward.objectives.divergence import DIVERGENCES, Divergence, jensen_shannon
from pushforward.report.charts import axes, curve, dots

# A broad part that both share keeps p/q between 0.17 and 3.3: every divergence is finite, and every T* bounded.
P = LineMixture((-1.6, 1.2, 0.0), (0.45, 0.6, 2.0), (0.35, 0.4, 0.25))
Q = LineMixture((-0.2, 0.0), (0.9, 2.0), (0.75, 0.25))
GRID = Grid.between(-24, 24, 1801)  # wide enough for Q stretched by 1.8
SHOWN = ("kl", "reverse_kl", "jensen_shannon", "squared_hellinger", "pearson")
POLYNOMIALS = ("constant", "linear", "quadratic")
STEPS, EVERY = 400, 8  # of the critic that sees few samples
SIZES = (50, 100, 200)
REPEATS = 5  # samples of each size, each with a critic of its own
CROSSED = 400  # draws of each law for the cross-fitted estimate, whose two critics see half of them each
MIXED = (1.0, 0.3, 0.1, 0.03, 0.01)  # shares of another critic mixed into T*


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the networks and of the samples."""
    divergence: str = "kl"
    """Which of kl, reverse_kl, jensen_shannon, squared_hellinger and pearson the pictures of critics show."""
    widest: int = 16
    """Units of the widest critic, a power of two; those before it have 2, 4, 8, …"""
    points: int = 512
    """Points that stand for each law in training, at its quantiles."""
    samples: int = 50
    """Draws from each law in the part on overfitting."""

    def __post_init__(self) -> None:
        if self.divergence not in SHOWN:
            raise ValueError(f"the divergence is one of {', '.join(SHOWN)}, got {self.divergence!r}; choose one")
        if self.widest not in (4, 8, 16, 32, 64):
            raise ValueError(f"the widest critic has 4, 8, 16, 32 or 64 units, got {self.widest}; use 16")
        if self.points < 256 or self.samples < 50:
            raise ValueError(
                f"training needs 256 points and 50 samples or more, got {self.points} and {self.samples}; raise them"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(2**k for k in range(1, self.widest.bit_length()))

    @property
    def names(self) -> tuple[str, ...]:
        """The critics, from small to large."""
        return *POLYNOMIALS, *(f"{w} units" for w in self.widths)


class _Nested(nn.Module):
    """A polynomial and `width` tanh units, in one sum: x [N] -> logits [N]; constant outside [−reach, reach].

    Every smaller critic is one of these with zeros, so that a larger class holds the smaller.
    """

    def __init__(self, degree: int, width: int, reach: float) -> None:
        super().__init__()
        self.degree, self.reach = degree, reach
        self.polynomial = nn.Parameter(torch.zeros(degree + 1, dtype=torch.float64))
        self.steepness = nn.Parameter(1.5 * torch.randn(width, dtype=torch.float64))
        self.place = nn.Parameter(2 * torch.randn(width, dtype=torch.float64))
        self.height = nn.Parameter(torch.zeros(width, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(-self.reach, self.reach)
        powers = torch.stack([x**k for k in range(self.degree + 1)], -1)  # [N, degree + 1]
        return powers @ self.polynomial + torch.tanh(x[:, None] * self.steepness + self.place) @ self.height

    @torch.no_grad()
    def start_from(self, smaller: "_Nested") -> None:
        """The same function as the smaller one's; units that it lacks stay silent."""
        for name, values in smaller.named_parameters():
            self.get_parameter(name)[: len(values)] = values


class _Large(nn.Module):
    """One network for each sample, side by side, of two hidden layers: x [REPEATS, N] -> logits [REPEATS, N].

    None of them shares a weight with another, and Adam's steps don't either, so that each learns from its own draws.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width, width, 1)
        self.weights = nn.ParameterList(
            torch.randn(REPEATS, a, b) * math.sqrt((1 if b == 1 else 2) / a) for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(REPEATS, 1, b) for b in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        h = x[..., None]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, F.leaky_relu(h, 0.2) if i else h, weight)
        return h[..., 0]


@dataclass(frozen=True)
class _Trained:
    """What a critic reached, all by quadrature. gradient, exact: with respect to a shift and a scale of Q [2]."""

    critic: nn.Module
    bound: float
    exact: float
    gradient: np.ndarray
    wanted: np.ndarray
    allowed: np.ndarray

    @property
    def gap(self) -> float:
        return self.exact - self.bound

    @property
    def gradient_error(self) -> float:
        """Relative, in norm."""
        return float(np.linalg.norm(self.gradient - self.wanted) / np.linalg.norm(self.wanted))


@dataclass(frozen=True)
class _Overfit:
    """Large critics' bounds on what they were trained on and on the laws themselves: [looks, REPEATS], by step [looks].

    best: what T* scores on the same draws [REPEATS].
    """

    steps: np.ndarray
    train: np.ndarray
    laws: np.ndarray
    best: np.ndarray


def run(cfg: Config, tell: Tell) -> Finding:
    """Critics of growing capacity for five divergences; their gradients; and a large critic on few samples."""
    ladders = {}
    for i, name in enumerate(SHOWN):
        ladders[name] = _ladder(DIVERGENCES[name], cfg)
        tell(0.1 * (i + 1))
    mixed = {name: _mixed(DIVERGENCES[name], ladder[2]) for name, ladder in ladders.items()}
    overfit = {n: _overfit(cfg, n) for n in dict.fromkeys((cfg.samples, *SIZES))}
    tell(0.8)
    estimate = _cross_fitted(cfg)
    tell(1.0)
    exact = _exact(jensen_shannon)
    return Finding(
        "A larger critic makes the bound tight, and too few samples make it lie",
        "For every critic the bound stays below the divergence, and it reaches it where the critic is f′(p/q). The gap "
        "closes as the critic grows. On a small sample a large critic climbs past the truth, but not on fresh draws.",
        _numbers(cfg, ladders, mixed, overfit, estimate),
        (
            _critics(cfg, ladders[cfg.divergence]),
            _gaps(cfg, ladders),
            _gradients(cfg, ladders, mixed),
            _samples(cfg, overfit, estimate, exact),
        ),
        (
            "Nguyen, Wainwright, Jordan 2010, arXiv:0809.0853, Lemma 1.",
            "Nowozin, Cseke, Tomioka 2016, f-GAN, arXiv:1606.00709, Sections 2.2 and 2.4.",
            "Chernozhukov et al. 2018, arXiv:1608.00060: cross-fitting.",
        ),
    )


def _ratio(x: Tensor) -> Tensor:
    return (P.log_prob(x) - Q.log_prob(x)).exp()


def _exact(d: Divergence, shift: float = 0.0, scale: float = 0.0) -> float:
    """D_f(P‖Q′) by quadrature, Q′ the law of e^scale·X + shift for X of Q."""
    log_q = Q.log_prob((GRID.x - shift) * np.exp(-scale)) - scale
    return GRID.integral(log_q.exp() * d.f((P.log_prob(GRID.x) - log_q).exp())).item()


def _bound(d: Divergence, critic: nn.Module, scale: float = 0.0) -> float:
    """E_P[T] − E_Q′[f*(T)] by quadrature, Q′ the law of e^scale·X for X of Q."""
    q = Q.prob(GRID.x * math.exp(-scale)) * math.exp(-scale)
    with torch.no_grad():
        v = critic(GRID.x)
        return GRID.integral(P.prob(GRID.x) * d.activation(v) - q * d.conjugate_at(v)).item()


def _ladder(d: Divergence, cfg: Config) -> list[_Trained]:
    """The critics from constant to widest, each trained from where the one before it stopped."""
    real, fake = P.quantiles(cfg.points), Q.quantiles(cfg.points)
    reach = max(real.abs().max().item(), fake.abs().max().item())
    rungs, last = [], None
    for degree, width in [(0, 0), (1, 0), (2, 0), *((2, w) for w in cfg.widths)]:
        with torch_seeded("lab", "tightness", cfg.seed, d.name, width):
            critic = _Nested(degree, width, reach)
        if last is not None:
            critic.start_from(last)
        _train(d, critic, real, fake)
        rungs.append(_measured(d, critic))
        last = critic
    return rungs


def _train(d: Divergence, critic: nn.Module, real: Tensor, fake: Tensor) -> None:
    """To the end of what L-BFGS finds, by the divergence's critic loss."""
    optimizer = torch.optim.LBFGS(
        critic.parameters(),
        max_iter=140,
        history_size=40,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = d.critic(critic(real), critic(fake))
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]


def _measured(d: Divergence, critic: nn.Module) -> _Trained:
    x, u = GRID.x, _ratio(GRID.x)
    with torch.no_grad():
        v = critic(x)
    cost, best = d.conjugate_at(v), d.conjugate(d.derivative(u))
    # Each gradient is E_Q[score · f*(T)], so that its error is at most √(E_Q score² · E_Q (f*(T) − f*(T*))²).
    scores = _scores()
    q = Q.prob(x)
    return _Trained(
        copy.deepcopy(critic),
        _bound(d, critic),
        _exact(d),
        _gradient(lambda y: d.conjugate_at(critic(y))),
        _finite_differences(d),
        (GRID.integral(q * scores.square()) * GRID.integral(q * (cost - best).square())).sqrt().numpy(),
    )


def _gradient(cost: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Of −E_Q[f*(T(e^b·X + a))] in (a, b) at 0: what a generator that shifts and scales Q would follow."""
    a, b = torch.zeros(2, dtype=torch.float64, requires_grad=True).unbind()
    value = -GRID.integral(Q.prob(GRID.x) * cost(GRID.x * b.exp() + a))
    return torch.stack(torch.autograd.grad(value, (a, b))).numpy()


def _scores() -> Tensor:
    """∂ log q(x) in a shift and in a scale of Q: [2, n]."""
    x = GRID.x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(Q.log_prob(x).sum(), x)
    return torch.stack([-slope, -slope * GRID.x - 1])


def _finite_differences(d: Divergence, h: float = 1e-3) -> np.ndarray:
    """The exact divergence's gradient in a shift and a scale of Q; the error is of order h⁴."""

    def along(at: Callable[[float], float]) -> float:
        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    return np.array([along(lambda s: _exact(d, shift=s)), along(lambda s: _exact(d, scale=s))])


@dataclass(frozen=True)
class _Mixed:
    """Critics (1 − s)T* + sT for the shares `MIXED`: relative gaps, and relative errors of the gradient."""

    gap: np.ndarray
    error: np.ndarray

    @property
    def slope(self) -> float:
        """Of log error over log gap, where both are small."""
        (e1, e0), (g1, g0) = np.log(self.error[-2:]), np.log(self.gap[-2:])
        return float((e1 - e0) / (g1 - g0))


def _mixed(d: Divergence, other: _Trained) -> _Mixed:
    """On the way from the best critic to another."""
    gaps, errors = [], []
    for share in MIXED:

        def t(y: Tensor, share: float = share) -> Tensor:
            return (1 - share) * d.derivative(_ratio(y)) + share * d.activation(other.critic(y))

        with torch.no_grad():
            value = GRID.integral(P.prob(GRID.x) * t(GRID.x) - Q.prob(GRID.x) * d.conjugate(t(GRID.x))).item()
        gaps.append(1 - value / other.exact)
        gradient = _gradient(lambda y, t=t: d.conjugate(t(y)))
        errors.append(np.linalg.norm(gradient - other.wanted) / np.linalg.norm(other.wanted))
    return _Mixed(np.array(gaps), np.array(errors))


def _drawn(cfg: Config, n: int) -> tuple[Tensor, Tensor]:
    """Samples of both laws, [REPEATS, n] each."""
    draws = torch_generator("lab", "tightness", "samples", cfg.seed, n)
    real, fake = (law.sample(draws, REPEATS * n).view(REPEATS, n) for law in (P, Q))
    return real, fake


def _overfit(cfg: Config, n: int) -> _Overfit:
    """Networks of two layers of 64 units, each on n draws of each law, all of them in each step, by the JS bound."""
    d, (real, fake) = jensen_shannon, _drawn(cfg, n)
    with torch_seeded("lab", "tightness", "large", cfg.seed, n):
        nets = _Large(64)
    optimizer = torch.optim.Adam(nets.parameters(), lr=1e-2)
    near, far, grid = real.float(), fake.float(), GRID.x.float().expand(REPEATS, -1)
    rows = []
    for step in range(STEPS + 1):
        on_real, on_fake = nets(near), nets(far)
        if step % EVERY == 0:
            with torch.no_grad():
                v = nets(grid).double()
                laws = GRID.integral(P.prob(GRID.x) * d.activation(v) - Q.prob(GRID.x) * d.conjugate_at(v))
                rows.append((d.activation(on_real).mean(1) - d.conjugate_at(on_fake).mean(1), laws))
        optimizer.zero_grad()
        d.critic(on_real, on_fake).backward()
        optimizer.step()
    train, laws = (torch.stack(side).double().numpy() for side in zip(*rows, strict=True))
    best = d.derivative(_ratio(real)).mean(1) - d.conjugate(d.derivative(_ratio(fake))).mean(1)
    return _Overfit(np.arange(0, STEPS + 1, EVERY), train, laws, best.numpy())


def _cross_fitted(cfg: Config) -> Estimate:
    """From one sample of each law."""
    real, fake = (x[0][:, None] for x in _drawn(cfg, CROSSED))
    return estimate_divergence(real, fake, jensen_shannon, folds=2, seed=cfg.seed)


def _numbers(
    cfg: Config,
    ladders: dict[str, list[_Trained]],
    mixed: dict[str, _Mixed],
    overfit: dict[int, _Overfit],
    estimate: Estimate,
) -> tuple[Number, ...]:
    rungs = [rung for ladder in ladders.values() for rung in ladder]
    falls = [(a.bound - b.bound) / a.exact for ladder in ladders.values() for a, b in pairwise(ladder)]
    at_best, slopes = [], []
    for name in SHOWN:
        d, u = DIVERGENCES[name], _ratio(GRID.x)
        t = d.derivative(u)
        value = GRID.integral(P.prob(GRID.x) * t - Q.prob(GRID.x) * d.conjugate(t)).item()
        at_best.append(abs(value - _exact(d)))
        best = _gradient(lambda y, d=d: d.conjugate(d.derivative(_ratio(y))))
        slopes.append(float(np.abs(best - _finite_differences(d)).max()))
    exact = _exact(jensen_shannon)
    few = overfit[cfg.samples]
    return (
        Number(
            "bound at T* = f′(p/q) less the divergence, the largest of five",
            max(at_best),
            0.0,
            1e-6,
            why="equality in Fenchel–Young; both by quadrature in float64",
        ),
        Number(
            "bound over divergence, the largest of all critics",
            max(r.bound / r.exact for r in rungs),
            1.0,
            1e-9,
            "≤",
            "a lower bound for every critic, trained or not; slack: quadrature",
        ),
        Number(
            "fall of the bound from a critic to a larger one, as a share",
            max(falls),
            0.0,
            1e-3,
            "≤",
            f"the classes are nested. Slack: training sees {cfg.points:,} quantiles of each law, and not the law",
        ),
        Number(
            f"gap of the critic of {cfg.widest} units, as a share, the largest of five",
            max(ladder[-1].gap / ladder[-1].exact for ladder in ladders.values()),
            0.0,
            5e-3,
            why="T* is within reach. Slack: what the optimiser leaves, and quantiles for laws; it started near 0.8",
        ),
        Number(
            "gradient of the bound at T* less the divergence's own, the largest of five",
            max(slopes),
            0.0,
            1e-6,
            why="Danskin: at its maximum over T the bound has the divergence's gradient. Slack: finite differences",
        ),
        Number(
            "error of a critic's gradient over what its f*(T) allows, the largest",
            max(float((np.abs(r.gradient - r.wanted) / r.allowed).max()) for r in rungs),
            1.0,
            1e-3,
            "≤",
            "Cauchy–Schwarz: √(E_Q score² · E_Q (f*(T) − f*(T*))²), of the order of √gap. Slack: where T has a corner",
        ),
        Number(
            "slope of log gradient error over log gap near T*, the farthest from ½",
            max((m.slope for m in mixed.values()), key=lambda slope: abs(slope - 0.5)),
            0.5,
            0.02,
            why="T* + εh misses the divergence by ε² and its gradient by ε. Slack: the next order at ε = 0.03",
        ),
        Number(
            f"training value on {cfg.samples:,} samples, Jensen–Shannon, mean of {REPEATS}",
            float(few.train[-1].mean()),
            float(few.best.mean()),
            0.0,
            "≥",
            f"what T* scores on the same draws, on average the divergence, {exact:.4f}: a large critic beats it there",
        ),
        Number(
            "the same critics on the laws themselves, the largest",
            float(few.laws[-1].max()),
            exact,
            1e-6,
            "≤",
            "a critic that was fixed before the draws are made is any critic; slack: single precision",
        ),
        Number(
            f"cross-fitted estimate from {CROSSED:,} samples",
            estimate.value,
            exact,
            4 * estimate.error,
            "≤",
            "every draw is judged by a critic that did not see it; slack: four standard errors",
        ),
    )


def _critics(cfg: Config, ladder: list[_Trained]) -> Part:
    d = DIVERGENCES[cfg.divergence]
    x = torch.linspace(-5, 5, 301, dtype=torch.float64)
    laws = [
        curve(x.numpy(), P.prob(x).numpy(), "p", "@c0", width=2.2),
        curve(x.numpy(), Q.prob(x).numpy(), "q", "@c1", width=2.2),
    ]
    star = d.derivative(_ratio(x)).numpy()
    picked = [i for i in (1, 2, 3, len(ladder) - 1) if i < len(ladder)]
    with torch.no_grad():
        learned = [
            curve(x.numpy(), d.activation(ladder[i].critic(x)).numpy(), cfg.names[i], f"@c{k}", width=2)
            for k, i in enumerate(picked)
        ]
    layout = axes("x", "T(x)")
    room = 0.35 * (star.max() - star.min())
    layout["yaxis"]["range"] = [star.min() - room, star.max() + room]
    theory = curve(x.numpy(), star, "T* = f′(p/q)", "@ink", width=1.8, dash="dash")
    return Part(
        f"The best critic, approached: {cfg.divergence}",
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


def _gaps(cfg: Config, ladders: dict[str, list[_Trained]]) -> Part:
    names = list(cfg.names)
    share, gap = [], []
    for i, (name, ladder) in enumerate(ladders.items()):
        label = name.replace("_", " ")
        y = np.array([r.bound / r.exact for r in ladder])
        share.append({**curve(names, y, label, f"@c{i}"), "mode": "lines+markers"})
        gap.append({**curve(names, np.maximum(1 - y, 1e-12), label, f"@c{i}"), "mode": "lines+markers"})
    one = curve(names, np.ones(len(names)), "the divergence", "@ink", width=1.5, dash="dash")
    logs = axes("", "gap / divergence", ylog=True)
    logs["yaxis"] |= {"dtick": 1, "exponentformat": "power"}
    logs["yaxis"].pop("tickformat")
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
                "Five falling curves on a logarithmic axis, from near 1 to below a thousandth",
                tall=True,
            ),
        ),
        ("D_f(P‖Q) − bound(T) = E_Q[ f(u) + f*(T) − uT ],   u = p/q",),
    )


def _gradients(cfg: Config, ladders: dict[str, list[_Trained]], mixed: dict[str, _Mixed]) -> Part:
    d, ladder = DIVERGENCES[cfg.divergence], ladders[cfg.divergence]
    scales = np.linspace(-0.45, 0.6, 61)
    exact = np.array([_exact(d, scale=s) for s in scales])
    picked = [i for i in (0, 2, 3, len(ladder) - 1) if i < len(ladder)]
    frozen = [
        curve(np.exp(scales), [_bound(d, ladder[i].critic, s) for s in scales], cfg.names[i], f"@c{k}", width=1.8)
        for k, i in enumerate(picked)
    ]
    layout = axes("scale of Q", "D_f, and each critic's bound")
    layout["yaxis"]["range"] = [-0.6 * ladder[0].exact, 1.1 * exact.max()]
    truth = curve(np.exp(scales), exact, "the divergence", "@ink", width=2, dash="dash")
    points = []
    for i, (name, rungs) in enumerate(ladders.items()):
        x, y = np.array([(max(r.gap / r.exact, 1e-12), r.gradient_error) for r in rungs[1:]]).T
        marker = {"color": f"@c{i}", "size": 8}
        points.append({**curve(x, y, name.replace("_", " "), f"@c{i}"), "mode": "markers", "marker": marker})
        points.append(curve(mixed[name].gap, mixed[name].error, "", f"@c{i}/0.6", width=1.5, shown=False))
    spread = np.geomspace(min(t["x"].min() for t in points), 1, 50)
    root = curve(spread, np.sqrt(spread), "√gap", "@soft", width=1.5, dash="dash")
    logs = axes("gap / divergence", "relative error of the gradient", xlog=True, ylog=True)
    for axis in ("xaxis", "yaxis"):
        logs[axis] |= {"dtick": 1, "exponentformat": "power"}
        logs[axis].pop("tickformat")
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
                f"Bounds of frozen critics as Q is stretched: {cfg.divergence}",
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


def _samples(cfg: Config, overfit: dict[int, _Overfit], estimate: Estimate, exact: float) -> Part:
    few, flat = overfit[cfg.samples], {"width": 1.5, "dash": "dash"}
    layout = axes("steps", "Jensen–Shannon bound")
    layout["yaxis"]["range"] = [-1.5 * exact, float(few.train.max()) * 1.05]
    by_step = []
    for values, name, colour in ((few.train, "on its own samples", "@c1"), (few.laws, "on the laws", "@c0")):
        for one in values.T:
            by_step.append(curve(few.steps, one, "", f"{colour}/0.35", width=1, shown=False))
        by_step.append(curve(few.steps, values.mean(1), f"{name}, mean", colour, width=2.8))
    by_step.append(curve([0, STEPS], [exact, exact], "the divergence", "@ink", **flat))
    sizes, by_size = np.array(SIZES), []
    for field, name, colour in (("train", "on its own samples", "@c1"), ("laws", "on the laws", "@c0")):
        values = np.array([getattr(overfit[n], field)[-1] for n in SIZES])  # [sizes, REPEATS]
        places = np.stack([np.repeat(sizes, REPEATS), values.ravel()], 1)
        by_size.append(dots(places, name, f"{colour}/0.5", 6) | {"showlegend": False})
        by_size.append({**curve(sizes, values.mean(1), name, colour), "mode": "lines+markers"})
    by_size.append(curve([SIZES[0], CROSSED], [exact, exact], "the divergence", "@ink", **flat))
    bar = {"type": "data", "array": [estimate.high - estimate.value], "color": "@c3", "thickness": 2, "width": 6}
    cross = {"x": [CROSSED], "y": [estimate.value], "error_y": bar, "marker": {"color": "@c3", "size": 9}}
    by_size.append({"type": "scatter", "mode": "markers", "name": "cross-fitted, 95 %", **cross})
    ticks = axes("samples of each law", "Jensen–Shannon bound", xlog=True)
    ticks["xaxis"] |= {"tickvals": [*SIZES, CROSSED]}
    ticks["yaxis"]["range"] = layout["yaxis"]["range"]
    return Part(
        "What few samples do",
        f"Here {REPEATS} networks of two layers of 64 units see {cfg.samples:,} draws of each law, each its own, again "
        "and again. On those draws the bound passes the divergence and goes on: the network learns where they happen "
        "to lie. On the laws themselves the same network first rises, then falls.\n\n"
        "A bound holds for a critic that was fixed before the draws were made. So an estimate must use draws that its "
        "critic never saw. To hold out half for good would waste it, and so each part is judged by a critic trained on "
        "the others (cross-fitting), and training stops where the loss on what is held out no longer falls. The purple "
        f"dot is such an estimate from {CROSSED:,} draws of each law: its two critics saw half of them each.",
        (
            Chart(
                f"Large critics on {cfg.samples:,} samples of each law",
                {"data": by_step, "layout": layout},
                "Curves on the own samples rise above the dashed line, those on the laws turn down",
                tall=True,
            ),
            Chart(
                f"After {STEPS} steps, over the number of samples",
                {"data": by_size, "layout": ticks},
                "The two curves close in on the dashed line from above and from below as samples grow",
                tall=True,
            ),
        ),
    )
