"""f-divergences D_f(P‖Q) = E_Q[f(p/q)]: generators, Fenchel conjugates, variational bounds and the losses they give.

Nowozin et al. 2016, arXiv:1606.00709, tables 1, 2 and 6, with f on [0, ∞), so that f* is the supremum over u ≥ 0.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LIMIT = 30.0
"""Where exponentials of a logit go over into tangents: e³⁰ ≈ 1e13 leaves room for gradients' squares in fp32."""

LOG2 = math.log(2)

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """A convex f, its conjugate, and the critic T = σ_f(V) as a function of logits V, high for P (real).

    f(u), derivative(u): f and f′ of the density ratio u = p/q ≥ 0.
    conjugate(t): f*(t) = sup over u ≥ 0 of ut − f(u); inf outside its domain, which runs from −∞ to `high`.
    high: f′(∞), the upper end of the domain of f*; closed: whether it belongs to it.
    activation(v): σ_f, increasing from ℝ into the domain; conjugate_at(v): f*(σ_f(v)) in closed form.
    log_ratio(v): log u where f′(u) = σ_f(v), −inf where only u = 0 will do; None where T does not determine u.

    Table 2's activations, except far out where σ_f(v) or f*(σ_f(v)) would overflow in fp32, or lose the gradient of a
    critic that is wrong: beyond |v| = 30 or so v is continued by its logarithm, so that an exponential of it continues
    along its tangent. Only σ_f changes, still a map into the domain: the bound is a true one for every logit.
    """

    name: str
    f: Function
    derivative: Function
    conjugate: Function
    activation: Function
    conjugate_at: Function
    log_ratio: Function | None
    high: float = math.inf
    closed: bool = False

    @property
    def domain(self) -> tuple[float, float]:
        """Ends of the domain of f*; the lower is always −∞, as f is +∞ on negative ratios."""
        return -math.inf, self.high

    @property
    def offset(self) -> float:
        """D_f(P‖P) = f(1): zero for all but `gan`, −2 log 2 there."""
        return self.f(torch.ones((), dtype=torch.float64)).item()

    @property
    def supremum(self) -> float:
        """D_f of laws that never meet: f(0) + f′(∞), the largest value there is."""
        return self.f(torch.zeros((), dtype=torch.float64)).item() + self.high

    def between(self, p: Tensor, q: Tensor) -> Tensor:
        """D_f of two discrete laws. p, q: [K] probabilities. Returns a scalar; inf where it is infinite."""
        inside = q > 0
        escaped = p[~inside].sum()
        value = (q[inside] * self.f(p[inside] / q[inside])).sum()
        return value + self.high * escaped if escaped > 0 else value

    def bound(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_P[T] − E_Q[f*(T)] ≤ D_f(P‖Q), from logits on P's sample and on Q's. Returns a scalar.

        Nowozin et al. 2016, Eq. 4 and 6; Nguyen et al. 2010, arXiv:0809.0853. Equality where T = f′(p/q).
        """
        return self.activation(real).mean() - self.conjugate_at(fake).mean()

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The bound's negative: what the critic minimises."""
        return -self.bound(real, fake)

    def generator(self, real: Tensor | None, fake: Tensor, saturating: bool = False) -> Tensor:
        """−E_Q[σ_f(V)] (Section 3.2), or −E_Q[f*(σ_f(V))], the bound itself, where `saturating`; `real` is ignored."""
        return -(self.conjugate_at(fake) if saturating else self.activation(fake)).mean()

    def ratio(self, v: Tensor) -> Tensor:
        """The density ratio p/q that the critic's logits v stand for: u with f′(u) = σ_f(v); inf where it overflows.

        Raises ValueError for total variation, whose T says only which density is the larger.
        """
        if self.log_ratio is None:
            raise ValueError(
                f"a density ratio needs a strictly convex f, got {self.name}; train the critic of another divergence"
            )
        return self.log_ratio(v).exp()


def _tamed(v: Tensor, growth: float = 1.0, end: float | None = None) -> Tensor:
    """v up to `end`, LIMIT / growth where None, and end + log(1 + growth·(v − end)) / growth beyond: a smooth change.

    exp(growth · _tamed(v)) is exp(growth · v) up to there, and its tangent beyond.
    """
    end = LIMIT / growth if end is None else end
    over = (v - end).clamp(min=0)
    return torch.where(v > end, end + torch.log1p(growth * over) / growth, v)


def _tamed_twice(v: Tensor, growth: float = 1.0) -> Tensor:
    """`_tamed` at both ends."""
    return _tamed(-_tamed(-v, growth), growth)


def _expm1(x: Tensor) -> Tensor:
    """eˣ − 1, whose gradient far below 0 is eˣ; the built-in's is the rounded result + 1, zero from −17 on in fp32."""
    return torch.where(x < -1, x.exp() - 1, torch.expm1(x.clamp(min=-1)))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ) without a threshold: torch's own is off by 2e-9 beyond 20, in float64 too."""
    return -F.logsigmoid(-x)


def _log_softplus(x: Tensor) -> Tensor:
    """log log(1 + eˣ), by its series x − eˣ/2 where eˣ is below rounding."""
    low, high = x.clamp(max=-18), x.clamp(min=-18)
    return torch.where(x < -18, low - low.exp() / 2, _softplus(high).log())


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x ≤ 0. Mächler 2012, "Accurately computing log(1 − exp(−|a|))", Eq. 7."""
    near, far = x.clamp(-LOG2, 0), x.clamp(max=-LOG2)  # rounding can take the end of a domain above 0
    return torch.where(x > -LOG2, (-torch.expm1(near)).log(), torch.log1p(-far.exp()))


def _up_to(high: float, formula: Function) -> Function:
    """The formula up to `high`, and inf beyond, with no nan from evaluating it there."""
    return lambda t: torch.where(t <= high, formula(t.clamp(max=high)), math.inf)


class _LogLambert(torch.autograd.Function):
    """w = log W(eᵃ), W being Lambert's: the root of eʷ + w = a. dw/da = 1 / (1 + eʷ)."""

    @staticmethod
    def forward(ctx, a: Tensor) -> Tensor:  # type: ignore[override]
        # g(w) = eʷ + w − a is convex and increasing, and not negative at the start: Newton comes down monotonically.
        w = torch.where(a > 1, a.clamp(min=1).log(), a.clamp(max=1))
        for _ in range(8):
            w = w - (w.exp() + w - a) / (w.exp() + 1)
        ctx.save_for_backward(w)
        return w

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (w,) = ctx.saved_tensors
        return gradient * torch.sigmoid(-w)


def _jeffreys_log_ratio(t: Tensor) -> Tensor:
    """s = log u with f′(u) = s + 1 − e⁻ˢ = t."""
    return -_LogLambert.apply(1 - t)  # type: ignore[operator]


def _half_tanh(v: Tensor) -> Tensor:
    """tanh(v) / 2 to 1e-13, with a gradient wherever fp32 can hold it; the built-in's is 1 − tanh², zero from 9 on."""
    v = _tamed_twice(v, growth=2)
    return torch.where(v >= 0, 0.5 - torch.sigmoid(-2 * v), torch.sigmoid(2 * v) - 0.5)


kl = Divergence(
    name="kl",
    f=lambda u: torch.xlogy(u, u),
    derivative=lambda u: u.log() + 1,
    conjugate=lambda t: (t - 1).exp(),
    activation=_tamed,
    conjugate_at=lambda v: (_tamed(v) - 1).exp(),
    log_ratio=lambda v: _tamed(v) - 1,
)
"""E_P[log p/q]. f* grows like eᵛ by the mathematics: v is tamed beyond 30."""

reverse_kl = Divergence(
    name="reverse_kl",
    f=lambda u: -u.log(),
    derivative=lambda u: -1 / u,
    conjugate=_up_to(0.0, lambda t: -1 - (-t).log()),
    activation=lambda v: -_tamed(-v).exp(),
    conjugate_at=lambda v: -_tamed(-v) - 1,
    log_ratio=lambda v: -_tamed(-v),
    high=0.0,
)
"""E_Q[log q/p]. T = −exp(−v): v is tamed below −30."""

jensen_shannon = Divergence(
    name="jensen_shannon",
    f=lambda u: (torch.xlogy(u, u) + (u + 1) * (LOG2 - u.log1p())) / 2,
    derivative=lambda u: (LOG2 - (1 / u).log1p()) / 2,
    conjugate=_up_to(LOG2 / 2, lambda t: -(LOG2 + _log1mexp(2 * t - LOG2)) / 2),
    activation=lambda v: (LOG2 + F.logsigmoid(v)) / 2,
    conjugate_at=lambda v: (_softplus(v) - LOG2) / 2,
    log_ratio=lambda v: v,
    high=LOG2 / 2,
)
"""(KL(P‖M) + KL(Q‖M)) / 2, M = (P + Q)/2, in [0, log 2]. Differs from the paper: its f is twice its integral."""

gan = Divergence(
    name="gan",
    f=lambda u: torch.xlogy(u, u) - (u + 1) * u.log1p(),
    derivative=lambda u: -(1 / u).log1p(),
    conjugate=_up_to(0.0, lambda t: -_log1mexp(t)),
    activation=F.logsigmoid,
    conjugate_at=_softplus,
    log_ratio=lambda v: v,
    high=0.0,
)
"""What Goodfellow et al. 2014, arXiv:1406.2661, play for: 2 JS − 2 log 2, so that f(1) is −2 log 2, not 0."""

total_variation = Divergence(
    name="total_variation",
    f=lambda u: (u - 1).abs() / 2,
    derivative=lambda u: (u - 1).sign() / 2,
    conjugate=_up_to(0.5, lambda t: t.clamp(min=-0.5)),
    activation=_half_tanh,
    conjugate_at=_half_tanh,
    log_ratio=None,
    high=0.5,
    closed=True,
)
"""∫|p − q| / 2, in [0, 1]. tanh's gradient dies like exp(−2|v|), for a wrong critic too: v is tamed beyond ±15."""

pearson = Divergence(
    name="pearson",
    f=lambda u: (u - 1).square(),
    derivative=lambda u: 2 * (u - 1),
    conjugate=lambda t: t.clamp(min=-2) + t.clamp(min=-2).square() / 4,
    activation=lambda v: v,
    conjugate_at=lambda v: v.clamp(min=-2) + v.clamp(min=-2).square() / 4,
    log_ratio=lambda v: (1 + v / 2).relu().log(),
)
"""∫(p − q)² / q. Differs from the paper: f* is −1 below −2, where t²/4 + t would take negative ratios for possible."""

neyman = Divergence(
    name="neyman",
    f=lambda u: (1 - u).square() / u,
    derivative=lambda u: 1 - u.square().reciprocal(),
    conjugate=_up_to(1.0, lambda t: 2 - 2 * (1 - t).sqrt()),
    activation=lambda v: -_expm1(-_tamed_twice(v)),
    conjugate_at=lambda v: -2 * _expm1(-_tamed_twice(v) / 2),
    log_ratio=lambda v: _tamed_twice(v) / 2,
    high=1.0,
    closed=True,
)
"""∫(p − q)² / p. T = 1 − exp(−v), and f* levels off at 2 on the other side: v is tamed beyond ±30."""

squared_hellinger = Divergence(
    name="squared_hellinger",
    f=lambda u: (u.sqrt() - 1).square(),
    derivative=lambda u: 1 - u.rsqrt(),
    conjugate=_up_to(1.0, lambda t: t / (1 - t)),
    activation=lambda v: -_expm1(-_tamed_twice(v)),
    conjugate_at=lambda v: _expm1(_tamed_twice(v)),
    log_ratio=lambda v: 2 * _tamed_twice(v),
    high=1.0,
)
"""∫(√p − √q)², in [0, 2]: no factor ½, as in the paper. Exponential at both ends: v is tamed beyond ±30."""

jeffreys = Divergence(
    name="jeffreys",
    f=lambda u: (u - 1) * u.log(),
    derivative=lambda u: u.log() + 1 - 1 / u,
    conjugate=lambda t: _expm1(_jeffreys_log_ratio(t)) + _jeffreys_log_ratio(t),
    activation=_tamed,
    conjugate_at=lambda v: _expm1(_jeffreys_log_ratio(_tamed(v))) + _jeffreys_log_ratio(_tamed(v)),
    log_ratio=lambda v: _jeffreys_log_ratio(_tamed(v)),
)
"""KL(P‖Q) + KL(Q‖P). f*(t) = W + 1/W + t − 2 with W = W(e¹⁻ᵗ), as u − 1 + log u with u = 1/W: nothing cancels."""


def alpha(a: float) -> Divergence:
    """f(u) = (uᵃ − 1 − a(u − 1)) / (a(a − 1)), `kl` at a = 1 and `reverse_kl` at 0, as its limits.

    In the paper's supplement. a = ½ is twice `squared_hellinger`, 2 half `pearson`, −1 half `neyman`. Raises
    ValueError where a isn't finite.
    """
    if not math.isfinite(a):
        raise ValueError(f"an alpha divergence needs a finite order, got {a}; use e.g. 0.5")
    if a in (0, 1):
        return kl if a == 1 else reverse_kl
    return _alpha_above_1(a) if a > 1 else _alpha_below_1(a)


def _alpha_f(a: float) -> Function:
    return lambda u: (torch.expm1(a * u.log()) - a * (u - 1)) / (a * (a - 1))


def _alpha_above_1(a: float) -> Divergence:
    """T = v; f* = (max(0, 1 + (a − 1)t)^(a/(a−1)) − 1) / a. Close to 1 the power is an exponential."""

    def conjugate(t: Tensor) -> Tensor:
        return ((1 + (a - 1) * t).relu() ** (a / (a - 1)) - 1) / a

    def activation(v: Tensor) -> Tensor:
        return _tamed(v) if a < 2 else v

    return Divergence(
        name=f"alpha({a:g})",
        f=_alpha_f(a),
        derivative=lambda u: torch.expm1((a - 1) * u.log()) / (a - 1),
        conjugate=conjugate,
        activation=activation,
        conjugate_at=lambda v: conjugate(activation(v)),
        log_ratio=lambda v: (1 + (a - 1) * activation(v)).relu().log() / (a - 1),
    )


def _alpha_below_1(a: float) -> Divergence:
    """T = 1/(1 − a) − softplus(c − v), so that u = ((1 − a) softplus(c − v))^(−1/(1−a)) and f* = (uᵃ − 1) / a.

    Differs from the paper, where c = 0: here v = 0 stands for u = 1, and orders close to 1 are close to KL.
    """
    rest = 1 - a
    shift = _log_expm1(-math.log(rest))
    # Where uᵃ leaves [e⁻³⁰, e³⁰].
    end = shift - _log_expm1(-LIMIT * rest / abs(a) - math.log(rest))

    def argument(v: Tensor) -> Tensor:
        return shift - _tamed(v, abs(a) / rest, end)

    def log_ratio(v: Tensor) -> Tensor:
        return -(math.log(rest) + _log_softplus(argument(v))) / rest

    return Divergence(
        name=f"alpha({a:g})",
        f=_alpha_f(a),
        derivative=lambda u: torch.expm1(-rest * u.log()) / -rest,
        conjugate=_up_to(1 / rest, lambda t: ((1 - rest * t).clamp(min=0) ** (-a / rest) - 1) / a),
        activation=lambda v: 1 / rest - _softplus(argument(v)),
        conjugate_at=lambda v: _expm1(a * log_ratio(v)) / a,
        log_ratio=log_ratio,
        high=1 / rest,
        closed=a < 0,
    )


def _log_expm1(log_x: float) -> float:
    """log(eˣ − 1) from log x, for any x > 0."""
    x = math.exp(log_x)
    return x + math.log(-math.expm1(-x)) if log_x > -30 else log_x


def weighted_jensen_shannon(pi: float) -> Divergence:
    """π KL(P‖M) + (1 − π) KL(Q‖M), M = πP + (1 − π)Q; π = ½ is `jensen_shannon`. Raises ValueError unless 0 < π < 1.

    Differs from the paper: σ_f(v) = π (log σ(v) − log π), with π before the log-sigmoid: f* of it is a softplus.
    """
    if not 0 < pi < 1:
        raise ValueError(f"a weighted Jensen–Shannon divergence needs 0 < pi < 1, got {pi}; use 0.5 for the even one")
    rest = 1 - pi
    return Divergence(
        name=f"weighted_jensen_shannon({pi:g})",
        f=lambda u: pi * torch.xlogy(u, u) - torch.xlogy(rest + pi * u, rest + pi * u),
        derivative=lambda u: -pi * (pi + rest / u).log(),
        conjugate=_up_to(-pi * math.log(pi), lambda t: rest * (math.log(rest) - _log1mexp(t / pi + math.log(pi)))),
        activation=lambda v: pi * (F.logsigmoid(v) - math.log(pi)),
        conjugate_at=lambda v: rest * (math.log(rest) + _softplus(v)),
        log_ratio=lambda v: v + math.log(rest / pi),
        high=-pi * math.log(pi),
    )


DIVERGENCES: dict[str, Divergence] = {
    d.name: d
    for d in (
        kl,
        reverse_kl,
        jensen_shannon,
        gan,
        total_variation,
        pearson,
        neyman,
        squared_hellinger,
        jeffreys,
    )
}


def by_name(name: str) -> Divergence:
    """One of `DIVERGENCES`, "alpha(0.5)" or "weighted_jensen_shannon(0.3)". Raises ValueError for any other name."""
    if name in DIVERGENCES:
        return DIVERGENCES[name]
    if given := re.fullmatch(r"(alpha|weighted_jensen_shannon)\((-?\d*\.?\d+)\)", name):
        family = alpha if given[1] == "alpha" else weighted_jensen_shannon
        return family(float(given[2]))
    raise ValueError(
        f"a divergence is one of {', '.join(DIVERGENCES)}, alpha(a) or weighted_jensen_shannon(pi), got {name!r}"
    )
