import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from torch import nn

from pushforward.core.seeding import torch_seeded
from pushforward.lab import _frozen_generators, vanishing_gradients
from pushforward.lab._frozen_generators import DIMENSIONS, LATENT, Curve, Stage, jacobians, stages
from pushforward.lab.vanishing_gradients import Config, run
from pushforward.networks.mlp import Generator

STAGES = ("25 rounds", "200 rounds", "800 rounds")


@pytest.fixture(scope="module")
def told():
    """The finding, and what its numbers were made from: the middle stage, all that is seen, the critics, the noised."""
    made, numbers = [], vanishing_gradients._numbers

    def spy(*given):
        made.extend(given)
        return numbers(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vanishing_gradients, "_numbers", spy)
        return run(Config(), lambda share: None), *made


@pytest.fixture(scope="module")
def finding(told):
    return told[0]


def curves(finding, part, chart):
    return {
        trace["name"]: np.array(trace["y"])
        for trace in finding.parts[part].charts[chart].figure["data"]
        if trace["showlegend"]
    }


def test_every_number_is_as_theory_says(finding):
    assert [(n.name, n.measured, n.theory) for n in finding.numbers if not n.holds] == []
    assert 4 <= len(finding.numbers) <= 10


def test_the_critic_becomes_perfect_at_every_stage_and_later_on_the_better_generators(finding):
    accuracy = curves(finding, 1, 0)
    assert all(accuracy[stage][-1] >= 0.99 for stage in STAGES)
    late = [int((accuracy[stage] > 0.95).argmax()) for stage in STAGES]
    assert late == sorted(late)
    assert late[0] < late[-1]


def test_the_critics_loss_is_2_log_2_less_twice_its_bound(finding):
    loss = curves(finding, 1, 1)
    worst = max(loss[stage][-1] for stage in STAGES)
    bound = finding.number("its bound on Jensen–Shannon, least of three stages").measured
    assert bound == pytest.approx(math.log(2) - worst / 2, abs=1e-6)  # float32
    assert all(loss[stage][-1] < loss[stage][0] / 50 for stage in STAGES)


def test_minimax_gradients_lie_below_theorem_2_4s_bound_and_vanish(finding):
    traces = finding.parts[2].charts[0].figure["data"]
    for measured, bound in zip(traces[:3], traces[3:], strict=True):
        assert bound["line"]["dash"] == "dash"
        own, limit = np.array(measured["y"]), np.array(bound["y"])
        assert np.isfinite(limit).sum() >= 2
        assert (own <= limit)[np.isfinite(limit)].all()
        assert own[-1] < own.max() / 20
        assert (np.diff(own[own.argmax() :]) < 0).mean() > 0.9


def test_the_other_loss_has_gradients_that_grow_by_an_order_of_magnitude(finding):
    for norm in curves(finding, 2, 1).values():
        assert norm[-1] > 10 * norm[0]
        assert norm[-1] == norm.max()


def test_averaging_does_not_tame_the_ratio_of_two_white_noises(finding):
    shown = curves(finding, 3, 0)
    assert shown["Cauchy"] == pytest.approx(1 - 2 / math.pi * np.arctan(np.geomspace(0.1, 300, 120)))
    for n in vanishing_gradients.AVERAGED:
        # A share of 4,000 varies by 0.008 at most; ten times where it is largest bounds the whole curve.
        assert np.nan_to_num(shown[f"mean of {n}"]) == pytest.approx(shown["Cauchy"], abs=0.04)


def test_remedies_keep_the_gradient_that_minimax_loses(finding):
    norms, slopes = curves(finding, 4, 0), curves(finding, 4, 1)
    for way in vanishing_gradients.REMEDIES:
        # From the middle of the critic's training to its end: it levels off, and neither dies nor explodes.
        assert 0.2 < norms[way.name][-1] / norms[way.name][-8] < 5
    # Norms of different losses compare only with themselves: each end over its own peak, after as many steps.
    kept = {name: norm[-1] / norm.max() for name, norm in norms.items() if name != "noise, best critic"}
    minimax = kept.pop("minimax")
    number = finding.number("gradient at the end over its own peak, least of six remedies")
    assert (number.measured, number.theory) == (min(kept.values()), minimax)
    assert finding.parts[4].charts[0].figure["data"][0]["x"][-1] == Config().critic_steps // 2
    assert minimax < 1 / 20
    assert min(kept.values()) > 3 * minimax
    assert slopes["WGAN, spectral"].max() < 1.03  # 1, and the lag of the power iteration


def test_the_penalised_critics_slope_is_above_1_between_matched_examples(finding):
    number = finding.number("slope of the penalised critic between matched examples")
    assert 1 < number.measured < 1.2
    w1 = finding.number("E D(x) − E D(G(z)) of the spectrally normalised critic").theory
    s = np.linspace(0.5, 2, 150_001)
    assert number.theory == pytest.approx(s[(10 * (s - 1) ** 2 - w1 * s).argmin()], abs=1e-5)  # two points W₁ apart


def test_the_spectral_critics_gap_is_at_most_its_lipschitz_constant_times_a_matchings_cost(told):
    finding, middle, _, critics, _ = told
    real, fake = middle.real.double().numpy(), middle.fake().double().numpy()
    costs = cdist(fake, real)
    w1 = costs[linear_sum_assignment(costs)].mean()
    number = finding.number("E D(x) − E D(G(z)) of the spectrally normalised critic")
    assert number.theory == pytest.approx(w1, rel=1e-6)
    # Leaky ReLU is 1-Lipschitz, so that the product of the weights' largest singular values bounds the critic.
    weights = [m.weight.detach() for m in critics["WGAN, spectral"].modules() if isinstance(m, nn.Linear)]
    steepest = math.prod(torch.linalg.svdvals(w)[0].item() for w in weights)
    assert steepest == pytest.approx(1, abs=0.06)  # the lag of the power iteration, up to 2 % in each of three layers
    assert 0 < number.measured <= steepest * w1


def test_the_accuracy_that_the_text_tells_is_the_numbers(finding):
    wrong = 1 - finding.number("accuracy of the critic on fresh examples, least of three stages").measured
    said = f"{100 * wrong:.1f} % of errors" if wrong > 0 else "without an error"
    assert said in finding.parts[1].text


def test_the_bound_under_noise_is_below_jensen_shannon_of_fresh_draws(told):
    finding, middle, _, _, noised = told
    rng, sigma = np.random.default_rng(0), Config().noise
    with torch.no_grad():
        made = middle.network(torch.from_numpy(rng.standard_normal((4000, LATENT))).float()).double().numpy()
    data = Curve(0).at(torch.from_numpy(2 * math.pi * rng.random(4000)).float()).double().numpy()
    # Half of each are the mixtures' centres, the other half is noised to be drawn from them.
    centres, terms = (data[:2000], made[:2000]), []
    for sign, law in ((1, data), (-1, made)):
        x = law[2000:] + sigma * rng.standard_normal((2000, DIMENSIONS))
        p, q = (np.asarray(logsumexp(-(cdist(x, c) ** 2) / (2 * sigma**2), axis=1)) for c in centres)
        terms.append((math.log(2) - np.logaddexp(0, sign * (q - p))) / 2)
    js, stderr = sum(t.mean() for t in terms), math.sqrt(sum(t.var() / len(t) for t in terms))
    # Slack: 4 standard errors of both, and 0.01 for mixtures of 2,000 centres drawn at random.
    slack = 4 * math.hypot(stderr, noised.stderr)
    assert noised.js == pytest.approx(js, abs=slack + 0.01)
    number = finding.number("bound on Jensen–Shannon under noise")
    assert number.theory == noised.js
    assert 0 < number.measured < js + slack


def test_the_jacobians_products_are_those_of_one_latent_at_a_time():
    with torch_seeded("test", "jacobians"):
        network = Generator(LATENT, (DIMENSIONS,), 8, 2).double()
        z = torch.randn(3, LATENT, dtype=torch.float64)
    gram, row = jacobians(network, z)
    parameters = list(network.parameters())
    for k in range(len(z)):
        x = network(z[k : k + 1])[0]
        grads = [torch.autograd.grad(v, parameters, retain_graph=True) for v in x]
        jacobian = torch.stack([torch.cat([g.flatten() for g in g_i]) for g_i in grads])
        torch.testing.assert_close(gram[k], jacobian @ jacobian.T)
        torch.testing.assert_close(row[k], jacobian[:, 0])


def test_the_noised_laws_agree_with_two_gaussians_where_each_is_a_point():
    """A data curve and a generator shrunk to points are Gaussians under noise: JS on a line, by their distance."""

    class Point(Curve):
        def at(self, t):
            return torch.zeros(len(t), DIMENSIONS)

    with torch_seeded("test", "point"):
        network = Generator(LATENT, (DIMENSIONS,), 8, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        list(network.parameters())[-1][0] = 0.6
    n = 4096
    stage = Stage(1, network, torch.randn(n, 2), torch.zeros(n, 16), torch.zeros(0), torch.zeros(0))
    noised = vanishing_gradients._noised_theory(Config(), Point(0), stage, n=4)
    x = np.linspace(-3, 4, 20_001)
    p, q = (np.exp(-((x - m) ** 2) / (2 * 0.3**2)) / (0.3 * math.sqrt(2 * math.pi)) for m in (0, 0.6))
    middle = np.maximum((p + q) / 2, 1e-300)
    parts = (np.where(v > 0, v * np.log(np.maximum(v, 1e-300) / middle), 0) for v in (p, q))
    assert noised.js == pytest.approx(np.trapezoid(sum(parts) / 2, x), abs=4 * noised.stderr)
    assert noised.stderr < 0.01


def test_the_data_is_a_closed_curve_of_known_length_and_size():
    data, t = Curve(3), torch.linspace(0, 2 * math.pi, 2001)
    x = data.at(t)
    # |x|² = Σ 1/k², and each of the 8 harmonics moves at speed 1.
    assert x.square().sum(1) == pytest.approx(np.full(2001, sum(1 / k**2 for k in range(1, 9))), rel=1e-5)
    assert x.diff(dim=0).norm(dim=1).sum().item() == pytest.approx(2 * math.pi * math.sqrt(8), rel=1e-4)
    assert data.seen(x).shape == (2001, 2)


def test_the_same_seed_finds_the_same_and_another_seed_does_not(monkeypatch):
    monkeypatch.setattr(_frozen_generators, "SEEN", 32)
    for name, value in (("REPEATS", 50), ("AVERAGED", (1, 4))):
        monkeypatch.setattr(vanishing_gradients, name, value)
    small = Config(short=1, middle=2, long=3, critic_steps=100)
    one, two = (run(small, lambda share: None) for _ in range(2))
    assert one.numbers == two.numbers
    first = (stages(Curve(seed), (1,), seed)[0] for seed in (0, 1))
    assert not torch.equal(*(stage.real for stage in first))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"short": 0}, "from 1 round on"),
        ({"middle": 25}, "from 1 round on"),
        ({"long": 100}, "from 1 round on"),
        ({"critic_steps": 99}, "100 or more steps"),
        ({"noise": 0.0}, "a deviation above 0"),
    ],
)
def test_stages_out_of_order_and_critics_untrained_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Config(**changes)
