"""The data sets that need no files, by name, and the one door to all data. Imports no torch and no numpy."""

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushforward.data.source import Data


@dataclass(frozen=True)
class Entry:
    """One line about a data set, and the module whose `load(name, options)` opens it."""

    summary: str
    module: str


@dataclass(frozen=True)
class Options:
    """What one can ask of a data set; None leaves the choice to it.

    resolution: height and width of the images. channels: 1 (grey) or 3 (colour).
    max_bad: share of unreadable files from which on a folder is refused. cache: folder for what is packed or rendered.
    progress: show progress and warnings on standard error.
    """

    resolution: int | None = None
    channels: int | None = None
    max_bad: float = 0.01
    cache: Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.resolution is not None and self.resolution < 1:
            raise ValueError(f"resolution must be positive, got {self.resolution}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"max_bad is a share from 0 to 1, got {self.max_bad}")


CATALOGUE: dict[str, Entry] = {
    "ring8": Entry("8 Gaussians on a circle", "toy"),
    "grid25": Entry("25 Gaussians on a square grid", "toy"),
    "spiral": Entry("two noisy spiral arms", "toy"),
    "swissroll": Entry("a noisy roll, seen from its end", "toy"),
    "moons": Entry("two noisy interleaved half-circles", "toy"),
    "digits": Entry("1,797 handwritten digits, 8x8, 10 classes", "embedded"),
    "stacked-digits": Entry("three independent digits as colour channels: 1,000 modes", "embedded"),
    "photos": Entry("8,192 crops of two photographs, 64x64 in colour, 2 classes", "embedded"),
    "glyphs": Entry("letters and digits in many typefaces, 32x32, 62 classes", "glyphs"),
}


def open_data(
    name: str,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    max_bad: float = 0.01,
    cache: Path | None = None,
    progress: bool = True,
    limit: int | None = None,
    mirror: bool = False,
) -> "Data":
    """Opens a data set of the catalogue, or a folder, .zip, .npy or .npz of one's own.

    Raises ValueError in one line: an unknown name, an option that does not fit, files that cannot be read.
    A folder named like an entry of the catalogue is opened as `./name`. limit: only so many of its examples, chosen at
    random, always the same ones. mirror: whether training sees mirror images of them too.
    """
    options = Options(resolution, channels, max_bad, cache, progress)
    if name in CATALOGUE:
        module = CATALOGUE[name].module
    elif name and Path(name).expanduser().exists():
        module = "files"
    else:
        near = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"{name!r} is neither a data set nor an existing path{hint} (data sets: {', '.join(CATALOGUE)})"
        )
    data = importlib.import_module(f"pushforward.data.{module}").load(name, options)
    if limit is not None:
        data = importlib.import_module("pushforward.data.source").limited(data, limit)
    return importlib.import_module("pushforward.data.mirrored").Mirrored(data) if mirror else data
