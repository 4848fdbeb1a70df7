"""Processes started by `torchrun`: who we are, and the few things that all of us do together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


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
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()


def average_(tensors: list[Tensor], world: World) -> None:
    """Replaces each tensor by its mean over processes, through one flat buffer a dtype."""
    if world.size == 1 or not tensors:
        return
    for dtype in {t.dtype for t in tensors}:
        group = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in group])
        dist.all_reduce(flat)
        flat /= world.size
        start = 0
        for t in group:
            t.copy_(flat[start : start + t.numel()].view_as(t))
            start += t.numel()


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
