"""The parts of the page that show what the model makes. Each says in one sentence when the run has nothing for it."""

from typing import Any

import numpy as np

from pushforward.report import points, tiles
from pushforward.report.charts import plot
from pushforward.report.document import Section, nothing
from pushforward.report.run import Run, arrays
from pushforward.report.text import count, escape


def table(config: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside the configuration; an empty one where there is none."""
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def labels_of(run: Run, y: Any, n: int) -> list[str] | None:
    """Names of the first n classes y [≥ n], as the data calls them; None where there are no labels."""
    if not isinstance(y, np.ndarray) or y.ndim != 1 or len(y) < n or y.dtype.kind not in "iu":
        return None
    given = table(run.config, "data").get("labels")
    names = given if isinstance(given, list) else []
    return [str(names[k]) if 0 <= k < len(names) else str(k) for k in y[:n].tolist()]


def evolution(run: Run) -> Section:
    """The samples of the same latents as the run went on."""
    found = [(seen, arrays(path)) for seen, path in tiles.thin(list(run.samples), tiles.FRAMES)]
    drawn = [(seen, x, a.get("y")) for seen, a in found if (x := tiles.as_images(a.get("x"))) is not None]
    clouds = [(seen, x) for seen, a in found if (x := points.as_points(a.get("x"))) is not None]
    if drawn:
        _, last, y = drawn[-1]
        n, labels = len(last), labels_of(run, y, len(last))
        pictures = [(seen, x) for seen, x, _ in drawn if x.shape == last.shape]
        alt = f"{count(n, 'generated image')} from the same latents, at the moment that the slider shows"
        body, remark = tiles.film(pictures, alt, labels, len(run.samples))
        body = _INTRO + body + (f"<p class='remark'>{escape(remark)}</p>" if remark else "")
    elif clouds:
        real = points.as_points(run.exhibits.get("real"))
        extent = points.frame_of(run.exhibits, clouds[-1][1])
        alt = f"{count(len(clouds[-1][1]), 'generated point')} from the same latents, at the moment the slider shows"
        body = _INTRO + points.points_film(clouds, real, extent, alt)
    else:
        body = nothing("No samples to show: samples/ holds no whole .npz file that can be drawn.")
    return Section("samples", "Samples from fixed latents", body)


def beside(run: Run) -> Section:
    """Real data and samples, as many of each, at the same size."""
    title = "Real beside generated"
    real, fake = run.exhibits.get("real"), run.exhibits.get("fake")
    real_images, fake_images = tiles.as_images(real), tiles.as_images(fake)
    real_points, fake_points = points.as_points(real), points.as_points(fake)
    if real_images is not None and fake_images is not None:
        n = min(len(real_images), len(fake_images), 64, tiles.affordable(real_images))
        real_labels, fake_labels = (labels_of(run, run.exhibits.get(name), n) for name in ("real_y", "fake_y"))
        columns = tiles.columns_for(n, 8, fake_labels)
        halves = [
            _half("Real", tiles.tiles(real_images[:n], f"{n} real images", columns, real_labels)),
            _half("Generated", tiles.tiles(fake_images[:n], f"{n} generated images", columns, fake_labels)),
        ]
    elif real_points is not None and fake_points is not None:
        extent = points.frame_of(run.exhibits, None)
        n = min(len(real_points), len(fake_points))
        halves = [_cloud("Real", real_points[:n], extent, "c0"), _cloud("Generated", fake_points[:n], extent, "c1")]
    else:
        return Section("comparison", title, nothing("No real and generated examples to compare: " + _NO_EXHIBITS))
    return Section("comparison", title, f"<div class='halves'>{''.join(halves)}</div>")


def neighbours(run: Run) -> Section | None:
    """Samples beside the training examples nearest to them; none where a run of points ended without them."""
    title = "Nearest training examples"
    query, near = run.exhibits.get("query"), run.exhibits.get("neighbours")
    if query is None and run.exhibits and _kind(run) == "points":
        return None
    empty = Section("neighbours", title, nothing("No nearest training examples: " + _NO_EXHIBITS))
    if query is None or near is None or near.ndim != query.ndim + 1 or len(near) != len(query) or not near.size:
        return empty
    mirrored = " Mirror images, which training saw too, are among them." if run.mirrored else ""
    intro = f"<p>A sample that equals its neighbour was remembered, not made. Nearest first.{mirrored}</p>"
    images = tiles.as_images(query)
    if images is not None and near.dtype == np.uint8 and near.shape[2:] == query.shape[1:]:
        near = near[:, :8]
        rows = zip(images[: tiles.affordable(images, 1 / (1 + near.shape[1]))], near, strict=False)
        body = "".join(_neighbour_row(i, one, many) for i, (one, many) in enumerate(rows))
        return Section("neighbours", title, f"{intro}<div class='rows'>{body}</div>")
    plane = points.as_points(query)
    flat = near.reshape(-1, near.shape[-1]) if near.ndim == 3 else None
    flat = points.as_points(flat)
    if plane is None or flat is None or len(plane) != len(query) or len(flat) != near.shape[0] * near.shape[1]:
        return empty
    extent = points.frame_of(run.exhibits, plane)
    real = points.as_points(run.exhibits.get("real"))
    figure = points.neighbours_figure(plane, flat.reshape(*near.shape[:2], 2), real, extent)
    alt = f"{count(len(plane), 'sample')} joined to their {near.shape[1]} nearest training examples"
    return Section("neighbours", title, intro + plot(figure, "Samples and their neighbours", alt, tall=True))


def interpolations(run: Run) -> Section:
    """Samples along paths between latents."""
    title = "Interpolations"
    paths = run.exhibits.get("interpolations")
    body = nothing("No interpolations: " + _NO_EXHIBITS)
    if paths is not None and paths.ndim == 5 and paths.size:
        flat = tiles.as_images(paths.reshape(-1, *paths.shape[2:]))
        if flat is not None:
            steps = paths.shape[1]
            rows = paths[: max(1, tiles.affordable(flat) // steps)]
            alt = f"{count(len(rows), 'row')} of {steps} images, each between two latents"
            body = f"<p>Each row goes from one latent to another in {steps} equal steps.</p>" + tiles.tiles(
                rows.reshape(-1, *paths.shape[2:]), alt, steps
            )
    elif paths is not None and paths.ndim == 3 and paths.size:
        flat = points.as_points(paths.reshape(-1, paths.shape[-1]))
        if flat is not None and len(flat) == paths.shape[0] * paths.shape[1]:
            extent = points.frame_of(run.exhibits, flat)
            real = points.as_points(run.exhibits.get("real"))
            figure = points.paths_figure(flat.reshape(*paths.shape[:2], 2), real, extent)
            alt = f"{count(len(paths), 'path')} of {paths.shape[1]} points between pairs of latents"
            body = plot(figure, "Paths between pairs of latents", alt, tall=True)
    return Section("interpolations", title, body)


def arithmetic(run: Run) -> Section | None:
    """The difference of two classes added to samples of the first; none where the run has no such exhibit."""
    names = ("arithmetic", "arithmetic_y", "arithmetic_strengths")
    images, pairs, strengths = (run.exhibits.get(name) for name in names)
    if images is None or pairs is None or strengths is None:
        return None
    title = "Arithmetic on classes"
    flat = tiles.as_images(images.reshape(-1, *images.shape[2:])) if images.ndim == 5 else None
    if flat is None or pairs.shape != (len(images), 2) or strengths.shape != images.shape[1:2]:
        return Section("arithmetic", title, nothing("No arithmetic: " + _NO_EXHIBITS))
    steps = len(strengths)
    rows = max(1, tiles.affordable(flat) // steps)
    known = labels_of(run, pairs.flatten(), pairs.size) or [str(k) for k in pairs.flatten()]
    labels = [
        f"{a} + {s:g} ({b} − {a})" if s else a
        for a, b in zip(known[::2], known[1::2], strict=True)
        for s in strengths.tolist()
    ]
    if "fake_y" in run.exhibits:
        what = "one latent; to the generator's input for its class, the difference to another class's is added"
    else:
        what = "a sample of one class; to its latent, the difference to another class's mean latent is added"
    told, reached = "", run.exhibits.get("arithmetic_reached")
    if reached is not None and reached.shape == strengths.shape:
        shares = ", ".join(f"{100 * share:.0f} %" for share in reached.tolist())
        told = f" Column by column, a classifier takes {shares} of such samples for the second class."
    alt = f"{count(min(rows, len(images)), 'row')} of {steps} images, each from one class towards another"
    shown = tiles.tiles(flat[: rows * steps], alt, steps, labels[: rows * steps])
    return Section("arithmetic", title, f"<p>Each row is {escape(what)}.{escape(told)}</p>{shown}")


def surface(run: Run) -> Section | None:
    """What the critic thinks of every place in the plane; none for data that are not points, or without a critic."""
    logits = run.exhibits.get("surface")
    if _kind(run) != "points" or (logits is None and run.exhibits):
        return None
    title = "The critic's surface"
    if (
        logits is None
        or logits.dtype.kind != "f"
        or logits.ndim != 2
        or min(logits.shape) < 2
        or not np.isfinite(logits).any()
    ):
        return Section("critic", title, nothing("No critic's surface: " + _NO_EXHIBITS))
    real, fake = points.as_points(run.exhibits.get("real")), points.as_points(run.exhibits.get("fake"))
    figure = points.surface_figure(logits, points.frame_of(run.exhibits, None), real, fake)
    alt = f"The critic's logits from {np.nanmin(logits):.3g} to {np.nanmax(logits):.3g} over the plane, with points"
    intro = "<p>High where the critic takes a point for real.</p>"
    return Section("critic", title, intro + plot(figure, "Logits, with real and generated points", alt, tall=True))


_INTRO = "<p>The same latents throughout, as the model saw more examples.</p>"
_NO_EXHIBITS = "exhibits.npz is written when a run ends, and this folder has none that can be drawn."


def _kind(run: Run) -> Any:
    return table(table(run.config, "data"), "spec").get("kind")


def _half(title: str, body: str) -> str:
    return f"<div><h3>{title}</h3>{body}</div>"


def _cloud(title: str, xy: np.ndarray, extent: points.Extent, colour: str) -> str:
    cloud = points.cloud(xy, extent, colour)
    missing = f"{cloud['outside']:,} of {count(cloud['of'], 'point')}"
    note = f"{missing} are outside the frame or not finite." if cloud["outside"] else ""
    alt = f"{count(len(xy), f'{title.lower()} point')}"
    return _half(title, points.panel([cloud], extent, alt) + (f"<p class='remark'>{note}</p>" if note else ""))


def _neighbour_row(i: int, query: np.ndarray, near: np.ndarray) -> str:
    alt = f"Sample {i + 1}, then the {len(near)} training examples nearest to it"
    labels = ["sample", *(str(k + 1) for k in range(len(near)))]
    return tiles.tiles(np.concatenate([query[None], near]), alt, 1 + len(near), labels)
