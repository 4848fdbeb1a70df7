"""The mean style, towards which truncation draws. Karras et al. 2019, arXiv:1812.04948, Appendix B."""

import torch
from torch import Tensor, nn

from pushforward.layers.conditioning import one_hot


class StyleMean(nn.Module):
    """A running mean of styles for each class: `mean` [classes or 1, size], 0 at first.

    decay: of a mean, for each batch it follows in which its class has its share, so that micro-batches shorten its
    memory. Differs from the paper: a mean for each class; the latents of mixing count too.
    """

    mean: Tensor

    def __init__(self, size: int, classes: int = 0, decay: float = 0.995) -> None:
        super().__init__()
        self.classes, self.decay = classes, decay
        self.register_buffer("mean", torch.zeros(max(classes, 1), size))

    @torch.no_grad()
    def follow(self, w: Tensor, y: Tensor | None = None) -> None:
        """Moves the means towards those of the styles w [B, size], of classes y [B]."""
        w = w.float()
        members = one_hot(y, self.classes, w) if self.classes else w.new_ones(len(w), 1)  # [B, K]
        count = members.sum(0)[:, None]
        with torch.autocast(w.device.type, enabled=False):
            means = members.T @ w / count.clamp_min(1)
        self.mean.lerp_(means, 1 - self.decay ** (count * (len(count) / len(w))))

    def truncated(self, w: Tensor, y: Tensor | None, psi: float) -> Tensor:
        """mean + ψ (w − mean) of styles w [B, L, size] of classes y [B]: themselves at ψ = 1, the means at ψ = 0."""
        means = one_hot(y, self.classes, self.mean) @ self.mean if self.classes else self.mean
        return torch.lerp(means[:, None].to(w.dtype), w, psi)
