"""How unlike a generator's images are, and how evenly they change along its latents."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator, torch_generator
from pushforward.metrics.intervals import Interval, mean_interval, trimmed_interval

Floats = NDArray[np.float64]
Images = Tensor | NDArray[np.uint8] | NDArray[np.floating]
Layers = Callable[[Tensor], Sequence[Tensor]]  # images [B, C, H, W] -> feature maps [B, C', H', W'], no row on another

WINDOW, SIGMA = 11, 1.5
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2  # for a range of 1
BATCH = 64  # pairs at once


def ssim(x: Images, y: Images, value_range: tuple[float, float] | None = None) -> Floats:
    """Structural similarity of images [N, C, H, W], H, W >= 11, pair by pair: [N], 1 for equal ones, at least −1.

    The mean over the places of a Gaussian window (11, σ 1.5) wholly inside, then over channels. value_range: black and
    white of floats, as (-1, 1), which SSIM depends on; uint8 has (0, 255). Raises ValueError for other shapes or types,
    floats without a range, or values outside it.
    Wang et al. 2004, IEEE Trans. Image Process. 13, p. 600, Eq. 13.
    """
    return _by_scales(x, y, value_range, (1.0,))


def ms_ssim(x: Images, y: Images, value_range: tuple[float, float] | None = None) -> Floats:
    """Multi-scale structural similarity of images [N, C, H, W], pair by pair: [N], 0 to 1, 1 for equal ones.

    Contrast and structure at each scale, luminance at the coarsest; 2×2 means between scales, an odd last row or column
    left out there. As many of the paper's five scales as hold the window (`scales`), with their weights scaled to add
    up to 1: five from 176×176, two at 32×32. A scale whose mean is below 0 counts as 0, channels are averaged last.
    Arguments and errors as `ssim`. Wang, Simoncelli & Bovik 2003, Asilomar Conf., Eq. 7.
    """
    shape = _shape(x)
    weights = WEIGHTS[: scales(shape[2], shape[3])]
    return _by_scales(x, y, value_range, tuple(w / sum(weights) for w in weights))


def scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales images of this size have; ValueError for none."""
    side = min(height, width)
    if side < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW}×{WINDOW}, got {height}×{width}; enlarge them")
    return min(int(np.log2(side // WINDOW)) + 1, len(WEIGHTS))


def ms_ssim_diversity(
    images: Images, pairs: int | None = None, value_range: tuple[float, float] | None = None, seed: int = 0
) -> Interval:
    """Mean MS-SSIM of random pairs among images [N, C, H, W], 0 to 1; lower is more diverse. Give one class at a time.

    pairs: at most N/2, and by default that: no image is in two, so that pairs are independent and Student's t holds.
    To be compared with the same of the real images, at one size. Raises ValueError as `ms_ssim`, and for fewer than 2
    pairs. Odena et al. 2017, arXiv:1610.09585, Section 4.2.
    """
    chosen = _pairs(len(images), pairs, seed)
    return mean_interval(ms_ssim(images[chosen[:, 0]], images[chosen[:, 1]], value_range))


def feature_diversity(images: Tensor, layers: Layers, pairs: int | None = None, seed: int = 0) -> Interval:
    """Mean `perceptual_distance` of random pairs among images [N, C, H, W]; 0 for one image, higher is more diverse.

    layers: images [B, C, H, W], as they are, to feature maps; called without gradients, and left in its mode. Pairs as
    `ms_ssim_diversity`. Raises ValueError for fewer than 2 pairs or features that are not finite.
    """
    distances = []
    with torch.no_grad():
        for part in np.array_split(chosen := _pairs(len(images), pairs, seed), -(-len(chosen) // BATCH)):
            distances.append(perceptual_distance(layers(images[part[:, 0]]), layers(images[part[:, 1]])))
    return mean_interval(torch.cat(distances).cpu().numpy())


def perceptual_distance(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Σ over layers of the mean over places of |x̂ − ŷ|²: [B], float64; from 0 to 4 times the number of layers.

    x, y: feature maps [B, C', H', W'] of two batches of images; x̂: of unit length over channels at each place, or 0.
    Differs from the paper: all channels weigh alike, so that any network will do; LPIPS weighs them by human judgement.
    Zhang et al. 2018, arXiv:1801.03924, Eq. 1.
    """
    if len(x) == 0 or [a.shape for a in x] != [b.shape for b in y] or any(a.ndim != 4 for a in x):
        got = f"{[tuple(a.shape) for a in x]} and {[tuple(b.shape) for b in y]}"
        raise ValueError(f"features must be lists of equal maps [B, C, H, W], got {got}; give the layers' outputs")
    # Two unit vectors are |x̂ − ŷ|² apart whatever the scale, so a dead place (0) must not be divided by 0.
    units = [[F.normalize(t.detach().double(), dim=1, eps=1e-30) for t in layer] for layer in zip(x, y, strict=True)]
    total = torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in units]).sum(0)
    if not bool(total.isfinite().all()):
        raise ValueError(f"features must be finite, got NaN or inf for {int((~total.isfinite()).sum())} pairs")
    return total


def path_length(
    sample: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    latents: Tensor,
    space: Literal["z", "w"] = "z",
    epsilon: float = 1e-4,
    seed: int = 0,
    crop_faces: bool = False,
) -> Interval:
    """Perceptual path length: the mean of d(g(t), g(t + ε))/ε² along paths between latents; 0 up, lower is smoother.

    latents: [2N, ...], rows 2i and 2i + 1 the ends of path i, N >= 2; t is uniform on (0, 1), from `seed`. space: "z"
    goes along the great circle (with lengths that go along from end to end), "w" along the line. sample: latents
    [B, ...] to images, in eval mode and without noise of its own; distance: two batches of images to [B], growing as
    the square of a change, as LPIPS or `perceptual_distance` do. Steps are taken in float64 and given in the latents'
    type. crop_faces: the paper's middle of face images, rows 3/8 to 7/8 and columns 1/4 to 3/4.

    As published, the lowest and highest 1 % of the N are left out (none for N <= 100), so the interval is of the law's
    trimmed mean: Student's t on the deviation of the values moved to the ends of what is kept; paths are independent.
    Raises ValueError for an odd number of latents, fewer than 4, or a distance that is not finite.
    Karras, Laine & Aila 2019, arXiv:1812.04948, Section 4.1.
    """
    if len(latents) % 2 or len(latents) < 4 or latents.ndim < 2:
        raise ValueError(f"latents must be an even number of rows [2N, ...], N >= 2, got {tuple(latents.shape)}")
    if space not in ("z", "w") or not epsilon > 0:
        raise ValueError(f"a path needs space 'z' or 'w' and epsilon > 0, got {space!r} and {epsilon}")
    walk = _along_circle if space == "z" else torch.lerp
    # On the CPU, so that paths are the same on every device.
    t = torch.rand(len(latents) // 2, dtype=torch.float64, generator=torch_generator("path length", seed))
    t = t.to(latents.device).reshape(-1, *[1] * (latents.ndim - 1))
    found = []
    with torch.no_grad():
        for i in range(0, len(t), BATCH):
            a, b = latents[2 * i : 2 * (i + BATCH)].double().unflatten(0, (-1, 2)).unbind(1)
            here = [sample(walk(a, b, t[i : i + BATCH] + e).to(latents.dtype)) for e in (0.0, epsilon)]
            near, far = (_face(images) for images in here) if crop_faces else here
            found.append(distance(near, far).double() / epsilon**2)
    values = torch.cat(found).cpu().numpy()
    if not np.isfinite(values).all():
        raise ValueError(f"distances must be finite, got NaN or inf for {int((~np.isfinite(values)).sum())} paths")
    return trimmed_interval(values, (len(values) - 1) // 100)


def _along_circle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """From a to b, [B, ...], the direction at even speed; where they are parallel, the straight line."""
    dims = tuple(range(1, a.ndim))
    units = [F.normalize(v.flatten(1), dim=1) for v in (a, b)]
    # From the chords: an arc cosine would lose half of the digits of a small angle.
    angle = 2 * torch.atan2((units[0] - units[1]).norm(dim=1), (units[0] + units[1]).norm(dim=1))
    angle = angle.reshape(-1, *[1] * len(dims))
    sine = angle.sin()
    straight = sine < 1e-9
    sine = torch.where(straight, 1.0, sine)
    start = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    end = torch.where(straight, t, (t * angle).sin() / sine)
    return start * a + end * b


def _face(images: Tensor) -> Tensor:
    h, w = images.shape[-2:]
    return images[..., 3 * h // 8 : 7 * h // 8, w // 4 : 3 * w // 4]


def _pairs(n: int, pairs: int | None, seed: int) -> NDArray[np.int64]:
    """Random pairs [P, 2] of rows, no row twice."""
    count = n // 2 if pairs is None else pairs
    if not 2 <= count <= n // 2:
        raise ValueError(f"pairs must be at least 2 and at most half of the {n} images, got {count}; give more images")
    return numpy_generator("diversity pairs", seed).permutation(n)[: 2 * count].reshape(count, 2)


def _by_scales(x: Images, y: Images, value_range: tuple[float, float] | None, weights: tuple[float, ...]) -> Floats:
    if (shape := _shape(x)) != _shape(y):
        raise ValueError(f"images must come in pairs of one shape, got {shape} and {_shape(y)}; resize them alike")
    scales(shape[2], shape[3])
    found = [torch.empty(0, dtype=torch.float64)]
    for a, b in zip(_unit_batches(x, value_range), _unit_batches(y, value_range), strict=True):
        found.append(_similarity(a, b, weights))
    return torch.cat(found).numpy()


def _similarity(x: Tensor, y: Tensor, weights: tuple[float, ...]) -> Tensor:
    b, c = x.shape[:2]
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.softmax(-place.square() / (2 * SIGMA**2), 0)
    total = torch.ones(b, c, dtype=torch.float64)
    for scale, weight in enumerate(weights):
        maps = torch.stack([x, y, x * x + y * y, x * y]).flatten(0, 2)[:, None]  # [4·B·C, 1, H, W]
        smooth = F.conv2d(F.conv2d(maps, window[None, None, :, None]), window[None, None, None])
        mx, my, squares, product = smooth.unflatten(0, (4, b, c)).squeeze(3)
        means = mx * mx + my * my
        similar = (2 * (product - mx * my) + C2) / (squares - means + C2)
        if last := scale == len(weights) - 1:
            similar = similar * (2 * mx * my + C1) / (means + C1)
        level = similar.mean((2, 3))
        total = total * (level if len(weights) == 1 else level.clamp_min(0) ** weight)
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return total.mean(1)


def _shape(images: Images) -> tuple[int, ...]:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [N, C, H, W], none of them 0, got {tuple(images.shape)}")
    return tuple(images.shape)


def _unit_batches(images: Images, value_range: tuple[float, float] | None) -> Iterator[Tensor]:
    """Some images at a time, float64 in [0, 1] on the CPU."""
    kind = str(images.dtype).removeprefix("torch.")
    if kind != "uint8" and (value_range is None or not kind.startswith(("float", "bfloat"))):
        raise ValueError(
            f"images must be uint8, or floats with their value_range, got {kind} with {value_range}; "
            "give (-1, 1) or (0, 1)"
        )
    low, high = value_range or (0.0, 255.0)
    for i in range(0, len(images), BATCH):
        part = images[i : i + BATCH]
        wide = part.detach().cpu().double() if isinstance(part, Tensor) else torch.from_numpy(np.array(part, float))
        if not bool(((wide >= low) & (wide <= high)).all()):
            got = f"{float(wide.min()):.4g} to {float(wide.max()):.4g}"
            raise ValueError(f"images must be in [{low:g}, {high:g}], got {got}; give their value_range")
        yield (wide - low) / (high - low)
