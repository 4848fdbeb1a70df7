"""Lets people tell real images from generated ones."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from pushforward.commands._words import parse

if TYPE_CHECKING:
    import numpy as np

    from pushforward.data.images import Images

IMAGES = 500  # of each kind, at least; people see different ones


@dataclass(frozen=True)
class Judge:
    """Serve a page on this machine that shows real and generated images and asks which is which; Ctrl-C ends it."""

    what: Positional[str]
    """A run folder, or a folder, .zip or .npz of generated images."""
    real: Positional[str | None] = None
    """The real images; for a run, by default all of its data."""
    out: Path | None = None
    """Where answers are kept, and gone on with: RUN/judgement, or runs/judgement."""
    seconds: float = 0.5
    """How long an image is seen; 0 until it is answered."""
    trials: int = 100
    """Images that a person is asked about; even."""
    practice: int = 4
    """Images before those, with the answer told; even."""
    resolution: int | None = None
    """Height and width to bring images to that are no run's: 256 by default."""
    seed: int = 0
    """Seed of the samples and of their order."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint of a run."""
    port: int = 0
    """Port of the page; 0 takes a free one."""
    browser: bool = True
    """Whether a browser is opened."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Samples of a run; by default 500, or as many as one person is shown where that is more."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to draw samples."""


def do_judge(arguments: list[str]) -> int:
    asked = parse(Judge, arguments, "pushforward judge")
    from rich.console import Console

    from pushforward.data.catalogue import Options
    from pushforward.judge import serve, table
    from pushforward.run import Run
    from pushforward.sets import is_run, like, open_set, reals_of

    options = Options(asked.resolution or 256, None, asked.max_bad)
    n = asked.n or max(IMAGES, asked.trials + asked.practice)
    reals: Images | None = None
    if is_run(asked.what):
        run = Run(Path(asked.what))
        if asked.resolution is not None:
            raise ValueError(f"a run's images have their own size, got --resolution {asked.resolution}; leave it out")
        options = like(run.spec, options)
        reals = reals_of(run, options, n, asked.seed) if asked.real is None else None
    elif asked.real is None:
        raise ValueError(
            f"{asked.what} is not a run folder, so its real images are not known; "
            "name them: pushforward judge SAMPLES REAL"
        )
    fakes = open_set(asked.what, options, n=n, seed=asked.seed, checkpoint=asked.checkpoint, device=asked.device)
    if reals is None:
        channels = None if fakes.shape is None else fakes.shape[0]
        reals = open_set(asked.real or "", dataclasses.replace(options, channels=channels), n=n, seed=asked.seed)
    out = asked.out or (Path(asked.what) if is_run(asked.what) else Path("runs")) / "judgement"
    result = serve(
        _together(fakes),
        _together(reals),
        out,
        seconds=asked.seconds,
        trials=asked.trials,
        practice=asked.practice,
        seed=asked.seed,
        port=asked.port,
        open_browser=asked.browser,
        tell=lambda url: print(f"open {url}  (Ctrl-C ends the test)", flush=True),
    )
    Console().print(table(result))
    print(out / "judgement.json")
    return 0


def _together(images: "Images") -> "np.ndarray":
    """All images of one size: uint8 [N, H, W, C]."""
    import numpy as np
    import torch

    bad: list[str] = []
    parts = []
    for part in images.parts():
        bad += part.bad
        parts.append(part.images if isinstance(part.images, torch.Tensor) else torch.stack(part.images))
    images.check(bad)
    return np.ascontiguousarray(torch.cat(parts).permute(0, 2, 3, 1).numpy())
