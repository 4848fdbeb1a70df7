"""Every random number is a function of who asks and where the run stands; no generator state is ever saved.

A key is a tuple such as `("data", seed, epoch)`. Different keys give independent streams, so metrics and sampling
draw from their own and cannot change a run.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and words; different keys are never cut down to the same bytes.

    Hashed, as `numpy.random.SeedSequence` takes (1,) and (1, 0) for the same.
    """
    text = repr(tuple(part if isinstance(part, str) else int(part) for part in key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def numpy_generator(*key: int | str) -> np.random.Generator:
    """An independent NumPy stream for this key."""
    return np.random.default_rng(seed_of(*key))


def torch_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """An independent torch stream for this key, on `device`."""
    return torch.Generator(device).manual_seed(seed_of(*key))


def seed_global(seed: int, device: torch.device) -> None:
    """Seeds torch's global generators of the CPU and of `device`.

    `torch.manual_seed` seeds every kind of device, and formats a stack trace for each that has not started.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def torch_seeded(*key: int | str) -> Iterator[None]:
    """Torch's global generator follows `key` inside, and is as before outside; for code that takes no generator."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        torch.manual_seed(seed_of(*key))
        yield
