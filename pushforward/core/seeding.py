"""Every random number is a function of who asks and where the run stands; no generator state is ever saved.

A key is a tuple such as `("data", seed, epoch)`. Different keys give independent streams
(`numpy.random.SeedSequence`), so metrics and sampling draw from their own and cannot change a run.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key of non-negative integers and words."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    low, high = np.random.SeedSequence(words).generate_state(2, np.uint32)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32


def numpy_generator(*key: int | str) -> np.random.Generator:
    """An independent NumPy stream for this key."""
    return np.random.default_rng(seed_of(*key))


def torch_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """An independent torch stream for this key, on `device`."""
    return torch.Generator(device).manual_seed(seed_of(*key))


@contextmanager
def torch_seeded(*key: int | str) -> Iterator[None]:
    """Torch's global generator follows `key` inside, and is as before outside; for code that takes no generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(*key))
        yield
