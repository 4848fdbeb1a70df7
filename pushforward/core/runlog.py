"""The run's log: one JSON object a line, and the scalars that wait on the device until it is written."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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
    """Drops what was written after the examples `seen`: a resumed run writes those lines again."""
    kept = [row for row in rows(path) if row["seen"] <= seen]
    if not path.exists():
        return
    beside = path.with_name(f".{path.name}.part")
    beside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    os.replace(beside, path)


class Scalars:
    """Means of named scalars since the last flush. Values stay tensors until then, so that no step waits."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """value: a scalar tensor on any device."""
        self._values.setdefault(name, []).append(value.detach())

    def flush(self) -> dict[str, float]:
        """The means, in one transfer from the device, and a fresh start."""
        if not self._values:
            return {}
        means = torch.stack([torch.stack(values).float().mean() for values in self._values.values()]).tolist()
        names = list(self._values)
        self._values.clear()
        return dict(zip(names, means, strict=True))
