"""Who holds a folder: the system lets go of it however the holder ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps two processes out of one folder
    fcntl = None


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Holds a folder that is there; gives False where another process holds it, else True until the block ends."""
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # some network disks have no locks
        yield True
    finally:
        os.close(handle)
