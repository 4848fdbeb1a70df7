"""Exponential moving average of networks' weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.core.schedule import Schedule


def half_life_from(half_life: float | None, start: int | None) -> float | Schedule | None:
    """What `EMA` takes for an average that is a copy of the weights before `start` examples, and has no ramp after.

    Without a start the half-life as it is, whose average has its ramp; None for no average. Raises ValueError for a
    start of no average.
    """
    if half_life is None and start is not None:
        raise ValueError(f"without an average (ema None) ema_start has no meaning, got {start}; leave it out too")
    if half_life is None or start is None:
        return half_life
    return lambda seen: 0.0 if seen < start else half_life


class EMA:
    """An averaged copy of `nets`; parameters are averaged, buffers are copied.

    half_life: examples after which a weight's share has halved, or a schedule of it over examples seen.
    ramp: while fewer examples than `half_life / ramp` were seen, the half-life is `ramp × seen`, so that the initial
        weights are forgotten early (Karras et al. 2020, arXiv:2006.06676, use 0.05); None, or a schedule, for no ramp.
    """

    def __init__(self, nets: nn.ModuleDict, half_life: float | Schedule, ramp: float | None = 0.05) -> None:
        if not callable(half_life) and half_life <= 0:
            raise ValueError(f"EMA half-life must be positive, got {half_life}; give it in examples, e.g. 10_000")
        if ramp is not None and ramp <= 0:
            raise ValueError(f"EMA ramp must be positive, got {ramp}; use 0.05, or None for no ramp")
        self.half_life, self.ramp = half_life, None if callable(half_life) else ramp
        self.nets = copy.deepcopy(nets).eval().requires_grad_(False)
        self.seen = 0
        self._of: nn.ModuleDict | None = None
        self._first: tuple[dict[str, Tensor | None], str, Tensor] | None = None
        self._pairs: tuple[Any, Any, list[Tensor], list[Tensor]] | None = None

    def decay(self, seen: int) -> float:
        """The factor on the old average for an update at `seen`, since the last one."""
        half_life = self.half_life(seen) if callable(self.half_life) else self.half_life
        half_life = half_life if self.ramp is None else min(half_life, self.ramp * seen)
        return 0.5 ** ((seen - self.seen) / max(half_life, 1e-8))

    @torch.no_grad()
    def update(self, nets: nn.ModuleDict, seen: int) -> None:
        """Moves the average towards `nets` by the examples that passed since the last update."""
        weight = 1 - self.decay(seen)
        averages, values, copies, buffers = self._matched(nets)
        torch._foreach_lerp_(averages, values, weight)  # type: ignore[attr-defined]
        if buffers:
            torch._foreach_copy_(copies, buffers)  # type: ignore[attr-defined]
        self.seen = seen

    def _matched(self, nets: nn.ModuleDict) -> tuple[Any, Any, list[Tensor], list[Tensor]]:
        """Averages, parameters, copies, buffers; walking over the modules each time would cost more than averaging."""
        # Other networks, or these on another device, where their buffers are new ones.
        moved = self._first is not None and self._first[0][self._first[1]] is not self._first[2]
        if self._pairs is None or self._of is not nets or moved:
            own = self.nets
            self._pairs = (list(own.parameters()), list(nets.parameters()), list(own.buffers()), list(nets.buffers()))
            held = [(m._buffers, name, b) for m in nets.modules() for name, b in m._buffers.items() if b is not None]
            self._of, self._first = nets, held[0] if held else None
        return self._pairs

    def state_dict(self) -> dict[str, Any]:
        return {"nets": self.nets.state_dict(), "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.nets.load_state_dict(state_dict["nets"])
        self.seen = state_dict["seen"]
