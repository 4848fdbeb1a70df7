"""Exponential moving average of networks' weights."""

import copy
from typing import Any

import torch
from torch import nn


class EMA:
    """An averaged copy of `nets`; parameters are averaged, buffers are copied.

    half_life: examples after which a weight's share has halved.
    ramp: while fewer examples than `half_life / ramp` were seen, the half-life is `ramp × seen`, so that the
        initial weights are forgotten early (Karras et al. 2020, arXiv:2006.06676, use 0.05); None for no ramp.
    """

    def __init__(self, nets: nn.ModuleDict, half_life: float, ramp: float | None = 0.05) -> None:
        if half_life <= 0:
            raise ValueError(f"EMA half-life must be positive, got {half_life}; give it in examples, e.g. 10_000")
        if ramp is not None and ramp <= 0:
            raise ValueError(f"EMA ramp must be positive, got {ramp}; use 0.05, or None for no ramp")
        self.half_life, self.ramp = half_life, ramp
        self.nets = copy.deepcopy(nets).eval().requires_grad_(False)
        self.seen = 0
        self._averages = list(self.nets.parameters())

    def decay(self, seen: int) -> float:
        """The factor on the old average for an update at `seen`, since the last one."""
        half_life = self.half_life if self.ramp is None else min(self.half_life, self.ramp * seen)
        return 0.5 ** ((seen - self.seen) / max(half_life, 1e-8))

    @torch.no_grad()
    def update(self, nets: nn.ModuleDict, seen: int) -> None:
        """Moves the average towards `nets` by the examples that passed since the last update."""
        weight = 1 - self.decay(seen)
        torch._foreach_lerp_(self._averages, list(nets.parameters()), weight)  # type: ignore
        buffers = list(nets.buffers())
        if buffers:
            torch._foreach_copy_(list(self.nets.buffers()), buffers)  # type: ignore[attr-defined]
        self.seen = seen

    def state_dict(self) -> dict[str, Any]:
        return {"nets": self.nets.state_dict(), "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.nets.load_state_dict(state_dict["nets"])
        self.seen = state_dict["seen"]
