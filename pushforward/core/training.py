"""The loop around the engine: how long, what happens on the way, and how it ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pushforward.core.distributed import any_process
from pushforward.core.engine import Engine


@dataclass(frozen=True)
class Hook:
    """Something to do each time the examples seen pass a multiple of `every`."""

    every: int
    do: Callable[[Engine], None]


Outcome = Literal["finished", "stopped", "out of time"]


def fit(
    engine: Engine,
    *,
    examples: int,
    hooks: Sequence[Hook] = (),
    minutes: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Plays rounds until `examples` were seen, `minutes` have passed, or `stopping()` says so.

    `stopping` and the time are asked by all processes together, once a tick (64 rounds, or each round where there is
    one process). Hooks run between rounds, in their order.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    tick = 1 if engine.world.size == 1 else 64
    while engine.clock.seen < examples:
        before = engine.clock.seen
        engine.round()
        for hook in hooks:
            if engine.clock.seen // hook.every > before // hook.every:
                hook.do(engine)
        if engine.clock.round % tick == 0:
            if any_process(stopping(), engine.world, engine.device):
                return "stopped"
            if deadline and any_process(time.monotonic() >= deadline, engine.world, engine.device):
                return "out of time"
    return "finished"
