import dataclasses
import math

import numpy as np
import pytest
import torch

from pushforward.data.toy import law_named
from pushforward.lab import mode_collapse
from pushforward.lab._film import Film
from pushforward.lab._mode_collapse_page import DAMPED, FAST, FRAMES, MINIMAX, PLAIN, R3GAN, WGAN_GP
from pushforward.lab.mode_collapse import SAMPLES, Config, least_distance, moved_by_chance, run, train, ways
from pushforward.objectives.transport import exact_wasserstein

SMALL = Config(rounds=120, width=16, batch=16)


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def charts(finding, part):
    return next(p for p in finding.parts if p.title == part).charts


def heat_maps(finding):
    names = [MINIMAX, PLAIN, WGAN_GP, DAMPED, R3GAN, FAST, "data"]
    maps = charts(finding, "Who has which mode, and when")
    return {name: np.asarray(chart.figure["data"][0]["z"]) for name, chart in zip(names, maps, strict=True)}


def film_of(counts):
    counts = np.asarray(counts)
    return Film(np.arange(len(counts)), np.zeros((len(counts), 1, 2)), counts, np.zeros((1, 2)), np.zeros(1))


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if not n.holds] == []


def test_effective_modes_are_those_of_equal_shares_with_the_same_entropy():
    film = film_of([[10] * 8, [40, 40, 0, 0, 0, 0, 0, 0], [0, 0, 80, 0, 0, 0, 0, 0]])
    assert film.effective == pytest.approx([8, 2, 1], abs=1e-12)  # float64
    assert film.moved == pytest.approx([0.75, 1.0], abs=1e-12)


def test_the_numbers_on_the_page_are_those_of_its_heat_maps(finding):
    late, moved = {}, {}
    for name, shares in heat_maps(finding).items():
        np.testing.assert_allclose(shares.sum(0), 1, atol=1e-12)
        entropy = -np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0).sum(0)
        late[name] = np.exp(entropy)[-(shares.shape[1] // 3) :].mean()
        steps = np.abs(np.diff(shares, axis=1)).sum(0) / 2
        moved[name] = steps[-(len(steps) // 3) :].mean()
    expected = {
        "effective modes, slow critic: with R1 and R2 less without": late[DAMPED] - late[PLAIN],
        "effective modes, no penalty: fast critic less slow": late[FAST] - late[PLAIN],
        "share that changes its mode between two looks: without R1 and R2 over with": moved[PLAIN] / moved[DAMPED],
    }
    for name, value in expected.items():
        assert finding.number(name).measured == pytest.approx(value, rel=1e-9)  # float64
    points = {
        trace["name"]: (trace["x"][0], trace["y"][0]) for trace in charts(finding, "In numbers")[2].figure["data"]
    }
    for name in set(late) - {"data"}:
        assert points[name] == pytest.approx((moved[name], late[name]), rel=1e-9)


def test_collapsed_runs_cover_fewer_modes_and_swing_more_than_the_remedies(finding):
    shares = {name: z.T for name, z in heat_maps(finding).items()}
    late = {name: s[-(len(s) // 3) :] for name, s in shares.items()}
    moved = {name: np.abs(np.diff(s, axis=0)).sum(1).mean() / 2 for name, s in late.items()}
    largest = {name: s.max(1).mean() for name, s in late.items()}
    for collapsed in (MINIMAX, PLAIN, WGAN_GP):
        for remedy in (DAMPED, R3GAN, FAST):
            assert moved[collapsed] > 1.5 * moved[remedy]
            assert largest[collapsed] > largest[remedy]
    assert len({int(s.argmax()) for s in shares[WGAN_GP]}) >= 5  # the leading mode wanders over the ring
    assert max(s.max() for s in shares["data"]) < 0.125 + 5 * math.sqrt(0.125 * 0.875 / SAMPLES)


def test_the_data_sets_the_floor_of_kl_and_of_the_distance(finding):
    for chart in charts(finding, "In numbers")[:2]:
        curves = {trace["name"]: np.asarray(trace["y"]) for trace in chart.figure["data"]}
        floor = next(y for name, y in curves.items() if name.startswith("data"))[0]
        late = {name: y[-(len(y) // 3) :].mean() for name, y in curves.items() if not name.startswith("data")}
        assert min(late.values()) > floor
    kl = finding.number("data: KL of the modes' shares to uniform, mean over looks")
    assert kl.theory == pytest.approx(7 / 2 / SAMPLES)


def test_shares_move_by_chance_as_a_simulation_says():
    rng = np.random.default_rng(3)
    shares = rng.multinomial(500, [1 / 8] * 8, size=(20_000, 2)) / 500
    moved = np.abs(shares[:, 0] - shares[:, 1]).sum(1) / 2
    mean, deviation = moved_by_chance(500, 8)
    # 20,000 pairs: 0.6 % of the deviation; lattice and correlation of the shares: a few per cent of it.
    assert mean == pytest.approx(moved.mean(), rel=0.01)
    assert deviation == pytest.approx(moved.std(), rel=0.1)


def test_the_distance_is_never_below_its_bound_from_the_shares():
    law, rng = law_named("ring8"), np.random.default_rng(4)
    real = law.sample(rng, 200)[0]
    one = law.sample(rng, 2000)
    assert one[1] is not None
    alone = one[0][one[1] == 0][:200]
    stretched = rng.normal(size=(200, 2)) * [3, 0.1]
    for points in (alone, stretched, law.sample(rng, 200)[0]):
        assert exact_wasserstein(points, real) >= least_distance(points, real, law)
    assert least_distance(alone, real, law) > 0.5  # √(7/8) of half the gap of 1.53, less the noise


def test_ways_differ_in_the_loss_alone_and_start_from_the_same_picture(finding):
    reels = charts(finding, "What the generators make")
    first = [trace for chart in reels for trace in chart.figure["data"] if trace["name"] != "modes"][::FRAMES]
    assert [trace["name"] for trace in first] == [PLAIN, WGAN_GP, DAMPED, FAST]
    for trace in first[1:]:
        np.testing.assert_array_equal(trace["x"], first[0]["x"])
        np.testing.assert_array_equal(trace["y"], first[0]["y"])


def test_the_same_seed_trains_the_same_and_another_seed_does_not():
    law = law_named("ring8")

    def last(cfg):
        return train(cfg, ways(cfg)[WGAN_GP], law, lambda: None).points[-1]

    one, two, other = (last(cfg) for cfg in (SMALL, SMALL, dataclasses.replace(SMALL, seed=1)))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.1


def test_r1_and_r2_enter_alike_under_both_losses_with_half_gamma_each():
    every, x = ways(SMALL), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    for name in (DAMPED, R3GAN):
        penalty = every[name].penalty
        assert penalty is not None
        # Slopes of 2x: γ/2 (2·5)² on the real point and γ/2 (2·1)² on the fake one.
        found = penalty(lambda x: x.square().sum(1), x[:1], x[1:]).item()
        assert found == pytest.approx(SMALL.gamma / 2 * (100 + 4), rel=1e-6)  # float32
    assert every[DAMPED].losses is every[PLAIN].losses


def test_a_film_looks_at_the_start_and_at_the_end_of_training():
    looks = []
    film = train(SMALL, ways(SMALL)[PLAIN], law_named("ring8"), lambda: looks.append(1))
    assert (film.rounds[0], film.rounds[-1]) == (0, SMALL.rounds)
    assert len(film.rounds) == len(film.points) == len(looks)
    assert film.counts.sum(1).tolist() == [SAMPLES] * len(looks)
    assert film.rounds[-1] - film.rounds[-5] == mode_collapse.EVERY * 4


@pytest.mark.parametrize("changes", [{"rounds": 119}, {"critic_rate": 0.0}, {"gamma": -1.0}, {"width": 0}])
def test_settings_without_a_film_are_refused(changes):
    with pytest.raises(ValueError, match="a film needs 120 or more rounds"):
        Config(**changes)
