import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize
from scipy.spatial.distance import jensenshannon
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


def by_hand(name, half, m, s):
    """Divergences of two equal bumps from N(m, s²) with logarithms of SciPy's densities, steps of 0.02."""
    x = np.arange(-1000, 1001) * 0.02
    log_p = np.logaddexp(norm.logpdf(x, half), norm.logpdf(x, -half)) - math.log(2)
    log_q = norm.logpdf(x, m, s)
    p, q = np.exp(log_p), np.exp(log_q)
    log_mean = np.logaddexp(log_p, log_q) - math.log(2)
    values = {
        "reverse KL": q * (log_q - log_p),
        "JS": (p * (log_p - log_mean) + q * (log_q - log_mean)) / 2,
        "Hellinger²": (np.sqrt(p) - np.sqrt(q)) ** 2,
    }
    return values[name].sum() * 0.02


def aside(name, half):
    return minimize(lambda v: by_hand(name, half, *v), [half, 1.0], method="Nelder-Mead").fun


def breaks(name, low, high):
    def lead(half):
        middle = minimize(lambda v: by_hand(name, half, 0, v[0]), [half], method="Nelder-Mead").fun
        return middle - aside(name, half)

    return brentq(lead, low, high, xtol=1e-4)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("reverse KL", 2.6, 3.0), ("JS", 4.0, 4.5), ("Hellinger²", 4.5, 5.0)]
)
def test_the_symmetry_breaks_where_an_independent_quadrature_says(name, low, high):
    root = breaks(name, low, high)
    # Between half distances 0.1 apart the page draws a line: bent by less than 1e-3 of one where it crosses 0.
    assert fits.breaks_at(fits.along_halves(lab.FITTED[name])) == pytest.approx(root, abs=2e-3)
    if name == "reverse KL":
        # Two quadratures of analytic functions; 1e-4: where the root finder stops.
        assert fits.reverse_kl_breaks() == pytest.approx(root, abs=3e-4)


def test_a_lost_bump_costs_what_two_atoms_do(finding):
    lost = {"reverse KL": math.log(2), "JS": jensenshannon([0.5, 0.5], [1, 0]) ** 2, "Hellinger²": 2 - math.sqrt(2)}
    for name, cost in lost.items():
        # Bumps 10.8 deviations apart have an affinity of exp(−10.8²/8) = 5e-7.
        assert aside(name, fits.HALVES[-1]) == pytest.approx(cost, abs=1e-5)
    for name in ("reverse KL", "JS"):
        number = finding.number(f"{name} of the fit on one of two equal bumps far apart")
        assert number.theory == pytest.approx(lost[name], abs=1e-12)
        assert number.measured == pytest.approx(aside(name, fits.HALVES[-1]), abs=1e-7)


def test_the_alternative_text_tells_wide_fits_from_narrow_ones(finding):
    assert finding.parts[0].charts[0].description == (
        "Curves: wide over both bumps for KL and Hellinger²; narrow on the left bump for JS and reverse KL"
    )


def test_a_game_that_stays_at_its_start_would_not_hold(finding):
    p = mixture()
    for name, (which, (m, s)) in lab.GAMES.items():
        divergence = lab.FITTED[which]
        number = finding.number(f"f-GAN with {name}: exact divergence at its end, over the minimum's")
        start = fits.Fit(m, s, fits.exact(p, divergence, m, s).item())
        lead = start.value - fits.nearest(lab.minima(p, divergence, Config()), start).value
        assert lead > 2 * number.within
        assert number.within <= 1 / 32 + 1e-9


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
        m = float(np.trapezoid(x * y, x))
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
