"""Images in the page: tiles at their own resolution which the browser enlarges, and films of fixed latents."""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from pushforward.pictures import grid
from pushforward.report.text import count, embed, escape

SIDE = 128
"""Larger images are shown reduced to this many pixels."""
FRAMES = 40
FILM_BYTES = 4 << 20
TILES_BYTES = 600 << 10


def as_images(array: Any) -> np.ndarray | None:
    """uint8 [n, H, W, 1 or 3] as it is; None for anything else, and where n is 0."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 4:
        return None
    return array if array.shape[-1] in (1, 3) and array.size else None


def reduced(images: np.ndarray) -> np.ndarray:
    """Images [n, H, W, C] whose longer side is at most SIDE, averaged over whole blocks of pixels."""
    factor = -(-max(images.shape[1:3]) // SIDE)
    if factor == 1:
        return images
    pictures = [Image.fromarray(i[..., 0] if i.shape[-1] == 1 else i).reduce(factor) for i in images]
    return np.stack([np.asarray(p).reshape(p.height, p.width, -1) for p in pictures])


def affordable(images: np.ndarray, share: float = 1.0) -> int:
    """How many of the images [n, ...] fit in `share` of a section's bytes; at least 4."""
    return max(4, int(share * TILES_BYTES / reduced(images[:1]).nbytes))


def columns_for(n: int, wide: int, labels: list[str] | None = None) -> int:
    """Columns of a grid of n, about `wide`; where the labels repeat with a period, a multiple of it."""
    period = next((p for p in range(2, 13) if labels[p:] == labels[:-p] and n >= 2 * p), None) if labels else None
    return min(n, wide if period is None else max(1, wide // period) * period)


def data_uri(image: Image.Image) -> str:
    """A picture as a data: address that holds its PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def tiles(images: np.ndarray, alt: str, columns: int, labels: list[str] | None = None) -> str:
    """A grid of images [n, H, W, C], each with its label under it; `alt` speaks for all of them."""
    images = reduced(images)
    cells = [_tile(f"<img src='{data_uri(_picture(image))}' alt=''>", labels, i) for i, image in enumerate(images)]
    return _grid("".join(cells), alt, (columns, columns), images.shape)


def film(
    frames: list[tuple[int, np.ndarray]], alt: str, labels: list[str] | None = None, of: int | None = None
) -> tuple[str, str]:
    """A grid that a slider and a button move through the frames [(examples seen, images [n, H, W, C])].

    of: how many grids the run holds, of which the frames are some. Returns the page's part and a remark on what was
    left out to keep the page small, or an empty one.
    """
    frames = [(seen, reduced(images)) for seen, images in frames]
    n, of = len(frames[0][1]), of or len(frames)
    heavy = max(len(_sheet(frames[0][1])), len(_sheet(frames[-1][1])))
    shown = min(n, max(4, int(n * FILM_BYTES / (12 * heavy))))
    kept = thin(frames, max(2, min(FRAMES, int(FILM_BYTES / (heavy * shown / n)))))
    sheets = [(seen, _sheet(images[:shown])) for seen, images in kept]
    _, height, width, _ = kept[-1][1].shape
    labels = labels[:shown] if labels else None
    columns = columns_for(shown, 16, labels), columns_for(shown, 8, labels)
    canvas = f"<canvas width='{width}' height='{height}'></canvas>"
    cells = "".join(_tile(canvas, labels, i) for i in range(shown))
    data = {
        "kind": "images",
        "frames": [{"seen": f"{seen:,}", "sheet": sheet} for seen, sheet in sheets],
        "columns": _across(shown),
    }
    left = []
    if len(kept) < of:
        left.append(f"{len(kept)} of {count(of, 'grid')}")
    if shown < n:
        left.append(f"{shown} of {n} images")
    remark = f"Shown: {' and '.join(left)}; the others are in samples/." if left else ""
    return player(_grid(cells, alt, columns, kept[-1][1].shape), data, [seen for seen, _ in kept]), remark


def player(stage: str, data: dict[str, Any], seen: list[int]) -> str:
    """The stage, and the slider and the button that change what is on it. seen: examples at each frame."""
    last = len(seen) - 1
    controls = "" if last < 1 else "<button type='button' class='play'>Play</button>"
    slider = (
        f"<input type='range' min='0' max='{last}' value='{last}' step='1' aria-label='Examples seen' "
        f"aria-valuetext='{seen[-1]:,} examples'{' hidden' if last < 1 else ''}>"
    )
    return (
        f"<div class='player'>{embed(data)}{stage}<div class='controls'>{controls}{slider}"
        f"<output>{seen[-1]:,} examples</output></div></div>"
    )


def thin(frames: list[Any], limit: int) -> list[Any]:
    """At most `limit` of the frames, evenly, the first and the last among them."""
    if len(frames) <= limit:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, limit).round().astype(int)]


def _tile(picture: str, labels: list[str] | None, i: int) -> str:
    label = f"<span title='{escape(labels[i])}'>{escape(labels[i])}</span>" if labels else ""
    return f"<div class='tile'>{picture}{label}</div>"


def _grid(cells: str, alt: str, columns: tuple[int, int], shape: tuple[int, ...]) -> str:
    """columns: on a wide page and on a narrow one."""
    height, width = shape[1:3]
    crisp = " crisp" if max(height, width) <= 64 else ""
    style = f"--columns:{columns[0]};--narrow:{columns[1]};--aspect:{width}/{height}"
    return f"<div class='tiles{crisp}' role='img' aria-label='{escape(alt)}' style='{style}'>{cells}</div>"


def _across(n: int) -> int:
    return math.ceil(n**0.5)


def _sheet(images: np.ndarray) -> str:
    return data_uri(grid(images, columns=_across(len(images)), scale=1, gap=0))


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
