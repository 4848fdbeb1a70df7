"""What a recipe must know of the data to build networks for it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataSpec:
    """Shape and labels of one example.

    kind: `points` are float32 vectors [D] with about unit spread; `images` are [C, H, W], float32 in [-1, 1].
    classes: number of labels, or None where there are none.
    """

    name: str
    kind: Literal["points", "images"]
    shape: tuple[int, ...]
    classes: int | None = None

    def __post_init__(self) -> None:
        dimensions = {"points": 1, "images": 3}[self.kind]
        if len(self.shape) != dimensions or min(self.shape) < 1:
            raise ValueError(f"{self.kind} have {dimensions} positive dimensions, got the shape {self.shape}")

    @property
    def size(self) -> int:
        """Numbers in one example."""
        total = 1
        for n in self.shape:
            total *= n
        return total
