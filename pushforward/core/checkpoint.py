"""Checkpoints: safetensors for tensors, JSON for the rest, one folder each, there whole or not at all.

A folder is written under a hidden name beside its final place, synced to the disk, and renamed; a kill at any moment
leaves the older ones untouched. Nothing is pickled, so a stranger's checkpoint can't run code.
"""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS, REST = "tensors.safetensors", "rest.json"


class CheckpointError(ValueError):
    """A checkpoint could not be written or read; the message says which and what to do."""


def split(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """A tree of dicts, lists, tuples, scalars and tensors -> (the tree with tensors replaced by marks, the tensors).

    Keys may be strings or integers. Raises TypeError for a value that neither JSON nor safetensors can hold.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            name = path
            while name in tensors or name == "__metadata__":  # a name that safetensors keeps for itself
                name += "'"
            tensors[name] = value.detach()
            return {"$tensor": name}
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str | int):
                    raise TypeError(f"a checkpoint's keys are strings or integers, got {key!r} at {path or 'the top'}")
            return {
                "$dict": [[key, walk(inner, f"{path}/{key}" if path else str(key))] for key, inner in value.items()]
            }
        if isinstance(value, list | tuple):
            mark = "$tuple" if isinstance(value, tuple) else "$list"
            return {mark: [walk(inner, f"{path}/{i}") for i, inner in enumerate(value)]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(
            f"a checkpoint holds tensors, numbers, words, lists and dicts; got {type(value).__name__} at {path}"
        )

    return walk(tree, ""), tensors


def join(rest: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `split`."""
    if not isinstance(rest, dict):
        return rest
    ((mark, value),) = rest.items()
    if mark == "$tensor":
        return tensors[value]
    if mark == "$dict":
        return {key: join(inner, tensors) for key, inner in value}
    parts = [join(inner, tensors) for inner in value]
    return tuple(parts) if mark == "$tuple" else parts


def sync(path: Path) -> None:
    """Asks the system to put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is there whole or as it was."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    sync(beside)
    os.replace(beside, path)
    sync(path.parent)


def write(folder: Path, tree: dict[str, Any], note: dict[str, Any] | None = None) -> None:
    """Writes `tree` as the checkpoint `folder`, and `note` (JSON) beside it for those who only look.

    Raises CheckpointError, leaving what was there before, when the disk refuses.
    """
    rest, tensors = split(tree)
    beside, former = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.former")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        save_file(_apart(tensors), beside / TENSORS)
        (beside / REST).write_text(json.dumps({"tree": rest, "note": note or {}}), encoding="utf-8")
        for file in (beside / TENSORS, beside / REST, beside):
            sync(file)
        # A folder can't be renamed over another: the former one steps aside, and `sweep` knows its name.
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
            os.replace(folder, former)
        os.replace(beside, folder)
        sync(folder.parent)
        shutil.rmtree(former, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        if former.exists() and not folder.exists():
            os.replace(former, folder)
        raise CheckpointError(
            f"the checkpoint {folder} could not be written ({error}); earlier ones are whole: "
            "free some space or permissions, then resume"
        ) from error


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, and each in memory of its own, as safetensors wants them; copied only where needed."""
    result: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        result[name] = tensor
    return result


def read(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The tree that `write` was given. Raises CheckpointError when it is not there or damaged."""
    try:
        rest = json.loads((folder / REST).read_text(encoding="utf-8"))["tree"]
        return join(rest, load_file(folder / TENSORS, device=str(device)))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint {folder} could not be read ({error}); try an earlier one") from error


class Checkpoints:
    """A folder of checkpoints named by the examples seen; the newest `keep` stay, and the one with the lowest score."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"at least 1 checkpoint must be kept, got {keep}")
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("[0-9]*") if p.is_dir())

    def last(self) -> Path | None:
        """The newest."""
        return next(reversed(self.all()), None)

    def score(self, checkpoint: Path) -> float | None:
        """The score it was saved with; None where it has none, or can't be read."""
        try:
            score = json.loads((checkpoint / REST).read_text(encoding="utf-8"))["note"]["score"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return score if isinstance(score, int | float) and math.isfinite(score) else None

    def best(self) -> Path | None:
        """The one with the lowest score, the newest of equals; None when none has a score."""
        scored = [(score, p) for p in self.all() if (score := self.score(p)) is not None]
        return min(reversed(scored), key=lambda pair: pair[0])[1] if scored else None

    def save(self, tree: dict[str, Any], seen: int, score: float | None = None) -> Path:
        """Writes one, then removes those that are neither among the newest nor the best."""
        path = self.folder / f"{seen:012d}"
        write(path, tree, {"seen": seen, "score": score})
        stay = {*self.all()[-self.keep :], self.best()}
        for old in self.all():
            if old not in stay:
                # Renamed first: a kill in the middle of the removal must not leave half a checkpoint under its name.
                gone = old.with_name(f".{old.name}.gone")
                os.replace(old, gone)
                shutil.rmtree(gone, ignore_errors=True)
        return path

    def sweep(self) -> None:
        """Removes what a kill left half-written, and puts back a checkpoint that it caught being written anew."""
        for former in self.folder.glob(".[0-9]*.former"):
            place = former.with_name(former.name[1:].removesuffix(".former"))
            if not place.exists():
                os.replace(former, place)
        for kind in ("part", "gone", "former"):
            for rest in self.folder.glob(f".[0-9]*.{kind}"):
                shutil.rmtree(rest, ignore_errors=True)
