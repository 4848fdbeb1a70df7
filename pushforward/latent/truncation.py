"""What truncation buys: precision against recall, over how far codes may be from the middle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pushforward.metrics.features import Features
from pushforward.metrics.intervals import Interval
from pushforward.metrics.manifold import Overlap, precision_recall_density_coverage


@dataclass(frozen=True)
class Truncated:
    """What samples under one truncation score against reals; None: without truncation."""

    truncation: float | None
    overlap: Overlap

    @property
    def precision(self) -> Interval:
        return self.overlap.precision

    @property
    def recall(self) -> Interval:
        return self.overlap.recall


def truncation_sweep(
    features: Callable[[float | None], Features],
    real: Features,
    truncations: Sequence[float | None],
    *,
    k: int = 3,
    seed: int = 0,
) -> list[Truncated]:
    """Precision, recall, density and coverage of samples under each truncation, each with its 95 % interval.

    features: truncation -> features [N, D] of samples; real: [M, D]. All depend on N, M and k: compare at equal ones.
    Precision against recall as truncation varies: Kynkäänniemi et al. 2019, arXiv:1904.06991, Figure 4.
    """
    return [Truncated(t, precision_recall_density_coverage(features(t), real, k, seed=seed)) for t in truncations]
