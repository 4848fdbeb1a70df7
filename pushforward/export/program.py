"""A generator as a program that needs none of its source: traced with torch.export, and saved as `.pt2`."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from pushforward.core.game import Game
from pushforward.export.generator import Place, alone, example, networks

TOLERANCE = 1e-6
MOST = 1 << 16
"""Samples at once, at most."""
SIZES = (1, 5)
"""Batch sizes at which a format is held against the networks themselves."""

Make = Callable[[Tensor, Tensor | None], Tensor]  # (latents [n, *latent], labels [n] or None) -> samples [n, ...]


class _Whole(nn.Module):
    """What a recipe samples by, as one module: what a tracer asks for."""

    def __init__(self, game: Game, where: dict[str, Place]) -> None:
        super().__init__()
        one = alone(game, where)
        if one is None:
            self.networks, self.make = nn.ModuleDict(networks(game, where)), game.sample
        else:
            self.make = one

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.make(latents, labels)


def traced(game: Game, where: dict[str, Place]) -> ExportedProgram:
    """The program that takes `latents` [n, *latent] and, with classes, `labels` [n] int64, for any n from 1 up.

    game: on the CPU; its networks are put in eval mode and frozen. Raises ValueError where the tracer can't follow.
    """
    whole = _Whole(game, where).eval().requires_grad_(False)
    z, y = example(game, 3)
    given = (z,) if y is None else (z, y)
    batch = Dim("batch", min=1, max=MOST)
    try:
        with warnings.catch_warnings():
            # Samplers put networks in eval mode and back: side effects that the tracer reports, and that leave nothing.
            warnings.simplefilter("ignore")
            # Strict: it reads the source, where len(z) stays free. Run with stand-ins, len(z) would become a constant.
            with torch.no_grad():
                program = torch.export.export(whole, given, dynamic_shapes=({0: batch},) * len(given), strict=True)
    except Exception as error:  # the tracer raises whatever it meets: its own errors, TypeError, RuntimeError, …
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"this recipe's generator can't be traced ({type(error).__name__}: {reason}); export safetensors alone"
        ) from error
    for part in program.graph_module.modules():
        if isinstance(part, GraphModule):
            for node in part.graph.nodes:
                node.meta.pop("stack_trace", None)  # it says where on this disk the source lies
    return program


def save_program(path: Path, program: ExportedProgram, game: Game) -> None:
    """Writes the `.pt2` and checks what it makes, read back. Raises ValueError where it differs by more than 1e-6."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that channels-last filters are not contiguous
        torch.export.save(program, path)
    module = torch.export.load(path).module()
    compare(game, lambda z, y: module(z) if y is None else module(z, y), "torch.export", TOLERANCE)


def compare(game: Game, made: Make, name: str, tolerance: float) -> None:
    """Raises ValueError where a format's samples differ from the networks' by more than `tolerance` × the largest."""
    for n in SIZES:
        z, y = example(game, n, seed=n)
        with torch.no_grad():
            wanted, got = game.sample(z, y).float(), made(z, y)
        apart = float((wanted - got).abs().max()) if wanted.shape == got.shape else float("inf")
        largest = max(1.0, float(wanted.abs().max()))
        if not apart <= tolerance * largest:
            raise ValueError(
                f"the {name} export must agree with the networks to {tolerance:g}, got a difference of {apart:.2g} "
                f"for {n} samples (values up to {largest:.3g}); nothing was written: leave this format out"
            )
