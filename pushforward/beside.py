"""Measurements that features of two sets don't suffice for: diversity of the images, smoothness of the generator."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pushforward import sampling
from pushforward.core.seeding import seed_of
from pushforward.data.images import Images
from pushforward.encoders.encoder import Encoder
from pushforward.evaluation import Measurement
from pushforward.metrics.catalogue import METRICS
from pushforward.metrics.diversity import ms_ssim_diversity, path_length
from pushforward.run import Run, resolve_device
from pushforward.sets import is_run

SHOWN = 2_000  # images whose pairs are compared
PATHS = 1_000


def is_beside(name: str) -> bool:
    """Whether a metric takes the images themselves, or the run that made them."""
    return name in METRICS and METRICS[name].takes in ("images", "run")


def of_images(fakes: Images | None, reals: Images | None, seed: int) -> Measurement:
    """Mean MS-SSIM of pairs of samples, and of pairs of reals as its floor; images of one size."""
    if fakes is None:
        raise ValueError("ms_ssim takes images, got statistics; leave it out")
    found = ms_ssim_diversity(_some(fakes), seed=seed)
    floor = None if reals is None else ms_ssim_diversity(_some(reals), seed=seed).value
    return Measurement(found.value, found.low, found.high, floor, min(fakes.size, SHOWN))


def of_run(
    what: str, encoder: Encoder, seed: int, n: int | None, checkpoint: Literal["last", "best"], device: str
) -> Measurement:
    """Perceptual path length in z: squared distances of the encoder's features, where the paper has LPIPS."""
    if not is_run(what):
        raise ValueError(f"path_length takes a run, whose latents it goes through, got {what}; leave it out")
    run, where, paths = Run(Path(what)), resolve_device(device), n or PATHS
    game = run.game(checkpoint, device)
    z = sampling.latents(2 * paths, game.latent, seed_of("path length", seed))

    def sample(z: Tensor) -> Tensor:
        # The two ends of a step must be of one class.
        y = None if game.classes is None else torch.zeros(len(z), dtype=torch.int64)
        return sampling.generate(game, z, y, where)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        a, b = (encoder.of_floats(side.add(1).mul(127.5)) for side in (x, y))
        return (a.double() - b.double()).square().sum(1)

    found = path_length(sample, distance, z, seed=seed)
    return Measurement(found.value, found.low, found.high, None, paths)


def _some(images: Images) -> Tensor:
    """The first of them, uint8 [n, C, H, W]."""
    if images.shape is None:
        raise ValueError(f"{images.name} holds images of several sizes; bring them to one with --resolution")
    parts: list[Tensor] = []
    for part in images.parts():
        parts.append(part.images if isinstance(part.images, Tensor) else torch.stack(part.images))
        if sum(len(p) for p in parts) >= SHOWN:
            break
    return torch.cat(parts)[:SHOWN]
