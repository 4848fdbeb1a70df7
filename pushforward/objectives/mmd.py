"""Maximum mean discrepancy: how far apart two laws' mean embeddings are, under a kernel; estimates, and a test.

A kernel is any function of x [N, D] and y [M, D] that gives the matrix k(x_i, y_j) [N, M]; those here are frozen
objects. Samples are met a block at a time, and each block's gradient is taken at once, so that memory stays O(block²)
beyond the samples, forwards and backwards. A generator minimises `mmd2`, a critic that learns features
(`on_features`) minimises `-mmd2`.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import numpy_generator

Kernel = Callable[[Tensor, Tensor], Tensor]

BLOCK = 1024
HEURISTIC = 1000  # points of each sample whose distances have their median taken


@dataclass(frozen=True)
class Gaussian:
    """Σ_σ exp(−|x − y|²/2σ²) over the bandwidths σ; 0 < k <= their number. Li et al. 2015, arXiv:1502.02761."""

    bandwidths: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        _positive("bandwidths", self.bandwidths)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squares = _squares(x, y)
        return _total(torch.exp(squares * (-0.5 / s**2)) for s in self.bandwidths)


@dataclass(frozen=True)
class RationalQuadratic:
    """Σ_α (1 + |x − y|²/2α)^−α: heavier tails than the Gaussian's, so that far samples keep their gradients.

    The shapes are the paper's. Bińkowski et al. 2018, arXiv:1801.01401, Section 2.1.
    """

    alphas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)

    def __post_init__(self) -> None:
        _positive("alphas", self.alphas)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squares = _squares(x, y)
        return _total(torch.exp(-a * torch.log1p(squares / (2 * a))) for a in self.alphas)


@dataclass(frozen=True)
class Polynomial:
    """(γ ⟨x, y⟩ + c)^degree; γ None is 1/D.

    The defaults are the Kernel Inception Distance's. Bińkowski et al. 2018, arXiv:1801.01401, Section 4.
    """

    degree: int = 3
    gamma: float | None = None
    offset: float = 1.0

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise ValueError(f"a polynomial kernel's degree must be at least 1, got {self.degree}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        inner = x @ y.T * (1 / x.shape[1] if self.gamma is None else self.gamma) + self.offset
        return math.prod([inner] * (self.degree - 1), start=inner)  # products: `pow` takes many times as long


@dataclass(frozen=True)
class Linear:
    """⟨x, y⟩, under which the discrepancy is the distance of the means alone."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y.T


@dataclass(frozen=True)
class OnFeatures:
    """k(φ(x), φ(y)); the functions here compute each example's features once, not once a block."""

    kernel: Kernel
    features: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.kernel(self.features(x).flatten(1), self.features(y).flatten(1))


def on_features(kernel: Kernel, net: Callable[[Tensor], Tensor]) -> OnFeatures:
    """The kernel on the features net(x): [N, ...] -> [N, F]. Li et al. 2017, arXiv:1705.08584, Section 3."""
    return OnFeatures(kernel, net)


def median_bandwidth(x: Tensor, y: Tensor) -> float:
    """The median distance between different points of both samples together (of at most 1,000 of each, evenly chosen).

    Raises ValueError where it is 0 or a sample is empty. Gretton et al. 2012, JMLR 13, Section 8.
    """
    if min(len(x), len(y)) == 0:
        raise ValueError(f"a bandwidth needs points of both samples, got {len(x)} and {len(y)}; give 1 or more of each")
    parts = [t.detach().flatten(1).double()[:: -(-len(t) // HEURISTIC)] for t in (x, y)]
    median = float(torch.pdist(torch.cat(parts)).median())
    if not median > 0:
        raise ValueError(f"the median distance must be positive for a bandwidth, got {median}; give bandwidths")
    return median


def mmd2(kernel: Kernel, x: Tensor, y: Tensor, unbiased: bool = True, block: int = BLOCK) -> Tensor:
    """MMD² of two samples x [N, ...], y [M, ...]: a scalar, differentiable in the samples and the kernel.

    Unbiased: means over different points, so that equal laws give 0 on average and may give less than 0; N, M >= 2.
    Biased: the squared distance of the samples' own mean embeddings, >= 0 (rounding below 0 is cut, the gradient is
    not), too large by about E[k(x, x) − k(x, x')] (1/N + 1/M). Beyond one block of examples it is differentiable once,
    and a kernel that has parameters of its own (learned features aside) keeps all its blocks. Half precision is
    computed in float32.
    Raises ValueError for different shapes or too few examples.
    Gretton et al. 2012, JMLR 13, Eq. 3 (unbiased) and 5 (biased).
    """
    kernel, x, y = _prepared(kernel, x, y, block, least=2 if unbiased else 1)
    with torch.autocast(x.device.type, enabled=False):
        many = torch.is_grad_enabled() and max(len(x), len(y)) > block
        if many and not kernel(x[:1].detach(), y[:1].detach()).requires_grad:
            value = _Blockwise.apply(x, y, kernel, unbiased, block)
            assert isinstance(value, Tensor)
        else:
            value = _total(part.sum(kernel, (x, y)) for part in _parts(len(x), len(y), unbiased, block))
    # A critic that is to pull equal embeddings apart needs the gradient there, so only the number is cut.
    return value if unbiased else value - value.detach().clamp_max(0)


@dataclass(frozen=True)
class _Part:
    """A block of the sum: weight × Σ k(a, b), over rows i of sample `left` and rows j of sample `right`.

    same: a and b are the same rows; off_diagonal: of them only different ones count.
    """

    left: int
    i: slice
    right: int
    j: slice
    weight: float
    same: bool = False
    off_diagonal: bool = False

    def sum(self, kernel: Kernel, samples: tuple[Tensor, Tensor]) -> Tensor:
        return self.of(kernel, samples[self.left][self.i], samples[self.right][self.j])

    def of(self, kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
        matrix = kernel(a, b)
        total = matrix.sum()
        return self.weight * (total - matrix.diagonal().sum() if self.off_diagonal else total)


def _parts(n: int, m: int, unbiased: bool, block: int) -> Iterator[_Part]:
    """All of MMD²'s sum; within a sample, by symmetry, half of the blocks twice."""
    rows = [[slice(i, i + block) for i in range(0, size, block)] for size in (n, m)]
    for which, size in enumerate((n, m)):
        weight = 1 / (size * (size - unbiased))
        for i, j in itertools.combinations(rows[which], 2):
            yield _Part(which, i, which, j, 2 * weight)
        for i in rows[which]:
            yield _Part(which, i, which, i, weight, same=True, off_diagonal=unbiased)
    for i, j in itertools.product(*rows):
        yield _Part(0, i, 1, j, -2 / (n * m))


class _Blockwise(torch.autograd.Function):
    """MMD² whose gradient by the samples is taken with it, a block at a time.

    Blocks that were kept, or computed again later, would leave a graph's nodes between the freed matrices, and the
    heap would grow with every block.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Kernel, unbiased: bool, block: int) -> Tensor:
        samples, wanted = (x.detach(), y.detach()), ctx.needs_input_grad[:2]
        gradients = [torch.zeros_like(t) for t in samples]
        value = x.new_zeros(())
        for part in _parts(len(x), len(y), unbiased, block):
            with torch.enable_grad():
                a = samples[part.left][part.i].requires_grad_(wanted[part.left])
                b = a if part.same else samples[part.right][part.j].requires_grad_(wanted[part.right])
                total = part.of(kernel, a, b)
            ends = [(gradients[part.left][part.i], a), (gradients[part.right][part.j], b)][: 2 - part.same]
            ends = [(sums, t) for sums, t in ends if t.requires_grad]
            if ends:
                for (sums, _), gradient in zip(ends, torch.autograd.grad(total, [t for _, t in ends]), strict=True):
                    sums += gradient
            value += total.detach()
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (gradient,), (of_x, of_y) = grad_outputs, ctx.saved_tensors
        if torch.is_grad_enabled():  # asked for a graph of the gradient, which would be a constant
            size = max(len(of_x), len(of_y))
            raise RuntimeError(f"MMD² in several blocks has no second derivatives; give block = {size} or more")
        return gradient * of_x, gradient * of_y, None, None, None


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    stderr: float


def mmd2_estimate(kernel: Kernel, x: Tensor, y: Tensor, block: int = BLOCK) -> Estimate:
    """The unbiased MMD² with its standard error, at hardly more than the value's cost; no gradient; N, M >= 4.

    By Hoeffding's decomposition: the variances of the examples' own effects, from the row sums less the noise that
    they have themselves, over N and M, and of what is left, over the number of pairs: the larger part where laws agree.
    Raises ValueError as `mmd2`, and where samples, features or kernel are not finite.
    """
    kernel, x, y = _prepared(kernel, x, y, block, least=4)
    _finite(x, y)
    n, m = len(x), len(y)
    with torch.no_grad():
        (kx, square_x), (ky, square_y) = _row_sums(kernel, x, x, block), _row_sums(kernel, y, y, block)
        (kxy, square_xy), (kyx, _) = _row_sums(kernel, x, y, block), _row_sums(kernel, y, x, block)
    kx, ky, kxy, kyx = kx / (n - 1), ky / (m - 1), kxy / m, kyx / n
    value = float(kx.mean() + ky.mean() - 2 * kxy.mean())
    # What pairs have beyond their two examples' effects: E k² = mean² + both effects' variances + theirs.
    pair_x = _left(square_x / (n * (n - 1)) - kx.mean() ** 2 - 2 * kx.var(), 1 - 2 / (n - 1))
    pair_y = _left(square_y / (m * (m - 1)) - ky.mean() ** 2 - 2 * ky.var(), 1 - 2 / (m - 1))
    pair_xy = _left(square_xy / (n * m) - kxy.mean() ** 2 - kxy.var() - kyx.var(), 1 - 1 / n - 1 / m)
    own_x = float((kx - kxy).var()) - pair_x / (n - 1) - pair_xy / m
    own_y = float((ky - kyx).var()) - pair_y / (m - 1) - pair_xy / n
    pairs = 2 * pair_x / (n * (n - 1)) + 2 * pair_y / (m * (m - 1)) + 4 * pair_xy / (n * m)
    # Unbiased where laws agree and the first terms are noise about 0, which must not make it 0 or less.
    return Estimate(value, math.sqrt(max(4 * own_x / n + 4 * own_y / m + pairs, pairs / 4)))


@dataclass(frozen=True)
class PermutationTest:
    """The unbiased MMD² of the samples as they are, and how often chance alone gives as much."""

    mmd2: float
    p_value: float
    permutations: int


def permutation_test(
    kernel: Kernel, x: Tensor, y: Tensor, permutations: int = 999, seed: int = 0, block: int = BLOCK
) -> PermutationTest:
    """Tests that x [N, ...] and y [M, ...] have one law: the p-value of their MMD² among random relabellings.

    p = (1 + how many of them give as much or more)/(1 + permutations): under one law P(p <= α) <= α, whatever the
    sizes. The kernel must not have been trained on these samples. Memory O(block² + (N + M) permutations).
    Raises ValueError as `mmd2`, and where samples, features or kernel are not finite.
    Gretton et al. 2012, JMLR 13, Section 5; Phipson & Smyth 2010, arXiv:1603.05766 (the ones in p).
    """
    if permutations < 1:
        raise ValueError(f"a permutation test needs at least 1 permutation, got {permutations}; use 999")
    kernel, x, y = _prepared(kernel, x, y, block, least=2)
    _finite(x, y)
    n, m = len(x), len(y)
    with torch.no_grad():
        pooled = torch.cat([x, y])
        rng = numpy_generator("permutation test", seed)
        labels = [np.arange(n + m), *(rng.permutation(n + m) for _ in range(permutations))]
        first = torch.from_numpy(np.stack(labels, 1) < n).double()  # [N + M, 1 + permutations]: 1 for those called x
        within = torch.zeros(permutations + 1, dtype=torch.float64)
        rows = torch.zeros(n + m, dtype=torch.float64)
        for i, j, part in _blocks(kernel, pooled, pooled, block):
            rows[i] += part.sum(1)
            within += (first[i] * (part @ first[j])).sum(0)
        of_first = first.T @ rows
        rest = rows.sum() - 2 * of_first + within
        values = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * (of_first - within) / (n * m)
    # Relabellings that change nothing must count as equal, whatever the order of their sums.
    slack = 1e3 * torch.finfo(values.dtype).eps * float(rows.abs().sum()) / (n + m) ** 2
    as_much = int((values[1:] >= values[0] - slack).sum())
    return PermutationTest(float(values[0]), (1 + as_much) / (1 + permutations), permutations)


def _row_sums(kernel: Kernel, x: Tensor, y: Tensor, block: int) -> tuple[Tensor, float]:
    """Σ_j k(x_i, y_j) [N] and Σ_ij k²; without i = j where x is y."""
    rows, squares = torch.zeros(len(x), dtype=torch.float64), 0.0
    for i, _, part in _blocks(kernel, x, y, block):
        rows[i] += part.sum(1)
        squares += float(part.square().sum())
    return rows, squares


def _blocks(kernel: Kernel, x: Tensor, y: Tensor, block: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and the kernel's matrix there, without autocast, in float64 on the CPU; 0 at i = j where x is y."""
    for i, j in itertools.product(range(0, len(x), block), range(0, len(y), block)):
        rows, columns = slice(i, i + block), slice(j, j + block)
        with torch.autocast(x.device.type, enabled=False):
            part = kernel(x[rows], y[columns]).cpu().double()
        if not math.isfinite(float(part.sum())):
            raise ValueError(
                f"a kernel must give finite values, got {int((~part.isfinite()).sum())} nan or inf between samples of "
                f"numbers up to {float(max(x.abs().max(), y.abs().max())):.3g}; give them in float64 or in larger units"
            )
        if x is y and i == j:
            part.fill_diagonal_(0)
        yield rows, columns, part


def _left(value: Tensor, share: float) -> float:
    return max(float(value) / share, 0.0)


def _prepared(kernel: Kernel, x: Tensor, y: Tensor, block: int, least: int) -> tuple[Kernel, Tensor, Tensor]:
    """The kernel and samples [N, D], [M, D] in at least float32, features computed."""
    if x.shape[1:] != y.shape[1:] or x.ndim < 2 or min(len(x), len(y)) < least:
        raise ValueError(
            f"two samples must be [N, ...] and [M, ...] with N, M >= {least}, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}; give larger batches of one shape, or fewer parts of each"
        )
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if isinstance(kernel, OnFeatures):
        return _prepared(kernel.kernel, kernel.features(x), kernel.features(y), block, least)
    x, y = x.flatten(1), y.flatten(1)
    precise = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return kernel, x.to(precise), y.to(precise)


def _finite(x: Tensor, y: Tensor) -> None:
    for name, sample in (("x", x), ("y", y)):
        bad = int((~sample.isfinite().all(1)).sum())
        if bad:
            raise ValueError(f"{name} must be finite, got nan or inf in {bad} of {len(sample)} rows; remove those")


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """|x_i − y_j|² [N, M], by a matrix product about a common centre: an offset would swallow small distances."""
    centre = y.detach().mean(0)
    x, y = x - centre, y - centre
    return ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).clamp_min(0)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return sum(parts, start=torch.zeros(()))


def _positive(name: str, values: tuple[float, ...]) -> None:
    if len(values) == 0 or not all(math.isfinite(v) and v > 0 for v in values):
        raise ValueError(f"{name} must be positive numbers, at least one, got {values}")
