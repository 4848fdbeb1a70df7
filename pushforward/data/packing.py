"""Packed arrays: rows written one after another as a .npy file, and work done ahead by threads, in order."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")

CHUNK = 1024  # rows rewritten at once when colour is met


class Packer:
    """Writes uint8 images [H, W] or [H, W, 3] one by one into a .npy file [N, C, H, W], whole when its block ends.

    channels: 1 or 3, or None for 1 as long as every image is grey; the first in colour turns what is written to 3.
    Nothing is mapped while it is written: on a full disk a write fails, where a map would kill the process.
    """

    def __init__(self, path: Path, resolution: int, channels: int | None) -> None:
        self.path, self.resolution, self.asked = path, resolution, channels
        self.channels, self.count = channels or 1, 0
        self._file = open(path, "wb")  # noqa: SIM115 — closed by `__exit__`
        self._start = self._header()

    def add(self, image: Bytes) -> None:
        colour = image.ndim == 3
        if colour and self.channels == 1:
            if self.asked == 1:
                raise ValueError(f"a grey array takes images [H, W], got {image.shape}")
            self._to_colour()
        planes = image.transpose(2, 0, 1) if colour else np.broadcast_to(image, (self.channels, *image.shape))
        self._file.write(np.ascontiguousarray(planes).tobytes())
        self.count += 1

    def __enter__(self) -> "Packer":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Writes the number of rows; until then the file says that it has none."""
        with self._file:
            if failure is None:
                self._file.seek(0)
                end = self._header()
                assert end == self._start, "the header's length must not depend on the number of rows"

    def _header(self) -> int:
        shape = (self.count, self.channels, self.resolution, self.resolution)
        npy.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return self._file.tell()

    def _to_colour(self) -> None:
        grey = self.path.with_suffix(".grey")
        self._file.close()
        self.path.rename(grey)
        self.channels = 3
        self._file = open(self.path, "wb")  # noqa: SIM115
        self._header()
        row = self.resolution**2
        with open(grey, "rb") as old:
            old.seek(self._start)
            while raw := old.read(row * CHUNK):
                self._file.write(np.frombuffer(raw, np.uint8).reshape(-1, 1, row).repeat(3, axis=1).tobytes())
        grey.unlink()


def mapped(path: Path) -> NDArray[Any]:
    """A .npy file mapped into memory; torch may hold it, and nothing written to it would reach the file."""
    return np.load(path, mmap_mode="c", allow_pickle=False)


def threads() -> int:
    """Threads worth starting: processors this process may use, 32 at most."""
    mine = getattr(os, "sched_getaffinity", None)
    return min(len(mine(0)) if mine else os.cpu_count() or 1, 32)


def in_order(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """`work` of each item, in order, done by threads a few items ahead; Pillow, zlib and hashlib run in parallel."""
    with ThreadPoolExecutor(threads()) as pool:
        ahead: deque[Future[R]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) >= 4 * threads():
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def counted(task: str, total: int, shown: bool) -> Iterator[Callable[[], object]]:
    """Gives a function to call after each of `total` steps; where `shown`, a bar follows it in a terminal."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(task, total=total)
        yield lambda: progress.advance(bar)
