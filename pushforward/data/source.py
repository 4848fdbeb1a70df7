"""Where examples come from: arrays seen in epochs, and endless laws; both are pure functions of (seed, position)."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator
from pushforward.data.spec import DataSpec

if TYPE_CHECKING:
    from pushforward.data.toy import Law

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int], tuple[Array, Array | None]]

BLOCK = 4096  # positions a stream draws at once
RESIDENT = 2**30  # bytes up to which an array is kept on the accelerator that asks for it


class Data(Protocol):
    """A data set, or a law to draw from.

    fingerprint: hex digest of the content, or of the law and its parameters.
    labels: names of the classes. size: number of examples, None for a law.
    law: the density in the plane that the examples are drawn from, where it is known.
    channel_data: the labelled images that each channel shows independently (`stacked-digits`), else None.
    skipped: files that could not be read, each with its reason.
    """

    spec: DataSpec
    fingerprint: str
    labels: tuple[str, ...] | None
    size: int | None
    law: "Law | None"
    channel_data: "ArrayData | None"
    skipped: tuple[str, ...]

    @property
    def unmirrored(self) -> "Data":
        """The data as they are: themselves, but for those whose training sees mirror images too."""
        ...

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        """Examples `start` to `stop` of the stream of `seed`: `x` [B, ...] float32, and `y` [B] int64 if labelled."""
        ...

    def examples(self, n: int, seed: int) -> dict[str, Tensor]:
        """For evaluation, on the CPU: `n` distinct examples (all, if there are fewer) or fresh draws of a law."""
        ...

    def levels(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """The same images as bytes, uint8 [n, C, H, W], with their labels [n]; a whole data set in its own order."""
        ...


def digest(*parts: str | bytes | Array) -> str:
    """Hex SHA-256 of the parts; shapes, types and borders count."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape};".encode())
            for i in range(0, len(part), BLOCK):  # never a second copy of the whole
                sha.update(np.ascontiguousarray(part[i : i + BLOCK]).tobytes())
        else:
            raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape")
            sha.update(f"{len(raw)};".encode() + raw)
    return sha.hexdigest()


class ArrayData:
    """Examples that lie in memory or in a memory map; each epoch is a permutation drawn from (seed, epoch).

    x: uint8 [N, C, H, W], 0 to 255, or float32 [N, D]; y: int64 [N]. Position p is in epoch p // N: a batch may lie
    across two, and no example is dropped. An accelerator gets a copy of an array of up to 1 GiB, and gathers there.
    """

    law: "Law | None" = None
    channel_data: "ArrayData | None" = None

    def __init__(
        self,
        spec: DataSpec,
        x: Array,
        y: Array | None,
        labels: tuple[str, ...] | None,
        fingerprint: str,
        skipped: tuple[str, ...] = (),
    ) -> None:
        kind = np.uint8 if spec.kind == "images" else np.float32
        if x.dtype != kind or x.shape[1:] != spec.shape or len(x) == 0:
            raise ValueError(f"{spec.name} needs {np.dtype(kind)} [N, {spec.shape}], got {x.dtype} {x.shape}")
        if (y is None) != (spec.classes is None) or (y is not None and len(y) != len(x)):
            raise ValueError(f"{spec.name}: {spec.classes} classes and {len(x)} examples do not fit the labels given")
        self.spec, self.labels, self.fingerprint, self.skipped = spec, labels, fingerprint, skipped
        self.size: int | None = len(x)
        self._x = torch.from_numpy(x if x.flags.writeable else x.copy())
        self._y = None if y is None else torch.from_numpy(np.ascontiguousarray(y, np.int64))
        self._home: dict[torch.device, tuple[Tensor, Tensor | None]] = {torch.device("cpu"): (self._x, self._y)}
        self._orders: dict[tuple[int, int, torch.device], Tensor] = {}
        self._staging = torch.empty(0, dtype=self._x.dtype)

    def __len__(self) -> int:
        return len(self._x)

    @property
    def unmirrored(self) -> "ArrayData":
        return self

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        """Positions `start` to `stop`: `x` float32, images in [-1, 1], and `y` int64 if labelled; a fresh copy."""
        if not 0 <= start < stop:
            raise ValueError(f"a batch needs 0 <= start < stop, got {start} and {stop}")
        home = self._home_on(device)
        parts, at = [], start
        while at < stop:
            epoch, offset = divmod(at, len(self))
            part = self._order(seed, epoch, home)[offset : offset + stop - at]
            parts.append(part)
            at += len(part)
        return self._gather(parts[0] if len(parts) == 1 else torch.cat(parts), home, device)

    def examples(self, n: int, seed: int) -> dict[str, Tensor]:
        """`min(n, N)` distinct examples in a random order that depends on `seed` alone; CPU."""
        order = numpy_generator("examples", seed).permutation(len(self))[:n]
        cpu = torch.device("cpu")
        return self._gather(torch.from_numpy(order), cpu, cpu)

    def levels(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """The first `n` of what `examples` gives, or the whole set in its own order, as it is kept: no copy of it."""
        if n >= len(self):
            return self._x, self._y
        order = torch.from_numpy(numpy_generator("examples", seed).permutation(len(self))[:n])
        return self._x[order], None if self._y is None else self._y[order]

    def _gather(self, index: Tensor, home: torch.device, device: torch.device) -> dict[str, Tensor]:
        x, y = self._home[home]
        if home != device:
            # The allocator of pinned memory reuses a block only when the copy from it has ended.
            pin = device.type == "cuda"
            rows = torch.empty((len(index), *x.shape[1:]), dtype=x.dtype, pin_memory=pin)
            torch.index_select(x, 0, index, out=rows)
            rows = rows.to(device, non_blocking=pin)
        elif x.dtype == torch.uint8 and home.type == "cpu":
            # One buffer for the bytes of every batch: only its float copy leaves this function.
            if self._staging.shape != (len(index), *x.shape[1:]):
                self._staging = torch.empty((len(index), *x.shape[1:]), dtype=x.dtype)
            rows = torch.index_select(x, 0, index, out=self._staging)
        else:
            rows = x.index_select(0, index)
        batch = {"x": _floats(rows)}
        if y is not None:
            batch["y"] = y.index_select(0, index).to(device)
        return batch

    def _home_on(self, device: torch.device) -> torch.device:
        """The device to gather on for a batch on `device`: itself where the array fits, else the CPU."""
        if device in self._home:
            return device
        if self._x.nbytes > RESIDENT:
            return torch.device("cpu")
        self._home[device] = (self._x.to(device), None if self._y is None else self._y.to(device))
        return device

    def _order(self, seed: int, epoch: int, device: torch.device) -> Tensor:
        key = (seed, epoch, device)
        if key not in self._orders:
            while len(self._orders) > 1:  # this epoch and the one that a batch may begin in
                del self._orders[next(iter(self._orders))]
            order = numpy_generator("data", seed, epoch).permutation(len(self))
            self._orders[key] = torch.from_numpy(order).to(device)
        return self._orders[key]


class StreamData:
    """Examples drawn from a law without end, in blocks of 4,096 positions, each from (seed, block).

    draw: (generator, n) to `x` (uint8 [n, C, H, W] or float [n, D]) and labels `y` [n] or None. A position's example
    does not depend on how the stream is cut into batches, or over processes.
    """

    size: int | None = None
    skipped: tuple[str, ...] = ()

    def __init__(
        self,
        spec: DataSpec,
        draw: Draw,
        fingerprint: str,
        labels: tuple[str, ...] | None = None,
        law: "Law | None" = None,
        channel_data: ArrayData | None = None,
    ) -> None:
        self.spec, self.draw, self.fingerprint, self.labels = spec, draw, fingerprint, labels
        self.law, self.channel_data = law, channel_data
        self._blocks: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor | None]] = {}

    @property
    def unmirrored(self) -> "StreamData":
        return self

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        """Positions `start` to `stop`: `x` float32, images in [-1, 1], and `y` int64 if labelled; a fresh copy."""
        if not 0 <= start < stop:
            raise ValueError(f"a batch needs 0 <= start < stop, got {start} and {stop}")
        parts, at = [], start
        while at < stop:
            block, offset = divmod(at, BLOCK)
            x, y = self._block(seed, block, device)
            end = min(BLOCK, offset + stop - at)
            parts.append((x[offset:end], None if y is None else y[offset:end]))
            at += end - offset
        batch = {"x": _floats(torch.cat([x for x, _ in parts]))}
        labels = [y for _, y in parts if y is not None]
        return {**batch, "y": torch.cat(labels)} if labels else batch

    def examples(self, n: int, seed: int) -> dict[str, Tensor]:
        """`n` draws that depend on `seed` alone, apart from every training stream; CPU."""
        x, y = self._drawn(numpy_generator("examples", seed), n)
        return {"x": _floats(x)} if y is None else {"x": _floats(x), "y": y}

    def levels(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """`n` draws as `examples` makes them, images as bytes."""
        return self._drawn(numpy_generator("examples", seed), n)

    def _drawn(self, rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor | None]:
        x, y = self.draw(rng, n)
        x = x if x.dtype == np.uint8 else x.astype(np.float32)
        return torch.from_numpy(x), None if y is None else torch.from_numpy(y.astype(np.int64))

    def _block(self, seed: int, block: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        key = (seed, block, device)
        if key not in self._blocks:
            while len(self._blocks) > 1:
                del self._blocks[next(iter(self._blocks))]
            x, y = self._drawn(numpy_generator("data", seed, block), BLOCK)
            self._blocks[key] = (x.to(device), None if y is None else y.to(device))
        return self._blocks[key]


def limited(data: Data, n: int) -> ArrayData:
    """`n` examples of a finite data set, chosen at random, always the same ones.

    Raises ValueError for a law, and for more examples than there are.
    """
    if not isinstance(data, ArrayData):
        raise ValueError(f"{data.spec.name} is a law without end, of which no part can be taken; leave out --limit")
    if not 1 <= n <= len(data):
        raise ValueError(f"the limit must be from 1 to the {len(data):,} examples of {data.spec.name}, got {n}")
    x, y = data.levels(len(data), 0)
    chosen = np.sort(numpy_generator("limit", len(data)).permutation(len(data))[:n])
    labels = None if y is None else y.numpy()[chosen]
    fingerprint = digest(data.fingerprint, f"limit {n}")
    return ArrayData(data.spec, x.numpy()[chosen], labels, data.labels, fingerprint, data.skipped)


def _floats(x: Tensor) -> Tensor:
    """Bytes 0..255 to float32 in [-1, 1], both ends exact; floats as they are."""
    return x.to(torch.float32).div_(127.5).sub_(1) if x.dtype == torch.uint8 else x
