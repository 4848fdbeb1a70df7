"""Whatever can be measured, as a set of images: a run's samples, a folder, an archive, an array, a named data set."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from pushforward import sampling
from pushforward.core.seeding import seed_of
from pushforward.data.catalogue import Options
from pushforward.data.images import PART, Images, Part, as_bytes, of_data, open_images, squares
from pushforward.data.spec import DataSpec
from pushforward.run import Run, resolve_device

SAMPLES = 10_000  # of a run, unless asked otherwise


def is_run(name: str) -> bool:
    return (Path(name).expanduser() / "config.json").is_file()


def open_set(
    name: str,
    options: Options,
    *,
    n: int | None = None,
    seed: int = 0,
    checkpoint: Literal["last", "best"] = "last",
    device: str = "auto",
) -> Images:
    """The images behind a name. options.resolution: brings all to squares of one size before any network sees them.

    n: samples of a run (by default 10,000), or draws of a law without end; drawn from `seed`. checkpoint, device: of a
    run. Raises ValueError in one line for what is no set of images.
    """
    if is_run(name):
        return samples_of(Run(Path(name)), SAMPLES if n is None else n, seed, checkpoint, device)
    if options.resolution is None:
        return open_images(name, options, n, seed)
    return of_data(squares(name, options), name, options, n, seed)


def reals_of(run: Run, options: Options, n: int | None = None, seed: int = 0) -> Images:
    """What a run is measured against: see `Run.reference`. Raises RunError where it has changed."""
    return of_data(run.reference(options.progress), run.plan.data, options, n, seed)


def trained_on(run: Run, options: Options, n: int | None = None, seed: int = 0) -> Images:
    """What a run was trained on, unmirrored, for memorisation. Raises RunError where it has changed."""
    return of_data(run.data(options.progress).unmirrored, run.plan.data, options, n, seed)


def like(spec: DataSpec, options: Options) -> Options:
    """Options that bring other images to a run's size and channels. Raises ValueError for a run that makes points."""
    if spec.kind != "images":
        raise ValueError(f"a run on {spec.name} makes points, not images; measure it with pushforward evaluate RUN")
    return Options(spec.shape[1], spec.shape[0], options.max_bad, options.cache, options.progress)


def samples_of(
    run: Run, n: int, seed: int = 0, checkpoint: Literal["last", "best"] = "last", device: str = "auto"
) -> Images:
    """`n` samples of a run as bytes, drawn when they are read; classes in turn, which are their labels.

    The fingerprint is of the weights, the recipe and its settings, n, the seed and the kind of device.
    """
    like(run.spec, Options())
    if n < 2:
        raise ValueError(f"a measurement needs at least 2 samples, got {n}")
    place, where = run.checkpoint(checkpoint), resolve_device(device)
    game = run.game(checkpoint, device)
    y = None if game.classes is None else sampling.classes_in_turn(n, game.classes)

    def parts() -> Iterator[Part]:
        z = sampling.latents(n, game.latent, seed_of("evaluate", seed))
        for i in range(0, n, PART):
            rows = slice(i, min(i + PART, n))
            x = sampling.generate(game, z[rows], None if y is None else y[rows], where)
            yield Part(as_bytes(x), np.arange(rows.start, rows.stop))

    weights = hashlib.sha256((place / "tensors.safetensors").read_bytes()).hexdigest()
    made = json.dumps([weights, n, seed, run.config["recipe"], run.config["config"], where.type])
    labels = None if y is None else y.numpy().astype(np.int64)
    classes = run.config["data"]["labels"]
    return Images(
        str(run.folder),
        hashlib.sha256(made.encode()).hexdigest(),
        n,
        parts,
        labels,
        None if classes is None else tuple(classes),
        (run.spec.shape[0], run.spec.shape[1], run.spec.shape[2]),
        drawn=True,
    )
