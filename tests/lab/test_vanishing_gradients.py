import math

import numpy as np
import pytest
import torch

from pushforward.core.seeding import torch_seeded
from pushforward.lab import _frozen_generators, vanishing_gradients
from pushforward.lab._frozen_generators import DIMENSIONS, LATENT, Curve, Stage, jacobians, stages
from pushforward.lab.vanishing_gradients import Config, run
from pushforward.networks.mlp import Generator

STAGES = ("25 rounds", "200 rounds", "800 rounds")


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


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
        assert norms[way.name][-1] > 3 * norms["minimax"][-1]
    assert norms["minimax"][-1] < norms["minimax"].max() / 20
    assert slopes["WGAN, spectral"].max() < 1.03  # 1, and the lag of the power iteration
    assert slopes["WGAN, penalty"][-1] == pytest.approx(1, abs=0.2)


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
