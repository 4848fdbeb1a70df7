"""What is seen of a generator on a law of several modes while it trains: its samples, and whose mode they are in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.modes import kl_to_uniform

Floats = NDArray[Any]


@dataclass(frozen=True)
class Film:
    """What was seen. rounds [L]; points [L, n, 2] in the law's units; counts [L, 8], by the mode nearest to each.

    reference: real points [m, 2]; distance: W₂ of the first m points to them, at every fourth look.
    """

    rounds: Floats
    points: Floats
    counts: Floats
    reference: Floats
    distance: Floats

    @property
    def shares(self) -> Floats:
        """Of the modes [L, 8]."""
        return self.counts / self.counts.sum(1, keepdims=True)

    @property
    def kl(self) -> Floats:
        """KL of the shares to the uniform law [L], in nats."""
        return np.array([kl_to_uniform(counts).value for counts in self.counts])

    @property
    def effective(self) -> Floats:
        """e^H [L]: as many modes of equal shares would have this entropy H."""
        return self.counts.shape[1] * np.exp(-self.kl)

    @property
    def moved(self) -> Floats:
        """Total variation between the shares at one look and at the next [L − 1]."""
        return np.abs(np.diff(self.shares, axis=0)).sum(1) / 2

    @property
    def late_effective(self) -> float:
        """Mean of `effective` over the last third."""
        return float(_late(self.effective).mean())

    @property
    def late_moved(self) -> float:
        """Mean of `moved` over the last third."""
        return float(_late(self.moved).mean())


def _late(values: Floats) -> Floats:
    return values[-(len(values) // 3) :]
