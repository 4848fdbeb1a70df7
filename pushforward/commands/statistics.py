"""Keeps a set's mean and covariance in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from pushforward.commands._words import parse


@dataclass(frozen=True)
class Statistics:
    """Write the mean and covariance of a set's features: `evaluate SAMPLES STATISTICS.npz` then needs no images."""

    what: Positional[str]
    """A folder or .zip of images, an .npy or .npz, a run, or a named data set."""
    out: Path
    """The .npz to write: mu, sigma, n and the features' name and hash."""
    features: str = "inception"
    """inception, dinov2, dinov2-b, clip, clip-l, pixels, or a .pt2 file of your own."""
    resize: Literal["clean", "legacy-pytorch", "legacy-tf"] | None = None
    """How images come to the network's size."""
    weights: Path | None = None
    """A file with the network's weights."""
    download: bool = False
    """Whether missing weights may be fetched from where they are published."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Samples of a run, or draws of a law without end."""
    seed: int = 0
    """Seed of those."""
    resolution: int | None = None
    """Height and width to bring images to first."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def do_statistics(arguments: list[str]) -> int:
    asked = parse(Statistics, arguments, "pushforward statistics")
    if asked.out.suffix != ".npz" or not asked.out.parent.is_dir():
        raise ValueError(f"statistics go to a file .npz in a folder that exists, got {asked.out}; make the folder")
    from pushforward.data.catalogue import Options
    from pushforward.embedding import embed
    from pushforward.metrics.statistics import save_statistics
    from pushforward.run import resolve_device
    from pushforward.sets import open_set
    from pushforward.spaces import encoder_for

    options = Options(asked.resolution, None, asked.max_bad)
    images = open_set(asked.what, options, n=asked.n, seed=asked.seed, device=asked.device)
    device = resolve_device(asked.device)
    encoder = encoder_for(
        asked.features, images, resize=asked.resize, weights=asked.weights, download=asked.download, device=device
    )
    seen = embed(images, encoder)
    save_statistics(asked.out, seen.gaussian, encoder.name, encoder.fingerprint)
    print(asked.out)
    return 0
