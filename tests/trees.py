"""All tensors of a checkpoint, by their paths."""

from pathlib import Path

import torch

from pushforward.core.checkpoint import read, split


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint folder, by its path in the tree."""
    return split(read(checkpoint))[1]


def assert_same(a: Path, b: Path) -> None:
    """Two checkpoints hold the same tensors, bit for bit."""
    left, right = tensors(a), tensors(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name
