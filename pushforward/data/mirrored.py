"""Mirror images, which double what a generator can learn from where left and right are alike."""

import torch
from torch import Tensor

from pushforward.core.seeding import numpy_generator
from pushforward.data.source import BLOCK, Data, digest


class Mirrored:
    """Data whose images are each mirrored left to right with probability ½ in training, and never for evaluation.

    Which ones is a function of (seed, position) like all else: it does not depend on how the stream is cut. data: as
    they are. Raises ValueError for points.
    """

    def __init__(self, data: Data) -> None:
        if data.spec.kind != "images":
            raise ValueError(f"points such as {data.spec.name}'s have no mirror images; leave out --mirror")
        self.unmirrored, self.spec, self.labels, self.size = data, data.spec, data.labels, data.size
        self.law, self.channel_data, self.skipped = data.law, data.channel_data, data.skipped
        self.fingerprint = digest(data.fingerprint, "mirrored")
        self._coins: dict[tuple[int, int, torch.device], Tensor] = {}

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        """Positions `start` to `stop` of the data's stream, each as its coin has it."""
        batch = self.unmirrored.batch(seed, start, stop, device)
        blocks = range(start // BLOCK, (stop - 1) // BLOCK + 1)
        coins = torch.cat([self._thrown(seed, block, device) for block in blocks])
        mirrored = coins[start - blocks[0] * BLOCK :][: stop - start]
        return {**batch, "x": torch.where(mirrored[:, None, None, None], batch["x"].flip(3), batch["x"])}

    def examples(self, n: int, seed: int) -> dict[str, Tensor]:
        return self.unmirrored.examples(n, seed)

    def levels(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        return self.unmirrored.levels(n, seed)

    def _thrown(self, seed: int, block: int, device: torch.device) -> Tensor:
        """bool [BLOCK]."""
        key = (seed, block, device)
        if key not in self._coins:
            while len(self._coins) > 1:  # this block and the one that a batch may begin in
                del self._coins[next(iter(self._coins))]
            coins = numpy_generator("mirror", seed, block).integers(0, 2, BLOCK, dtype=bool)
            self._coins[key] = torch.from_numpy(coins).to(device)
        return self._coins[key]
