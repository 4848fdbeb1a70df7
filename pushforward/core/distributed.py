"""Processes started by `torchrun`: who we are, and the few things that all of us do together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among all: `rank` is global, `local_rank` is its place on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Joins the group that `torchrun` describes in the environment (gloo on CPU, NCCL on CUDA), and leaves it."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World()
        return
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        own = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(own)
        dist.init_process_group("nccl", device_id=own)
    else:
        dist.init_process_group("gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()


def _flat(tensors: list[Tensor]) -> Iterator[tuple[list[Tensor], Tensor]]:
    """(The tensors of a dtype, all their numbers in one vector), in the same order on every process."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        group = [t for t in tensors if t.dtype == dtype]
        yield group, torch.cat([t.reshape(-1) for t in group])


def _give_back(group: list[Tensor], flat: Tensor) -> None:
    pieces = flat.split([t.numel() for t in group])
    views = [piece.view_as(t) for t, piece in zip(group, pieces, strict=True)]
    torch._foreach_copy_(group, views)  # type: ignore[attr-defined]


@torch.no_grad()
def average_(tensors: list[Tensor], world: World) -> None:
    """Replaces each tensor by its mean over processes, through one flat buffer a dtype."""
    if world.size == 1:
        return
    for group, flat in _flat(tensors):
        dist.all_reduce(flat)
        _give_back(group, flat.div_(world.size))


@torch.no_grad()
def spread_(tensors: list[Tensor], world: World) -> None:
    """Replaces each tensor by the first process's."""
    if world.size == 1:
        return
    for group, flat in _flat(tensors):
        dist.broadcast(flat, 0)
        _give_back(group, flat)


def average_gradients(parameters: list[nn.Parameter], values: dict[str, Tensor], world: World) -> None:
    """Replaces gradients and scalars by their means over processes, so that all see the same, non-finite ones too.

    A process that has no gradient where another has one counts as zero there; one that nobody has stays None.
    """
    if world.size == 1:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    present = torch.ones(len(parameters), device=parameters[0].device)
    absent = [i for i, p in enumerate(parameters) if p.grad is None]
    for i in absent:
        present[i] = 0
    scalars = torch.stack([value.to(present.device, torch.float32) for value in values.values()])
    average_([*gradients, present, scalars], world)
    values.update(zip(values, scalars.unbind(), strict=True))
    for i in absent:
        if present[i] > 0:
            parameters[i].grad = gradients[i]


def any_process(flag: bool, world: World, device: torch.device) -> bool:
    """Whether `flag` holds on some process; all processes must ask together."""
    if world.size == 1:
        return flag
    seen = torch.tensor(float(flag), device=device)
    dist.all_reduce(seen, dist.ReduceOp.MAX)
    return bool(seen.item())


def same_everywhere(number: int, world: World, device: torch.device) -> bool:
    """Whether all processes hold the same non-negative integer; all must ask together."""
    if world.size == 1:
        return True
    bounds = torch.tensor([number, -number], dtype=torch.int64, device=device)
    dist.all_reduce(bounds, dist.ReduceOp.MAX)
    return bool((bounds[0] == -bounds[1]).item())


def barrier(world: World) -> None:
    """Waits for all processes."""
    if world.size > 1:
        dist.barrier()
