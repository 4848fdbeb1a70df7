"""Schedules: functions of the examples seen."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def cosine(start: float, end: float, examples: int) -> Schedule:
    """From `start` to `end` along half a cosine over `examples`, then constant.

    Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, without restarts.
    """
    if examples <= 0:
        raise ValueError(f"a schedule needs a positive length, got {examples} examples")

    def at(seen: int) -> float:
        t = min(seen / examples, 1.0)
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * t))

    return at


def linear(start: float, end: float, examples: int) -> Schedule:
    """From `start` to `end` in a straight line over `examples`, then constant."""
    if examples <= 0:
        raise ValueError(f"a schedule needs a positive length, got {examples} examples")
    return lambda seen: start + (end - start) * min(seen / examples, 1.0)


def held(share: float, examples: int) -> Schedule:
    """1 for this share of the examples, then to 0 in a straight line by their end; a share of 1 never falls."""
    if not 0 <= share <= 1:
        raise ValueError(f"the share of a run that rates hold is in [0, 1], got {share}; 1 holds them throughout")
    if share == 1:
        return lambda seen: 1.0
    until = round(share * examples)
    falling = linear(1.0, 0.0, max(examples - until, 1))
    return lambda seen: falling(max(seen - until, 0))
