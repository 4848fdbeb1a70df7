import dataclasses
import math

import numpy as np
import pytest
import torch

from pushforward.lab import dirac_gan
from pushforward.lab._dirac_game import eigenvalues, field, jacobian, turn
from pushforward.lab._dirac_gan_page import CELLS, SETTLING
from pushforward.lab.dirac_gan import CLIP, CONSENSUS, SLOPE_WEIGHT, Config, run, variants

GAMMA = Config().gamma


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


@pytest.fixture(scope="module")
def ways():
    return variants(Config())


def distances(finding, chart):
    traces = next(p for p in finding.parts if p.title.startswith("Distance")).charts[chart].figure["data"]
    return {trace["name"]: np.asarray(trace["y"]) for trace in traces}


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if not n.holds] == []


def test_the_lesson_on_the_page_is_the_papers(finding):
    r1 = -GAMMA / 2  # 0.3: the pair is complex, so that the square root adds nothing to the real part
    assert finding.number("slowest decay with R1: largest real part").measured == pytest.approx(r1, abs=1e-12)
    assert finding.number("the same with instance noise").measured == pytest.approx(-0.25, abs=1e-12)
    assert finding.number("growth of a small distance per round, steps at once").measured == pytest.approx(
        math.sqrt(1.01), abs=1e-7
    )
    # Determinant of [[1, hf], [−hf, 1 − hγ]], whose eigenvalues are conjugate: the square of their modulus.
    kept = finding.number("distance kept per round with R1, along the trajectory")
    assert kept.theory == pytest.approx(math.sqrt(1 - 0.2 * GAMMA + 0.2**2 / 4), abs=1e-12)
    assert kept.measured == pytest.approx(kept.theory, abs=5e-4)


def hand_derived(name, theta, psi):
    """The fields (dθ, dψ) in closed form; for `instance noise` see the test of its own."""
    u = theta * psi
    plain = (psi * sigmoid(u), -theta * sigmoid(u))
    towards_real = psi * sigmoid(-u)
    slope = -2 * SLOPE_WEIGHT * (abs(psi) - 1) * np.sign(psi)
    beyond = -2 * SLOPE_WEIGHT * np.maximum(abs(psi) - 1, 0) * np.sign(psi)
    bend, square = sigmoid(u) ** 2 * sigmoid(-u), theta**2 + psi**2  # of ½(θ² + ψ²)σ(u)², with σ' = σ(1 − σ)
    length = theta * sigmoid(u) ** 2 + square * psi * bend, psi * sigmoid(u) ** 2 + square * theta * bend
    return {
        "minimax, at once": plain,
        "minimax, in turn": plain,
        "non-saturating": (towards_real, plain[1]),
        "WGAN": (psi, -theta),
        "WGAN, clipped": (psi, -theta),
        "WGAN-GP": (psi, -theta + slope),
        "WGAN-GP, 5 critic steps": (psi, -theta + slope),
        "WGAN-LP": (psi, -theta + beyond),
        "DRAGAN": (towards_real, plain[1] + slope / 2),
        "WGAN with R1": (psi, -theta - GAMMA * psi),
        "R1": (plain[0], plain[1] - GAMMA * psi),
        "R2": (plain[0], plain[1] - GAMMA * psi),
        "0-GP": (plain[0], plain[1] - GAMMA * psi),
        "R3GAN": (towards_real, plain[1] - 2 * GAMMA * psi),
        "consensus": (plain[0] - CONSENSUS * length[0], plain[1] - CONSENSUS * length[1]),
    }[name]


@pytest.mark.parametrize("name", [name for name in variants(Config()) if name != "instance noise"])
def test_a_field_by_autograd_is_the_one_derived_by_hand(ways, name):
    theta, psi = np.random.default_rng(5).normal(size=(2, 30))
    found = field(ways[name], torch.tensor(np.stack([theta, psi], 1))).detach().numpy()
    np.testing.assert_allclose(found.T, hand_derived(name, theta, psi), atol=1e-12)  # float64


def test_the_field_under_instance_noise_is_the_mean_over_the_noise(ways):
    noise = ways["instance noise"].noise.numpy()
    assert (noise.mean(), noise.var()) == (pytest.approx(0, abs=1e-15), pytest.approx(1, abs=1e-12))
    theta, psi = 0.7, -1.2
    fake = theta + noise
    expected = [
        (psi * sigmoid(psi * fake)).mean(),
        (noise * sigmoid(-psi * noise)).mean() - (fake * sigmoid(psi * fake)).mean(),
    ]
    found = field(ways["instance noise"], torch.tensor([[theta, psi]], dtype=torch.float64)).detach().numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_games_side_by_side_do_not_touch(ways):
    points = torch.tensor(np.random.default_rng(6).normal(size=(7, 2)))
    for name in ("R3GAN", "instance noise", "consensus", "WGAN-GP, 5 critic steps"):
        together = turn(ways[name], points, 0.1)
        alone = torch.cat([turn(ways[name], point[None], 0.1) for point in points])
        torch.testing.assert_close(together, alone, atol=1e-13, rtol=0)


def test_eigenvalues_are_conjugate_below_the_critical_weight_and_real_above():
    weak, strong = (eigenvalues(variants(dataclasses.replace(Config(), gamma=g))["R3GAN"]) for g in (0.3, 0.9))
    np.testing.assert_allclose(weak, [-0.3 + 0.4j, -0.3 - 0.4j], atol=1e-12)
    np.testing.assert_allclose(np.sort(strong.real), -0.9 + np.array([-1, 1]) * math.sqrt(0.81 - 0.25), atol=1e-12)
    assert abs(strong.imag).max() < 1e-12


def test_a_round_of_steps_in_turn_turns_by_the_angle_of_theory(ways):
    # Trace 2 − (h f')² and determinant 1: the eigenvalues are e^(±iφ) with 2 cos φ = 2 − (h f')².
    found = torch.linalg.eigvals(jacobian(lambda p: turn(ways["minimax, in turn"], p, 0.2)))
    assert found.real[0].item() == pytest.approx(1 - 0.1**2 / 2, abs=1e-12)
    assert found.abs().numpy() == pytest.approx([1, 1], abs=1e-12)


def test_wgan_in_turn_keeps_its_invariant_and_clipping_holds_the_critic(ways):
    h, point = 0.2, torch.tensor([[1.1, -0.4]], dtype=torch.float64)
    clipped = point

    def invariant(p):
        return float(p[0, 0] ** 2 + p[0, 1] ** 2 - h * p[0, 0] * p[0, 1])

    kept = invariant(point)
    for _ in range(100):
        point, clipped = turn(ways["WGAN"], point, h).detach(), turn(ways["WGAN, clipped"], clipped, h).detach()
        assert abs(float(clipped[0, 1])) <= CLIP
    assert invariant(point) == pytest.approx(kept, rel=1e-12)  # a hundred rounds of float64


def test_wgan_lp_is_wgan_inside_its_limit_of_the_slope_and_comes_in_to_it_from_outside(finding, ways):
    h, point = 0.2, torch.tensor([[0.3, -0.4]], dtype=torch.float64)
    free = point
    for _ in range(100):
        point, free = turn(ways["WGAN-LP"], point, h).detach(), turn(ways["WGAN"], free, h).detach()
    torch.testing.assert_close(point, free, atol=0, rtol=0)
    away = distances(finding, 0)["WGAN-LP"]  # its far start, at 1.5
    # On the orbit of θ² + ψ² − hθψ = 1 − h²/4 that touches |ψ| = 1, distances² are this over 1 ± h/2.
    bounds = [math.sqrt((1 - h**2 / 4) / (1 + sign * h / 2)) for sign in (1, -1)]
    assert away[-100:].min() == pytest.approx(bounds[0], abs=0.01)  # it nears the orbit from outside, ever slower
    assert away[-100:].max() == pytest.approx(bounds[1], abs=0.01)


def test_wgan_gp_rests_where_its_penalty_balances_the_loss():
    just_below = torch.tensor([[-2 * SLOPE_WEIGHT, -1e-9]], dtype=torch.float64)
    pull = field(variants(Config())["WGAN-GP"], just_below)
    assert pull.abs().max().item() < 1e-8
    centre = torch.tensor([[0.0, -1e-9]], dtype=torch.float64)
    assert field(variants(Config())["WGAN-GP"], centre)[0, 1].item() == pytest.approx(-2 * SLOPE_WEIGHT, abs=1e-8)


def test_only_damped_variants_come_to_rest(finding):
    restless, resting = distances(finding, 0), distances(finding, 1)
    assert min(y[-50:].min() for y in restless.values()) > 0.1
    ends = {name: resting[name][-1] for name in SETTLING}
    assert max(ends.values()) < 1e-2
    assert min(ends, key=lambda name: ends[name]) == "R3GAN"
    assert max(ends, key=lambda name: ends[name]) == "R1"
    assert (np.diff(restless["minimax, at once"]) > 0).all()
    assert np.ptp(restless["minimax, in turn"]) < 0.15  # of 1.5: a round's first-order error, h f'/2 each way


def test_every_penalty_has_a_portrait_and_r1s_is_of_three(finding):
    labels = {
        note["text"]
        for part in finding.parts
        for chart in part.charts
        for note in chart.figure["layout"].get("annotations", [])
    }
    assert labels == (set(variants(Config())) - {"R1", "R2", "0-GP"}) | {"R1 = R2 = 0-GP"}


def test_the_page_draws_the_field_of_autograd(finding):
    data = finding.parts[0].charts[0].figure["data"]
    tips, shafts = data[1], data[0]
    x, y = np.asarray(shafts["x"]).reshape(-1, 3), np.asarray(shafts["y"]).reshape(-1, 3)
    move = np.stack([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], 1)
    middle = np.stack([x[:, :2].mean(1), y[:, :2].mean(1)], 1)
    assert len(tips["x"]) == CELLS**2
    away = np.linalg.norm(middle, axis=1) > 0.1  # at the equilibrium there is no direction
    cosine = (
        (move * middle).sum(1) / np.linalg.norm(move, axis=1).clip(1e-12) / np.linalg.norm(middle, axis=1).clip(1e-12)
    )
    assert abs(cosine[away]).max() < 1e-9  # every arrow is at a right angle to the way to the equilibrium


def test_the_same_seed_finds_the_same_and_another_seed_starts_elsewhere(finding):
    assert run(Config(), lambda share: None).numbers == finding.numbers
    near, elsewhere = (dirac_gan._starts(Config(seed=seed)) for seed in (0, 1))
    torch.testing.assert_close(near.norm(dim=1), elsewhere.norm(dim=1))
    assert (near - elsewhere).abs().max() > 0.1


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"rate": 0.6}, {"gamma": 1.0}, {"noise": 0.0}, {"rounds": 149}])
def test_settings_outside_the_spirals_range_are_refused(changes):
    with pytest.raises(ValueError, match="spirals are seen with a rate in"):
        Config(**changes)
