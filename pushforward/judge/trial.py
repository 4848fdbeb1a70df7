"""What a rater is shown, and in which order: a pure function of the design and the rater's name."""

import math
from dataclasses import dataclass

from pushforward.core.seeding import numpy_generator


@dataclass(frozen=True)
class Trial:
    """One image to judge. index: its place in the rater's session; image: its row among the reals or the fakes."""

    index: int
    practice: bool
    real: bool
    image: int


@dataclass(frozen=True)
class Design:
    """What all sessions of one test share; answers mean nothing without it, so it is kept beside them.

    trials: counted ones of a rater; practice: those before, of which the truth is told. Both are even, half of each
    are real. seconds: how long an image is seen, 0 until it is answered. fakes, reals: images in the two sets;
    fingerprint: of their bytes.
    """

    trials: int
    practice: int
    seconds: float
    seed: int
    fakes: int
    reals: int
    fingerprint: str

    def __post_init__(self) -> None:
        for name, value, least in (("trials", self.trials, 2), ("practice", self.practice, 0)):
            if value < least or value % 2:
                raise ValueError(f"{name} is {value}, must be even and at least {least}; half of them are real")
        if not (math.isfinite(self.seconds) and 0 <= self.seconds <= 60):
            raise ValueError(f"seconds is {self.seconds}, must be between 0 and 60; 0 shows images until answered")
        need = self.total // 2
        if min(self.fakes, self.reals) < need:
            raise ValueError(
                f"{self.trials} trials and {self.practice} of practice show no image twice: got {self.fakes} generated "
                f"and {self.reals} real images, {need} of each are needed; ask for fewer trials or give more images"
            )

    @property
    def total(self) -> int:
        """Trials of a session, practice included."""
        return self.practice + self.trials

    def plan(self, rater: str) -> tuple[Trial, ...]:
        """The session of a rater: practice first, each part half real in random order, no image twice.

        Another name gives an independent session. The order is one permutation of all counted trials: in blocks, the
        last trial of each would be known from those before.
        """
        rng = numpy_generator("judge", self.seed, rater)
        half, before = self.total // 2, self.practice // 2
        fakes = rng.choice(self.fakes, half, replace=False).tolist()
        reals = rng.choice(self.reals, half, replace=False).tolist()
        shown = []
        for start, stop in ((0, before), (before, half)):
            part = [(False, i) for i in fakes[start:stop]] + [(True, i) for i in reals[start:stop]]
            shown += [part[i] for i in rng.permutation(len(part))]
        return tuple(Trial(i, i < self.practice, real, image) for i, (real, image) in enumerate(shown))
