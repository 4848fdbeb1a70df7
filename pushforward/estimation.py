"""Estimation without densities: expectations, f-divergences and mutual information from samples alone.

A divergence's estimate is its variational bound, E_P[T] − E_Q[f*(T)] ≤ D_f(P‖Q), with T = f′(ratio) and the ratio p/q
learned by telling the samples apart. Every example is judged by a critic that never saw it (cross-fitting), so that
the bound holds in expectation whatever the critic; an error of the critic's enters only squared, as the gap.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.ema import EMA
from pushforward.core.seeding import torch_generator, torch_seeded
from pushforward.metrics.intervals import Z
from pushforward.networks.mlp import Critic
from pushforward.objectives.divergence import Divergence, kl

MakeCritic = Callable[[int], nn.Module]
LogRatio = Callable[[Tensor], Tensor]
LogDensity = Callable[[Tensor], Tensor]

INNER = 4  # splits into training and validation, inside what is not held out
MAIN, CROSSED = (0.3, 1e-2, 1e-5), (10.0, 1.0, 0.1, 1e-2, 1e-3)  # ridges to choose from, of a quadratic form
QUADRATIC = 20  # dimensions up to which all products of two coordinates are features, not the squares only
BATCH, STEPS, EVERY, PATIENCE, HALF_LIFE = 256, 3000, 25, 8, 10_000  # half-life in examples
MASS = 1e-6  # by which a density's integral may differ from 1 in a quadrature
ENOUGH = 2e-5  # nats of validation loss that count as better: far below what a validation set can tell


@dataclass(frozen=True)
class Estimate:
    """An estimate from n values, its standard error, and its normal 95 % interval.

    direction: "lower bound" where the value's expectation lies below what is estimated. Then `low` bounds the truth
    from below (at 97.5 %), and `high` bounds the critic's bound from above, not the truth.
    """

    value: float
    error: float
    n: int
    low: float
    high: float
    direction: str | None = None


def expectation(values: Tensor) -> Estimate:
    """E[g(X)] as the mean of g over a sample, whatever the law of g(X); the error falls as 1/√n.

    values: [N] or any shape, g of independent draws, with a finite variance. Raises ValueError for fewer than 2 or nan.
    """
    v = values.detach().flatten().double()
    if len(v) < 2 or not v.isfinite().all():
        raise ValueError(
            f"an expectation needs 2 or more finite values, got {len(v)}, {int(v.isfinite().sum())} of them finite; "
            "draw more, or look for where g overflows"
        )
    return _estimate(v.mean().item(), (v.std() / math.sqrt(len(v))).item(), len(v))


@dataclass(frozen=True)
class HeldOut:
    """log p/q at every example, by critics that never saw it. real: [N], of P; fake: [M], of Q."""

    real: Tensor
    fake: Tensor

    def bound(self, divergence: Divergence) -> Estimate:
        """The divergence's lower bound at T = f′(p/q); one set of critics serves every divergence."""
        t, cost = _witness(divergence, self.real, self.fake)
        error = (t.var() / len(t) + cost.var() / len(cost)).sqrt().item()
        return _estimate((t.mean() - cost.mean()).item(), error, len(t) + len(cost), "lower bound")


def estimate_divergence(
    x: Tensor, y: Tensor, divergence: Divergence, *, critic: MakeCritic | None = None, folds: int = 5, seed: int = 0
) -> Estimate:
    """A lower bound on D_f(P‖Q) from x: [N, ...] of P and y: [M, ...] of Q, on examples held out of training.

    critic: D -> module from [B, D], standardised, to logits [B], added to a quadratic form; None for an MLP.
    folds: parts held out in turn. Same seed and samples, same result. For several divergences use `held_out` once.
    No bound from n examples can vouch for a KL much above log n (McAllester & Stratos 2020, arXiv:1811.04251); ratios
    are cut there. An infinite variance of f*(T), e.g. KL's where Q's tails are the lighter, makes the error unreliable.
    Nguyen et al. 2010, arXiv:0809.0853; Nowozin et al. 2016, arXiv:1606.00709; Chernozhukov et al. 2018,
    arXiv:1608.00060 (cross-fitting). Computed on the CPU. Raises ValueError for samples of different widths, too few,
    or not finite, and for critics that give another shape.
    """
    return held_out(x, y, critic=critic, folds=folds, seed=seed).bound(divergence)


def held_out(x: Tensor, y: Tensor, *, critic: MakeCritic | None = None, folds: int = 5, seed: int = 0) -> HeldOut:
    """The log density ratio at each of x: [N, ...] and y: [M, ...], as in `estimate_divergence`."""
    x, y = _sample(x, "x", folds), _sample(y, "y", folds)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"two samples need one width, got {x.shape[1]} and {y.shape[1]}; compare like with like")
    real, fake = torch.empty(len(x), dtype=torch.float64), torch.empty(len(y), dtype=torch.float64)
    parts = [_parts(len(z), folds, seed, name) for z, name in ((x, "x"), (y, "y"))]
    for k in range(folds):
        i, j = parts[0] == k, parts[1] == k
        log_ratio = fit_log_ratio(x[~i], y[~j], critic=critic, seed=seed + k)
        real[i], fake[j] = log_ratio(x[i]), log_ratio(y[j])
    return HeldOut(real, fake)


def mutual_information(
    x: Tensor, y: Tensor, *, critic: MakeCritic | None = None, folds: int = 5, seed: int = 0
) -> Estimate:
    """A lower bound on I(X; Y) = KL(joint ‖ product of the marginals) from pairs x: [N, ...], y: [N, ...].

    Products are pairs of an x with another's y, shuffled within each fold, so that nothing held out is ever seen.
    Belghazi et al. 2018, arXiv:1801.04062, with the bound of Nguyen et al. 2010. As `estimate_divergence` otherwise.
    """
    x, y = _sample(x, "x", folds), _sample(y, "y", folds)
    if len(x) != len(y):
        raise ValueError(f"mutual information needs pairs, got {len(x)} x and {len(y)} y; give one y for each x")
    parts = _parts(len(x), folds, seed, "pairs")
    total, influence = 0.0, []
    for k in range(folds):
        order = torch.randperm(len(x), generator=torch_generator("estimation", "pairs", seed, k))
        seen, new = order[parts[order] != k], order[parts[order] == k]
        log_ratio = fit_log_ratio(
            torch.cat([x[seen], y[seen]], 1),
            torch.cat([torch.cat([x[seen], y[seen].roll(s, 0)], 1) for s in range(1, 5)]),
            critic=critic,
            seed=seed + k,
        )
        shifts = range(1, min(17, len(new)))
        joint = log_ratio(torch.cat([x[new], y[new]], 1))
        product = torch.stack([log_ratio(torch.cat([x[new], y[new].roll(s, 0)], 1)) for s in shifts], 1)
        t, cost = _witness(kl, joint, product)
        total += (t.sum() - cost.mean(1).sum()).item()
        # What each pair moves: its own T, and the costs in which its x or its y takes part.
        of_y = torch.stack([cost[:, c].roll(-s) for c, s in enumerate(shifts)], 1)
        influence.append(t - cost.mean(1) - of_y.mean(1))
    error = (torch.cat(influence).std() / math.sqrt(len(x))).item()
    return _estimate(total / len(x), error, len(x), "lower bound")


def fit_log_ratio(x: Tensor, y: Tensor, *, critic: MakeCritic | None = None, seed: int = 0) -> LogRatio:
    """log p/q as a function of points [B, D], from x: [N, D] of P and y: [M, D] of Q, by logistic regression.

    A quadratic form, whose ridge is chosen by validation, and on top of it a network that is stopped early; both are
    trained on four splits and averaged. Networks stay only as long as, on what they did not see, they help by more than
    the standard error of their help. The ratio is cut at the number of examples. Computed on the CPU.
    """
    pooled = torch.cat([x, y]).cpu().double()
    middle, spread = pooled.mean(0), pooled.std(0)
    spread = torch.where(spread > 0, spread, 1.0)

    def features(z: Tensor) -> tuple[Tensor, Tensor]:
        z = (z.cpu().double() - middle) / spread
        return z.float(), _products(z)

    real, fake = features(x), features(y)
    parts = _parts(len(x), INNER, seed, "inner x"), _parts(len(y), INNER, seed, "inner y")
    splits = [(parts[0] == k, parts[1] == k) for k in range(INNER)]
    forms = _quadratic_forms(real[1], fake[1], x.shape[1], splits)
    nets, gains = [], []
    for k, (form, (i, j)) in enumerate(zip(forms, splits, strict=True)):
        seen = _Set(real[0][~i], real[1][~i] @ form, fake[0][~j], fake[1][~j] @ form)
        unseen = _Set(real[0][i], real[1][i] @ form, fake[0][j], fake[1][j] @ form)
        nets.append(_trained(critic or _mlp, seen, unseen, ("estimation", seed, k)))
        gains.append([before - after for before, after in zip(unseen.losses(), unseen.losses(nets[k]), strict=True)])
        gain = [torch.cat(side) for side in zip(*gains, strict=True)]
        if sum(g.mean() for g in gain) <= sum(g.var() / len(g) for g in gain) ** 0.5:
            nets = []
            break
    form, cut = forms.mean(0), math.log(min(len(x), len(y)))

    @torch.no_grad()
    def log_ratio(z: Tensor) -> Tensor:
        points, products = features(z)
        logits = products @ form
        if nets:
            logits = logits + torch.stack([net(points) for net in nets]).mean(0)
        return logits.clamp(-cut, cut)

    return log_ratio


@dataclass(frozen=True)
class _Set:
    """Points [N, D] and logits [N] to add to the network's, of either sample."""

    x: Tensor
    on_x: Tensor
    y: Tensor
    on_y: Tensor

    @torch.no_grad()
    def losses(self, net: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """The logistic loss of each example, with the network or without."""
        on_x, on_y = self.on_x, self.on_y
        if net is not None:
            on_x, on_y = on_x + _logits(net, self.x), on_y + _logits(net, self.y)
        return F.softplus(-on_x), F.softplus(on_y)

    def drawn(self, size: int, stream: torch.Generator) -> "_Set":
        i, j = (torch.randint(len(z), (size,), generator=stream) for z in (self.x, self.y))
        return _Set(self.x[i], self.on_x[i], self.y[j], self.on_y[j])


def _logits(net: nn.Module, x: Tensor) -> Tensor:
    """net(x) [N], of that shape: another would be broadcast to [N, N] without a word."""
    logits = net(x)
    if logits.shape != x.shape[:1]:
        raise ValueError(
            f"a critic must give one logit an example, [B], got {tuple(logits.shape)} from {tuple(x.shape)}, expected "
            f"{tuple(x.shape[:1])}; end it with squeeze(1)"
        )
    return logits


def _mlp(width: int) -> nn.Module:
    net = Critic((width,), width=64, depth=2)
    nn.init.zeros_(net.layers[-1].weight)  # type: ignore[arg-type]
    return net


def _trained(make: MakeCritic, seen: _Set, unseen: _Set, key: tuple[str, int, int]) -> nn.Module:
    """The averaged network where it did best on the unseen examples."""
    with torch_seeded(*key):
        net = make(seen.x.shape[1])
    nets, stream = nn.ModuleDict({"critic": net}), torch_generator(*key, "batches")
    average = EMA(nets, half_life=HALF_LIFE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    best, kept, since = math.inf, copy.deepcopy(average.nets["critic"]), 0
    size = min(BATCH, len(seen.x), len(seen.y))
    for step in range(STEPS):
        if step % EVERY == 0:
            loss = sum(part.mean() for part in unseen.losses(average.nets["critic"]))
            since += 1
            if loss < best - ENOUGH:
                best, kept, since = loss, copy.deepcopy(average.nets["critic"]), 0
            elif since == PATIENCE:
                break
        batch = seen.drawn(size, stream)
        on_x, on_y = net(torch.cat([batch.x, batch.y])).split(size)
        loss = F.softplus(-on_x - batch.on_x).mean() + F.softplus(on_y + batch.on_y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(nets, (step + 1) * size)
    return kept


def _pairs(d: int) -> Tensor:
    """Which coordinates are multiplied: [2, D(D+1)/2], or [2, D], the squares only, where D is large."""
    return torch.triu_indices(d, d) if d <= QUADRATIC else torch.arange(d).expand(2, d)


def _products(x: Tensor) -> Tensor:
    """1, the coordinates, and their products: [B, D] -> [B, 1 + D + pairs]."""
    i, j = _pairs(x.shape[1])
    return torch.cat([torch.ones_like(x[:, :1]), x, x[:, i] * x[:, j] - (i == j).to(x)], 1)


def _quadratic_forms(a: Tensor, b: Tensor, d: int, splits: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Weights [splits, features] at the ridges that do best on what the splits leave out.

    Coordinates and squares have a ridge of their own, smaller than that of products of two, which are many.
    """
    i, j = _pairs(d)
    crossed = torch.cat([torch.zeros(1 + d, dtype=torch.bool), i != j])
    constant = torch.arange(len(crossed)) == 0
    paths, losses = [], []
    for p, q in splits:
        w, path = torch.zeros(a.shape[1], dtype=a.dtype), []
        for main in MAIN:
            for ridge in CROSSED if crossed.any() else CROSSED[:1]:
                penalty = torch.where(crossed, ridge, main).where(~constant, 1e-9).to(a.dtype)
                w = _newton(a[~p], b[~q], w, penalty)
                path.append(w)
        paths.append(torch.stack(path))
        losses.append(_logistic(a[p], b[q], paths[-1].T))
    best = torch.stack(losses).mean(0).argmin()
    return torch.stack([path[best] for path in paths])


def _logistic(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The logistic loss of weights w: [features] or [features, K], each sample counting one half of all."""
    return F.softplus(-a @ w).mean(0) + F.softplus(b @ w).mean(0)


def _newton(a: Tensor, b: Tensor, w: Tensor, penalty: Tensor) -> Tensor:
    """Minimises the logistic loss of `w` on features a of P and b of Q, plus Σ penalty w² / 2."""

    def value(w: Tensor) -> float:
        return (_logistic(a, b, w) + (penalty * w * w).sum() / 2).item()

    now = value(w)
    for _ in range(50):
        s, t = torch.sigmoid(-a @ w), torch.sigmoid(b @ w)
        gradient = b.T @ t / len(b) - a.T @ s / len(a) + penalty * w
        curved_a, curved_b = a * (s * (1 - s) / len(a))[:, None], b * (t * (1 - t) / len(b))[:, None]
        step = torch.linalg.solve(a.T @ curved_a + b.T @ curved_b + penalty.diag(), gradient)
        size = 1.0
        while (new := value(w - size * step)) > now and size > 1e-6:
            size /= 2
        w, gain, now = w - size * step, now - new, new
        if gain < 1e-8:
            break
    return w


def _witness(divergence: Divergence, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """T on P's examples and f*(T) on Q's, from log ratios."""
    return divergence.derivative(real.exp()), divergence.conjugate(divergence.derivative(fake.exp()))


def _estimate(value: float, error: float, n: int, direction: str | None = None) -> Estimate:
    return Estimate(value, error, n, value - Z * error, value + Z * error, direction)


def _parts(n: int, folds: int, seed: int, name: str) -> Tensor:
    """The part of each of n examples, in [0, folds), equally many in each to one."""
    return torch.randperm(n, generator=torch_generator("estimation", name, seed)) % folds


def _sample(x: Tensor, name: str, folds: int) -> Tensor:
    if folds < 2:
        raise ValueError(f"holding out needs 2 or more folds, got {folds}; use 5")
    if x.ndim == 0 or len(x) < 10 * folds:
        raise ValueError(
            f"{folds} folds need {10 * folds} or more examples [N, ...], got {name} as {tuple(x.shape)}; give more"
        )
    if not x.isfinite().all():
        bad = int((~x.isfinite()).sum())
        raise ValueError(f"samples need finite numbers, got {bad} nan or inf in {name}; remove those examples")
    return x.detach().cpu().reshape(len(x), -1)  # where critics are made


def gaussian_kl(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> float:
    """KL(P‖Q) of Gaussians with means [D] and covariances [D, D], in nats."""
    between = torch.linalg.solve(cov_q, torch.stack([mean_q - mean_p], 1))
    far = ((mean_q - mean_p) @ between).item()
    trace = torch.linalg.solve(cov_q, cov_p).trace().item()
    return (trace + far - len(mean_p) + (torch.logdet(cov_q) - torch.logdet(cov_p)).item()) / 2


def gaussian_hellinger(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> float:
    """∫(√p − √q)² of two Gaussians, in [0, 2]: twice one minus Bhattacharyya's coefficient."""
    middle, gap = (cov_p + cov_q) / 2, mean_p - mean_q
    log_coefficient = (
        (torch.logdet(cov_p) + torch.logdet(cov_q)) / 4
        - torch.logdet(middle) / 2
        - gap @ torch.linalg.solve(middle, gap) / 8
    )
    return -2 * math.expm1(log_coefficient.item())


def quadrature(
    divergence: Divergence,
    log_p: Callable[[Tensor], Tensor],
    log_q: Callable[[Tensor], Tensor],
    low: float,
    high: float,
) -> float:
    """D_f of two laws of the line from their log densities, by the trapezium rule on [low, high] in float64.

    Exact to rounding where both densities are smooth and vanish at the ends. Raises ValueError where it overflows, for
    an interval that is none, and where a density's integral is not 1 to 1e-6: parts of the law would be left out.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"quadrature needs finite ends, low < high, got [{low}, {high}]; swap or widen them")
    x = torch.linspace(low, high, 20_001, dtype=torch.float64)
    p, q = log_p(x), log_q(x)
    for name, log_density in (("P", p), ("Q", q)):
        mass = torch.trapezoid(log_density.exp(), x).item()
        if not abs(mass - 1) <= MASS:
            raise ValueError(
                f"quadrature needs all of {name}'s mass, 1 ± {MASS:g}, on [{low}, {high}], got {mass:.9g}; take a "
                "wider interval, or one that fits the law's width, or normalise the density"
            )
    values = torch.where(torch.maximum(p, q) < -200, 0.0, q.exp() * divergence.f((p - q).exp()))
    result = torch.trapezoid(values, x).item()
    if not math.isfinite(result):
        raise ValueError(f"quadrature needs finite q f(p/q) on [{low}, {high}], got {result}; take a smaller interval")
    return result
