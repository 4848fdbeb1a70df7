"""How often ADA augments: a probability p that is held, scheduled, or moved by how far the critic overfits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Controller:
    """Moves p so that r_t, the mean sign of the critic's logits on real images, stays at `target`.

    In a training loop of one's own, with `ada = ADA(p=Controller())`::

        real_logits = D(ada(real))
        ada.controller.observe(real_logits)
        if step % 4 == 3:
            ada.controller.adjust(examples=4 * len(real))

    p: at the start, in [0, 1]; `.p` is a number [] on the device of the logits. target: in (-1, 1), or None to leave p
    as it is until `set`. speed: examples in which p can go from 0 to 1. Nothing here makes the host wait for the
    device. Karras et al. 2020, arXiv:2006.06676, Section 3: r_t, 0.6, every 4 rounds, 500,000 examples.
    Differs from the paper: p stays at 1 at most.
    """

    def __init__(self, p: float = 0.0, target: float | None = 0.6, speed: int = 500_000) -> None:
        if target is not None and not -1 < target < 1:
            raise ValueError(
                f"ADA's target is a mean sign, between -1 and 1, got {target}; give 0.6, or None to leave p as it is"
            )
        if speed <= 0:
            raise ValueError(f"ADA needs a positive number of examples to move p from 0 to 1, got {speed}; give 500000")
        self.target, self.speed = target, speed
        self.p = torch.zeros(())
        self._given: float | None = None  # p, while the host knows it
        self._signs = torch.zeros(2)  # sum and number of the signs since the last adjustment
        self.set(p)

    @property
    def off(self) -> bool:
        """Whether p is 0 and only `set` can change that, as far as the host knows without asking the device."""
        return self.target is None and self._given == 0.0

    def set(self, p: float) -> None:
        """Sets p, as a schedule does. Raises ValueError outside of [0, 1]."""
        if not 0 <= p <= 1:
            raise ValueError(f"ADA's p is a probability, from 0 to 1, got {p}; give a number in that range")
        self._given = p
        self.p.fill_(p)

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Takes in the critic's logits on augmented real images [B], high for real; any number of times a round."""
        signs = real_logits.detach().float().sign()
        self.p, self._signs = self.p.to(signs.device), self._signs.to(signs.device)
        self._signs[0] += signs.sum()
        self._signs[1] += signs.numel()

    @torch.no_grad()
    def gather(self, average: Callable[[list[Tensor]], None]) -> None:
        """Makes what was observed that of all processes. average: takes the mean of tensors over them, in place."""
        average([self._signs])

    @torch.no_grad()
    def adjust(self, examples: int) -> None:
        """Moves p by `examples / speed` towards the target, and forgets what was observed.

        examples: seen since the last time, by all processes. Without a target, or where nothing was observed, p stays.
        """
        if self.target is not None:
            excess = self._signs[0] - self.target * self._signs[1]
            self.p.add_(excess.sign() * (examples / self.speed)).clamp_(0, 1)
            self._given = None
        self._signs.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {"p": self.p.clone(), "signs": self._signs.clone(), "given": self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.p.copy_(state_dict["p"])
        self._signs.copy_(state_dict["signs"])
        self._given = state_dict["given"]
