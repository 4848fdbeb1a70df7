"""Entropic optimal transport: plans blurred by entropy, and the Sinkhorn divergence, a smooth transport cost."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from pushforward.objectives.transport import same_width

RATED = 20  # steps between two looks at the rate of convergence
ROUNDING = 4 * torch.finfo(torch.float64).eps  # of the largest cost: steps this small can be none by rounding alone


def sinkhorn_divergence(
    x: Tensor, y: Tensor, epsilon: float, p: float = 2.0, *, tolerance: float = 1e-3, limit: int = 2000
) -> Tensor:
    """S_ε = OT_ε(x, y) − ½ OT_ε(x, x) − ½ OT_ε(y, y) for the cost |x − y|^p, differentiable once: a scalar.

    OT_ε is the least Σ mass cost + ε KL(plan ‖ product). S_ε is >= 0 up to tolerance × ε, 0 for equal samples, and an
    approximation: as ε goes to 0 it goes to the exact cost W_p^p; as ε grows, to half the energy distance,
    E|x − y| − ½ E|x − x'| − ½ E|y − y'|, for p = 1 and to the squared distance of the means for p = 2. So give ε in
    the units of the cost.
    x: [N, D], y: [M, D], N M numbers of memory; p = 1 or 2. Computed in float64 whatever the samples are
    (in float32 small ε seem to converge, and large ε leave only rounding), given in theirs, in at least float32.
    tolerance: the largest relative error of a marginal. Raises ValueError for costs that are not finite or too large
    for tolerance × ε to be more than rounding, RuntimeError where `limit` steps don't reach the tolerance.
    Feydy et al. 2019, arXiv:1810.08278, Eq. 3 and Section 3 (symmetric updates, gradient by the envelope theorem).
    """
    same_width(x, y)
    if p not in (1, 2):
        raise ValueError(f"the Sinkhorn divergence is positive for p = 1 and 2, got p = {p}; use one of them")
    _checked_epsilon(epsilon)
    given = _at_least_single(torch.promote_types(x.dtype, y.dtype))
    x, y = x.double(), y.double()
    still_x, still_y = x.detach(), y.detach()
    pairs = (("x, x", still_x, still_x), ("y, y", still_y, still_y), ("x, y", still_x, still_y))
    own, other, both = (_costs(a, b, p) for _, a, b in pairs)
    for (name, *_), costs in zip(pairs, (own, other, both), strict=True):
        _checked_costs(name, costs, epsilon, tolerance, given)
    f, g = _potentials(both, epsilon, tolerance, limit)
    own_x, own_y = (_own_potential(costs, epsilon, tolerance, limit) for costs in (own, other))
    # At the optimum only the costs' own dependence on the points counts; the other side's points stand still.
    on_x = _soft_minimum(_costs(x, still_y, p), g, epsilon) - _soft_minimum(_costs(x, still_x, p), own_x, epsilon)
    on_y = _soft_minimum(_costs(y, still_x, p), f, epsilon) - _soft_minimum(_costs(y, still_y, p), own_y, epsilon)
    return (on_x.mean() + on_y.mean()).to(given)


def entropic_plan(
    costs: Tensor,
    epsilon: float,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    tolerance: float = 1e-3,
    limit: int = 2000,
) -> Tensor:
    """The plan [N, M] of least Σ mass cost + ε KL(plan ‖ a ⊗ b) among those with the marginals a and b; no gradient.

    As ε goes to 0 it goes to a cheapest plan, as ε grows to the product a ⊗ b.
    costs: [N, M], finite, from which ε takes its units; a: [N], b: [M], masses >= 0 that are scaled to add up to 1,
    or equal ones. tolerance: the largest relative error of a marginal. Computed in float64, and given as the costs
    are, in at least float32, as in `sinkhorn_divergence`.
    Raises ValueError for input that is not so, RuntimeError where `limit` steps don't suffice.
    Peyré & Cuturi 2019, arXiv:1803.00567, Sections 4.1 and 4.4 (in logs).
    """
    _checked_epsilon(epsilon)
    if costs.ndim != 2 or 0 in costs.shape or not costs.isfinite().all():
        raise ValueError(f"costs must be a finite matrix [N, M], N and M >= 1, got the shape {tuple(costs.shape)}")
    given, costs = _at_least_single(costs.dtype), costs.detach().double()
    costs = costs - costs.min()  # the same plan, and what is to be annealed starts at 0
    _checked_costs("less the least of them", costs, epsilon, tolerance, torch.float64)
    log_a, log_b = _log_masses(a, costs[:, 0], "a"), _log_masses(b, costs[0], "b")
    # A third: the over-relaxed step behind the last look can leave three times what was seen.
    f, g = _potentials(costs, epsilon, tolerance / 3, limit, log_a, log_b)
    return torch.exp((f[:, None] + g - costs) / epsilon + log_a[:, None] + log_b).to(given)


def _checked_epsilon(epsilon: float) -> None:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(
            f"epsilon must be positive, got {epsilon}; give it in the units of the cost, such as |x − y|^p"
        )


def _checked_costs(name: str, costs: Tensor, epsilon: float, tolerance: float, dtype: torch.dtype) -> None:
    """Costs that `dtype` holds, among which steps of tolerance × ε are more than rounding."""
    largest = float(costs.max())
    if not largest <= torch.finfo(dtype).max:
        raise ValueError(
            f"costs ({name}) must be finite in {dtype}, got {largest:.3g} at most; remove points that are nan or inf, "
            "or take larger units"
        )
    if not tolerance * epsilon >= ROUNDING * largest:
        raise ValueError(
            f"tolerance × epsilon must be at least {ROUNDING * largest:.3g}, the rounding of costs ({name}) up to "
            f"{largest:.3g}, got {tolerance * epsilon:.3g}; raise tolerance or epsilon"
        )


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _log_masses(given: Tensor | None, like: Tensor, name: str) -> Tensor:
    """log of the masses scaled to add up to 1, [n] as `like`."""
    mass = torch.ones_like(like) if given is None else given.detach().to(like)
    if mass.shape != like.shape or not mass.isfinite().all() or mass.min() < 0 or mass.sum() == 0:
        raise ValueError(
            f"{name} must be {len(like)} masses >= 0, finite and not all 0, got the shape {tuple(mass.shape)} and a "
            f"least of {float(mass.min()) if mass.numel() else math.nan}; give one for each point"
        )
    return (mass / mass.sum()).log()


def _potentials(
    costs: Tensor,
    epsilon: float,
    tolerance: float,
    limit: int,
    log_a: Tensor | None = None,
    log_b: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The dual potentials f [N], g [M] of entropic transport, each the other's soft minimum; equal masses where None.

    Over-relaxed: steps go ω times as far, ω from the rate seen, which takes the root of the steps that small ε need.
    Thibault et al. 2017, arXiv:1711.01851; Lehmann et al. 2021, arXiv:2012.12562, Section 4.
    """
    g = torch.zeros_like(costs[0])
    f, relaxation, changes = _soft_minimum(costs, g, max(float(costs.max()), epsilon), log_b), 1.0, []
    for current in _annealed(costs, epsilon, limit):
        step_f = _soft_minimum(costs, g, current, log_b) - f
        f = f + relaxation * step_f
        step_g = _soft_minimum(costs.T, f, current, log_a) - g
        g = g + relaxation * step_g
        if current > epsilon:
            continue
        # exp(step/ε) is what a marginal is wrong by.
        changes.append(float(torch.maximum(step_f.abs().max(), step_g.abs().max())))
        if changes[-1] <= tolerance * epsilon:
            return f, g
        if len(changes) % RATED == 0:
            relaxation = _relaxed(relaxation, (changes[-1] / changes[-RATED]) ** (1 / (RATED - 1)))
    raise _unfinished(tolerance, limit)


def _relaxed(omega: float, rate: float) -> float:
    """The best ω, from the rate λ at which steps shrink under this one: (λ + ω − 1)² = λ ω² κ². Young 1971, §6.2."""
    if rate >= 1:
        return 1.0
    if rate <= omega - 1:  # complex λ: ω is already too large to tell
        return omega
    kappa2 = min((rate + omega - 1) ** 2 / (rate * omega**2), 1 - 1e-8)
    return 2 / (1 + math.sqrt(1 - kappa2))


def _own_potential(costs: Tensor, epsilon: float, tolerance: float, limit: int) -> Tensor:
    """The potential f [N] of a sample against itself, its own soft minimum: found in few averaged steps."""
    f = torch.zeros_like(costs[0])
    for current in _annealed(costs, epsilon, limit):
        f, last = (f + _soft_minimum(costs, f, current)) / 2, f
        if current == epsilon and (f - last).abs().max() <= tolerance * epsilon / 2:
            return f
    raise _unfinished(tolerance, limit)


def _annealed(costs: Tensor, epsilon: float, limit: int) -> Iterator[float]:
    """ε for each of `limit` steps and those before them: from the largest cost by halves, then as asked."""
    current = float(costs.max())
    while current > epsilon:
        yield current
        current /= 2
    yield from itertools.repeat(epsilon, limit)


def _unfinished(tolerance: float, limit: int) -> RuntimeError:
    return RuntimeError(
        f"Sinkhorn's marginals must be right to {tolerance}, which {limit} steps did not reach; raise limit, "
        "tolerance or epsilon"
    )


def _soft_minimum(costs: Tensor, potential: Tensor, epsilon: float, log_masses: Tensor | None = None) -> Tensor:
    """−ε log Σ_j mass_j exp((potential_j − c_ij)/ε) for each row; a mean where no masses are given."""
    if log_masses is None:
        # A large ε would multiply the rounding of a logarithm near 0. The mean of expm1 is at least 1/M − 1.
        terms = potential - costs
        top = terms.detach().amax(1)
        return -top - epsilon * torch.log1p(torch.expm1((terms - top[:, None]) / epsilon).mean(1))
    return -epsilon * torch.logsumexp((potential - costs) / epsilon + log_masses, 1)


def _costs(x: Tensor, y: Tensor, p: float) -> Tensor:
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # exact, with gradient 0 at distance 0
    return distances.square() if p == 2 else distances
