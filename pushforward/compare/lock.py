"""Who holds a folder: the system lets go of it however the holder ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pushforward.compare.plan import CompareError

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps two comparisons out of one folder
    fcntl = None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder that is there. Raises CompareError where another process holds it."""
    if fcntl is None:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CompareError(
                f"another process compares in {folder}; wait for it, stop it, or choose another --out"
            ) from error
        except OSError:
            pass  # some network disks have no locks
        yield
    finally:
        os.close(held)


def wait_for(folder: Path, seconds: float) -> None:
    """Returns when nobody holds the folder, or it isn't there, or so many seconds have passed."""
    until = time.monotonic() + seconds
    while folder.is_dir() and time.monotonic() < until:
        try:
            with alone(folder):
                return
        except CompareError:
            time.sleep(0.1)
