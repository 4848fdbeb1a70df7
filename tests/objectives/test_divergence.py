import math

import pytest
import torch
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


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def uniform(low: float, high: float, n: int, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def highest(g: Function, low: float, high: float, n: int) -> Tensor:
    """The largest of n functions on [low, high], each rising, then falling."""
    a, b = torch.full((n,), low, dtype=torch.float64), torch.full((n,), high, dtype=torch.float64)
    for _ in range(200):
        left, right = a + (b - a) / 3, b - (b - a) / 3
        rising = g(left) < g(right)
        a, b = torch.where(rising, left, a), torch.where(rising, b, right)
    return g((a + b) / 2)


def laws(seed: int, atoms: int = 8) -> tuple[Tensor, Tensor]:
    """How often each atom occurs in two samples, of any sizes."""
    stream = torch.Generator().manual_seed(seed)
    p, q = (torch.randint(1, 30, (atoms,), generator=stream) for _ in range(2))
    return p, q


def logits_of(d: Divergence, log_ratio: Tensor) -> Tensor:
    """v with d.log_ratio(v) = log_ratio, by bisection; for total variation the limit."""
    if d.log_ratio is None:
        return 1e8 * log_ratio.sign()
    low, high = torch.full_like(log_ratio, -500), torch.full_like(log_ratio, 500)
    for _ in range(100):
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


@EACH
def test_f_is_convex(d):
    u, w = uniform(-8, 8, 500).exp(), uniform(-8, 8, 500, seed=1).exp()
    share = uniform(0, 1, 500, seed=2)
    chord = share * d.f(u) + (1 - share) * d.f(w)
    assert (d.f(share * u + (1 - share) * w) <= chord + 1e-12 * chord.abs() + 1e-12).all()


@EACH
def test_the_derivative_is_f_s(d):
    u = uniform(-6, 6, 200).exp()
    assert torch.allclose(gradient(d.f, u), d.derivative(u), rtol=1e-8, atol=1e-8)


@EACH
def test_the_conjugate_is_the_supremum_over_ratios(d):
    t = d.derivative(uniform(-10, 10, 200).exp())
    lowest = d.derivative(f64(0)).item()
    if math.isfinite(lowest):  # below f'(0) no ratio is worth while, and the supremum is at u = 0
        t = torch.cat([t, lowest - uniform(0, 3, 50)])
    found = highest(lambda s: s.exp() * t - d.f(s.exp()), -60, 60, len(t))
    assert torch.allclose(d.conjugate(t), found, rtol=1e-8, atol=1e-8)


@EACH
def test_f_is_the_conjugate_s_conjugate(d):
    u = uniform(-2, 2, 200).exp()
    found = highest(lambda v: u * d.activation(v) - d.conjugate(d.activation(v)), -60, 60, len(u))
    assert torch.allclose(d.f(u), found, rtol=1e-9, atol=1e-9)


@EACH
def test_fenchel_young_holds_with_equality_at_the_derivative(d):
    u, w = uniform(-5, 5, 500).exp(), uniform(-5, 5, 500, seed=1).exp()
    t = d.derivative(w)
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


@EACH
def test_the_activation_maps_into_the_domain_and_rises(d):
    v = torch.cat([uniform(-30, 30, 300), f64(*FAR), -f64(*FAR)]).sort().values
    t = d.activation(v)
    assert (t <= d.high).all()
    assert (t.diff() >= 0).all()
    assert d.conjugate(t[v.abs() <= 30]).isfinite().all()
    near = v[v.abs() <= 10]
    assert (d.activation(near).diff() > 0).all()


@EACH
def test_the_composition_in_closed_form_is_the_composition(d):
    v = uniform(-10, 10, 300)
    assert torch.allclose(d.conjugate_at(v), d.conjugate(d.activation(v)), rtol=1e-9, atol=1e-9)


@WITH_RATIO
def test_the_ratio_read_back_is_the_one_whose_derivative_the_critic_gives(d):
    v = uniform(-10, 10, 300)
    u = d.ratio(v)
    assert torch.allclose(d.derivative(u)[u > 0], d.activation(v)[u > 0], rtol=1e-9, atol=1e-9)
    assert (d.activation(v)[u == 0] <= d.derivative(f64(0))).all()
    # The conjugate's slope is the maximising ratio.
    assert torch.allclose(gradient(d.conjugate, d.activation(v)), u, rtol=1e-7, atol=1e-9)


@EACH
def test_the_bound_never_exceeds_the_divergence(d):
    for seed in range(10):
        p, q = laws(seed)
        exact = d.between(p / p.sum().double(), q / q.sum().double()).item()
        for k, scale in enumerate((0.1, 1, 3, 10, 50, 1e4)):
            v = scale * torch.randn(len(p), dtype=torch.float64, generator=torch.Generator().manual_seed(10 * seed + k))
            assert d.bound(v.repeat_interleave(p), v.repeat_interleave(q)).item() <= exact + 1e-12


@EACH
def test_the_bound_is_the_divergence_at_the_optimal_critic(d):
    for seed in range(5):
        p, q = laws(seed)
        u = (p / p.sum().double()) / (q / q.sum().double())
        exact = d.between(p / p.sum().double(), q / q.sum().double()).item()
        t = d.derivative(u)
        in_t = t.repeat_interleave(p).mean() - d.conjugate(t).repeat_interleave(q).mean()
        assert in_t.item() == pytest.approx(exact, abs=1e-9)
        v = logits_of(d, u.log())
        bound = d.bound(v.repeat_interleave(p), v.repeat_interleave(q)).item()
        assert bound == pytest.approx(exact, abs=1e-6)
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
    assert torch.allclose(kl.conjugate(kl.activation(f64(45, 1e4))), kl.conjugate_at(f64(45, 1e4)), rtol=1e-12)


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
