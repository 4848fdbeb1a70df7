"""The loop around the engine: how long, what happens on the way, and how it ends."""

import math
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

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"a hook needs a positive number of examples between its times, got {self.every}")


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

    `stopping` and the time are asked by all processes together, every 8 rounds (each round where there is one
    process). Hooks run between rounds, in their order, after `engine.check()`: what they save or log is sound.
    """
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    tick = 1 if engine.world.size == 1 else 8
    outcome: Outcome = "finished"
    while engine.clock.seen < examples:
        before = engine.clock.seen
        engine.round()
        if engine.clock.seen == before:
            raise ValueError("a round drew no examples, so that training would never end; call next(batches) in play")
        due = [hook for hook in hooks if engine.clock.seen // hook.every > before // hook.every]
        if due:
            engine.check()
        for hook in due:
            hook.do(engine)
        if engine.clock.round % tick == 0:
            if any_process(stopping(), engine.world, engine.device):
                outcome = "stopped"
                break
            if minutes is not None and any_process(time.monotonic() >= deadline, engine.world, engine.device):
                outcome = "out of time"
                break
    engine.check()
    return outcome
