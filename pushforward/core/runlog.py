"""The run's log: one JSON object a line, and the scalars that wait on the device until it is written."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.core.checkpoint import write_text


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def rows(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last line that a kill cut short is passed over."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def rewind(path: Path, seen: int) -> None:
    """Drops what was written after the examples `seen`, and a line cut short: a resumed run writes them again."""
    if path.exists():
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows(path) if row["seen"] <= seen))


class Scalars:
    """Means of named scalars since the last flush. Values stay tensors until then, so that no step waits."""

    FOLD = 512
    """Values of one name that wait before they become one sum: a log that nobody flushes must not fill the memory."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Tensor]] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """value: a scalar tensor on any device."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(value.detach())
        if len(waiting) == self.FOLD:
            self._fold(name)

    def flush(self) -> dict[str, float]:
        """The means, in one transfer from the device, and a fresh start."""
        for name in self._waiting:
            self._fold(name)
        means = [total / self._counts[name] for name, total in self._sums.items()]
        numbers = torch.stack([mean.to(means[0].device) for mean in means]).tolist() if means else []
        names = list(self._sums)
        self._waiting, self._sums, self._counts = {}, {}, {}
        return dict(zip(names, numbers, strict=True))

    def _fold(self, name: str) -> None:
        waiting = self._waiting[name]
        if waiting:
            total = torch.stack(waiting).float().sum()
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + len(waiting)
            waiting.clear()
