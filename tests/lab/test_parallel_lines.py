import dataclasses
import math

import numpy as np
import pytest
import torch

from pushforward.lab import parallel_lines
from pushforward.lab._line_losses import mmd2_of_lines, noised_gradients, noised_js, noised_theory
from pushforward.lab.parallel_lines import Config, run
from pushforward.objectives.mmd import Gaussian, mmd2
from pushforward.objectives.transport import sliced_cost


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def curves(finding, part, chart):
    return {trace["name"]: trace for trace in finding.parts[part].charts[chart].figure["data"]}


def test_every_number_is_as_theory_says(finding):
    assert [(n.name, n.measured, n.theory) for n in finding.numbers if not n.holds] == []
    assert 4 <= len(finding.numbers) <= 10


def test_transport_between_samples_is_at_least_the_distance_and_at_most_by_the_line_more(finding):
    shown = curves(finding, 0, 0)["W₁ of samples"]
    theta, w1 = np.array(shown["x"]), np.array(shown["y"])
    # x is 1-Lipschitz and constant on each line, so that |θ| is a bound for samples too.
    assert (w1 >= np.abs(theta) - 1e-12).all()
    assert np.abs(w1 - np.abs(theta)).max() < finding.numbers[0].within
    # Far away the way along the line adds its half square over |θ| only: 1/3n on average, 0.001 with room.
    assert np.abs(w1 - np.abs(theta))[np.abs(theta) >= 1].max() < 0.004


def test_critics_reach_log_2_at_every_distance_and_later_where_lines_are_nearer(finding):
    shown = curves(finding, 1, 0)
    late = []
    for theta in parallel_lines.NEAR:
        steps, bound = (np.array(shown[f"θ = {theta:g}"][axis]) for axis in ("x", "y"))
        assert bound[-1] == pytest.approx(math.log(2), abs=0.01)  # what 500 steps leave
        assert bound.max() <= math.log(2) + 1e-6  # no sample's bound is above log 2, as σ(D) ≤ 1
        late.append(steps[bound > 0.6][0])
    assert late == sorted(late, reverse=True)
    assert late[0] > late[-1]


def test_noised_jensen_shannon_is_that_of_the_plane():
    # In two dimensions, by a sum over a grid of both coordinates, with the line's own density under noise.
    theta, sigma = 0.5, 0.25
    x, y = np.meshgrid(np.linspace(-1.5, 2, 701), np.linspace(-1.5, 2.5, 401), indexing="ij")
    along = (
        [math.erf(v / (sigma * math.sqrt(2))) for v in y[0]],
        [math.erf((v - 1) / (sigma * math.sqrt(2))) for v in y[0]],
    )
    share = (np.array(along[0]) - np.array(along[1])) / 2
    p, q = (np.exp(-((x - m) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) * share for m in (0, theta))
    middle = (p + q) / 2
    js = (np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)).sum() / 2
    assert js * (x[1, 0] - x[0, 0]) * (y[0, 1] - y[0, 0]) == pytest.approx(noised_js(theta, sigma), rel=1e-6)


@pytest.mark.parametrize("theta", [0.1, 0.5, 1.2])
def test_the_two_losses_have_the_gradients_of_theorem_2_5(theta):
    # Slack: 4,001 levels of the noise leave 1e-5 of its variance out, at gradients up to 20.
    assert noised_gradients(theta, 0.25) == pytest.approx(noised_theory(theta, 0.25), abs=2e-3)


def test_noise_gives_jensen_shannon_a_slope_within_its_reach_only(finding):
    shown = curves(finding, 2, 0)
    for sigma in parallel_lines.NOISES:
        theta, js = (np.array(shown[f"σ = {sigma:g}"][axis]) for axis in ("x", "y"))
        assert (np.diff(js) > -1e-9).all()
        assert js[1] == pytest.approx(theta[1] ** 2 / (8 * sigma**2), rel=0.1)  # the next order is (θ/σ)²/16 at most
        assert js.max() <= math.log(2) + 1e-9
    assert np.array(shown["σ = 0.06"]["y"])[-1] == pytest.approx(math.log(2), abs=1e-6)


def test_noised_jensen_shannon_is_nearly_flat_from_5_deviations_on():
    # Densities of its own, on a grid in units of σ; noised_js against the same.
    t, z = np.linspace(0, 5.2, 53), np.linspace(-8, 13.2, 4001)
    p, q = np.exp(-(z**2) / 2), np.exp(-((z - t[:, None]) ** 2) / 2)
    js = np.trapezoid(p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q)), z) / math.sqrt(8 * math.pi)
    slope = np.gradient(js, t)
    assert slope[50] / slope.max() == pytest.approx(0.1, abs=0.01)  # the text's tenth
    assert [noised_js(0.25 * v, 0.25) for v in (2.0, 5.0)] == pytest.approx(js[[20, 50]].tolist(), rel=1e-6)


def test_minimax_stays_and_wasserstein_critics_arrive(finding):
    shown = {name: np.array(trace["y"]) for name, trace in curves(finding, 3, 0).items()}
    assert np.abs(shown["minimax"] - 1).max() < 0.01
    assert (np.diff(shown["minimax"]) <= 0).all()  # what gradient there is points home
    for name in ("WGAN, penalty", "WGAN, spectral", "WGAN, clipping"):
        assert abs(shown[name][-1]) < 0.1
        assert (shown[name][:8] > 0.15).all()  # slopes of 1 at most: eight steps of 0.1 cannot arrive
    # The spectral critic's slope is 1 at most, and within a few hundredths of it: it keeps up with exact W₁.
    assert shown["WGAN, spectral"][:9] == pytest.approx(shown["exact W₁"][:9], abs=0.05)
    assert shown["−log D"][10:].std() > 0.2  # thrown about


def test_the_penalised_critic_at_rest_has_the_slope_that_makes_its_loss_least(finding):
    number = finding.number("slope of the penalised critic at θ = 1, come to rest")
    s = np.linspace(0.5, 2, 150_001)
    assert number.measured == pytest.approx(s[(10 * (s - 1) ** 2 - s).argmin()], abs=0.02)
    assert number.measured - 1 > 0.02  # so that a slope of 1 would not pass


def test_minimax_gradients_are_orders_below_and_fall(finding):
    size = {name: np.array(trace["y"]) for name, trace in curves(finding, 3, 1).items()}
    assert size["minimax"].max() < 1e-2
    assert size["minimax"][-1] < size["minimax"][0] / 3
    assert np.median(size["−log D"]) > 3
    assert size["WGAN, spectral"].max() < 1.05  # 1, and the lag of the power iteration


def test_samples_follow_their_closed_forms(finding):
    shown = finding.parts[4].charts[0].figure["data"]
    for measured, theory in zip(shown[::2], shown[1::2], strict=True):
        exact = np.interp(measured["x"], theory["x"], theory["y"])
        # 128 points; the sliced cost also has 512 directions, of relative deviation √(1/2)/√512 = 3 %.
        assert np.array(measured["y"]) == pytest.approx(exact, abs=0.12)
    paths = finding.parts[4].charts[1].figure["data"]
    for measured, theory in zip(paths[::2], paths[1::2], strict=True):
        assert np.array(measured["y"]) == pytest.approx(np.array(theory["y"]), abs=0.08)
    assert paths[6]["y"][-1] == pytest.approx(1, abs=1e-6)  # the narrow kernel sees nothing


def test_the_closed_forms_of_samples_are_those_of_a_fine_grid():
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    x, y = (torch.stack([torch.full_like(u, t), u], 1) for t in (0.0, 0.3))
    for h in (0.5, 0.1):
        # The midpoint rule, biased estimate: exact up to the grid's square.
        assert mmd2(Gaussian((h,)), x, y, unbiased=False).item() == pytest.approx(
            float(mmd2_of_lines(np.array(0.3), h)), rel=1e-3
        )
    assert sliced_cost(x, y, directions=4096).item() == pytest.approx(0.3**2 / 2, rel=4 * math.sqrt(0.5 / 4096))


def test_the_same_seed_finds_the_same_and_another_seed_does_not(monkeypatch):
    for name, value in (("STEPS_NEAR", 10), ("FIRST", 5), ("SETTLING", 5)):
        monkeypatch.setattr(parallel_lines, name, value)
    small = Config(steps=9, critic_steps=1)
    # Too short for the theory, and for the critic's last five looks alike: only what was measured is compared.
    one, two = (run(small, lambda share: None) for _ in range(2))
    assert one.numbers == two.numbers
    other = parallel_lines._transport(dataclasses.replace(small, seed=1))[1]
    assert (other != parallel_lines._transport(small)[1]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": 0.0}, "θ starts in"),
        ({"start": 1.5}, "θ starts in"),
        ({"rate": 0.6}, "at a rate in"),
        ({"steps": 1}, "2 or more steps"),
        ({"critic_steps": 0}, "1 or more between them"),
    ],
)
def test_what_cannot_descend_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Config(**changes)
