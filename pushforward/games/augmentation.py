"""What the critic's images go through: an augmentation, its probability, and who moves that."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from pushforward.core.distributed import World, average_
from pushforward.core.game import Batch, Clock

EVERY = 4  # rounds between two moves of p, as the authors have it


class Augmenter:
    """DiffAugment or ADA, applied to real and fake images alike; its p survives a restart.

    kind: "diffaugment" or "ada". policy: DiffAugment's, groups, p, target, speed: ADA's, as `games/adversarial.Rules`
    says. schedule: examples seen -> p, in place of the heuristic.
    """

    def __init__(
        self,
        kind: str,
        *,
        groups: tuple[str, ...],
        policy: tuple[str, ...],
        p: float,
        target: float | None,
        speed: int,
        schedule: Callable[[int], float] | None,
    ) -> None:
        from pushforward.augment.ada import ADA
        from pushforward.augment.controller import Controller
        from pushforward.augment.diffaugment import DiffAugment

        self.controller = None if kind == "diffaugment" else Controller(p=p, target=target, speed=speed)
        self.schedule = schedule
        self.pipe = DiffAugment(policy) if self.controller is None else ADA(groups, p=self.controller)
        self._seen = 0

    @property
    def p(self) -> Tensor | None:
        """The probability as it is now, a number [] on the critic's device; None for DiffAugment, which has none."""
        return None if self.controller is None else self.controller.p.clone()

    def draws(self, clock: Clock, n: int, shape: tuple[int, ...]) -> Batch:
        """The random numbers for n images of `shape`."""
        return self.pipe.draws(clock, n, shape)

    def __call__(self, x: Tensor, draws: Batch) -> Tensor:
        """Images [B, C, H, W] in [-1, 1], augmented."""
        return self.pipe(x, draws)

    def observe(self, logits: Tensor) -> None:
        """Takes in logits [B], high where the critic takes a real image for real; 0: it can't tell."""
        if self.controller is not None and self.controller.target is not None:
            self.controller.observe(logits)

    def after_round(self, clock: Clock) -> None:
        """Moves p, every few rounds, by what the critics of all processes said."""
        if self.controller is None:
            return
        if self.schedule is not None:
            self.controller.set(self.schedule(clock.seen))
        elif self.controller.target is not None:
            # After every round, so that all processes hold the same, and any one's state is everyone's.
            self.controller.gather(partial(average_, world=World(clock.rank, clock.world)))
            if (clock.round + 1) % EVERY == 0:
                self.controller.adjust(clock.seen - self._seen)
                self._seen = clock.seen

    def state_dict(self) -> dict[str, Any]:
        own = None if self.controller is None else self.controller.state_dict()
        return {"controller": own, "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seen = state_dict["seen"]
        if self.controller is not None:
            self.controller.load_state_dict(state_dict["controller"])
