"""What a run folder keeps for people to look at: sample grids along the way, and a last set of comparisons."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from pushforward import pictures, sampling
from pushforward.core.game import Game
from pushforward.data.source import Data
from pushforward.latent.arithmetic import (
    BY_INPUT,
    BY_MEAN,
    Classify,
    add_differences,
    blend_classes,
    in_turn,
    reached_by,
    tried,
)
from pushforward.latent.classes import NotBlendable
from pushforward.latent.generators import made
from pushforward.latent.interpolation import spherical

if TYPE_CHECKING:
    from pushforward.data.toy import Law

POINTS, IMAGES = 4000, 64
QUERIES, NEIGHBOURS, SEARCHED = 8, 5, 20_000
PATHS, STEPS = 6, 9
SUMMED = 2_000  # samples that differences of classes are found from
SURFACE = 120
CHUNK = 256  # training examples held as floats at once


def shown(x: Tensor, law: "Law | None") -> NDArray[np.uint8] | NDArray[np.float32]:
    """Images [n, C, H, W] as uint8 [n, H, W, C]; points [n, D] as float32 in the law's own units."""
    if x.ndim == 4:
        return pictures.to_uint8(x)
    points = x.detach().cpu().numpy()
    return law.from_model(points).astype(np.float32) if law else points


def write_samples(folder: Path, seen: int, x: Tensor, y: Tensor | None, data: Data) -> None:
    """`samples/{seen}.npz` and, where it can be drawn, `samples/{seen}.png`."""
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    arrays = {"x": shown(x, data.law)} | ({} if y is None else {"y": y.cpu().numpy()})
    write_npz(samples / f"{seen:012d}.npz", arrays)
    picture = draw(arrays["x"], data)
    if picture is not None:
        pictures.save_png(picture, samples / f"{seen:012d}.png")


def draw(x: NDArray[np.uint8] | NDArray[np.float32], data: Data | None) -> Image | None:
    """A grid of images, a scatter plot of points in the plane over real ones, or None for more dimensions.

    x: what `shown` returns. data: where the real points come from; images need none.
    """
    if x.ndim == 4:
        return pictures.grid(x)
    if x.shape[1] != 2:
        return None
    return pictures.scatter(x, real=None if data is None else shown(data.examples(POINTS, seed=0)["x"], data.law))


def write_exhibits(
    folder: Path, game: Game, data: Data, device: torch.device, seed: int, classify: Classify | None = None
) -> None:
    """`exhibits.npz`: fake and real, nearest training examples, interpolations, arithmetic, in the plane the critic.

    classify: what tells images' classes, without which arithmetic is left to conditional generators.
    """
    images = data.spec.kind == "images"
    n = IMAGES if images else POINTS
    classes = None if game.classes is None else sampling.classes_in_turn(n, game.classes)
    fake = sampling.generate(game, sampling.latents(n, game.latent, seed), classes, device)
    real = data.examples(n, seed)
    arrays = {"fake": shown(fake, data.law), "real": shown(real["x"], data.law)}
    if classes is not None:
        arrays["fake_y"] = classes.numpy()
    if "y" in real:
        arrays["real_y"] = real["y"].numpy()
    arrays["interpolations"] = _interpolations(game, data, device, seed)
    if images:
        arrays["query"] = shown(fake[:QUERIES], data.law)
        arrays["neighbours"] = _neighbours(fake[:QUERIES], data)
        arrays |= _arithmetic(game, device, seed, classify)
    elif data.spec.size == 2 and game.critic is not None:
        arrays |= _surface(game, data, device)
    write_npz(folder / "exhibits.npz", arrays)


def _interpolations(game: Game, data: Data, device: torch.device, seed: int) -> NDArray[np.uint8] | NDArray[np.float32]:
    """[paths, steps, ...] along great arcs between latents, which keep the norm that normal latents have."""
    ends = sampling.latents(2 * PATHS, game.latent, seed + 1)
    arc = spherical(ends[:PATHS], ends[PATHS:], torch.linspace(0, 1, STEPS))
    classes = None
    if game.classes is not None:
        classes = sampling.classes_in_turn(PATHS, game.classes).repeat_interleave(STEPS)
    x = shown(sampling.generate(game, arc.reshape(-1, *game.latent), classes, device), data.law)
    return x.reshape(PATHS, STEPS, *x.shape[1:])


def _arithmetic(game: Game, device: torch.device, seed: int, classify: Classify | None) -> dict[str, np.ndarray]:
    """The difference of two classes added to samples of the first: `arithmetic` [pairs, strengths, H, W, C].

    With `arithmetic_y` [pairs, 2], `arithmetic_strengths`, and the shares then taken for the second class,
    `arithmetic_reached`, where something tells classes. Nothing where there are no two classes, or no blends of them.
    """
    z = sampling.latents(SUMMED if game.classes is None else IMAGES, game.latent, seed + 2).to(device)
    if game.classes is not None:
        pairs, strengths = in_turn(range(game.classes)), torch.tensor(BY_INPUT, device=device)
        try:
            found = blend_classes(game.sample, z, game.classes, pairs, strengths, classify=classify)
        except NotBlendable:
            return {}
    elif classify is not None:
        classes, strengths = classify(made(game.sample, z)), torch.tensor(BY_MEAN, device=device)
        found = add_differences(game.sample, z, classes, in_turn(tried(classes)), strengths, classify=classify)
    else:
        return {}
    if not found:
        return {}
    arrays = {"arithmetic": np.stack([pictures.to_uint8(f.images[0]) for f in found])}
    arrays["arithmetic_y"] = np.array([[f.source, f.target] for f in found])
    arrays["arithmetic_strengths"] = strengths.cpu().numpy()
    reached = reached_by(found)
    return arrays | ({} if reached is None else {"arithmetic_reached": reached.numpy()})


def _neighbours(query: Tensor, data: Data) -> NDArray[np.uint8] | NDArray[np.float32]:
    """[q, k, ...]: the nearest of the training examples (at most 20,000 of them) by distance between pixels.

    Mirror images are searched too where training has seen them.
    """
    mirrored, data = data.unmirrored is not data, data.unmirrored
    searched = SEARCHED if data.size is None else min(data.size, SEARCHED)
    a, squared = query.flatten(1), torch.empty(len(query), 0)
    near: list[list[Tensor]] = [[] for _ in query]
    for start in range(0, searched, CHUNK):
        pool = data.batch(0, start, min(start + CHUNK, searched), torch.device("cpu"))["x"]
        pool = torch.cat([pool, pool.flip(3)]) if mirrored else pool
        b = pool.flatten(1)
        more = a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)
        held = squared.shape[1]
        squared, chosen = torch.cat([squared, more], 1).topk(min(NEIGHBOURS, held + len(pool)), largest=False)
        near = [
            [own[j] if j < held else pool[j - held].clone() for j in row]
            for own, row in zip(near, chosen.tolist(), strict=True)
        ]
    x = shown(torch.stack([torch.stack(own) for own in near]).flatten(0, 1), data.law)
    return x.reshape(len(query), -1, *x.shape[1:])


def _surface(game: Game, data: Data, device: torch.device) -> dict[str, np.ndarray]:
    """The critic's logits on a square around the data; rows ascend with the second coordinate."""
    assert game.critic is not None
    real = data.examples(POINTS, seed=0)["x"]
    low, high = real.amin(0), real.amax(0)
    margin = 0.15 * (high - low)
    low, high = low - margin, high + margin
    ticks = [torch.linspace(float(low[i]), float(high[i]), SURFACE) for i in range(2)]
    yy, xx = torch.meshgrid(ticks[1], ticks[0], indexing="ij")
    points = torch.stack([xx, yy], -1).reshape(-1, 2).to(device)
    # A conditional critic is shown as the mean over classes.
    labels = (
        [None] if game.classes is None else [torch.full((len(points),), k, device=device) for k in range(game.classes)]
    )
    logits = torch.stack([game.critic(points, y) for y in labels]).mean(0)
    corners = shown(torch.stack([low, high]), data.law)
    extent = np.array([corners[0, 0], corners[1, 0], corners[0, 1], corners[1, 1]], np.float32)
    return {"surface": logits.float().cpu().numpy().reshape(SURFACE, SURFACE), "extent": extent}


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays so that the file is there whole or as it was."""
    beside = path.with_name(f".{path.stem}.part.npz")
    try:
        np.savez_compressed(beside, **arrays)  # type: ignore[arg-type]
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
