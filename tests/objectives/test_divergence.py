import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from pushforward.objectives import adversarial
from pushforward.objectives.divergence import (
    DIVERGENCES,
    Divergence,
    Function,
    alpha,
    by_name,
    gan,
    jeffreys,
    jensen_shannon,
    kl,
    neyman,
    pearson,
    reverse_kl,
    squared_hellinger,
    total_variation,
    weighted_jensen_shannon,
)

ALL = [
    *DIVERGENCES.values(),
    *(alpha(a) for a in (-1, -0.5, 0.01, 0.3, 0.9, 0.99, 1.05, 1.5, 3)),
    *(weighted_jensen_shannon(pi) for pi in (0.1, 0.7)),
]
EACH = pytest.mark.parametrize("d", ALL, ids=lambda d: d.name)
WITH_RATIO = pytest.mark.parametrize("d", [d for d in ALL if d.log_ratio], ids=lambda d: d.name)
LOG2 = math.log(2)
FAR = [1e4, 1e3, 100.0, 45.0, 31.0, 29.0, 10.0, 3.0, 0.5]

# For properties: every divergence, the families at any order (but for those next to 0 and 1, where f cancels).
KINDS = {name: st.just(d) for name, d in DIVERGENCES.items()} | {
    "alpha": st.floats(-4, 5).filter(lambda a: min(abs(a), abs(a - 1)) > 0.02).map(alpha),
    "weighted": st.floats(0.02, 0.98).map(weighted_jensen_shannon),
}
ANY = pytest.mark.parametrize("kind", KINDS)
PROPERTY = settings(max_examples=20, deadline=None)


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def uniform(low: float, high: float, n: int, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tensors(low: float, high: float) -> st.SearchStrategy[Tensor]:
    return st.lists(st.floats(low, high), min_size=1, max_size=12).map(lambda values: f64(*values))


def highest(g: Function, low: float, high: float, n: int) -> Tensor:
    """The largest of n concave functions on [low, high]: again and again the best of a grid, and its neighbours."""
    a, b = (torch.full((n, 1), end, dtype=torch.float64) for end in (low, high))
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    for _ in range(14):
        x = torch.lerp(a, b, grid)  # [n, 101], exact at both ends
        best = g(x).argmax(1, keepdim=True)
        a, b = x.gather(1, (best - 1).clamp(min=0)), x.gather(1, (best + 1).clamp(max=100))
    return g((a + b) / 2).squeeze(1)


def slope(d: Divergence, low: Tensor, high: Tensor) -> Tensor:
    """Of f between two log ratios: a value of T that some critic may give, found without d.derivative."""
    return (d.f(high.exp()) - d.f(low.exp())) / (high.exp() - low.exp())


@st.composite
def laws(draw: st.DrawFn, least: int = 1) -> tuple[Tensor, Tensor]:
    """How often each atom occurs in two samples, of any sizes."""
    atoms = st.integers(least, 30)
    counts = st.lists(st.tuples(atoms, atoms), min_size=2, max_size=8).map(torch.tensor)
    p, q = draw(counts.filter(lambda both: bool(both.sum(0).all()))).unbind(1)
    return p, q


def exact(d: Divergence, p: Tensor, q: Tensor) -> float:
    return d.between(p / p.sum().double(), q / q.sum().double()).item()


def logits_of(d: Divergence, log_ratio: Tensor) -> Tensor:
    """v with d.log_ratio(v) = log_ratio, by bisection; for total variation the limit."""
    if d.log_ratio is None:
        return 1e8 * log_ratio.sign()
    low, high = torch.full_like(log_ratio, -1e7), torch.full_like(log_ratio, 1e7)
    for _ in range(110):
        middle = (low + high) / 2
        over = d.log_ratio(middle) > log_ratio
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return (low + high) / 2


def gradient(g: Function, v: Tensor) -> Tensor:
    v = v.clone().requires_grad_(True)
    return torch.autograd.grad(g(v).sum(), v)[0]


@EACH
def test_f_is_zero_at_one_but_for_the_gan_divergence(d):
    known = -2 * LOG2 if d is gan else 0
    assert d.offset == pytest.approx(known, abs=1e-15)
    p = f64(0.2, 0.5, 0.3)
    assert d.between(p, p).item() == pytest.approx(known, abs=1e-15)


@PROPERTY
@given(a=KINDS["alpha"], pi=KINDS["weighted"], p=tensors(0.01, 1))
def test_members_of_the_families_are_zero_at_one_and_for_equal_laws(a, pi, p):
    for d in (a, pi):
        assert d.offset == pytest.approx(0, abs=1e-14)
        assert d.between(p / p.sum(), p / p.sum()).item() == pytest.approx(0, abs=1e-12)


@ANY
@PROPERTY
@given(data=st.data(), u=tensors(-8, 8), w=st.floats(-8, 8), share=st.floats(0, 1))
def test_f_is_convex(kind, data, u, w, share):
    d, u, w = data.draw(KINDS[kind]), u.exp(), math.exp(w) * torch.ones_like(u)
    chord = share * d.f(u) + (1 - share) * d.f(w)
    scale = 1 + share * d.f(u).abs() + (1 - share) * d.f(w).abs()
    assert (d.f(share * u + (1 - share) * w) <= chord + 1e-12 * scale).all()
    # Strictly so, where rounding cannot hide it; total variation's across its corner alone.
    apart = ((u / w).log().abs() > 0.5) & (u.log().abs() < 3) & (w.log().abs() < 3)
    strict = apart & ((u - 1) * (w - 1) < -0.01) if d.log_ratio is None else apart
    assert (d.f((u + w) / 2) < (d.f(u) + d.f(w)) / 2)[strict].all()


@ANY
@PROPERTY
@given(data=st.data(), u=tensors(-6, 6))
def test_the_derivative_is_f_s(kind, data, u):
    d, u = data.draw(KINDS[kind]), u.exp()
    assert torch.allclose(gradient(d.f, u), d.derivative(u), rtol=1e-8, atol=1e-8)


@ANY
@PROPERTY
@given(data=st.data(), low=tensors(-6, 6), step=st.floats(0.1, 3), below=st.floats(0, 5))
def test_the_conjugate_is_the_supremum_over_ratios(kind, data, low, step, below):
    d = data.draw(KINDS[kind])
    t = slope(d, low, low + step)
    # Where f(0) is finite: below f'(0), if that is finite too, no ratio is worth while, and the supremum is at u = 0.
    lowest = (d.f(f64(1e-3)) - d.f(f64(0))) / 1e-3 - below
    t = torch.cat([t, lowest]) if lowest.isfinite() else t
    found = highest(lambda s: s.exp() * t[:, None] - d.f(s.exp()), -30, 12, len(t))
    assert torch.allclose(d.conjugate(t), torch.maximum(found, -d.f(torch.zeros_like(t))), rtol=1e-8, atol=1e-8)


@ANY
@PROPERTY
@given(data=st.data(), u=tensors(-4, 4))
def test_f_is_the_conjugate_s_conjugate(kind, data, u):
    d, u = data.draw(KINDS[kind]), u.exp()
    top = d.high if math.isfinite(d.high) else slope(d, f64(5), f64(6)).item()
    bottom = min(slope(d, f64(-6), f64(-5)).item(), -1)
    found = highest(lambda t: u[:, None] * t - d.conjugate(t), bottom, top, len(u))
    assert torch.allclose(d.f(u), found, rtol=1e-9, atol=1e-9)


@ANY
@PROPERTY
@given(data=st.data(), u=tensors(-5, 5), w=st.floats(-5, 5))
def test_fenchel_young_holds_with_equality_at_the_derivative(kind, data, u, w):
    d, u = data.draw(KINDS[kind]), u.exp()
    t = d.derivative(f64(math.exp(w)))
    scale = 1 + d.f(u).abs() + (u * t).abs()
    assert (d.f(u) + d.conjugate(t) - u * t >= -1e-9 * scale).all()
    own = d.derivative(u)
    assert ((d.f(u) + d.conjugate(own) - u * own).abs() <= 1e-9 * scale).all()


@EACH
def test_the_conjugate_is_infinite_beyond_its_domain_and_there_only(d):
    assert d.domain == (-math.inf, d.high)
    assert d.derivative(f64(math.inf)).item() == pytest.approx(d.high, abs=1e-12)
    if math.isfinite(d.high):
        assert d.conjugate(f64(d.high + 1e-9, d.high + 5)).isinf().all()
        assert math.isfinite(d.conjugate(f64(d.high)).item()) is d.closed
    t = min(d.high, 5) - uniform(1e-6, 50, 100)
    assert d.conjugate(t).isfinite().all()
    assert gradient(d.conjugate, t).isfinite().all()


@ANY
@PROPERTY
@given(data=st.data(), beyond=st.floats(1e-9, 1e3), below=tensors(1e-6, 50))
def test_the_conjugate_is_a_number_or_infinite_wherever_it_is_asked(kind, data, beyond, below):
    d = data.draw(KINDS[kind])
    if math.isfinite(d.high):
        assert d.conjugate(f64(d.high + beyond)).item() == math.inf
        assert not d.conjugate(f64(d.high)).isnan()  # where rounding decides on which side of its end it is
    assert d.conjugate(min(d.high, 5) - below).isfinite().all()


def test_the_end_of_a_domain_is_infinite_though_rounding_puts_it_outside():
    d = weighted_jensen_shannon(0.140625)  # high/π + log π is 2e-16 there
    assert d.conjugate(f64(d.high)).item() == math.inf


@ANY
@PROPERTY
@given(data=st.data(), v=tensors(-1e4, 1e4), near=tensors(-30, 30))
def test_the_activation_maps_into_the_domain_and_rises(kind, data, v, near):
    d = data.draw(KINDS[kind])
    v = torch.cat([v, near, f64(*FAR), -f64(*FAR)]).unique()
    t = d.activation(v)
    assert t.isfinite().all()
    assert (t <= d.high).all()
    assert (t.diff() >= 0).all()
    assert d.conjugate_at(v).isfinite().all()
    assert d.conjugate(t[v.abs() <= 30]).isfinite().all()
    near = torch.cat([near.clamp(-10, 10), torch.arange(-10.0, 11).double()]).mul(1e3).round().div(1e3).unique()
    assert (d.activation(near).diff() > 0).all()


@ANY
@PROPERTY
@given(data=st.data(), v=tensors(-10, 10))
def test_the_composition_in_closed_form_is_the_composition(kind, data, v):
    d = data.draw(KINDS[kind])
    assert torch.allclose(d.conjugate_at(v), d.conjugate(d.activation(v)), rtol=1e-9, atol=1e-9)


@WITH_RATIO
def test_the_ratio_read_back_is_the_one_whose_derivative_the_critic_gives(d):
    v = uniform(-10, 10, 300)
    u = d.ratio(v)
    assert torch.allclose(d.derivative(u)[u > 0], d.activation(v)[u > 0], rtol=1e-9, atol=1e-9)
    assert (d.activation(v)[u == 0] <= d.derivative(f64(0))).all()
    # The conjugate's slope is the maximising ratio.
    assert torch.allclose(gradient(d.conjugate, d.activation(v)), u, rtol=1e-7, atol=1e-9)


@ANY
@PROPERTY
@given(data=st.data(), counts=laws(least=0), scale=st.sampled_from([0.1, 1, 3, 10, 50, 1e4]))
def test_the_bound_never_exceeds_the_divergence(kind, data, counts, scale):
    d, (p, q) = data.draw(KINDS[kind]), counts
    v = scale * f64(*data.draw(st.lists(st.floats(-1, 1), min_size=len(p), max_size=len(p))))
    bound = d.bound(v.repeat_interleave(p), v.repeat_interleave(q)).item()
    assert bound <= exact(d, p, q) + 1e-12 * (1 + abs(bound))


@ANY
@PROPERTY
@given(data=st.data(), counts=laws())
def test_the_bound_is_the_divergence_at_the_optimal_critic(kind, data, counts):
    d, (p, q) = data.draw(KINDS[kind]), counts
    u = (p / p.sum().double()) / (q / q.sum().double())
    value = exact(d, p, q)
    t = d.derivative(u)
    in_t = t.repeat_interleave(p).mean() - d.conjugate(t).repeat_interleave(q).mean()
    assert in_t.item() == pytest.approx(value, rel=1e-9, abs=1e-9)
    v = logits_of(d, u.log())
    bound = d.bound(v.repeat_interleave(p), v.repeat_interleave(q)).item()
    assert bound == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert d.critic(v.repeat_interleave(p), v.repeat_interleave(q)).item() == -bound


@EACH
def test_nothing_is_nan_or_infinite_at_logits_of_ten_thousand_in_float32(d):
    for real in (1e4, -1e4):
        for fake in (1e4, -1e4):
            r, f = torch.tensor([real], requires_grad=True), torch.tensor([fake], requires_grad=True)
            for loss in (d.critic(r, f), d.generator(r, f) + 0 * r.sum(), d.generator(None, f, saturating=True)):
                assert loss.isfinite()
                found = torch.autograd.grad(loss, [r, f], allow_unused=True)
                assert all(g is None or g.isfinite().all() for g in found)


@pytest.mark.parametrize("size", FAR)
@EACH
def test_a_critic_that_is_wrong_has_a_gradient_in_float32(d, size):
    real, fake = torch.tensor([-size], requires_grad=True), torch.tensor([size], requires_grad=True)
    found = torch.autograd.grad(d.critic(real, fake), [real, fake])
    assert found[0].item() < 0
    assert found[1].item() > 0


@EACH
def test_gradients_in_float32_are_those_of_float64_wherever_it_can_hold_them(d):
    v = torch.tensor([*FAR, *(-s for s in FAR), 0.0])
    for g in (d.activation, d.conjugate_at):
        exact = gradient(g, v.double())
        held = (exact.abs() > 1e-35) | (exact == 0)
        assert torch.allclose(gradient(g, v)[held].double(), exact[held], rtol=1e-3, atol=0)


@EACH
def test_gradients_agree_with_finite_differences(d):
    v = uniform(-1, 1, 12).requires_grad_(True)
    assert torch.autograd.gradcheck(d.activation, v)
    assert torch.autograd.gradcheck(d.conjugate_at, v)
    assert torch.autograd.gradcheck(d.bound, (v, uniform(-1, 1, 12, seed=1).requires_grad_(True)))
    if d.log_ratio:
        assert torch.autograd.gradcheck(d.log_ratio, uniform(-0.4, 1, 12).requires_grad_(True))


def test_exponentials_go_over_into_their_tangents_and_the_bound_stays_one():
    assert kl.conjugate_at(f64(29, 30, 40)).tolist() == pytest.approx(
        [math.exp(28), math.exp(29), 11 * math.exp(29)], rel=1e-12
    )
    assert kl.activation(f64(40)).item() == pytest.approx(30 + math.log(11), rel=1e-14)
    assert reverse_kl.activation(f64(-40)).item() == pytest.approx(-11 * math.exp(30), rel=1e-12)
    assert total_variation.activation(f64(2, -3)).tolist() == pytest.approx([math.tanh(2) / 2, -math.tanh(3) / 2])
    # 1/2 − T goes over from e⁻²ᵛ to e⁻³⁰/(1 + 2(v − 15)), whose slope goes on from 2e⁻³⁰.
    slopes = [2 * math.exp(-30) / (1 + 2 * over) ** 2 for over in (0, 0.5, 2)]
    assert gradient(total_variation.activation, f64(15, 15.5, 17)).tolist() == pytest.approx(slopes, rel=1e-9, abs=0)
    assert torch.allclose(kl.conjugate(kl.activation(f64(45, 1e4))), kl.conjugate_at(f64(45, 1e4)), rtol=1e-12)


@pytest.mark.parametrize(("d", "weight", "shift"), [(gan, 1, 0), (weighted_jensen_shannon(0.3), 0.7, math.log(0.7))])
def test_softplus_keeps_all_of_float64_where_the_built_in_is_cut_off(d, weight, shift):
    v = f64(20.5, 22, 25, 30)
    by_hand = [weight * (x + math.log1p(math.exp(-x)) + shift) for x in v.tolist()]
    assert d.conjugate_at(v).tolist() == pytest.approx(by_hand, rel=4e-16, abs=0)


def test_jeffreys_conjugate_is_lambert_s():
    t = torch.cat([uniform(-60, 12, 100), f64(-1e3, -1e4)])
    w = torch.as_tensor(special.wrightomega((1 - t).numpy()))  # W(exp(1 - t))
    assert torch.allclose(jeffreys.conjugate(t), w + 1 / w + t - 2, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradgradcheck(jeffreys.conjugate, uniform(-3, 3, 6).requires_grad_(True))


def test_members_of_the_families_are_the_divergences_they_should_be():
    u = uniform(-4, 4, 100).exp()
    for member, factor, other in (
        (alpha(2), 0.5, pearson),
        (alpha(-1), 0.5, neyman),
        (alpha(0.5), 2, squared_hellinger),
        (weighted_jensen_shannon(0.5), 1, jensen_shannon),
    ):
        assert torch.allclose(member.f(u), factor * other.f(u), rtol=1e-10, atol=1e-10)
    v = uniform(-4, 4, 100)
    assert torch.allclose(weighted_jensen_shannon(0.5).conjugate_at(v), jensen_shannon.conjugate_at(v))
    assert torch.allclose(gan.f(u), 2 * jensen_shannon.f(u) - (u + 1) * LOG2, atol=1e-12)
    p, q = f64(0.1, 0.6, 0.3), f64(0.5, 0.1, 0.4)
    assert gan.between(p, q).item() == pytest.approx(2 * jensen_shannon.between(p, q).item() - 2 * LOG2, abs=1e-12)
    assert jeffreys.between(p, q).item() == pytest.approx((kl.between(p, q) + kl.between(q, p)).item(), abs=1e-12)
    for near, limit in ((alpha(1 + 1e-6), kl), (alpha(1e-6), reverse_kl)):
        assert near.between(p, q).item() == pytest.approx(limit.between(p, q).item(), abs=1e-5)
    assert alpha(1) is kl
    assert alpha(0) is reverse_kl


def test_closed_forms_of_two_coins():
    p, q = f64(0.75, 0.25), f64(0.5, 0.5)
    log = math.log
    known = {
        kl: 0.75 * log(1.5) + 0.25 * log(0.5),
        reverse_kl: 0.5 * log(2 / 3) + 0.5 * log(2),
        jensen_shannon: (0.75 * log(1.2) + 0.25 * log(2 / 3) + 0.5 * log(0.8) + 0.5 * log(4 / 3)) / 2,
        total_variation: 0.25,
        pearson: 0.25,
        neyman: 0.0625 / 0.75 + 0.0625 / 0.25,
        squared_hellinger: 2 - 2 * (math.sqrt(0.375) + math.sqrt(0.125)),
    }
    for d, value in known.items():
        assert d.between(p, q).item() == pytest.approx(value, abs=1e-12)


def test_published_values_of_three_outcomes():
    # The example of Kullback 1959, "Information Theory and Statistics", that encyclopaedias print for KL: a binomial
    # law of 2 trials at 0.4 and the uniform one, 0.0852996 and 0.097455; and Jensen–Shannon distances, square roots,
    # from the documentation of scipy.spatial.distance.jensenshannon: 0.46450140402245893 and, in bits, 1.
    p, q = f64(9, 12, 4) / 25, f64(1, 1, 1) / 3
    assert kl.between(p, q).item() == pytest.approx(0.0852996, abs=5e-8)
    assert reverse_kl.between(p, q).item() == pytest.approx(0.097455, abs=5e-7)
    assert jeffreys.between(p, q).item() == pytest.approx(0.0852996 + 0.097455, abs=6e-7)
    near = jensen_shannon.between(f64(1, 0), f64(0.5, 0.5))
    assert near.sqrt().item() == pytest.approx(0.46450140402245893, abs=1e-12)
    assert jensen_shannon.between(f64(1, 0, 0), f64(0, 1, 0)).item() / LOG2 == pytest.approx(1, abs=1e-14)


# Nowozin et al. 2016, tables 2 and 6 as printed: T of v, f* of t, and the level f'(1) that tells real from fake.
PRINTED = {
    "kl": (lambda v: v, lambda t: torch.exp(t - 1), 1),
    "reverse_kl": (lambda v: -torch.exp(-v), lambda t: -1 - torch.log(-t), -1),
    "pearson": (lambda v: v, lambda t: t**2 / 4 + t, 0),
    "neyman": (lambda v: 1 - torch.exp(-v), lambda t: 2 - 2 * torch.sqrt(1 - t), 0),
    "squared_hellinger": (lambda v: 1 - torch.exp(-v), lambda t: t / (1 - t), 0),
    "jeffreys": (lambda v: v, lambda t: lambert(t) + 1 / lambert(t) + t - 2, 0),
    "jensen_shannon": (lambda v: LOG2 - torch.log(1 + torch.exp(-v)), lambda t: -torch.log(2 - torch.exp(t)), 0),
    "gan": (lambda v: -torch.log(1 + torch.exp(-v)), lambda t: -torch.log(1 - torch.exp(t)), -LOG2),
    "total_variation": (lambda v: torch.tanh(v) / 2, lambda t: t, 0),
}


def lambert(t: Tensor) -> Tensor:
    return torch.as_tensor(special.lambertw(torch.exp(1 - t).numpy()).real)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_published_tables_give_the_same_numbers(name):
    d, (activation, conjugate, level) = DIVERGENCES[name], PRINTED[name]
    share = 0.5 if d is jensen_shannon else 1.0  # the printed f of Jensen–Shannon is twice the divergence's
    v = uniform(-1.9, 6, 100)  # of Pearson's ratios none is negative
    assert torch.allclose(d.activation(v), share * activation(v), rtol=1e-12, atol=1e-14)
    assert torch.allclose(d.conjugate_at(v), share * conjugate(activation(v)), rtol=1e-9, atol=1e-12)
    assert torch.allclose(d.conjugate(share * activation(v)), share * conjugate(activation(v)), rtol=1e-9, atol=1e-12)
    if d is not total_variation:  # whose f has a corner at 1
        assert d.derivative(f64(1)).item() == pytest.approx(share * level, abs=1e-15)


@PROPERTY
@given(a=st.floats(-3, 4).filter(lambda a: min(abs(a), abs(a - 1)) > 0.05), pi=st.floats(0.05, 0.95))
def test_the_published_conjugates_of_the_families_are_theirs(a, pi):
    t = alpha(a).derivative(uniform(-2, 2, 50).exp())
    assert torch.allclose(alpha(a).conjugate(t), ((t * (a - 1) + 1) ** (a / (a - 1)) - 1) / a, rtol=1e-9, atol=1e-9)
    w = weighted_jensen_shannon(pi)
    t = w.derivative(uniform(-2, 2, 50).exp())
    printed = (1 - pi) * torch.log((1 - pi) / (1 - pi * torch.exp(t / pi)))
    assert torch.allclose(w.conjugate(t), printed, rtol=1e-9, atol=1e-9)
    assert alpha(a).derivative(f64(1)).item() == pytest.approx(0, abs=1e-15)
    assert w.derivative(f64(1)).item() == pytest.approx(0, abs=1e-15)


def log_slopes(d: Divergence, v: float) -> tuple[float, float]:
    """The logs of T's and of f*(T)'s slopes at v by hand, untamed: as (f*)′(f′(u)) = u, the second has log u more."""
    if d is total_variation:
        sech = LOG2 - 2 * abs(v) - 2 * math.log1p(math.exp(-2 * abs(v)))  # (1 − tanh²)/2
        return sech, sech
    softplus = max(v, 0) + math.log1p(math.exp(-abs(v)))
    of_t, log_u = {
        "kl": (0.0, v - 1),
        "reverse_kl": (-v, v),
        "jensen_shannon": (-softplus - LOG2, v),
        "gan": (-softplus, v),
        "pearson": (0.0, math.log1p(v / 2) if v > -2 else -math.inf),
        "neyman": (-v, v / 2),
        "squared_hellinger": (-v, 2 * v),
        "jeffreys": (0.0, v - 1 if v > 30 else -math.log(special.wrightomega(1 - v).real)),  # −log W(e¹⁻ᵛ)
    }[d.name]
    return of_t, of_t + log_u


@pytest.mark.parametrize("v", [sign * size for size in FAR for sign in (1, -1)])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_no_gradient_is_zero_in_float32_where_the_mathematics_s_is_not(name, v):
    d = DIVERGENCES[name]
    for g, log_slope in zip((d.activation, d.conjugate_at), log_slopes(d, v), strict=True):
        found = gradient(g, torch.tensor([v])).item()
        if abs(v) <= 10:
            assert found == pytest.approx(math.exp(log_slope), rel=2e-5, abs=0)
        elif log_slope > -85:  # float32 holds e⁻⁸⁷; beyond 30 the slope is the tamed one's
            assert found > 0
        elif log_slope == -math.inf:
            assert found == 0


def test_laws_that_never_meet_are_as_far_apart_as_can_be():
    known = {"jensen_shannon": LOG2, "total_variation": 1, "squared_hellinger": 2, "gan": 0, "alpha(0.3)": 1 / 0.21}
    for d in ALL:
        p, q = f64(0.5, 0.5, 0), f64(0, 0, 1)
        assert d.between(p, q).item() == pytest.approx(d.supremum)
        assert d.supremum == pytest.approx(known.get(d.name, d.supremum), abs=1e-12)
        assert (d.supremum == math.inf) == (d.high == math.inf or d.f(f64(0)).item() == math.inf)


def test_the_gan_divergence_s_losses_are_goodfellow_s():
    real, fake = uniform(-5, 5, 20), uniform(-5, 5, 20, seed=1)
    assert gan.critic(real, fake).item() == pytest.approx(adversarial.minimax.critic(real, fake).item(), abs=1e-12)
    for losses, saturating in ((adversarial.minimax, True), (adversarial.non_saturating, False)):
        theirs = losses.generator(None, fake).item()
        assert gan.generator(None, fake, saturating).item() == pytest.approx(theirs, abs=1e-12)


@EACH
def test_the_generator_s_losses_fall_as_the_critic_takes_its_samples_for_real(d):
    low, high = f64(0.1, 0.5), f64(1.1, 1.5)
    for saturating in (True, False):
        assert d.generator(None, high, saturating) < d.generator(None, low, saturating)
    assert d.generator(low, high).item() == -d.activation(high).mean().item()
    assert d.generator(low, high, saturating=True).item() == -d.conjugate_at(high).mean().item()


def test_names_find_their_divergence_and_others_are_refused():
    assert all(by_name(name) is d for name, d in DIVERGENCES.items())
    for d in ALL:
        u = f64(0.3, 2)
        assert torch.equal(by_name(d.name).f(u), d.f(u))
    with pytest.raises(ValueError, match=r"one of kl, .*got 'alpha\(x\)'"):
        by_name("alpha(x)")
    with pytest.raises(ValueError, match="finite order, got nan"):
        alpha(math.nan)
    with pytest.raises(ValueError, match="0 < pi < 1, got 1"):
        weighted_jensen_shannon(1)
    with pytest.raises(ValueError, match="strictly convex f, got total_variation"):
        total_variation.ratio(f64(0))
