"""Projection, truncation and directions on a run: each returns a picture with its caption, and numbers."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from pushforward import sampling
from pushforward.core.seeding import torch_generator
from pushforward.data.images import as_bytes
from pushforward.latent import directions as axes
from pushforward.latent import projection as search
from pushforward.latent.generators import broadcast, depth_of, made
from pushforward.latent.opened import Opened, Shown, SpaceName, check_count, plain, ranges
from pushforward.latent.sheets import precision_recall_chart, sheet
from pushforward.latent.truncation import truncation_sweep
from pushforward.metrics.intervals import Interval
from pushforward.metrics.manifold import Overlap, precision_recall_density_coverage

COMPARED = 1_000  # samples among which a projection's starts are chosen, and by which a direction's effect is known
FITTED = 10_000  # samples whose principal axes are taken


def projection(
    opened: Opened,
    image: str,
    *,
    label: int | None = None,
    restarts: int = 8,
    steps: int = 300,
    lr: float = 0.05,
    distance: Literal["features", "pixels"] | None = None,
    space: SpaceName | Literal["w+"] | None = None,
    seed: int = 0,
) -> Shown:
    """The code whose image is nearest to an image file or an example of the data, and how near it is.

    The search starts from the `restarts` nearest of 1,000 samples, and keeps their classes; label: one class alone.
    space: in w one style serves all layers, as in the generator's samples; in w+ each layer has its own, which comes
    nearer to any image, also to those that the generator never makes.
    """
    if restarts < 1:
        raise ValueError(f"a search has 1 start at least, got {restarts}; give more restarts")
    name, target = opened.image(image)
    called, apart = opened.distance(distance)
    target = target.to(opened.device)
    y = opened.asked(label, COMPARED)
    name_of = "w" if space == "w+" else space
    where = opened.space(name_of, opened.latents(COMPARED, seed), y, "projection", differentiable=True)
    n = min(restarts, COMPARED)
    places = search.nearest(where.generate, target, where.codes, y, n=n, distance=apart)
    starts, labels = where.codes[places], None if y is None else y[places]
    one_style = where.name == "w" and space != "w+"
    generate = broadcast(where.generate, starts.shape[1]) if one_style else where.generate
    begin = starts[:, :1] if one_style else starts
    found = search.project(generate, target, begin, labels, distance=apart, steps=steps, lr=lr)
    nearest = made(where.generate, starts[:1], None if labels is None else labels[:1])[0]
    length = float(found.code.square().mean().sqrt())
    on = {"z": "z", "w": "w, one style for all layers," if one_style else "w+, a style a layer,"}[where.name]
    of_class = "" if found.label is None else f", class {opened.label(found.label)}"
    caption = (
        f"{opened.name}: {name} and the nearest image found by {steps} steps of Adam on {on} from {n} starts"
        f"{of_class}. Distance ({called}): {found.start:.3g} for the nearest of {COMPARED:,} samples, "
        f"{found.distance:.3g} found; pixels then differ by {found.rms:.3g} (root mean square; black to white is 2)."
    )
    if where.name == "z":
        caption += f" The code's numbers have the root mean square {length:.2f}, and samples' about 1."
    columns = ["given", "nearest\nsample", "found"]
    images = torch.stack([target.cpu(), nearest, found.image])[None]
    numbers = {
        **{"image": name, "space": space or where.name, "class": found.label, "seed": seed, "steps": steps},
        **{"distance": found.distance, "start": found.start, "rms": found.rms, "code_rms": length},
        "restarts": plain(found.restarts),
    }
    code = found.code.expand_as(starts[0])
    arrays = {"code": code.numpy(), "image": found.image.numpy(), "target": target.cpu().numpy()}
    return Shown(sheet(images, caption, columns=columns, apart=True), numbers, arrays)


def truncation(
    opened: Opened,
    truncations: Sequence[float] = (),
    n: int = 2_000,
    *,
    features: str | None = None,
    space: SpaceName | None = None,
    seed: int = 0,
) -> Shown:
    """Precision against recall over truncation: of z by its bound, of w by ψ; the last point is without.

    n: samples and as many reals, or half of the reals where there are fewer; the other half stands for a perfect
    generator. features: what images are seen by, by default a classifier of the labels, or pixels without labels.
    """
    check_count(n, "samples")
    encoder = opened.encoder(features, "truncation by a classifier", "give --features pixels")
    real = opened.reals(n, seed)
    side = len(real) // 2
    encoded = encoder.encode(real, batch=256).features
    game, y = opened.game, opened.in_turn(side)
    by_psi = game.truncated is not None and space != "z"
    if space == "w" and not by_psi:
        raise ValueError(f"{opened.run.plan.recipe} has no styles to draw towards their mean; use --space z")
    given = truncations or ((0.2, 0.4, 0.6, 0.8) if by_psi else (0.25, 0.5, 0.75, 1.0, 1.5, 2.0))

    def drawn(bound: float | None) -> Tensor:
        if by_psi:
            sampler, z = sampling.truncated(game, side, seed, bound)
        else:
            sampler, z = game, sampling.latents(side, game.latent, seed, bound)
        images = made(sampler.sample, z.to(opened.device), y)
        return encoder.encode(as_bytes(images), batch=256).features

    found = truncation_sweep(drawn, encoded[:side], [*sorted(given), None], seed=seed)
    floor = precision_recall_density_coverage(encoded[side : 2 * side], encoded[:side], seed=seed)
    how = "drawing styles towards their mean by ψ" if by_psi else "drawing anew what in z is beyond a bound"
    caption = (
        f"{opened.name}: precision and recall of {side:,} samples against {side:,} reals, seen by {encoder.name}, with "
        f"truncation by {how}, which stands at each point (seed {seed}); bars are 95 % intervals. Grey: as many other "
        "reals."
    )
    numbers: dict[str, Any] = {"space": "w" if by_psi else "z", "features": encoder.name, "n": side, "seed": seed}
    numbers["points"] = [{"truncation": f.truncation, **_overlap(f.overlap)} for f in found]
    numbers["real"] = _overlap(floor)
    return Shown(precision_recall_chart(found, (floor.precision, floor.recall), caption), numbers)


def directions(
    opened: Opened,
    method: Literal["sefa", "ganspace"] = "sefa",
    n: int = 5,
    *,
    reach: float = 3.0,
    steps: int = 7,
    label: int | None = None,
    space: SpaceName | None = None,
    layers: Sequence[int] = (),
    seed: int = 0,
) -> Shown:
    """The strongest directions that nobody labelled, along which one sample is moved, and what each changes.

    method: eigenvectors of the weights that read the code (SeFa), or principal axes of what the first of them puts
    out, or of w (GANSpace). reach: how far to go both ways, in standard deviations of codes along the direction.
    label: the class of a conditional generator, by default the first. layers: which layers' styles move, by default
    all, and by whose weights SeFa goes.
    """
    if steps < 2 or reach <= 0:
        raise ValueError(f"a row goes over 2 steps at least and some way, got {steps} steps and reach {reach}")
    opened.whole("directions")
    z = opened.latents(FITTED if method == "ganspace" else COMPARED, seed)
    y = opened.asked(0 if label is None and opened.classes else label, len(z))
    where = opened.space(space, z, y, "directions")
    w = where.name == "w"
    codes = (where.codes[:, 0] if w else where.codes).cpu()
    moved = _moved(opened, layers, where.codes) if layers else None
    probe, probed = where.codes[:8], None if y is None else y[:8]
    asked = probe
    if moved is not None:  # the other layers have other styles, so that those who read these are told apart
        probe = probe.roll(1, 0)
        probe[:, moved] = asked = asked[:, moved]
    readers = axes.readers(lambda: where.generate(probe, probed), asked)
    if method == "sefa":
        found = axes.sefa([r.weight for r in readers], n, codes)
        one = "the layer that reads" if moved else "the one layer that reads"
        of = f"the {len(readers)} layers that read" if len(readers) > 1 else one
        what = f"the styles of layers {ranges(moved)}" if moved else where.name
        source = f"SeFa, eigenvectors of the weights of {of} {what}"
    else:
        features, read = (codes, None) if w else axes.first_outputs(where.generate, where.codes, y)
        found = axes.ganspace(features, codes, n, read)
        source = (
            f"GANSpace, principal axes of {'w' if w else 'what the first layer makes of z'}, {len(codes):,} samples"
        )
    some = min(100, len(z))
    few, told = where.codes[:some], None if y is None else y[:some]
    change = axes.effects(where.generate, few, found, told, moved)
    other = axes.at_random(found, 20, codes, torch_generator("directions", seed))
    ratio = change / axes.effects(where.generate, few, other, told, moved).mean()
    strengths = torch.linspace(-reach, reach, steps)
    images = axes.traverse(where.generate, where.codes[0], found, strengths, None if y is None else y[:1], moved)
    rows = [f"{i + 1}  (×{float(r):.1f})" for i, r in enumerate(ratio)]
    caption = (
        f"{opened.name}: {source} (seed {seed}). One sample, moved along each direction by so many standard deviations "
        "of codes. In brackets: how much one of them changes images, over what random directions do."
    )
    if moved is not None:
        caption += f" Of its styles those of layers {ranges(moved)} alone are moved."
    if y is not None:
        caption += f" Class {opened.label(int(y[0]))}."
    columns = [f"{s:+.2g}".replace("-", "−") if s else "0" for s in strengths.tolist()]
    numbers = {"method": method, "space": where.name, "layers": moved, "seed": seed, "values": plain(found.values)}
    numbers |= {"spread": plain(found.spread), "change_over_random": plain(ratio)}
    arrays = {"vectors": found.vectors.numpy(), "spread": found.spread.numpy()}
    return Shown(sheet(images, caption, rows=rows, columns=columns), numbers, arrays)


def _moved(opened: Opened, layers: Sequence[int], styles: Tensor) -> list[int]:
    """The layers asked for, of styles [N, L, Z]. Raises ValueError for others, and in z, which all layers share."""
    G = opened.styled("moving some layers")
    if styles.dim() != 3:
        raise ValueError(f"layers have styles of their own in w alone, got layers {ranges(layers)} in z; use --space w")
    depth = depth_of(G, styles)
    if (chosen := sorted(set(layers)))[-1] >= depth:
        raise ValueError(f"there are layers 0 to {depth - 1}, got {ranges(chosen)}; choose of these")
    return chosen


def _overlap(found: Overlap) -> dict[str, dict[str, float]]:
    def told(i: Interval) -> dict[str, float]:
        return {"value": i.value, "low": i.low, "high": i.high}

    return {name: told(getattr(found, name)) for name in ("precision", "recall", "density", "coverage")}
