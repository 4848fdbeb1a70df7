import math
import weakref

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RationalQuadratic as SklearnRationalQuadratic
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from torch import Tensor, nn

from pushforward.core.game import Clock, Move
from pushforward.data.spec import DataSpec
from pushforward.objectives.mmd import (
    Gaussian,
    Kernel,
    Linear,
    Polynomial,
    RationalQuadratic,
    median_bandwidth,
    mmd2,
    mmd2_estimate,
    on_features,
    permutation_test,
)
from pushforward.recipes import gmmn

KERNELS = [Gaussian((0.5, 2.0)), RationalQuadratic(), Polynomial(), Linear()]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(kernel: Kernel, x: Tensor, y: Tensor, unbiased: bool) -> float:
    """Gretton et al.'s sums, a pair at a time."""
    n, m = len(x), len(y)
    xx, yy, xy = (kernel(a, b).tolist() for a, b in ((x, x), (y, y), (x, y)))
    within_x = sum(xx[i][j] for i in range(n) for j in range(n) if not (unbiased and i == j))
    within_y = sum(yy[i][j] for i in range(m) for j in range(m) if not (unbiased and i == j))
    return within_x / (n * (n - unbiased)) + within_y / (m * (m - unbiased)) - 2 * sum(map(sum, xy)) / (n * m)


def test_kernels_have_the_values_of_an_independent_implementation():
    x, y = normal(7, 3) + 5, normal(5, 3, seed=1) + 5
    a, b = x.numpy(), y.numpy()
    expected = [
        (Gaussian((0.5, 2.0)), rbf_kernel(a, b, gamma=2.0) + rbf_kernel(a, b, gamma=0.125)),
        (RationalQuadratic((0.2, 5.0)), sum(SklearnRationalQuadratic(1.0, s)(a, b) for s in (0.2, 5.0))),
        (Polynomial(), polynomial_kernel(a, b, degree=3, coef0=1)),
        (Polynomial(2, gamma=0.7, offset=2.0), polynomial_kernel(a, b, degree=2, gamma=0.7, coef0=2)),
        (Polynomial(1), polynomial_kernel(a, b, degree=1)),
        (Linear(), a @ b.T),
    ]
    for kernel, matrix in expected:
        assert kernel(x, y).numpy() == pytest.approx(matrix, rel=1e-9)
        assert kernel(x.float(), y.float()).numpy() == pytest.approx(matrix, rel=1e-4)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_blocks_of_any_size_give_the_sums_over_pairs(kernel, unbiased, block):
    x, y = normal(9, 3), normal(7, 3, seed=1)
    expected = by_hand(kernel, x, y, unbiased)
    assert mmd2(kernel, x, y, unbiased, block).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert mmd2_estimate(kernel, x, y, block).value == pytest.approx(by_hand(kernel, x, y, True), rel=1e-10, abs=1e-12)
    test = permutation_test(kernel, x, y, 5, block=block)
    assert test.mmd2 == pytest.approx(by_hand(kernel, x, y, True), rel=1e-10, abs=1e-12)


def closed_form(sigma: float, d: int, own: float, other: float, shift: float) -> float:
    """MMD² of N(0, own² I) and N(shift e₁, other² I) under exp(−|x − y|²/2σ²).

    x − y is Gaussian with the variances' sum t² and the means' difference Δ, and over it the kernel's mean is
    (σ²/(σ² + t²))^(D/2) exp(−Δ²/2(σ² + t²)).
    """

    def mean(t2: float, delta: float) -> float:
        wide = sigma**2 + t2
        return (sigma**2 / wide) ** (d / 2) * math.exp(-(delta**2) / (2 * wide))

    return mean(2 * own**2, 0) + mean(2 * other**2, 0) - 2 * mean(own**2 + other**2, shift)


@pytest.mark.parametrize(("d", "other", "shift"), [(1, 1.0, 1.0), (2, 2.0, 0.0), (5, 0.5, 0.7)])
def test_between_gaussians_the_estimate_is_the_closed_form_within_its_error(d, other, shift):
    kernel = Gaussian((1.0, 3.0))
    exact = closed_form(1.0, d, 1.0, other, shift) + closed_form(3.0, d, 1.0, other, shift)
    x, y = normal(1500, d), other * normal(1000, d, seed=1)
    y[:, 0] += shift
    estimate = mmd2_estimate(kernel, x, y)
    assert estimate.value == pytest.approx(mmd2(kernel, x, y).item(), rel=1e-9)
    assert estimate.stderr < 0.15 * exact
    assert estimate.value == pytest.approx(exact, abs=4 * estimate.stderr)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (10, 30)])
def test_under_one_law_the_unbiased_estimate_is_zero_on_average_and_the_biased_one_its_bias(n, m):
    kernel, repeats = Gaussian((1.0,)), 400
    pairs = [(normal(n, 2, seed=2 * s), normal(m, 2, seed=2 * s + 1)) for s in range(repeats)]
    for unbiased, mean in ((True, 0.0), (False, (1 - 1 / 3) * (1 / n + 1 / m))):  # E k(x, x') = (1/(1 + 2))^(2/2)
        values = torch.stack([mmd2(kernel, x, y, unbiased) for x, y in pairs])
        assert values.mean().item() == pytest.approx(mean, abs=4 * values.std().item() / math.sqrt(repeats))
    assert values.min() >= 0


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 40, 0.0), (25, 60, 0.0), (40, 40, 1.0), (60, 25, 0.4)])
@pytest.mark.parametrize("kernel", [Gaussian((1.0,)), Polynomial()], ids=lambda k: type(k).__name__)
def test_the_standard_error_is_the_spread_over_repeated_samples(kernel, n, m, shift):
    repeats = 300
    found = [
        mmd2_estimate(kernel, normal(n, 2, seed=2 * s), normal(m, 2, seed=2 * s + 1) + shift) for s in range(repeats)
    ]
    spread = np.std([e.value for e in found], ddof=1)
    assert math.sqrt(np.mean([e.stderr**2 for e in found])) == pytest.approx(spread, rel=0.2)


def test_under_a_linear_kernel_it_is_the_distance_of_the_means():
    x, y = normal(9, 4), normal(6, 4, seed=1) + 1
    expected = (x.mean(0) - y.mean(0)).square().sum().item()
    assert mmd2(Linear(), x, y, unbiased=False).item() == pytest.approx(expected, rel=1e-12)


def test_the_biased_value_is_zero_on_itself_symmetric_and_no_less_than_zero():
    x, y = normal(30, 2), normal(20, 2, seed=1)
    for kernel in KERNELS:
        assert mmd2(kernel, x, x.flip(0), unbiased=False).item() == pytest.approx(0, abs=1e-10)
        assert mmd2(kernel, x, y).item() == pytest.approx(mmd2(kernel, y, x).item(), rel=1e-9)
        assert mmd2(kernel, x, y, unbiased=False).item() > 0


@pytest.mark.parametrize("kernel", [Gaussian(), RationalQuadratic()], ids=lambda k: type(k).__name__)
def test_an_offset_does_not_swallow_small_distances_in_float32(kernel):
    x, y = normal(40, 3), normal(30, 3, seed=1) + 0.5
    expected = mmd2(kernel, x, y).item()
    offset = 4096.0  # a power of two: adding it to multiples of 2⁻¹⁰ is exact
    x, y = ((t * 1024).round() / 1024 for t in (x, y))
    assert mmd2(kernel, (x + offset).float(), (y + offset).float()).item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("block", [2, 100])
def test_gradients_agree_with_finite_differences(kernel, unbiased, block):
    x, y = normal(4, 2).requires_grad_(), normal(3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: mmd2(kernel, x, y, unbiased, block), (x, y))


def test_second_derivatives_agree_with_finite_differences():
    x, y = normal(3, 2).requires_grad_(), normal(3, 2, seed=1).requires_grad_()
    for kernel in (Gaussian(), RationalQuadratic()):
        assert torch.autograd.gradgradcheck(lambda x, y, k=kernel: mmd2(k, x, y), (x, y))


def test_equal_points_have_finite_gradients():
    x = torch.zeros(5, 2, requires_grad=True)
    for kernel in KERNELS:
        (gradient,) = torch.autograd.grad(mmd2(kernel, x, torch.zeros(4, 2)), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("block", [4, 100])
def test_features_are_computed_once_and_learn_whatever_the_block(block):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh()).double()
    rows: list[int] = []
    net.register_forward_hook(lambda module, given, out: rows.append(len(given[0])))
    x, y = normal(9, 1, 4, 4), normal(7, 1, 4, 4, seed=1).requires_grad_()
    value = mmd2(on_features(Gaussian(), net), x, y, block=block)
    value.backward()
    assert rows == [9, 7]
    assert y.grad is not None
    assert value.item() == pytest.approx(mmd2(Gaussian(), net(x).flatten(1), net(y).flatten(1)).item(), rel=1e-12)
    assert all(p.grad is not None and p.grad.norm() > 0 for p in net.parameters())
    assert torch.equal(on_features(Linear(), net)(x, y), net(x).flatten(1) @ net(y).flatten(1).T)


@pytest.mark.parametrize("n", [60, 240])
def test_forwards_and_backwards_no_more_than_a_block_of_the_kernel_is_alive(n):
    block, shapes, alive, most = 20, [], weakref.WeakSet(), 0
    own = RationalQuadratic()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        nonlocal most
        matrix = own(x, y)
        shapes.append(matrix.shape)
        alive.add(matrix)
        most = max(most, len(alive))
        return matrix

    x, y = normal(n, 3).requires_grad_(), normal(n, 3, seed=1).requires_grad_()
    value = mmd2(kernel, x, y, block=block)
    assert max(max(shape) for shape in shapes) == block
    assert most <= 2
    assert not alive
    count = len(shapes)
    value.backward()
    assert len(shapes) == count  # nothing is left to compute


def test_what_blocks_cannot_differentiate_is_an_error_or_kept():
    x, y = normal(9, 2).requires_grad_(), normal(7, 2, seed=1)
    with pytest.raises(RuntimeError, match="no second derivatives; give block = 9 or more"):
        torch.autograd.grad(mmd2(Gaussian(), x, y, block=4), x, create_graph=True)
    assert torch.autograd.gradgradcheck(lambda x: mmd2(Gaussian(), x, y, block=9), x)
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def learned(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-rate * torch.cdist(x, y))

    by_block, whole = (torch.autograd.grad(mmd2(learned, x, y, block=b), (rate, x)) for b in (4, 100))
    for own, other in zip(by_block, whole, strict=True):
        torch.testing.assert_close(own, other)


def test_autocast_changes_nothing_and_half_precision_is_computed_in_float32():
    x, y = normal(20, 3).float(), normal(20, 3, seed=1).float()
    expected = mmd2(Polynomial(), x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mmd2(Polynomial(), x, y), expected)
        inside = mmd2_estimate(Polynomial(), x, y), permutation_test(Polynomial(), x, y, 9)
    assert inside == (mmd2_estimate(Polynomial(), x, y), permutation_test(Polynomial(), x, y, 9))
    assert mmd2(Polynomial(), x.bfloat16(), y.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("block", [16, 100])
def test_in_float32_the_biased_value_is_not_below_zero_and_keeps_its_gradient(block):
    kernel, cut = Gaussian((1.0, 2.0, 4.0)), 0
    for seed in range(40):
        x = normal(50, 2, seed=seed).float()
        y = (x + 1e-5 * normal(50, 2, seed=seed + 100).float()).requires_grad_()
        value = mmd2(kernel, x, y, unbiased=False, block=block)
        assert value.item() >= 0
        (gradient,) = torch.autograd.grad(value, y)
        assert gradient.isfinite().all()
        if value.item() == 0:
            cut += 1
            assert gradient.abs().max() > 0
    assert cut > 0  # else nothing was tested


def test_gmmns_loss_and_gradient_are_finite_where_kernels_see_no_difference():
    game = gmmn.build(gmmn.Config(bandwidth=1000.0, latent=2, width=8, depth=1), DataSpec("plane", "points", (2,)))
    clock, net = Clock(), game.players["generator"].nets
    for seed in range(20):
        (move,) = game.play(iter([{"x": normal(50, 2, seed=seed).float()}]), clock)
        assert isinstance(move, Move)
        loss, _ = move.objective(move.batch)
        assert 0 < loss.item() < 0.01
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, list(net.parameters())))


def test_the_median_bandwidth_is_the_median_distance_between_different_points():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
    assert median_bandwidth(x, y) == pytest.approx(2)  # 1, 2 and 3
    many = normal(5000, 2)
    assert median_bandwidth(many, many + 1) == pytest.approx(median_bandwidth(many[:900], many[:900] + 1), rel=0.05)
    with pytest.raises(ValueError, match="must be positive for a bandwidth, got 0"):
        median_bandwidth(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="points of both samples, got 0 and 3"):
        median_bandwidth(torch.zeros(0, 2), torch.zeros(3, 2))


@pytest.mark.parametrize("of", [mmd2_estimate, permutation_test])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_have_no_estimate_and_no_p_value(of, value):
    x, broken = normal(10, 2), normal(12, 2, seed=1)
    broken[3] = broken[5, 0] = value
    with pytest.raises(ValueError, match="y must be finite, got nan or inf in 2 of 12 rows; remove those"):
        of(Gaussian(), x, broken)
    with pytest.raises(ValueError, match="x must be finite, got nan or inf in 2 of 12 rows"):
        of(on_features(Gaussian(), torch.exp), broken, x)
    with pytest.raises(ValueError, match=r"a kernel must give finite values, got \d00 nan or inf"):
        of(Polynomial(), 1e20 * (x.float().abs() + 1), x.float())


def test_the_permutation_test_has_its_level_under_one_law_and_uniform_p_values():
    repeats, permutations = 400, 39
    p = np.array(
        [
            permutation_test(
                Gaussian(), normal(15, 2, seed=2 * s), normal(10, 2, seed=2 * s + 1), permutations, s
            ).p_value
            for s in range(repeats)
        ]
    )
    # Uniform on {1, …, 40}/40: P(p <= 0.05) = 0.05, mean 41/80.
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / repeats))
    assert (p <= 0.5).mean() == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / repeats))
    assert p.mean() == pytest.approx(41 / 80, abs=4 / math.sqrt(12 * repeats))
    assert p.min() >= 1 / 40


def test_the_permutation_test_sees_a_shift_and_a_width_and_says_the_same_for_the_same_seed():
    x = normal(60, 2)
    for y in (normal(50, 2, seed=1) + 1, 3 * normal(50, 2, seed=1)):
        test = permutation_test(Gaussian(), x, y, 199)
        assert test.p_value == pytest.approx(1 / 200)
        assert test.permutations == 199
    y = normal(50, 2, seed=1) + 0.3
    first, again, other = (permutation_test(Gaussian(), x, y, 99, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.mmd2 == other.mmd2
    assert first != other


def test_relabellings_that_change_nothing_count_as_equal():
    same = torch.ones(6, 2).double()
    assert permutation_test(Gaussian(), same, same[:4], 50).p_value == 1
    # Two points on each side: of the six labellings those of {x₁, x₂} and {y₁, y₂} give the same, the rest less.
    x, y = torch.tensor([[0.0], [0.1]]), torch.tensor([[5.0], [5.1]])
    assert permutation_test(Gaussian(), x, y, 3000).p_value == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mmd2(Linear(), normal(3, 2), normal(3, 3)), r"got \(3, 2\) and \(3, 3\); give larger"),
        (lambda: mmd2(Linear(), normal(1, 2), normal(3, 2)), "N, M >= 2"),
        (lambda: mmd2(Linear(), normal(3), normal(3)), r"got \(3,\) and \(3,\)"),
        (lambda: mmd2(Linear(), normal(3, 2), normal(3, 2), block=0), "block must be at least 1, got 0"),
        (lambda: mmd2_estimate(Linear(), normal(3, 2), normal(5, 2)), "N, M >= 4"),
        (lambda: permutation_test(Linear(), normal(3, 2), normal(5, 2), 0), "at least 1 permutation, got 0"),
        (lambda: Gaussian(()), "bandwidths must be positive numbers, at least one"),
        (lambda: Gaussian((1.0, 0.0)), "bandwidths must be positive"),
        (lambda: RationalQuadratic((-1.0,)), "alphas must be positive"),
        (lambda: Polynomial(0), "degree must be at least 1, got 0"),
    ],
)
def test_input_that_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
