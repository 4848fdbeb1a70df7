"""Regularisers without gradients of gradients: on logits, on what should stay the same, on weights.

Computed in float32 whatever the precision around them (in float64 where the numbers are). All are unweighted; those
on examples are means over the batch. `weight_clipping` is no loss but a projection after each step.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.objectives.penalties import precise

Net = Callable[[Tensor], Tensor]


class RunningMean:
    """An exponential moving average of batches' means: value ← decay · value + (1 − decay) · mean.

    It starts at zero; `debias` divides by the weight of what it has seen, so that it is a mean from the first batch on.
    It survives a restart by `state_dict`. It takes what it is given: one update a step, the same on all processes.
    """

    def __init__(self, decay: float = 0.99, debias: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"a running mean's decay must be in [0, 1), got {decay}; 0.99 is usual")
        self.decay, self.debias = decay, debias
        self._sum, self._weight = torch.zeros(()), 0.0

    @property
    def value(self) -> Tensor:
        """The average, a scalar without gradient; 0 before the first update."""
        return self._sum / self._weight if self.debias and self._weight else self._sum

    @torch.no_grad()
    def update(self, values: Tensor) -> Tensor:
        """Takes in the mean of `values`, of any shape, and returns the new average."""
        mean = values.detach().float().mean()
        self._sum = torch.lerp(mean, self._sum.to(mean.device), self.decay)
        self._weight = 1 - self.decay + self.decay * self._weight
        return self.value

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum, "weight": self._weight}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sum, self._weight = state_dict["sum"].clone(), state_dict["weight"]


class LeCamAnchors:
    """The running means of real and fake logits that LeCam regularisation pulls towards, across."""

    def __init__(self, decay: float = 0.99) -> None:
        self.real, self.fake = RunningMean(decay), RunningMean(decay)

    def update(self, real: Tensor, fake: Tensor) -> None:
        """Takes in a batch's logits [B]."""
        self.real.update(real)
        self.fake.update(fake)

    def state_dict(self) -> dict[str, Any]:
        return {"real": self.real.state_dict(), "fake": self.fake.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.real.load_state_dict(state_dict["real"])
        self.fake.load_state_dict(state_dict["fake"])


def lecam(real: Tensor, fake: Tensor, anchors: LeCamAnchors, one_sided: bool = False) -> Tensor:
    """E[(D(x) − α_F)²] + E[(D(G(z)) − α_R)²]: real logits kept near the fakes' running mean, and the other way round.

    real, fake: logits [B]; one_sided: as in the authors' code, only where real logits lie above α_F and fake ones
    below α_R. With Wasserstein losses the game then minimises a multiple of the LeCam divergence.
    Tseng et al. 2021, arXiv:2104.03310.
    """
    above, below = precise(real) - anchors.fake.value, anchors.real.value - precise(fake)
    if one_sided:
        above, below = F.relu(above), F.relu(below)
    return above.square().mean() + below.square().mean()


def consistency(D: Net, x: Tensor, changed: Tensor) -> Tensor:
    """E[(D(x) − D(T(x)))²]: the critic should not see a change of the data that keeps its meaning (CR).

    x, changed: examples [B, ...] and the same ones changed (flipped, shifted). Zhang et al. 2020, arXiv:1910.12027,
    on the logits alone.
    """
    with torch.autocast(x.device.type, enabled=False):
        # Two passes: with BatchNorm in the critic, the two must be normalised apart.
        return (D(precise(x.detach())) - D(precise(changed.detach()))).square().mean()


def balanced_consistency(D: Net, real: Tensor, real_changed: Tensor, fake: Tensor, fake_changed: Tensor) -> Tensor:
    """`consistency` of real examples plus that of fakes, so that G can't learn the changes (bCR).

    Zhao et al. 2020, arXiv:2002.04724, Algorithm 1; there both weigh the same.
    """
    return consistency(D, real, real_changed) + consistency(D, fake, fake_changed)


def latent_consistency(D: Net, G: Net, z: Tensor, changed: Tensor) -> Tensor:
    """E[(D(G(z)) − D(G(z + Δ)))²], for the critic (zCR): it should not see a small step in latent space.

    z, changed: latents [B, ...] and z + Δ, Δ normal and small (a few hundredths of z's spread). G gets no gradient.
    Zhao et al. 2020, arXiv:2002.04724, Algorithm 2.
    """
    with torch.autocast(z.device.type, enabled=False), torch.no_grad():
        before, after = G(precise(z)), G(precise(changed))
    return consistency(D, before, after)


def latent_diversity(G: Net, z: Tensor, changed: Tensor) -> Tensor:
    """−E[‖G(z) − G(z + Δ)‖²], for the generator (zCR): such a step should show. Never positive, bounded only by G.

    Arguments as of `latent_consistency`. Zhao et al. 2020, arXiv:2002.04724, Algorithm 2.
    """
    with torch.autocast(z.device.type, enabled=False):
        return -(G(precise(z)) - G(precise(changed))).flatten(1).square().sum(1).mean()


def orthogonal(weight: Tensor) -> Tensor:
    """‖W Wᵀ − I‖²_F of one layer's filters W [out, ...]: they should be orthogonal and of unit norm.

    Brock et al. 2017, arXiv:1609.07093, in the form of Brock et al. 2019, arXiv:1809.11096, Eq. 2 (the first has
    absolute values in place of squares).
    """
    norms = _rows(weight).square().sum(1)
    return off_diagonal(weight) + (norms - 1).square().sum()


def off_diagonal(weight: Tensor) -> Tensor:
    """‖W Wᵀ ⊙ (1 − I)‖²_F of one layer's filters W [out, ...]: orthogonal, of whatever norm.

    Brock et al. 2019, arXiv:1809.11096 (BigGAN), Eq. 3; the authors' PyTorch code adds half of its gradient.
    """
    rows = _rows(weight)
    with torch.autocast(weight.device.type, enabled=False):
        if len(rows) <= rows.shape[1]:
            gram = rows @ rows.mT
            return (gram - gram.diagonal().diag()).square().sum()
        # Of more filters than numbers in one: ‖W Wᵀ‖ = ‖Wᵀ W‖, which is the smaller matrix.
        return (rows.mT @ rows).square().sum() - rows.square().sum(1).square().sum()


def weight_clipping(limit: float = 0.01) -> Callable[[nn.Module], None]:
    """A projection that sets each parameter of a network to its nearest value in [−limit, limit].

    For `Player.project`, or to be called after each step of the critic. Arjovsky et al. 2017, arXiv:1701.07875,
    Algorithm 1.
    """
    if limit <= 0:
        raise ValueError(f"weights are clipped to a positive limit, got {limit}; the paper uses 0.01")

    @torch.no_grad()
    def project(network: nn.Module) -> None:
        for parameter in network.parameters():
            parameter.clamp_(-limit, limit)

    return project


def _rows(weight: Tensor) -> Tensor:
    return precise(weight).flatten(1)
