"""Adversarial objectives as pairs of losses on the critic's logits, which are high for real.

Each is a mean over the batch, to be minimised by the player it is named after. Everything is written in softplus and
log-sigmoid, so that confident logits keep their gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Adversarial:
    """What each player minimises, as functions of the logits (real [B], fake [B]), high for real.

    Where not `relative`, the generator's loss ignores the real logits, and None may be given for them.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    relative: bool = False


def _logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _paired(high: Tensor, low: Tensor) -> Tensor:
    if high.shape != low.shape:
        raise ValueError(
            f"paired logits need one fake for each real, got {tuple(high.shape)} and {tuple(low.shape)}; "
            "use equal batches"
        )
    return F.softplus(low - high).mean()


def _given(real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("a relativistic generator's loss needs the real logits, got None; give D(real)")
    return real


minimax = Adversarial(_logistic_critic, lambda real, fake: -F.softplus(fake).mean())
"""−log D(x) − log(1 − D(G(z))) against log(1 − D(G(z))). Goodfellow et al. 2014, arXiv:1406.2661, Eq. 1."""

non_saturating = Adversarial(_logistic_critic, lambda real, fake: F.softplus(-fake).mean())
"""The generator minimises −log D(G(z)) instead. Goodfellow et al. 2014, arXiv:1406.2661, Section 3."""

wasserstein = Adversarial(lambda real, fake: fake.mean() - real.mean(), lambda real, fake: -fake.mean())
"""Kantorovich–Rubinstein dual; needs a Lipschitz critic. Arjovsky et al. 2017, arXiv:1701.07875, Eq. 2 and 3."""

relativistic = Adversarial(
    lambda real, fake: _paired(real, fake), lambda real, fake: _paired(fake, _given(real)), relative=True
)
"""softplus(fake − real) on pairs. Jolicoeur-Martineau 2018, arXiv:1807.00734; arXiv:2501.05441, Eq. 2."""
