"""The cache folder: what took time to make, under a key of its content, whole or not there at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: two processes may then make the same thing, and the later one is dropped
    fcntl = None


def cache_folder(asked: Path | None = None) -> Path:
    """`asked`, else $PUSHFORWARD_CACHE, else $XDG_CACHE_HOME/pushforward, else ~/.cache/pushforward."""
    if asked is not None:
        return asked
    if own := os.environ.get("PUSHFORWARD_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "pushforward"


def cached(root: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder `root/key`; where it is missing, `build` fills a folder beside it, which is synced and then renamed.

    Processes that want the same key wait for the one that builds. A kill leaves a `.partial` folder that no one reads,
    and the next build of that key removes. Raises ValueError if the folder cannot be written.
    """
    final = root / key
    if final.is_dir():
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f"{key}.lock"):
            if not final.is_dir():
                _build(root, key, build)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"cannot write the cache folder {root}: {reason}; set PUSHFORWARD_CACHE to a folder with room"
        ) from error
    return final


def remembered(root: Path, key: str, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, a value that JSON holds, kept under `root/key`; computed where it is not there."""

    def build(folder: Path) -> None:
        (folder / "value.json").write_text(json.dumps(compute()), encoding="utf-8")

    return json.loads((cached(root, key, build) / "value.json").read_text(encoding="utf-8"))


def _build(root: Path, key: str, build: Callable[[Path], None]) -> None:
    if fcntl is not None:
        for left in root.glob(f"{key}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
    partial = root / f"{key}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        build(partial)
        for path in (*partial.iterdir(), partial):
            _sync(path)
        try:
            partial.rename(root / key)
        except OSError:
            if not (root / key).is_dir():
                raise
        _sync(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`; the system lets go of it when the process dies."""
    if fcntl is None:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        # Not after a failure: one that waits would hold a lock that newcomers don't see.
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
