import math

import pytest
import torch
from torch import Tensor, nn

from pushforward.estimation import (
    HeldOut,
    estimate_divergence,
    expectation,
    fit_log_ratio,
    gaussian_hellinger,
    gaussian_kl,
    held_out,
    mutual_information,
    quadrature,
)
from pushforward.objectives.divergence import (
    gan,
    jensen_shannon,
    kl,
    pearson,
    reverse_kl,
    squared_hellinger,
    total_variation,
)


def normal(n: int, d: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def log_normal(x: Tensor, mean: float = 0.0, sd: float = 1.0) -> Tensor:
    return -((x - mean) ** 2) / (2 * sd * sd) - math.log(sd * math.sqrt(2 * math.pi))


def log_two_peaks(x: Tensor) -> Tensor:
    return torch.logaddexp(log_normal(x, -1.5, 0.7), log_normal(x, 1.5, 0.7)) - math.log(2)


def two_peaks(n: int, seed: int) -> Tensor:
    side = torch.randint(2, (n, 1), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return 1.5 * side + 0.7 * normal(n, seed=seed + 1)


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_an_expectation_is_a_mean_with_its_standard_error():
    found = expectation(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (found.value, found.n, found.direction) == (2.5, 4, None)
    assert found.error == pytest.approx(math.sqrt(5 / 3 / 4))
    assert (found.low + found.high) / 2 == pytest.approx(2.5)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * found.error)


def test_the_error_of_an_expectation_falls_as_one_over_root_n_and_covers_the_truth():
    x = normal(400_000)  # E[exp(X)] = sqrt(e), by the law of X alone
    small, large = expectation(x[:4000].exp()), expectation(x.exp())
    assert small.error / large.error == pytest.approx(10, rel=0.15)
    intervals = [expectation(part.exp()) for part in x.flatten().split(1000)]
    covered = sum(e.low <= math.sqrt(math.e) <= e.high for e in intervals) / len(intervals)
    assert covered == pytest.approx(0.94, abs=0.03)


def test_closed_forms_of_gaussians_agree_with_quadrature():
    p, q = (one(0.7), one(0.6).diag()), (one(-0.4), one(1.3).diag())
    log_p, log_q = (lambda x: log_normal(x, 0.7, math.sqrt(0.6))), (lambda x: log_normal(x, -0.4, math.sqrt(1.3)))
    assert quadrature(kl, log_p, log_q, -30, 30) == pytest.approx(gaussian_kl(*p, *q), abs=1e-12)
    assert quadrature(reverse_kl, log_p, log_q, -30, 30) == pytest.approx(gaussian_kl(*q, *p), abs=1e-12)
    assert quadrature(squared_hellinger, log_p, log_q, -30, 30) == pytest.approx(gaussian_hellinger(*p, *q), abs=1e-12)
    js = quadrature(jensen_shannon, log_p, log_q, -30, 30)
    assert js == pytest.approx(quadrature(jensen_shannon, log_q, log_p, -30, 30), abs=1e-12)
    assert quadrature(gan, log_p, log_q, -30, 30) == pytest.approx(2 * js - 2 * math.log(2), abs=1e-12)
    moved = quadrature(total_variation, lambda x: log_normal(x, 1), log_normal, -30, 30)
    assert moved == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=1e-6)
    with pytest.raises(ValueError, match="finite q f"):
        quadrature(pearson, lambda x: log_normal(x, 0, 10), lambda x: log_normal(x, 0, 0.1), -60, 60)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1, -1, r"low < high, got \[1, -1\]"),
        (2, 2, "low < high"),
        (-math.inf, math.inf, "finite ends"),
        (math.nan, 1, "finite ends"),
        (-1, 1, "all of P's mass, .* got 0.68268"),
        (-6, 6, "all of Q's mass, .* got 0.99865"),
        (-1e6, 1e6, "all of P's mass"),  # steps of 100 standard deviations
    ],
)
def test_an_interval_that_leaves_out_mass_has_no_quadrature(low, high, words):
    with pytest.raises(ValueError, match=words):
        quadrature(kl, log_normal, lambda x: log_normal(x, -3), low, high)


def test_gaussians_in_many_dimensions_are_sums_over_independent_ones():
    mean, variance = torch.tensor([0.5, -1.0, 0.2]).double(), torch.tensor([0.5, 1.5, 1.0]).double()
    turn = torch.linalg.qr(normal(3, 3)).Q
    p, q = (turn @ mean, turn @ variance.diag() @ turn.T), (torch.zeros(3).double(), torch.eye(3).double())
    each = [gaussian_kl(m[None], v[None].diag(), one(0), one(1).diag()) for m, v in zip(mean, variance, strict=True)]
    assert gaussian_kl(*p, *q) == pytest.approx(sum(each), abs=1e-12)
    overlaps = [
        1 - gaussian_hellinger(m[None], v[None].diag(), one(0), one(1).diag()) / 2
        for m, v in zip(mean, variance, strict=True)
    ]
    assert gaussian_hellinger(*p, *q) == pytest.approx(2 - 2 * math.prod(overlaps), abs=1e-12)


def test_with_the_exact_ratio_every_bound_is_within_its_error():
    x, y = normal(20_000) + 1, normal(20_000, seed=1)
    exact = HeldOut((x - 0.5).flatten(), (y - 0.5).flatten())
    for divergence in (kl, reverse_kl, jensen_shannon, squared_hellinger, gan, total_variation):
        truth = quadrature(divergence, lambda z: log_normal(z, 1), log_normal, -30, 30)
        found = exact.bound(divergence)
        assert found.direction == "lower bound"
        assert found.n == 40_000
        assert abs(found.value - truth) < 3.5 * found.error < 0.2 * abs(truth)


@pytest.fixture(scope="module")
def moved() -> HeldOut:
    return held_out(normal(3000, 2) + torch.tensor([1.2, 0.5]), normal(2500, 2, seed=1), folds=2)


@pytest.mark.parametrize("divergence", [kl, reverse_kl, jensen_shannon, squared_hellinger], ids=lambda d: d.name)
def test_the_estimate_of_moved_gaussians_is_near_the_truth(moved, divergence):
    far = math.hypot(1.2, 0.5)
    truth = quadrature(divergence, lambda z: log_normal(z, far), log_normal, -30, 30)
    found = moved.bound(divergence)
    assert found.low < found.value < found.high
    assert abs(found.value - truth) < 3 * found.error
    assert found.error < 0.08 * truth


def test_the_network_finds_what_a_quadratic_form_cannot():
    x, y = two_peaks(4000, seed=2), 1.7 * normal(4000, seed=5)
    log_ratio = fit_log_ratio(x, y)
    new = HeldOut(log_ratio(two_peaks(20_000, seed=7)), log_ratio(1.7 * normal(20_000, seed=9)))
    truth = quadrature(jensen_shannon, log_two_peaks, lambda z: log_normal(z, 0, 1.7), -20, 20)
    assert new.bound(jensen_shannon).value == pytest.approx(truth, rel=0.06)
    truth = quadrature(kl, log_two_peaks, lambda z: log_normal(z, 0, 1.7), -20, 20)
    assert new.bound(kl).value == pytest.approx(truth, rel=0.06)


def test_the_same_law_twice_gives_nothing_even_where_a_critic_could_learn_the_examples_by_heart():
    found = estimate_divergence(normal(200, 20), normal(200, 20, seed=1), kl, folds=2)
    assert found.low < 0
    assert found.value < 0.05


def test_laws_that_never_meet_give_no_more_than_the_sample_can_vouch_for():
    apart = held_out(normal(200), normal(200, seed=1) + 1000, folds=2)
    assert apart.bound(kl).value == pytest.approx(1 + math.log(100), abs=0.05)
    assert apart.bound(jensen_shannon).value == pytest.approx(math.log(2), abs=0.02)
    assert apart.bound(total_variation).value == pytest.approx(1, abs=1e-9)


class Fixed(nn.Module):
    """A critic of the caller's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).squeeze(1)


class Column(Fixed):
    """One that forgets to take away the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_critic_whose_logits_would_be_broadcast_is_refused():
    for run in (held_out, mutual_information):
        with pytest.raises(ValueError, match=r"got \((\d+), 1\) from \(\1, \d\), expected \(\1,\); .* squeeze\(1\)"):
            run(normal(100), normal(100, seed=1), critic=Column, folds=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_samples_on_a_device_have_the_same_estimate():
    x, y = normal(120), normal(100, seed=1) + 1
    expected = held_out(x, y, critic=Fixed, folds=2)
    found = held_out(x.cuda(), y.cuda(), critic=Fixed, folds=2)
    assert torch.equal(found.real, expected.real)
    assert torch.equal(found.fake, expected.fake)
    log_ratio = fit_log_ratio(x.cuda(), y.cuda(), critic=Fixed)
    assert torch.equal(log_ratio(x.cuda()), fit_log_ratio(x, y, critic=Fixed)(x))


def test_an_estimate_is_a_function_of_samples_and_seed_and_leaves_the_global_generator_alone():
    x, y = normal(120), normal(100, seed=1) + 1
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = estimate_divergence(x, y, kl, critic=Fixed, folds=2, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert estimate_divergence(x, y, kl, critic=Fixed, folds=2, seed=3) == first
    assert estimate_divergence(x, y, kl, critic=Fixed, folds=2, seed=4) != first


def test_mutual_information_of_a_gaussian_pair():
    x, noise = normal(3000), normal(3000, seed=1)
    found = mutual_information(x, 0.7 * x + math.sqrt(1 - 0.49) * noise, folds=2)
    truth = -math.log(1 - 0.49) / 2
    assert found.direction == "lower bound"
    assert abs(found.value - truth) < 3 * found.error < 0.25 * truth
    independent = mutual_information(x, noise, folds=2)
    assert independent.low < 0
    assert independent.value == pytest.approx(0, abs=0.01)


def test_what_cannot_be_estimated_is_refused():
    x = normal(100)
    with pytest.raises(ValueError, match="one width, got 1 and 2"):
        estimate_divergence(x, normal(100, 2), kl)
    with pytest.raises(ValueError, match="5 folds need 50 or more"):
        estimate_divergence(x, x[:40], kl)
    with pytest.raises(ValueError, match="2 or more folds, got 1"):
        held_out(x, x, folds=1)
    with pytest.raises(ValueError, match="got 1 nan or inf in y"):
        held_out(x, torch.where(torch.arange(100)[:, None] == 3, math.nan, x))
    with pytest.raises(ValueError, match="got 100 x and 90 y"):
        mutual_information(x, x[:90])
    with pytest.raises(ValueError, match="2 or more finite values, got 3, 2 of them finite"):
        expectation(torch.tensor([1.0, math.inf, 2.0]))
