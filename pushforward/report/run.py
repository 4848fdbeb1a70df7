"""A run folder, read: settings, logs, samples and exhibits, whichever of them are there."""

import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Series:
    """One logged scalar. seen: int64 [n], examples seen; value: float64 [n], NaN or infinite where it was so."""

    seen: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Run:
    """What a run folder held when it was read; nothing here is missing, it is empty."""

    path: Path
    config: dict[str, Any]
    """`config.json`."""
    stats: list[dict[str, Any]]
    """Lines of `stats.jsonl`."""
    metrics: list[dict[str, Any]]
    """Lines of `metrics.jsonl`."""
    samples: tuple[tuple[int, Path], ...]
    """(examples seen, file), in order; read one with `arrays`."""
    exhibits: dict[str, np.ndarray]
    """`exhibits.npz`, and its shapes are not checked."""

    @property
    def seen(self) -> int:
        """The examples seen at the last thing that was recorded."""
        logged = [row["seen"] for row in (*self.stats[-1:], *self.metrics[-1:])]
        return max([0, *logged, *(seen for seen, _ in self.samples[-1:])])

    @property
    def mirrored(self) -> bool:
        """Whether training saw mirror images too."""
        data = self.config.get("data")
        options = data.get("options") if isinstance(data, dict) else None
        return isinstance(options, dict) and options.get("mirror") is True

    def scalars(self) -> list[str]:
        """Names of the scalars in the log, in order of appearance."""
        skipped = ("seen", "round")
        return list({name: None for row in self.stats for name in row if name not in skipped and _real(row[name])})

    def series(self, name: str) -> Series:
        """One scalar, at the lines that have it."""
        pairs = [(row["seen"], row[name]) for row in self.stats if _real(row.get(name))]
        return _series(pairs)

    def metric_names(self) -> list[str]:
        """Names of the metrics, in order of appearance."""
        return list({name: None for row in self.metrics for name, entry in row["metrics"].items() if _measured(entry)})

    def metric(self, name: str, field: str = "value") -> Series:
        """One field (value, low, high, floor or n) of one metric; NaN where the line holds none."""
        rows = [(row["seen"], row["metrics"].get(name)) for row in self.metrics]
        measured = [(seen, entry.get(field)) for seen, entry in rows if _measured(entry)]
        return _series([(seen, value if _real(value) else math.nan) for seen, value in measured])


def read_run(path: Path) -> Run:
    """Reads a run folder at any moment of its life: started, stopped, cut short in a line, or finished.

    Raises ValueError where there is no `config.json` or it is not a JSON object.
    """
    settings = path / "config.json"
    if not settings.is_file():
        raise ValueError(
            f"{path} is not a run folder: it has no config.json; give the folder that `pushforward train` wrote"
        )
    try:
        config = json.loads(settings.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{settings} is not whole JSON ({error}); restore it, or give the folder of another run"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(f"{settings} is not a JSON object, got {type(config).__name__}; give the folder of a run")
    metrics = [row for row in _rows(path / "metrics.jsonl") if isinstance(row.get("metrics"), dict)]
    folder = path / "samples"
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    samples = tuple((int(file.stem), file) for file in files if file.stem.isdecimal())
    return Run(path, config, _rows(path / "stats.jsonl"), metrics, samples, arrays(path / "exhibits.npz"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; none when it is missing or cut short."""
    try:
        if not zipfile.is_zipfile(path):
            return {}
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        return {}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole JSON objects with `seen`: a line that is being written, or was cut short, is none."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("seen"), int):
            found.append(row)
    return found


def _series(pairs: list[tuple[int, float]]) -> Series:
    return Series(np.array([seen for seen, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64))


def _measured(entry: Any) -> bool:
    return isinstance(entry, dict) and _real(entry.get("value"))


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
