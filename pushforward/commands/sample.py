"""Draws samples from a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from pushforward.commands._words import parse

OTHER_FILES = (".npy", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".zip", ".csv", ".pt")
"""What a folder of samples is hardly called, and a person may ask for."""


@dataclass(frozen=True)
class Sample:
    """Draw samples from a run."""

    run: Positional[Path]
    """The run folder."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    out: Path | None = None
    """A .png for a grid, an .npz for arrays, or a folder for one file each; RUN/samples.png by default."""
    label: Annotated[int | None, tyro.conf.arg(name="class")] = None
    """The class of all samples; by default each in turn."""
    seed: int = 0
    """Seed of the latents."""
    truncation: float | None = None
    """Less variety, more quality: styles are pulled this close to their mean (1: as they are), or, without styles,
    coordinates of latents beyond this are drawn again; 0 gives one image a class."""
    enlarge: int = 0
    """Doublings of the size beyond what was learnt, for recipes whose levels take any size: lapgan."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def do_sample(arguments: list[str]) -> int:
    asked = parse(Sample, arguments, "pushforward sample")
    import numpy as np

    from pushforward import exhibits, pictures
    from pushforward.run import Run

    out = asked.out or asked.run / "samples.png"
    kind = out.suffix.lower()
    if kind in OTHER_FILES:
        raise ValueError(f"samples are written as .png, .npz or a folder of files, got {out}; use one of these")
    run = Run(asked.run)
    x, y = run.sample_with_classes(
        asked.n,
        y=asked.label,
        seed=asked.seed,
        truncation=asked.truncation,
        enlarge=asked.enlarge,
        checkpoint=asked.checkpoint,
        device=asked.device,
    )
    points = run.spec.kind == "points"
    shown = exhibits.shown(x, run.law)
    out.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".npz":
        exhibits.write_npz(out, {"x": shown} | ({} if y is None else {"y": y.numpy()}))
    elif kind == ".png":
        picture = exhibits.draw(shown, run.data() if points else None)
        if picture is None:
            raise ValueError(f"points of {run.spec.size} dimensions make no picture; use --out samples.npz")
        pictures.save_png(picture, out)
    elif points:
        np.savetxt(_folder(out) / "samples.csv", shown, delimiter=",", fmt="%.7g")
    else:
        folder, digits = _folder(out), len(str(asked.n - 1))
        for i, image in enumerate(shown):
            label = "" if y is None else f"-class{int(y[i])}"
            pictures.save_png(pictures.grid(image[None], scale=1), folder / f"{i:0{digits}d}{label}.png")
    print(out)
    return 0


def _folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    return path
