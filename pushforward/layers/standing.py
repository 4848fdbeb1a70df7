"""Standing statistics: what BatchNorm divides by when samples are drawn, measured on the network that draws them.

Running means are those of the weights in training, over the last few batches; an averaged copy (EMA) sees other
numbers. Brock et al. 2019, arXiv:1809.11096 (BigGAN), Appendix C.
"""

import copy
from collections.abc import Iterable
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # what all of torch's kinds are

from pushforward.core.seeding import torch_generator

_Net = TypeVar("_Net", bound=nn.Module)


class _Pool:
    """Means and variances of a layer's inputs, batch by batch, and of all of them together."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.means: list[Tensor] = []
        self.variances: list[Tensor] = []

    def observe(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """A forward pre-hook: takes in inputs [B, C, ...]."""
        x = given[0]
        variance, mean = torch.var_mean(x.float(), [d for d in range(x.dim()) if d != 1], correction=0)
        self.counts.append(x.numel() // x.shape[1])
        self.means.append(mean.cpu().double())
        self.variances.append(variance.cpu().double())

    def all(self) -> tuple[Tensor, Tensor]:
        """Mean and variance [C] over all examples and places, as if they had been one batch."""
        shares = torch.tensor(self.counts, dtype=torch.float64)[:, None] / sum(self.counts)
        means = torch.stack(self.means)
        mean = (shares * means).sum(0)
        variance = (shares * (torch.stack(self.variances) + (means - mean).square())).sum(0)
        return mean, variance * sum(self.counts) / (sum(self.counts) - 1)  # unbiased, as running ones are


@torch.no_grad()
def standing(net: _Net, batches: Iterable[tuple[Tensor | None, ...]]) -> _Net:
    """A copy of `net` in eval mode, whose BatchNorms use the pooled statistics of their inputs over `batches`.

    batches: what to call the network with, at least one, in any order. Each BatchNorm normalises by its own batch on
    the way, as in training; all else is in eval mode, so that spectral norms stand still and nothing is dropped.
    `net` is not touched; without BatchNorm the copy is the same network.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    layers = _norms(net)
    pools = [_Pool() for _ in layers]
    hooks = [layer.register_forward_pre_hook(pool.observe) for layer, pool in zip(layers, pools, strict=True)]
    for layer in layers:
        layer.train()
    try:
        for given in batches:
            net(*given)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, pool in zip(layers, pools, strict=True):
        if not pool.counts:
            raise ValueError("standing statistics are taken of 1 or more batches, got none; give some")
        for statistic, pooled in zip((layer.running_mean, layer.running_var), pool.all(), strict=True):
            assert statistic is not None
            statistic.copy_(pooled)
    return net.eval()


def _norms(net: nn.Module) -> list[_BatchNorm]:
    """The BatchNorms that have running statistics, in the network's order."""
    return [layer for layer in net.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


class Source(Protocol):
    """A sampler that tells which network it draws from, such as `core.duel.Sampler`."""

    @property
    def network(self) -> nn.Module: ...

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor: ...


class Standing:
    """The sampler `source` with standing statistics, taken anew whenever its network's weights have changed.

    latent: numbers in a latent; classes: 0 where the network takes no labels, else they are drawn uniformly.
    passes, batch: how many batches of latents the statistics are of, always the same ones, and their size. The paper
    has 100 passes.
    """

    def __init__(self, source: Source, latent: int, classes: int = 0, *, passes: int = 16, batch: int = 64) -> None:
        if passes < 1 or batch < 2:
            raise ValueError(f"standing statistics need 1 or more batches of 2 or more, got {passes} of {batch}")
        self.source, self.latent, self.classes, self.passes, self.batch = source, latent, classes, passes, batch
        self._copy: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        """A copy of the source's network that draws as this does; training goes on without changing it."""
        net = self.source.network
        if self._copy is None or not _same(self._copy, net):
            self._copy = standing(net, self._batches(next(net.parameters()).device))
        return self._copy

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, latent]; y: [B] labels or None. Returns what the source makes of them, which is left as it was."""
        norms, standing = _norms(self.source.network), _norms(self.network)
        running = [(norm.running_mean, norm.running_var) for norm in norms]
        try:
            for norm, other in zip(norms, standing, strict=True):
                norm.running_mean, norm.running_var = other.running_mean, other.running_var
            return self.source(z, y)
        finally:
            for norm, (mean, variance) in zip(norms, running, strict=True):
                norm.running_mean, norm.running_var = mean, variance

    def _batches(self, device: torch.device) -> Iterable[tuple[Tensor | None, ...]]:
        generator = torch_generator("standing")
        for _ in range(self.passes):
            z = torch.randn(self.batch, self.latent, generator=generator).to(device)
            y = torch.randint(self.classes, (self.batch,), generator=generator) if self.classes else None
            yield z, None if y is None else y.to(device)


def _same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks built alike are on one device and have the same parameters."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(p.device == q.device and torch.equal(p, q) for p, q in pairs)
