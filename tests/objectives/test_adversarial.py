import math

import pytest
import torch
from torch import Tensor

from pushforward.objectives.adversarial import Adversarial, minimax, non_saturating, relativistic, wasserstein

ALL = {"minimax": minimax, "non_saturating": non_saturating, "wasserstein": wasserstein, "relativistic": relativistic}
EACH = pytest.mark.parametrize("losses", ALL.values(), ids=list(ALL))
LOG2 = math.log(2)


def logits(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def both(losses: Adversarial, real: Tensor, fake: Tensor) -> tuple[float, float]:
    return losses.critic(real, fake).item(), losses.generator(real, fake).item()


REAL, FAKE = logits(math.log(3), 0.0), logits(-math.log(3), math.log(3))
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
}


@pytest.mark.parametrize("name", ALL)
def test_closed_forms_at_chosen_logits(name):
    assert both(ALL[name], REAL, FAKE) == pytest.approx(CLOSED[name], abs=1e-12)


def test_values_where_the_critic_knows_nothing():
    zero = logits(0, 0, 0)
    assert both(minimax, zero, zero) == pytest.approx((2 * LOG2, -LOG2), abs=1e-12)
    assert both(non_saturating, zero, zero) == pytest.approx((2 * LOG2, LOG2), abs=1e-12)
    assert both(wasserstein, zero, zero) == (0, 0)
    assert both(relativistic, zero, zero) == pytest.approx((LOG2, LOG2), abs=1e-12)


@EACH
def test_losses_are_means_over_the_batch(losses):
    once = both(losses, REAL, FAKE)
    assert both(losses, REAL.repeat(7), FAKE.repeat(7)) == pytest.approx(once, abs=1e-12)


@EACH
def test_high_for_real_lowers_the_critics_loss_and_high_for_fake_the_generators(losses):
    right, wrong = (logits(2, 3), logits(-2, -1)), (logits(-2, -1), logits(2, 3))
    assert losses.critic(*right) < losses.critic(*wrong) - 1
    assert losses.generator(*wrong) < losses.generator(*right) - 1


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
}


@pytest.mark.parametrize("name", ALL)
def test_confident_logits_give_finite_losses_and_keep_their_gradients(name):
    for (real, fake), expected in EXTREMES[name].items():
        assert all(math.isfinite(v) for v in both(ALL[name], torch.tensor([real]), torch.tensor([fake])))
        assert gradients(ALL[name], real, fake) == pytest.approx(expected, abs=1e-6)


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


def test_the_relativistic_players_change_places_with_real_and_fake():
    real, fake = logits(1.5, -0.3, 2), logits(0.2, 0.9, -4)
    assert relativistic.critic(real, fake).item() == relativistic.generator(fake, real).item()
    assert relativistic.critic(real, fake).item() == relativistic.critic(-fake, -real).item()


@pytest.mark.parametrize("losses", [wasserstein, relativistic], ids=["wasserstein", "relativistic"])
def test_a_constant_added_to_all_logits_changes_nothing_where_only_differences_count(losses):
    before = losses.critic(REAL, FAKE).item()
    assert losses.critic(REAL + 7, FAKE + 7).item() == pytest.approx(before, abs=1e-12)


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


def test_only_the_relativistic_generator_needs_the_real_logits():
    for name, losses in ALL.items():
        assert losses.relative == (name == "relativistic")
        if not losses.relative:
            assert losses.generator(None, FAKE).item() == losses.generator(REAL, FAKE).item()
    with pytest.raises(ValueError, match="needs the real logits, got None"):
        relativistic.generator(None, FAKE)
