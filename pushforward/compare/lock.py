"""One comparison at a time in a folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pushforward.compare.plan import CompareError
from pushforward.core.holding import holding


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder that is there. Raises CompareError where another process holds it."""
    with holding(folder) as held:
        if not held:
            raise CompareError(f"another process compares in {folder}; wait for it, stop it, or choose another --out")
        yield


def wait_for(folder: Path, seconds: float) -> None:
    """Returns when nobody holds the folder, or it isn't there, or so many seconds have passed."""
    until = time.monotonic() + seconds
    while folder.is_dir() and time.monotonic() < until:
        with holding(folder) as held:
            if held:
                return
        time.sleep(0.1)
