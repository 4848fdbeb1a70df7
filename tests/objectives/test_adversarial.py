import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pushforward.objectives.adversarial import (
    OBJECTIVES,
    Adversarial,
    fgan,
    hinge,
    least_squares,
    least_squares_to,
    minimax,
    non_saturating,
    pearson,
    relativistic,
    relativistic_average,
    relativistic_average_hinge,
    relativistic_average_squares,
    smoothed,
    wasserstein,
)
from pushforward.objectives.divergence import DIVERGENCES, Divergence, alpha, weighted_jensen_shannon

MEMBERS = [*(alpha(a) for a in (-1.5, 0.3, 0.9, 1.5, 3)), weighted_jensen_shannon(0.2), weighted_jensen_shannon(0.7)]
BOUNDS: dict[str, Divergence] = DIVERGENCES | {d.name: d for d in MEMBERS}
F_GANS = {f"fgan {name}": fgan(divergence) for name, divergence in BOUNDS.items()} | {
    f"fgan {name}, saturating": fgan(divergence, saturating=True) for name, divergence in BOUNDS.items()
}
ALL = {**OBJECTIVES, "smoothed": smoothed(non_saturating)}
EACH = pytest.mark.parametrize("losses", [*ALL.values(), *F_GANS.values()], ids=[*ALL, *F_GANS])
RELATIVE = [name for name in ALL if name.startswith("relativistic")]
LOG2 = math.log(2)


def logits(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def both(losses: Adversarial, real: Tensor, fake: Tensor) -> tuple[float, float]:
    return losses.critic(real, fake).item(), losses.generator(real, fake).item()


L = math.log(3)
REAL, FAKE = logits(L, 0.0), logits(-L, L)
# The critic's probabilities of real: 3/4 and 1/2 for the real ones, 1/4 and 3/4 for the fakes.
CLOSED = {
    "minimax": (
        -(math.log(3 / 4) + math.log(1 / 2)) / 2 - (math.log(3 / 4) + math.log(1 / 4)) / 2,
        (math.log(3 / 4) + math.log(1 / 4)) / 2,
    ),
    "non_saturating": (
        -(math.log(3 / 4) + math.log(1 / 2)) / 2 - (math.log(3 / 4) + math.log(1 / 4)) / 2,
        -(math.log(1 / 4) + math.log(3 / 4)) / 2,
    ),
    "wasserstein": (0 - math.log(3) / 2, 0.0),
    # Differences real - fake: log 9 and -log 3, so the pairs' probabilities are 9/10 and 1/4.
    "relativistic": (-(math.log(9 / 10) + math.log(1 / 4)) / 2, -(math.log(1 / 10) + math.log(3 / 4)) / 2),
    "hinge": ((0 + 1) / 2 + (0 + 1 + L) / 2, 0.0),
    "least_squares": (((L - 1) ** 2 + 1) / 4 + L**2 / 2, (L**2 + 1) / 2),
    "pearson": (((L - 1) ** 2 + 1) / 4 + (L**2 + 1) / 2, L**2 / 2),
    # The means are log(3)/2 and 0: differences log 3 and 0 for the real ones, -3 log(3)/2 and log(3)/2 for the fakes.
    "relativistic_average": (
        (math.log(4 / 3) + LOG2) / 2 + (math.log(1 + 3**-1.5) + math.log(1 + 3**0.5)) / 2,
        (math.log(1 + 3**1.5) + math.log(1 + 3**-0.5)) / 2 + (math.log(4) + LOG2) / 2,
    ),
    "relativistic_average_squares": (
        ((L - 1) ** 2 + 1) / 2 + ((1 - 1.5 * L) ** 2 + (1 + 0.5 * L) ** 2) / 2,
        ((1 + 1.5 * L) ** 2 + (1 - 0.5 * L) ** 2) / 2 + ((1 + L) ** 2 + 1) / 2,
    ),
    "relativistic_average_hinge": (
        (0 + 1) / 2 + (0 + 1 + 0.5 * L) / 2,
        (1 + 1.5 * L + 1 - 0.5 * L) / 2 + (1 + L + 1) / 2,
    ),
    # 0.9 and 0.1 of the two cross-entropies of each real logit.
    "smoothed": (
        -(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4) + math.log(1 / 2)) / 2
        - (math.log(3 / 4) + math.log(1 / 4)) / 2,
        -(math.log(1 / 4) + math.log(3 / 4)) / 2,
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_closed_forms_at_chosen_logits(name):
    assert both(ALL[name], REAL, FAKE) == pytest.approx(CLOSED[name], abs=1e-12)


def test_published_values_of_tensorflow_gans_tests():
    # github.com/tensorflow/gan, tensorflow_gan/python/losses/losses_impl_test.py, to its five decimals. There the
    # logistic critic's real targets are 1 − 0.25/2, and the minimax generator's loss counts real logits of 1 too.
    real, fake = logits(-5, 1.4, 12.5, 2.7), logits(10, 4.4, -5.5, 3.6)
    published = {
        "least squares": (least_squares, 41.73375, 17.69625),
        "modified": (smoothed(non_saturating, 0.875), 6.19637, 1.38582),
        "minimax": (smoothed(minimax, 0.875), 6.19637, -4.82408 + math.log(1 + math.exp(-1))),
        "wasserstein": (wasserstein, 0.225, -3.125),
        "hinge": (hinge, 6.75, -3.125),
    }
    found = {name: both(losses, real, fake) for name, (losses, *_) in published.items()}
    assert found == {name: pytest.approx(values, abs=1e-5) for name, (_, *values) in published.items()}


def test_values_where_the_critic_knows_nothing():
    zero = logits(0, 0, 0)
    assert both(minimax, zero, zero) == pytest.approx((2 * LOG2, -LOG2), abs=1e-12)
    assert both(non_saturating, zero, zero) == pytest.approx((2 * LOG2, LOG2), abs=1e-12)
    assert both(wasserstein, zero, zero) == (0, 0)
    assert both(relativistic, zero, zero) == pytest.approx((LOG2, LOG2), abs=1e-12)
    assert both(hinge, zero, zero) == (2, 0)
    assert both(least_squares, zero, zero) == (1 / 2, 1 / 2)
    assert both(pearson, zero, zero) == (1, 0)
    assert both(relativistic_average, zero, zero) == pytest.approx((2 * LOG2, 2 * LOG2), abs=1e-12)
    assert both(relativistic_average_squares, zero, zero) == (2, 2)
    assert both(relativistic_average_hinge, zero, zero) == (2, 2)


@EACH
def test_losses_are_means_over_the_batch(losses):
    once = both(losses, REAL, FAKE)
    assert both(losses, REAL.repeat(7), FAKE.repeat(7)) == pytest.approx(once, abs=1e-12)


@EACH
def test_high_for_real_lowers_the_critics_loss_and_high_for_fake_the_generators(losses):
    right, wrong = (logits(2, 3), logits(-2, -1)), (logits(-2, -1), logits(2, 3))
    assert losses.critic(*right) < losses.critic(*wrong) - 0.3
    if losses is not pearson:  # its generator wants 0
        assert losses.generator(*wrong) < losses.generator(*right) - 0.3


@EACH
def test_gradients_agree_with_finite_differences(losses):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(losses.critic, (real, fake))
    assert torch.autograd.gradcheck(lambda fake: losses.generator(REAL, fake), (fake,))
    assert torch.autograd.gradgradcheck(losses.critic, (real, fake))


def gradients(losses: Adversarial, real: float, fake: float) -> tuple[float, float, float]:
    """Derivatives in float32: the critic's loss by real and by fake, the generator's by fake."""
    r, f = (torch.tensor([float(value)], requires_grad=True) for value in (real, fake))
    by_real, by_fake = torch.autograd.grad(losses.critic(r, f), (r, f))
    (of_generator,) = torch.autograd.grad(losses.generator(r, f), f)
    return by_real.item(), by_fake.item(), of_generator.item()


# (real, fake) -> what the mathematics says, to float32: 1 - σ(1e4) is e^-10000, which no float holds.
EXTREMES = {
    "minimax": {(1e4, -1e4): (0, 0, 0), (-1e4, 1e4): (-1, 1, -1)},
    "non_saturating": {(1e4, -1e4): (0, 0, -1), (-1e4, 1e4): (-1, 1, 0)},
    "wasserstein": {(1e4, -1e4): (-1, 1, -1), (-1e4, 1e4): (-1, 1, -1)},
    "relativistic": {(1e4, -1e4): (0, 0, -1), (-1e4, 1e4): (-1, 1, 0)},
    "hinge": {(1e4, -1e4): (0, 0, -1), (-1e4, 1e4): (-1, 1, -1)},
    "least_squares": {(1e4, -1e4): (9999, -1e4, -10001), (-1e4, 1e4): (-10001, 1e4, 9999)},
    "pearson": {(1e4, -1e4): (9999, -9999, -1e4), (-1e4, 1e4): (-10001, 10001, 1e4)},
    "relativistic_average": {(1e4, -1e4): (0, 0, -2), (-1e4, 1e4): (-2, 2, 0)},
    "relativistic_average_squares": {(1e4, -1e4): (79996, -79996, -80004), (-1e4, 1e4): (-80004, 80004, 79996)},
    "relativistic_average_hinge": {(1e4, -1e4): (0, 0, -2), (-1e4, 1e4): (-2, 2, 0)},
    "smoothed": {(1e4, -1e4): (0.1, 0, -1), (-1e4, 1e4): (-0.9, 1, 0)},
}


@pytest.mark.parametrize("name", ALL)
def test_confident_logits_give_finite_losses_and_keep_their_gradients(name):
    for (real, fake), expected in EXTREMES[name].items():
        assert all(math.isfinite(v) for v in both(ALL[name], torch.tensor([real]), torch.tensor([fake])))
        assert gradients(ALL[name], real, fake) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@EACH
@pytest.mark.parametrize("real", [-1e4, -30.0, 0.0, 30.0, 1e4])
@pytest.mark.parametrize("fake", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_no_logits_give_a_loss_or_a_gradient_that_is_not_finite(losses, real, fake):
    r, f = torch.tensor([real, 1.0], requires_grad=True), torch.tensor([fake, -1.0], requires_grad=True)
    for loss in (losses.critic(r, f), losses.generator(r, f)):
        found = torch.autograd.grad(loss, (r, f), allow_unused=True)
        assert loss.isfinite()
        assert all(g is None or g.isfinite().all() for g in found)


@pytest.mark.parametrize("at", [-60.0, -20.0, 20.0, 60.0])
def test_small_gradients_are_right_relative_to_their_size(at):
    # d/dl softplus(l) = σ(l): e^l for very negative logits, which a clamp or an added 1e-8 would lose.
    sigmoid = 1 / (1 + math.exp(-at))
    assert gradients(minimax, 0, at)[1] == pytest.approx(sigmoid, rel=1e-6)
    assert gradients(minimax, 0, at)[2] == pytest.approx(-sigmoid, rel=1e-6)
    assert gradients(non_saturating, 0, -at)[2] == pytest.approx(-sigmoid, rel=1e-6)
    assert gradients(relativistic, -at, 0)[0] == pytest.approx(-sigmoid, rel=1e-6)


def test_minimax_is_a_zero_sum_game_in_the_fakes():
    real, fake = REAL.clone(), FAKE.clone().requires_grad_()
    (critic,) = torch.autograd.grad(minimax.critic(real, fake), fake)
    (generator,) = torch.autograd.grad(minimax.generator(None, fake), fake)
    torch.testing.assert_close(critic, -generator, rtol=0, atol=1e-15)
    left = (minimax.critic(real, fake) + minimax.generator(real, fake)).item()
    assert left == pytest.approx(-torch.sigmoid(real).log().mean().item(), abs=1e-12)  # nothing of the fakes is left


def test_saturating_and_not_push_the_fakes_the_same_way_and_agree_at_even_odds():
    fake = logits(-5, 0, 5).requires_grad_()
    (saturating,) = torch.autograd.grad(minimax.generator(None, fake), fake)
    (not_saturating,) = torch.autograd.grad(non_saturating.generator(None, fake), fake)
    assert (saturating < 0).all()
    assert (not_saturating < 0).all()
    assert saturating[1].item() == pytest.approx(not_saturating[1].item(), abs=1e-15)
    assert saturating[0].abs() < 0.01 * not_saturating[0].abs()  # where the critic is sure, minimax saturates


@pytest.mark.parametrize("name", RELATIVE)
def test_the_relativistic_players_change_places_with_real_and_fake(name):
    losses, real, fake = ALL[name], logits(1.5, -0.3, 2), logits(0.2, 0.9, -4)
    assert losses.critic(real, fake).item() == losses.generator(fake, real).item()
    assert losses.critic(real, fake).item() == pytest.approx(losses.critic(-fake, -real).item(), abs=1e-12)


@pytest.mark.parametrize("name", ["wasserstein", *RELATIVE])
def test_a_constant_added_to_all_logits_changes_nothing_where_only_differences_count(name):
    before = ALL[name].critic(REAL, FAKE).item()
    assert ALL[name].critic(REAL + 7, FAKE + 7).item() == pytest.approx(before, abs=1e-12)


def test_the_difference_of_two_relativistic_losses_is_the_mean_margin():
    # softplus(-m) - softplus(m) = -m
    real, fake = logits(1.5, -0.3, 2), logits(0.2, 0.9, -4)
    left = relativistic.critic(real, fake) - relativistic.generator(real, fake)
    assert left.item() == pytest.approx((fake - real).mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("real", "fake"), [((4,), (3,)), ((4,), (4, 1)), ((4, 1), (4,)), ((1,), (4,))], ids=["n", "column", "row", "one"]
)
def test_pairs_of_unequal_shape_are_refused_rather_than_broadcast(real, fake):
    with pytest.raises(ValueError, match="one fake for each real") as caught:
        relativistic.critic(torch.zeros(real), torch.zeros(fake))
    assert str(real) in str(caught.value)
    assert str(fake) in str(caught.value)
    with pytest.raises(ValueError, match="one fake for each real"):
        relativistic.generator(torch.zeros(real), torch.zeros(fake))


def test_only_relativistic_generators_need_the_real_logits():
    for name, losses in {**ALL, **F_GANS}.items():
        assert losses.relative == (name in RELATIVE)
        if not losses.relative:
            assert losses.generator(None, FAKE).item() == losses.generator(REAL, FAKE).item()
        else:
            with pytest.raises(ValueError, match="needs the real logits, got None"):
                losses.generator(None, FAKE)


@pytest.mark.parametrize("name", [name for name in RELATIVE if name != "relativistic"])
def test_averages_take_batches_of_different_sizes(name):
    assert ALL[name].critic(REAL, FAKE).item() == pytest.approx(
        ALL[name].critic(REAL.repeat(3), FAKE.repeat(2)).item(), abs=1e-12
    )


def test_torchs_own_losses_agree():
    real, fake = logits(1.5, -0.3, 2), logits(0.2, 0.9, -4)
    one, zero, soft = torch.ones_like(real), torch.zeros_like(real), torch.full_like(real, 0.9)
    entropy, squares = F.binary_cross_entropy_with_logits, F.mse_loss
    critic = entropy(real, one) + entropy(fake, zero)
    assert minimax.critic(real, fake).item() == pytest.approx(critic.item(), abs=1e-12)
    assert non_saturating.generator(None, fake).item() == pytest.approx(entropy(fake, one).item(), abs=1e-12)
    critic = entropy(real, soft) + entropy(fake, zero)
    assert smoothed(minimax).critic(real, fake).item() == pytest.approx(critic.item(), abs=1e-12)
    critic = squares(real, one) / 2 + squares(fake, zero) / 2
    assert least_squares.critic(real, fake).item() == pytest.approx(critic.item(), abs=1e-12)
    critic = entropy(real - fake.mean(), one) + entropy(fake - real.mean(), zero)
    assert relativistic_average.critic(real, fake).item() == pytest.approx(critic.item(), abs=1e-12)
    pairs = entropy(fake - real, one)
    assert relativistic.generator(real, fake).item() == pytest.approx(pairs.item(), abs=1e-12)
    margin = F.hinge_embedding_loss(real, -one.long()) + F.hinge_embedding_loss(-fake, -one.long())
    assert hinge.critic(real, fake).item() == pytest.approx(margin.item(), abs=1e-12)


def test_smoothing_needs_a_logistic_critic_and_a_probability():
    for losses in (wasserstein, hinge, least_squares, relativistic_average):
        with pytest.raises(ValueError, match="needs the logistic critic"):
            smoothed(losses)
    for target in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"must be a probability in \(0, 1\], got"):
            smoothed(minimax, target)
    assert both(smoothed(minimax, 1.0), REAL, FAKE) == both(minimax, REAL, FAKE)
    with pytest.raises(ValueError, match=r"different targets, got 1\.0 for both"):
        least_squares_to(1.0, 1.0, 0.0)


class Squares:
    """Something with a divergence's two losses."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - 2).square().mean() + fake.mean()

    def generator(self, real: Tensor | None, fake: Tensor, saturating: bool = False) -> Tensor:
        return fake.mean() * (5 if saturating else 3)


def test_fgan_takes_anything_with_a_divergences_two_losses():
    assert both(fgan(Squares()), logits(1), logits(7)) == (8, 21)
    assert both(fgan(Squares(), saturating=True), logits(1), logits(7)) == (8, 35)
    assert not fgan(Squares()).relative
    assert fgan(Squares()).generator(None, logits(7)).item() == 21


def test_the_f_gan_of_the_gan_divergence_is_the_gan():
    real, fake = logits(1.5, -0.3, 2), logits(0.2, 0.9, -4)
    found = both(fgan(DIVERGENCES["gan"], saturating=True), real, fake)
    assert found == pytest.approx(both(minimax, real, fake), abs=1e-12)


# Laws P and Q on K points, as multiplicities of points in a batch of N: then a mean over the batch is an expectation.
N = 24
LAWS = [((1, 2, 4, 17), (12, 6, 5, 1)), ((6, 6, 6, 6), (6, 6, 6, 6)), ((20, 1, 1, 2), (1, 1, 2, 20))]
OVER = pytest.mark.parametrize("counts", LAWS, ids=["apart", "equal", "opposite"])


def law(counts: tuple[int, ...]) -> Tensor:
    return torch.tensor(counts, dtype=torch.float64) / N


def sample(values: Tensor, counts: tuple[int, ...]) -> Tensor:
    return values.repeat_interleave(torch.tensor(counts))


def kl(p: Tensor, q: Tensor) -> float:
    return (p * (p / q).log()).sum().item()


def js(p: Tensor, q: Tensor) -> float:
    return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


def at_best(losses: Adversarial, best: Tensor, counts: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[float, float]:
    """Both losses at the critic `best` [K], which no small change improves."""
    P, Q = counts
    value = losses.critic(sample(best, P), sample(best, Q)).item()
    for seed in range(20):
        change = 0.01 * torch.randn(len(best), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert losses.critic(sample(best + change, P), sample(best + change, Q)).item() >= value - 1e-12
    return value, losses.generator(sample(best, P), sample(best, Q)).item()


@OVER
def test_the_best_critics_value_in_minimax_is_two_js_less_two_log_two(counts):
    p, q = law(counts[0]), law(counts[1])
    critic, generator = at_best(minimax, (p / q).log(), counts)
    assert -critic == pytest.approx(2 * js(p, q) - 2 * LOG2, abs=1e-8)
    assert generator == pytest.approx(kl(q, (p + q) / 2) - LOG2, abs=1e-8)


@OVER
def test_the_non_saturating_generator_then_minimises_reverse_kl_less_a_divergence_from_the_mixture(counts):
    # E_Q[-log D*] = KL(Q‖P) − KL(Q‖M) + log 2, and KL(Q‖M) is the part of 2 JS that depends on Q twice.
    # Its gradient is Arjovsky & Bottou 2017, arXiv:1701.04862, Theorem 2.5: that of KL(Q‖P) − 2 JS.
    p, q = law(counts[0]), law(counts[1])
    _, generator = at_best(non_saturating, (p / q).log(), counts)
    assert generator == pytest.approx(kl(q, p) - kl(q, (p + q) / 2) + LOG2, abs=1e-8)


def test_the_non_saturating_generators_gradient_is_that_of_reverse_kl_less_two_js():
    # Arjovsky & Bottou 2017, arXiv:1701.04862, Theorem 2.5, for Q = softmax(θ), the critic held at its best.
    p, theta = law(LAWS[0][0]), logits(0.3, -1, 0.2, 0.7).requires_grad_()
    q = theta.softmax(0)
    best = (p / q.detach()).log()
    each = torch.stack([non_saturating.generator(None, best[i : i + 1]) for i in range(4)])
    (found,) = torch.autograd.grad((q * each).sum(), theta, retain_graph=True)
    m = (p + q) / 2
    twice_js = (p * (p / m).log()).sum() + (q * (q / m).log()).sum()
    (expected,) = torch.autograd.grad((q * (q / p).log()).sum() - twice_js, theta)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@OVER
def test_smoothing_makes_the_best_critic_a_share_of_the_ratio(counts):
    # Salimans et al. 2016, Section 3.4: D* = α p / (p + q).
    p, q = law(counts[0]), law(counts[1])
    probability = 0.9 * p / (p + q)
    at_best(smoothed(minimax), (probability / (1 - probability)).log(), counts)


@OVER
def test_the_best_critics_value_in_hinge_is_two_less_twice_the_total_variation(counts):
    p, q = law(counts[0]), law(counts[1])
    critic, generator = at_best(hinge, (p - q).sign(), counts)
    variation = (p - q).abs().sum().item() / 2
    assert critic == pytest.approx(2 - 2 * variation, abs=1e-12)
    assert generator == pytest.approx((q * (q - p).sign()).sum().item(), abs=1e-12)


@OVER
@pytest.mark.parametrize(("a", "b", "c"), [(0, 1, 1), (-1, 1, 0), (0, 2, 1), (1, -2, 3)])
def test_the_best_critic_in_least_squares_weighs_the_targets_by_the_densities(counts, a, b, c):
    # Mao et al. 2017, Section 3.2.1 (D*); its value by our own algebra: ½(b − a)² Σ pq/(p + q).
    p, q = law(counts[0]), law(counts[1])
    critic, _ = at_best(least_squares_to(a, b, c), (b * p + a * q) / (p + q), counts)
    assert critic == pytest.approx(0.5 * (b - a) ** 2 * (p * q / (p + q)).sum().item(), abs=1e-12)


@OVER
@pytest.mark.parametrize("a", [-1.0, 0.0])
def test_least_squares_with_the_right_targets_is_half_pearsons_chi_squared(counts, a):
    # Mao et al. 2017, Section 3.2.1: with b − c = 1, b − a = 2, and the real term that the generator can't change.
    p, q = law(counts[0]), law(counts[1])
    losses = least_squares_to(a, a + 2, a + 1)
    best = ((a + 2) * p + a * q) / (p + q)
    _, generator = at_best(losses, best, counts)
    unchanged = (p * (best - (a + 1)).square()).sum().item() / 2
    chi_squared = ((2 * q - (p + q)).square() / (p + q)).sum().item()
    assert 2 * (generator + unchanged) == pytest.approx(chi_squared, abs=1e-12)
    if a == -1:
        assert both(losses, REAL, FAKE) == both(pearson, REAL, FAKE)


@OVER
def test_the_best_lipschitz_critics_value_is_the_distance_of_wasserstein(counts):
    p, q = law(counts[0]), law(counts[1])
    x = logits(-1.0, 0.5, 0.7, 3.0)
    lead = (q - p).cumsum(0)[:-1]  # where Q's distribution function is ahead, D must rise
    best = torch.cat([torch.zeros(1, dtype=torch.float64), (lead.sign() * x.diff()).cumsum(0)])
    value = wasserstein.critic(sample(best, counts[0]), sample(best, counts[1])).item()
    assert -value == pytest.approx((lead.abs() * x.diff()).sum().item(), abs=1e-12)
    # No slopes of at most 1 do better.
    for slopes in torch.cartesian_prod(*[logits(-1, 1)] * 3):
        other = torch.cat([torch.zeros(1, dtype=torch.float64), (slopes * x.diff()).cumsum(0)])
        assert wasserstein.critic(sample(other, counts[0]), sample(other, counts[1])).item() >= value - 1e-12


@OVER
@pytest.mark.parametrize("name", [name for name, d in BOUNDS.items() if d.log_ratio is not None])
def test_the_best_critics_value_in_an_f_gan_is_the_divergence(counts, name):
    p, q, divergence = law(counts[0]), law(counts[1]), BOUNDS[name]
    losses, target = fgan(divergence, saturating=True), divergence.derivative(p / q)
    low, high = torch.full_like(p, -1e3), torch.full_like(p, 1e3)
    for _ in range(200):  # the activation is increasing: find the logits by halving
        middle = (low + high) / 2
        below = divergence.activation(middle) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    critic, generator = at_best(losses, low, counts)
    assert -critic == pytest.approx(divergence.between(p, q).item(), abs=1e-6)
    assert generator == pytest.approx(-critic - (p * target).sum().item(), abs=1e-6)  # all that depends on Q


@OVER
def test_the_best_critics_value_in_total_variations_f_gan_is_reached_at_the_ends(counts):
    # T is ½ where p > q and −½ where p < q: sure logits get as close as 1e-6.
    p, q = law(counts[0]), law(counts[1])
    losses, best = fgan(DIVERGENCES["total_variation"]), 20 * (p - q).sign()
    critic = losses.critic(sample(best, counts[0]), sample(best, counts[1])).item()
    assert -critic == pytest.approx((p - q).abs().sum().item() / 2, abs=1e-6)


def minimised(loss, size: int) -> float:
    """The least value of a convex function of [size] numbers."""
    x = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    optimizer.step(closure)
    return loss(x).item()


@pytest.mark.parametrize(("s", "t"), [(0.25, 0.25), (0.25, 0.75), (0.125, 0.5)])
def test_the_best_critic_of_pairs_on_two_points_codes_which_of_the_pair_is_real(s, t):
    # Pairs that differ fall one way with probability s(1 − t) and the other way with t(1 − s); the loss is the entropy
    # of which, and log 2 for the pairs that don't. Our own derivation; 0 divergence at s = t, as it must be.
    P, Q = torch.tensor([s, 1 - s]) * 8, torch.tensor([t, 1 - t]) * 8

    def loss(D: Tensor) -> Tensor:
        real, fake = D.repeat_interleave(P.long()), D.repeat_interleave(Q.long())
        return relativistic.critic(real.repeat_interleave(8), fake.repeat(8))  # each real with each fake

    one, other = s * (1 - t), t * (1 - s)
    expected = (1 - one - other) * LOG2 - sum(w * math.log(w / (one + other)) for w in (one, other))
    assert minimised(loss, 2) == pytest.approx(expected, abs=1e-8)
    assert (expected == pytest.approx(LOG2, abs=1e-12)) == (s == t)


@pytest.mark.parametrize(
    ("losses", "even"),
    [(relativistic_average, 2 * LOG2), (relativistic_average_squares, 2.0), (relativistic_average_hinge, 2.0)],
    ids=["logistic", "squares", "hinge"],
)
@OVER
def test_relativistic_averages_are_divergences_even_for_equal_laws_alone(counts, losses, even):
    # Jolicoeur-Martineau 2020, arXiv:1901.02474: positive, and zero for equal laws alone.
    P, Q = counts
    gain = even - minimised(lambda D: losses.critic(sample(D, P), sample(D, Q)), 4)
    if P == Q:
        assert gain == pytest.approx(0, abs=1e-9)
    else:
        assert gain > 0.1


def test_laws_that_never_meet_cost_the_critic_nothing_whatever_their_distance():
    real, fake = logits(1e4), logits(-1e4)
    assert minimax.critic(real, fake).item() == 0  # 2 JS = 2 log 2
    assert hinge.critic(real, fake).item() == 0  # TV = 1
    assert relativistic_average.critic(real, fake).item() == 0
