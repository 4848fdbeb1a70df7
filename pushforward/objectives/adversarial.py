"""Adversarial objectives as pairs of losses on the critic's logits, which are high for real.

Each is a mean over the batch, to be minimised by the player it is named after. Everything is written in softplus and
log-sigmoid, so that confident logits keep their gradients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

CriticLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Adversarial:
    """What each player minimises, as functions of the logits (real [B], fake [B]), high for real.

    Where not `relative`, the generator's loss ignores the real logits, and None may be given for them.
    """

    critic: CriticLoss
    generator: Callable[[Tensor | None, Tensor], Tensor]
    relative: bool = False


class Divergence(Protocol):
    """An f-divergence's losses on logits: what the critic minimises is minus the variational bound."""

    def critic(self, real: Tensor, fake: Tensor, /) -> Tensor: ...

    def generator(self, real: Tensor | None, fake: Tensor, /, saturating: bool = False) -> Tensor: ...


def _logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    return (real - 1).square().mean() + (fake + 1).square().mean()


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


def _averaged(critic: CriticLoss) -> Adversarial:
    """Each logit less the mean of the other kind; the generator plays the critic with real and fake exchanged."""

    def loss(high: Tensor, low: Tensor) -> Tensor:
        return critic(high - low.mean(), low - high.mean())

    return Adversarial(loss, lambda real, fake: loss(fake, _given(real)), relative=True)


def least_squares_to(a: float, b: float, c: float) -> Adversarial:
    """½E[(D(x) − b)²] + ½E[(D(G(z)) − a)²] against ½E[(D(G(z)) − c)²].

    a, b: what the critic should say of fakes and of real examples; c: what the generator wants it to say of fakes.
    With b − c = 1 and b − a = 2 and the best critic, the generator minimises ½∫(p − q)²/(p + q), half of Pearson's χ²
    of 2q and p + q, less a term that it can't change. Mao et al. 2017, arXiv:1611.04076, Eq. 2 and Section 3.2.1.
    """
    if a == b:
        raise ValueError(f"real and fake need different targets, got {a} for both; use 0 and 1, or -1 and 1")
    return Adversarial(
        lambda real, fake: ((real - b).square().mean() + (fake - a).square().mean()) / 2,
        lambda real, fake: (fake - c).square().mean() / 2,
    )


def smoothed(losses: Adversarial, target: float = 0.9) -> Adversarial:
    """One-sided label smoothing: the critic is told that real examples are real with probability `target`.

    losses: a pair whose critic is the logistic one, minimax or non-saturating; fakes keep the target 0, and the
    generator's loss is unchanged. The best critic becomes target·p/(p + q). target: in (0, 1].
    Salimans et al. 2016, arXiv:1606.03498, Section 3.4.
    """
    if losses.critic is not _logistic_critic:
        raise ValueError(
            "label smoothing needs the logistic critic, whose targets are probabilities, got another one; "
            "use minimax or non_saturating"
        )
    if not 0 < target <= 1:
        raise ValueError(f"the target for real examples must be a probability in (0, 1], got {target}; 0.9 is usual")

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        # target · softplus(−l) + (1 − target) · softplus(l), as softplus(l) = softplus(−l) + l
        return _logistic_critic(real, fake) + (1 - target) * real.mean()

    return Adversarial(critic, losses.generator)


def fgan(divergence: Divergence, saturating: bool = False) -> Adversarial:
    """The variational bound of an f-divergence as a game: the critic maximises it, the generator minimises it.

    divergence: any object with the two losses, such as those of `divergence.py`; saturating: whether the generator
    minimises the bound itself rather than taking the non-saturating trick. Nowozin et al. 2016, arXiv:1606.00709,
    Eq. 6 and Section 3.2.
    """
    return Adversarial(divergence.critic, lambda real, fake: divergence.generator(real, fake, saturating=saturating))


minimax = Adversarial(_logistic_critic, lambda real, fake: -F.softplus(fake).mean())
"""−log D(x) − log(1 − D(G(z))) against log(1 − D(G(z))). Goodfellow et al. 2014, arXiv:1406.2661, Eq. 1."""

non_saturating = Adversarial(_logistic_critic, lambda real, fake: F.softplus(-fake).mean())
"""The generator minimises −log D(G(z)) instead. Goodfellow et al. 2014, arXiv:1406.2661, Section 3."""

wasserstein = Adversarial(lambda real, fake: fake.mean() - real.mean(), lambda real, fake: -fake.mean())
"""Kantorovich–Rubinstein dual; needs a Lipschitz critic. Arjovsky et al. 2017, arXiv:1701.07875, Eq. 2 and 3."""

hinge = Adversarial(_hinge_critic, lambda real, fake: -fake.mean())
"""max(0, 1 − D(x)) + max(0, 1 + D(G(z))) against −D(G(z)): at the best critic 2 − 2·TV. Lim & Ye 2017,
arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, Eq. 16 and 17."""

least_squares = least_squares_to(0, 1, 1)
"""The critic's targets 0 and 1, the generator's 1. Mao et al. 2017, arXiv:1611.04076, Eq. 9."""

pearson = least_squares_to(-1, 1, 0)
"""The targets for which the generator minimises Pearson's χ². Mao et al. 2017, arXiv:1611.04076, Eq. 8."""

relativistic = Adversarial(
    lambda real, fake: _paired(real, fake), lambda real, fake: _paired(fake, _given(real)), relative=True
)
"""softplus(fake − real) on pairs. Jolicoeur-Martineau 2018, arXiv:1807.00734 (RSGAN); arXiv:2501.05441, Eq. 2."""

relativistic_average = _averaged(_logistic_critic)
"""−log σ(real − mean fake) − log(1 − σ(fake − mean real)), real and fake exchanged for the generator. The means are
the batch's own (a micro-batch's, where batches are cut). Jolicoeur-Martineau 2018, arXiv:1807.00734 (RaSGAN)."""

relativistic_average_squares = _averaged(_squares_critic)
"""(real − mean fake − 1)² + (fake − mean real + 1)². Jolicoeur-Martineau 2018, arXiv:1807.00734 (RaLSGAN)."""

relativistic_average_hinge = _averaged(_hinge_critic)
"""The hinge on the same differences. Jolicoeur-Martineau 2018, arXiv:1807.00734 (RaHingeGAN)."""

OBJECTIVES: Mapping[str, Adversarial] = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "least_squares": least_squares,
    "pearson": pearson,
    "relativistic": relativistic,
    "relativistic_average": relativistic_average,
    "relativistic_average_squares": relativistic_average_squares,
    "relativistic_average_hinge": relativistic_average_hinge,
}
"""By name, for recipes and experiments to choose from."""
