"""Measurements that features of two sets don't suffice for: diversity of the images, smoothness of the generator."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pushforward import sampling
from pushforward.core.seeding import numpy_generator, seed_of
from pushforward.data.images import Images
from pushforward.encoders.encoder import Encoder
from pushforward.evaluation import Measurement
from pushforward.metrics.catalogue import METRICS
from pushforward.metrics.diversity import ms_ssim_diversity, path_length
from pushforward.metrics.intervals import Interval, Z
from pushforward.run import Run, resolve_device
from pushforward.sets import is_run

SHOWN = 2_000  # images whose pairs are compared
PATHS = 1_000


def is_beside(name: str) -> bool:
    """Whether a metric takes the images themselves, or the run that made them."""
    return name in METRICS and METRICS[name].takes in ("images", "run")


def of_images(fakes: Images | str, reals: Images | str, seed: int) -> Measurement:
    """Mean MS-SSIM of pairs of samples, and of pairs of reals as its floor; images of one size."""
    if isinstance(fakes, str):
        raise ValueError("ms_ssim takes images, got statistics; leave it out")
    found = ms_ssim_diversity(_some(fakes, seed), seed=seed)
    floor = None if isinstance(reals, str) else ms_ssim_diversity(_some(reals, seed), seed=seed).value
    return Measurement(found.value, found.low, found.high, floor, min(fakes.size, SHOWN))


def of_run(
    what: str, encoder: Encoder, seed: int, n: int | None, checkpoint: Literal["last", "best"], device: str
) -> Measurement:
    """Perceptual path length in z, each class's mean: squared distances of features, where the paper has LPIPS."""
    if not is_run(what):
        raise ValueError(f"path_length takes a run, whose latents it goes through, got {what}; leave it out")
    run, where, paths = Run(Path(what)), resolve_device(device), n or PATHS
    game = run.game(checkpoint, device)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        a, b = (encoder.of_floats(side.add(1).mul(127.5)) for side in (x, y))
        return (a.double() - b.double()).square().sum(1)

    def of_class(k: int) -> Interval:
        z = sampling.latents(2 * each, game.latent, seed_of("path length", seed, k))

        def sample(z: Tensor) -> Tensor:
            y = None if game.classes is None else torch.full((len(z),), k)
            return sampling.generate(game, z, y, where)

        return path_length(sample, distance, z, seed=seed_of("path length", seed, k, "places"))

    classes = game.classes or 1
    each = max(paths // classes, 2)
    found = [of_class(k) for k in range(classes)]  # a path stays within a class
    value = sum(i.value for i in found) / classes
    half = Z * sum(i.stderr**2 for i in found) ** 0.5 / classes
    return Measurement(value, value - half, value + half, None, each * classes)


def _some(images: Images, seed: int) -> Tensor:
    """2,000 random ones, uint8 [n, C, H, W]."""
    chosen = np.isin(np.arange(images.size), numpy_generator("beside", seed).permutation(images.size)[:SHOWN])
    found: list[Tensor] = []
    bad: list[str] = []
    for part in images.parts():
        found += [image for row, image in zip(part.rows.tolist(), part.images, strict=True) if chosen[row]]
        bad += part.bad
    images.check(bad)
    if any(image.shape != found[0].shape for image in found):
        raise ValueError(f"{images.name} holds images of several sizes or channels; bring them to one by --resolution")
    return torch.stack(found)
