"""Interpolation, arithmetic, classes and style mixing on a run: each returns a picture with its caption, and numbers.

from pushforward.latent.opened import Opened
from pushforward.latent.tools import interpolation

shown = interpolation(Opened(pf.Run("runs/digits")), n=6)
shown.numbers["jump"]             # the largest step over the mean one, of each path
shown.save(Path("paths.png"))     # and paths.json
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from pushforward.latent import arithmetic as sums
from pushforward.latent.classes import class_grid
from pushforward.latent.generators import depth_of, from_styles, made, styles
from pushforward.latent.interpolation import interpolate, linear, spherical
from pushforward.latent.mixing import style_mixing
from pushforward.latent.opened import Opened, Shown, SpaceName, check_count, plain, ranges
from pushforward.latent.sheets import sheet

DRAWN = 5_000  # samples that differences of classes are found from


def interpolation(
    opened: Opened,
    n: int = 6,
    *,
    steps: int = 9,
    path: Literal["linear", "spherical"] | None = None,
    space: SpaceName | None = None,
    seed: int = 0,
) -> Shown:
    """`n` paths of `steps` images between independent codes; by default great arcs in z, straight lines in w."""
    check_count(n, "paths")
    z = opened.latents(2 * n, seed)
    y = opened.in_turn(n)
    where = opened.space(space, z, None if y is None else torch.cat([y, y]), "interpolate")
    kind = path or ("linear" if where.name == "w" else "spherical")
    a, b = where.codes[:n], where.codes[n:]
    found = interpolate(where.generate, a, b, y, steps=steps, path=linear if kind == "linear" else spherical)
    along = "straight lines" if kind == "linear" else "great arcs"
    caption = (
        f"{opened.name}: paths between independent codes in {where.name} along {along}, {steps} images each, evenly "
        f"placed (seed {seed}). From image to image the largest step is {float(found.jump.mean()):.1f} × the mean one, "
        f"on average over rows (1: all alike; {steps - 1}: one jump)."
    )
    rows = [] if y is None else [opened.label(int(k)) for k in y]
    columns = [f"{t:.2g}" for t in torch.linspace(0, 1, steps).tolist()]
    numbers = {"space": where.name, "path": kind, "seed": seed, "jump": plain(found.jump), "steps": plain(found.steps)}
    return Shown(sheet(found.images, caption, rows=rows, columns=columns), numbers)


def arithmetic(
    opened: Opened,
    source: int | None = None,
    target: int | None = None,
    n: int = 10,
    *,
    strengths: Sequence[float] = (),
    drawn: int = DRAWN,
    space: SpaceName | None = None,
    seed: int = 0,
) -> Shown:
    """The difference of two classes added to samples of the first, and how many are then taken for the second.

    Of a conditional generator in z, the difference of the classes' inputs; of all others, that of the mean codes of
    samples by class, which a classifier trained on the data told apart. source, target: `n` samples of one pair;
    without them, a sample of each of up to `n` classes towards the next class.
    """
    if (source is None) != (target is None) or (source is not None and source == target):
        raise ValueError("a difference is of two classes; give both --from and --to, not the same, or neither")
    check_count(n, "samples or pairs of classes")
    check_count(drawn, "samples that differences are found from")
    opened.classifier()  # what can't be done is said before samples are drawn
    z, y = opened.latents(drawn, seed), opened.in_turn(drawn)
    where = opened.space(space, z, y, "arithmetic")
    by_input = where.name == "z" and y is not None
    chosen = torch.tensor(strengths or (sums.BY_INPUT if by_input else sums.BY_MEAN), device=opened.device)
    shown = 1 if source is None else n
    if by_input:
        k = opened.classes or 0
        pairs = _pairs(source, target, list(range(k)), n)
        found = sums.blend_classes(where.generate, where.codes, k, pairs, chosen, classify=opened.classify, shown=shown)
        what = "the difference of the two classes' inputs to the generator (the latent stays)"
    else:
        labels = opened.classify(made(where.generate, where.codes)).to(opened.device) if y is None else y
        pairs = _pairs(source, target, sums.tried(labels), n)
        found = sums.add_differences(
            where.generate, where.codes, labels, pairs, chosen, classify=opened.classify, shown=shown
        )
        many = f"{round((1 - sums.HELD_OUT) * drawn):,} other samples"
        what = f"the difference of the classes' mean {where.name}, of {many} " + (
            "that the classifier told apart" if y is None else "made by class"
        )
    return _summed(opened, found, what, {"space": where.name, "of": "inputs" if by_input else "means", "seed": seed})


def _summed(opened: Opened, found: list[sums.Arithmetic], what: str, numbers: dict[str, Any]) -> Shown:
    reached = sums.reached_by(found)
    assert reached is not None
    strengths = found[0].strengths.tolist()
    caption = (
        f"{opened.name}: samples of the first class, to which strength × {what} is added (seed {numbers['seed']}). "
        f"Under the strengths: how many of {sum(f.n for f in found):,} such samples a classifier takes for the second."
    )
    rows = [f"{opened.label(f.source)} → {opened.label(f.target)}" for f in found for _ in f.images]
    columns = [f"{s:g}\n{100 * r:.0f} %" for s, r in zip(strengths, reached.tolist(), strict=True)]
    numbers |= {"strengths": strengths, "reached": plain(reached), "classifier_accuracy": opened.accuracy}
    numbers["pairs"] = [
        {"from": f.source, "to": f.target, "n": f.n, "reached": plain(f.reached), "kept": plain(f.kept)} for f in found
    ]
    images = torch.cat([f.images for f in found])
    return Shown(sheet(images, caption, rows=rows, columns=columns), numbers)


def classes(opened: Opened, n: int = 8, *, seed: int = 0) -> Shown:
    """A row a class, a column a latent."""
    if opened.classes is None:
        raise ValueError(
            f"a grid of classes needs a generator that is told the class, and this {opened.run.plan.recipe} run is not "
            "conditional; train cgan, or with --conditioning projection"
        )
    check_count(n, "columns")
    images = class_grid(opened.game.sample, opened.latents(n, seed), opened.classes)
    caption = (
        f"{opened.name}: a row a class, a column a latent that all classes share (seed {seed}), as they were drawn."
    )
    rows = [opened.label(k) for k in range(opened.classes)]
    return Shown(sheet(images, caption, rows=rows), {"classes": opened.classes, "n": n, "seed": seed})


def mixing(opened: Opened, n: int = 5, *, layers: Sequence[int] = (), seed: int = 0) -> Shown:
    """`n` codes in rows, `n` in columns: the row's styles, but the column's in `layers`, by default the coarse half."""
    check_count(n, "rows")
    G = opened.styled("mix")
    y = None if opened.classes is None else torch.zeros(2 * n, dtype=torch.int64, device=opened.device)
    w = styles(G, opened.latents(2 * n, seed), y)
    depth = depth_of(G, w)
    chosen = sorted(set(layers)) or list(range(max(depth // 2, 1)))
    found = style_mixing(from_styles(G), w[:n, :depth], w[n:, :depth], chosen)
    corner = torch.ones_like(found.rows[:1])  # white as the paper
    top = torch.cat([corner, found.columns])[None]
    images = torch.cat([top, torch.cat([found.rows[:, None], found.mixed], 1)])
    caption = (
        f"{opened.name}: style mixing (seed {seed}). Each image has the styles of the image at its row's head, but in "
        f"layers {ranges(chosen)} of 0–{depth - 1} those of the image at its column's head."
    )
    if opened.classes is not None:
        caption += f" All are of class {opened.label(0)}."
    numbers = {"layers": chosen, "depth": depth, "n": n, "seed": seed}
    return Shown(sheet(images, caption, apart=True), numbers)


def _pairs(source: int | None, target: int | None, present: list[int], n: int) -> list[tuple[int, int]]:
    if source is None or target is None:
        pairs = sums.in_turn(present, n)
        if not pairs:
            raise ValueError(f"a difference is of two classes, and samples are of {len(present)}; train longer")
        return pairs
    for k in (source, target):
        if k not in present:
            raise ValueError(f"there are no samples of class {k}; choose of {ranges(present)}")
    return [(source, target)]
