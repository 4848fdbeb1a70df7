import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import ndtr
from scipy.stats import norm

from pushforward.lab import _fits as fits
from pushforward.lab import mode_seeking as lab
from pushforward.lab.mode_seeking import Config, run
from pushforward.objectives.divergence import jensen_shannon, kl, reverse_kl, squared_hellinger


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def traces(finding, part, chart):
    return finding.parts[part].charts[chart].figure["data"]


def mixture():
    return fits.density(fits.GRID, Config().bumps)


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if not n.holds] == []


def test_kls_fit_is_the_mean_and_deviation_of_the_mixture(finding):
    x = np.linspace(-15, 15, 30_001)
    p = sum(w * norm.pdf(x, m, s) for w, m, s in Config().bumps)
    mean = np.trapezoid(x * p, x)
    deviation = math.sqrt(np.trapezoid((x - mean) ** 2 * p, x))
    assert finding.number("KL's fit: m").measured == pytest.approx(mean, abs=1e-6)
    assert finding.number("KL's fit: s").measured == pytest.approx(deviation, abs=1e-6)


def test_the_divergences_of_two_gaussians_are_their_closed_forms():
    p = fits.density(fits.GRID, ((1.0, 0.5, 0.8),))
    m, s = torch.tensor(-0.3, dtype=torch.float64), torch.tensor(1.4, dtype=torch.float64)
    forward = math.log(1.4 / 0.8) + (0.8**2 + 0.8**2) / (2 * 1.4**2) - 0.5
    backward = math.log(0.8 / 1.4) + (1.4**2 + 0.8**2) / (2 * 0.8**2) - 0.5
    share = 0.8**2 + 1.4**2
    affinity = math.sqrt(2 * 0.8 * 1.4 / share) * math.exp(-(0.8**2) / (4 * share))
    for divergence, value in ((kl, forward), (reverse_kl, backward), (squared_hellinger, 2 - 2 * affinity)):
        # The trapezium rule on analytic functions eight steps wide: rounding.
        assert fits.exact(p, divergence, m, s).item() == pytest.approx(value, abs=1e-12)


def test_w2s_deviation_is_the_integral_of_both_quantile_functions(finding):
    x = np.linspace(-12, 12, 24_001)
    f = sum(w * ndtr((x - m) / s) for w, m, s in Config().bumps)
    t = (np.arange(200_000) + 0.5) / 200_000
    direct = (np.interp(t, f, x) * norm.ppf(t)).mean()
    # Midpoints miss the tails, about 1e-5 of the integral at 200,000 of them.
    assert lab.overlap(Config()) == pytest.approx(direct, abs=1e-4)
    assert finding.number("W₂'s fit: s").theory == pytest.approx(direct, abs=1e-4)


def test_reverse_kl_and_js_sit_on_the_larger_bump_and_kl_and_hellinger_cover():
    p, cfg = mixture(), Config()
    (_, left, width), _ = cfg.bumps
    # What the bumps share at a distance of 4.4 moves the fits on one of them by about 0.005.
    for divergence in (reverse_kl, jensen_shannon):
        best, *others = lab.minima(p, divergence, cfg)
        assert best.m == pytest.approx(left, abs=0.02)
        assert best.s == pytest.approx(width, abs=0.02)
        assert others
    for divergence in (kl, squared_hellinger):
        assert lab.minima(p, divergence, cfg)[0].s > 1.8
    assert len(lab.minima(p, kl, cfg)) == 1


def test_every_minimum_is_stationary_and_below_its_neighbours():
    p, cfg = mixture(), Config()
    for divergence in (kl, jensen_shannon, reverse_kl):
        for one in lab.minima(p, divergence, cfg):
            assert np.abs(fits.gradient(p, divergence, one)).max() < 1e-5
            for dm, ds in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
                m, s = (torch.tensor(v, dtype=torch.float64) for v in (one.m + dm, one.s + ds))
                assert fits.exact(p, divergence, m, s).item() > one.value


def test_reverse_kl_breaks_the_symmetry_where_an_independent_quadrature_says():
    nodes = np.linspace(-9, 9, 1801)
    weights = norm.pdf(nodes) * 0.01

    def value(half, m, s):
        x = m + s * nodes
        log_p = np.logaddexp(norm.logpdf(x, half), norm.logpdf(x, -half)) - math.log(2)
        return -0.5 * math.log(2 * math.pi * math.e * s**2) - weights @ log_p

    def lead(half):
        covering = minimize_scalar(lambda s: value(half, 0, s), bounds=(0.5, 8), method="bounded").fun
        return covering - minimize(lambda v: value(half, *v), [half, 1.0], method="Nelder-Mead").fun

    # Between half distances 0.1 apart the page draws a line: bent by less than 1e-3 of one where it crosses 0.
    assert fits.breaks_at(fits.along_halves(reverse_kl)) == pytest.approx(brentq(lead, 2.6, 3.5), abs=2e-3)


def test_the_best_mean_jumps_from_covering_to_seeking_as_the_weight_grows(finding):
    faint, _, covering, seeking = (np.array(t["y"], float) for t in traces(finding, 2, 0)[2:])
    assert np.isfinite([covering[0], seeking[-1]]).all()
    assert np.isnan([covering[-1], seeking[0]]).all()
    assert (np.isfinite(covering) ^ np.isfinite(seeking)).all()
    assert np.nanmin(covering) - np.nanmax(seeking) > 1
    assert np.nanmax(np.abs(np.diff(faint))) < 0.3


def test_the_games_end_near_the_exact_minima(finding):
    for traced, name in zip(traces(finding, 4, 1)[2::2], lab.GAMES, strict=True):
        x, y = np.array(traced["x"]), np.array(traced["y"])
        m = np.trapezoid(x * y, x)
        s = math.sqrt(np.trapezoid((x - m) ** 2 * y, x))
        divergence = lab.FITTED[lab.GAMES[name][0]]
        exact = fits.nearest(lab.minima(mixture(), divergence, Config()), fits.Fit(m, s, 0.0))
        # Noise of a few hundred steps on batches of 256, and the critic's gap, in valleys that are flat along m:
        # a quarter of the fit's width, and 15 % of it.
        assert abs(m - exact.m) < 0.25 * exact.s
        assert abs(math.log(s / exact.s)) < 0.15
        seeks = name == "reverse KL from a bump"
        assert (s < 1) == seeks


def test_the_same_seed_plays_the_same_game_and_another_seed_does_not():
    small, p = Config(rounds=20, critic_steps=1), mixture()
    one, two, other = (lab.play(c, kl, p, lab.WIDE) for c in (small, small, dataclasses.replace(small, seed=1)))
    assert np.array_equal(one.path, two.path)
    assert one.end == two.end
    assert not np.array_equal(one.path, other.path)


@pytest.mark.parametrize("changes", [{"share": 0.4}, {"share": 0.95}, {"distance": 1.0}, {"distance": 7.0}])
def test_bumps_that_are_not_two_are_refused(changes):
    with pytest.raises(ValueError, match=r"a share in \[0.5, 0.9\] and a distance in \[2, 6\], got"):
        Config(**changes)


@pytest.mark.parametrize("changes", [{"rounds": 19}, {"critic_steps": 0}])
def test_games_too_short_to_average_are_refused(changes):
    with pytest.raises(ValueError, match="20 or more rounds and 1 or more critic steps, got"):
        Config(**changes)
