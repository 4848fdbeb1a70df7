"""Networks that grow while they train: how far they have come, and images of that much detail.

Karras et al. 2018, arXiv:1710.10196, Section 2 and Figure 2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """How far a network has grown: `level` doublings of its 4×4 map, the last of which counts for `alpha` in [0, 1]."""

    level: int
    alpha: float = 1.0


def stage_at(seen: int, levels: int, phase: int) -> Stage:
    """The stage after `seen` examples: each level settles for `phase` examples, then the next fades in over as many.

    levels: doublings in all. Karras et al. 2018, Appendix A.1, with phases of 800 000 examples.
    """
    if phase < 1:
        raise ValueError(f"a level fades in over 1 or more examples, got {phase}; the paper has 800_000")
    done, within = divmod(seen, 2 * phase)
    if done >= levels or within < phase:
        return Stage(min(done, levels))
    return Stage(done + 1, (within - phase) / phase)


class Growth(nn.Module):
    """The stage of the network that holds it, full-grown at first; it goes into the network's state and its copies.

    levels: doublings in all. Which layers run is known to the host; α is also on the device, so that it can change at
    every step without a wait, or a new compilation.
    """

    alpha: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels, self.stage = levels, Stage(levels)
        self.register_buffer("alpha", torch.ones(()), persistent=False)

    @property
    def level(self) -> int:
        """Doublings in use."""
        return self.stage.level

    @property
    def fading(self) -> bool:
        """Whether the last level is still being faded in."""
        return self.stage.alpha < 1

    def set(self, stage: Stage) -> None:
        """Takes up a stage. Raises ValueError for one that the network can't have."""
        least = 1 if stage.alpha < 1 else 0
        if not least <= stage.level <= self.levels or not 0 <= stage.alpha <= 1:
            raise ValueError(f"a network of {self.levels} levels can't stand at {stage}; grow it level by level")
        self.stage = stage
        self.alpha.fill_(stage.alpha)

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.stage.level, self.stage.alpha], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        level, alpha = state.tolist()
        self.set(Stage(int(level), alpha))

    def fade(self, old: Tensor, new: Tensor) -> Tensor:
        """(1 − α) · old + α · new: exactly `old` at α = 0 and `new` at α = 1."""
        return torch.lerp(old, new, self.alpha.to(new.dtype))

    def shown(self, images: Tensor) -> Tensor:
        """Images at the level's size -> at full size, each pixel a square."""
        return enlarged(images, self.levels - self.level)

    def seen(self, images: Tensor) -> Tensor:
        """Images at full size -> at the level's size, means of squares."""
        return shrunk(images, self.levels - self.level)

    def limited(self, images: Tensor) -> Tensor:
        """Images at full size -> the same size, with no more detail than a generator at this stage can give them."""
        if self.level == self.levels and not self.fading:
            return images
        new = self.seen(images)
        return self.shown(self.fade(enlarged(shrunk(new)), new) if self.fading else new)


def enlarged(x: Tensor, times: int = 1) -> Tensor:
    """[B, C, H, W] -> both sides doubled `times` times, by repetition."""
    return F.interpolate(x, scale_factor=float(2**times), mode="nearest") if times else x


def shrunk(x: Tensor, times: int = 1) -> Tensor:
    """[B, C, H, W] -> both sides halved `times` times, by means of squares.

    Not by `avg_pool2d`: its second derivative is zeros, which a gradient penalty would drag through the network.
    """
    return x.unflatten(3, (-1, 2**times)).unflatten(2, (-1, 2**times)).mean((3, 5)) if times else x
