"""Looks into a run's latent space: paths, differences of classes, projection, truncation, styles, directions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from pushforward.commands._words import parse

if TYPE_CHECKING:
    from pushforward.latent.opened import Opened, Shown


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every tool can be told."""

    run: Positional[Path]
    """The run folder."""
    out: Path | None = None
    """The .png; its numbers go into a .json beside it. RUN/latent/TOOL.png by default."""
    seed: int = 0
    """Seed of the latents."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


Space = Literal["z", "w"] | None


@dataclass(frozen=True, kw_only=True)
class Interpolate(Common):
    """Paths between codes, a row each."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 6
    """How many paths."""
    steps: int = 9
    """Images along a path, its ends among them."""
    path: Literal["linear", "spherical"] | None = None
    """Straight lines, or great arcs, which keep a latent's length; by default arcs in z, lines in w."""
    space: Space = None
    """Latents z or styles w; by default w where the generator has styles."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic(Common):
    """The difference of two classes, found from labels, added to samples."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10
    """Samples of the pair; without a pair, how many pairs at most."""
    source: Annotated[int | None, tyro.conf.arg(name="from")] = None
    """The class of the samples; by default each, towards the next."""
    target: Annotated[int | None, tyro.conf.arg(name="to")] = None
    """The class to go to."""
    strengths: tuple[float, ...] = ()
    """How much of the difference is added, a column each; by default five from 0 to 1 of a class embedding's, to 2 of
    means'."""
    space: Space = None
    """Latents z or styles w; by default w where the generator has styles."""


@dataclass(frozen=True, kw_only=True)
class Project(Common):
    """The code whose image is nearest to a given image."""

    image: Positional[str]
    """An image file, or the number of an example of the run's data."""
    label: Annotated[int | None, tyro.conf.arg(name="class")] = None
    """The class, of a conditional generator; by default those of the nearest samples."""
    restarts: int = 8
    """Starts of the search, from the nearest of 1,000 samples."""
    steps: int = 300
    """Steps of Adam."""
    lr: float = 0.05
    """Its rate."""
    distance: Literal["features", "pixels"] | None = None
    """Pixels alone, or with activations of a classifier; by default these where there are labels."""
    space: Literal["z", "w", "w+"] | None = None
    """Latents z, one style w for all layers, or w+, one a layer; by default w where the generator has styles."""


@dataclass(frozen=True, kw_only=True)
class Truncation(Common):
    """Precision against recall, over truncation."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 2000
    """Samples, and as many reals, or half of the reals where there are fewer."""
    truncations: tuple[float, ...] = ()
    """Bounds of z, by default six from 0.25 to 2, or ψ of w, four from 0.2 to 0.8; none at all is always among the
    points."""
    features: str | None = None
    """What images are seen by: classifier, pixels, inception, …; by default a classifier where there are labels."""
    space: Space = None
    """Truncation of z by its bound or of w by ψ; by default w where the generator has styles."""


@dataclass(frozen=True, kw_only=True)
class Mix(Common):
    """Styles of some layers from columns, of the others from rows."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 5
    """Rows, and columns."""
    layers: str | None = None
    """Layers that are the column's, e.g. 0-3 or 4,5; by default the coarse half."""


@dataclass(frozen=True, kw_only=True)
class Classes(Common):
    """A row a class, a column a latent."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 8
    """Columns."""


@dataclass(frozen=True, kw_only=True)
class Directions(Common):
    """Directions that nobody labelled."""

    method: Literal["sefa", "ganspace"] = "sefa"
    """Eigenvectors of the weights that read the code, or principal axes of the first layer's output, or of w."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 5
    """How many, the strongest first."""
    reach: float = 3.0
    """How far to go along each, both ways, in standard deviations of codes."""
    steps: int = 7
    """Images along each."""
    label: Annotated[int | None, tyro.conf.arg(name="class")] = None
    """The class, of a conditional generator; by default the first."""
    space: Space = None
    """Latents z or styles w; by default w where the generator has styles."""
    layers: str | None = None
    """Layers whose styles move, and by whose weights SeFa goes, e.g. 0-3 or 4,5; by default all."""


def _interpolate(opened: "Opened", asked: Interpolate) -> "Shown":
    from pushforward.latent.tools import interpolation

    return interpolation(opened, asked.n, steps=asked.steps, path=asked.path, space=asked.space, seed=asked.seed)


def _arithmetic(opened: "Opened", asked: Arithmetic) -> "Shown":
    from pushforward.latent.tools import arithmetic

    options: dict[str, Any] = {"strengths": asked.strengths, "space": asked.space, "seed": asked.seed}
    return arithmetic(opened, asked.source, asked.target, asked.n, **options)


def _project(opened: "Opened", asked: Project) -> "Shown":
    from pushforward.latent.searches import projection

    return projection(
        opened,
        asked.image,
        label=asked.label,
        restarts=asked.restarts,
        steps=asked.steps,
        lr=asked.lr,
        distance=asked.distance,
        space=asked.space,
        seed=asked.seed,
    )


def _truncation(opened: "Opened", asked: Truncation) -> "Shown":
    from pushforward.latent.searches import truncation

    return truncation(opened, asked.truncations, asked.n, features=asked.features, space=asked.space, seed=asked.seed)


def _mix(opened: "Opened", asked: Mix) -> "Shown":
    from pushforward.latent.tools import mixing

    return mixing(opened, asked.n, layers=_layers(asked.layers), seed=asked.seed)


def _classes(opened: "Opened", asked: Classes) -> "Shown":
    from pushforward.latent.tools import classes

    return classes(opened, asked.n, seed=asked.seed)


def _directions(opened: "Opened", asked: Directions) -> "Shown":
    from pushforward.latent.searches import directions

    return directions(
        opened,
        asked.method,
        asked.n,
        reach=asked.reach,
        steps=asked.steps,
        label=asked.label,
        space=asked.space,
        layers=_layers(asked.layers),
        seed=asked.seed,
    )


TOOLS: dict[str, tuple[type[Common], Callable[[Any, Any], Any]]] = {
    "interpolate": (Interpolate, _interpolate),
    "arithmetic": (Arithmetic, _arithmetic),
    "project": (Project, _project),
    "truncation": (Truncation, _truncation),
    "mix": (Mix, _mix),
    "classes": (Classes, _classes),
    "directions": (Directions, _directions),
}


def do_latent(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        lines = [f"  {name:12s} {(kind.__doc__ or '').rstrip('.')}" for name, (kind, _) in TOOLS.items()]
        print(
            "usage: pushforward latent TOOL RUN [--out FILE.png] [--seed S] …\n\ntools:\n"
            + "\n".join(lines)
            + "\n\npushforward latent TOOL --help lists a tool's options"
        )
        if arguments[:1] in (["-h"], ["--help"]):
            return 0
        raise ValueError("latent needs a tool first, e.g. `pushforward latent interpolate RUN`")
    tool, rest = arguments[0], arguments[1:]
    if tool not in TOOLS:
        import difflib

        near = difflib.get_close_matches(tool, TOOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(TOOLS)}"
        raise ValueError(f"there is no latent tool {tool!r}; {hint}")
    kind, use = TOOLS[tool]
    asked = parse(kind, rest, f"pushforward latent {tool}")
    out = asked.out or asked.run / "latent" / f"{tool}.png"
    if out.suffix.lower() != ".png":
        raise ValueError(f"the picture is written as .png, got {out}; give --out FILE.png")
    if asked.seed < 0:
        raise ValueError(f"the seed must not be negative, got {asked.seed}")
    from pushforward.latent.opened import Opened
    from pushforward.run import Run

    opened = Opened(Run(asked.run), asked.checkpoint, asked.device)
    for path in use(opened, asked).save(out):
        print(path)
    return 0


def _layers(words: str | None) -> list[int]:
    """`0-2,5` as [0, 1, 2, 5]."""
    found: list[int] = []
    for part in (words or "").split(",") if words else []:
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not ends:
            raise ValueError(f"layers are numbers and ranges such as 0-3 or 4,5, got {words!r}")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return found
