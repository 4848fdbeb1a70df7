"""Latents and samples, drawn from their own streams, so that looking at a run never changes it."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pushforward.core.game import Game
from pushforward.core.seeding import torch_generator


def latents(n: int, shape: tuple[int, ...], seed: int, truncation: float | None = None) -> Tensor:
    """Standard normal latents [n, *shape]; the first rows do not depend on n.

    truncation: coordinates beyond ±truncation are drawn again, here by inverting the truncated normal's distribution
    function (the truncation trick: Brock et al. 2019, arXiv:1809.11096, Section 3.1); 0 makes them all 0.
    """
    return _normal(n, shape, torch_generator("latents", seed), truncation)


def _normal(n: int, shape: tuple[int, ...], generator: torch.Generator, truncation: float | None) -> Tensor:
    if truncation is None:
        return torch.stack([torch.randn(shape, generator=generator) for _ in range(n)])
    if _checked(truncation) == 0:
        return torch.zeros(n, *shape)
    bound = torch.special.ndtr(torch.tensor(truncation, dtype=torch.float64))
    u = torch.stack([torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(n)])
    return torch.special.ndtri(1 - bound + u * (2 * bound - 1)).float()


def truncated(game: Game, n: int, seed: int, truncation: float | None = None) -> tuple[Game, Tensor]:
    """The game as it samples under a truncation, and latents [n, *latent] for it.

    Styles are pulled towards their mean, where the game has some (`Game.truncated`); latents are truncated otherwise.
    """
    if truncation is None or game.truncated is None:
        return game, latents(n, game.latent, seed, truncation)
    return replace(game, sample=game.truncated(_checked(truncation))), latents(n, game.latent, seed)


def _checked(truncation: float) -> float:
    if not math.isfinite(truncation):
        raise ValueError(f"truncation must be finite, got {truncation}; leave it out for none")
    if truncation < 0:
        raise ValueError(
            f"truncation must not be negative, got {truncation}; 0 gives one image a class, values from 0.5 to 2 are "
            "common for latents, and from 0.5 to 1 for styles"
        )
    return truncation


def check_enlarging(game: Game, times: int) -> None:
    """Raises ValueError where the game can't double its images so many times."""
    if times < 0:
        raise ValueError(f"images are doubled 0 or more times, got {times}; 1 makes them twice as wide and high")
    if times and game.enlarge is None:
        raise ValueError(
            f"this generator makes images of one size, got {times} doublings; leave them out, or train lapgan, whose "
            "levels take any size"
        )


def enlarged(
    game: Game, x: Tensor, y: Tensor | None, times: int, seed: int, device: torch.device,
    truncation: float | None = None,
) -> Tensor:  # fmt: skip
    """Images x [n, C, H, W], doubled in size so many times, with detail of the game's own: [n, C, 2^times·H, …].

    truncation: of the noise that the detail is made of, as of `latents`. Raises ValueError where the game makes images
    of one size alone.
    """
    check_enlarging(game, times)
    for k in range(times):
        size = (1, *(2 * side for side in x.shape[2:]))
        generator, parts = torch_generator(f"enlarge{k}", seed), []
        for i in range(0, len(x), 50):
            part, labels = x[i : i + 50], None if y is None else y[i : i + 50].to(device)
            noise = _normal(len(part), size, generator, truncation)
            assert game.enlarge is not None
            parts.append(game.enlarge(part.to(device), noise.to(device), labels).float().cpu())
        x = torch.cat(parts)
    return x


def classes_in_turn(n: int, classes: int, only: int | None = None) -> Tensor:
    """Labels [n]: `only` for all of them, or each class in turn."""
    return torch.full((n,), only) if only is not None else torch.arange(n) % classes


def generate(game: Game, z: Tensor, y: Tensor | None, device: torch.device, batch: int = 500) -> Tensor:
    """Samples for the latents z [n, *latent] and labels y [n] or None: [n, ...] float32 on the CPU."""
    parts = []
    for i in range(0, len(z), batch):
        labels = None if y is None else y[i : i + batch].to(device)
        parts.append(game.sample(z[i : i + batch].to(device), labels).float().cpu())
    return torch.cat(parts).contiguous()
