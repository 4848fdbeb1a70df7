"""ADA: random changes that don't leak into the fakes while their probability p is below about 0.8.

Karras et al. 2020, arXiv:2006.06676, Appendix B; ranges, where the paper leaves them open, as in the authors' code.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pushforward.augment.controller import Controller
from pushforward.augment.draws import GlobalNumbers, Numbers, checked
from pushforward.augment.pixels import blit, reflect, resample

GROUPS = ("blit", "geometry", "color", "filter", "noise", "cutout")
CHANCES = (
    "flip", "turn", "move", "scale", "rotate before", "stretch", "rotate after", "shift", "brightness", "contrast",
    "luma flip", "hue", "saturation", "band 0", "band 1", "band 2", "band 3", "noise", "cutout",
)  # fmt: skip
UNIFORMS = (
    "flip", "turn", "move x", "move y", "rotate before", "rotate after", "luma flip", "hue", "cutout x", "cutout y",
)  # fmt: skip
NORMALS = (
    "scale", "stretch", "shift x", "shift y", "brightness", "contrast", "saturation", "band 0", "band 1", "band 2",
    "band 3", "noise",
)  # fmt: skip
POWERS = (10, 1, 1, 1)
"""Expected power of natural images in four octaves, the lowest first, over their sum."""
SYM2 = np.array([1 - 3**0.5, 3 - 3**0.5, 3 + 3**0.5, 1 + 3**0.5]) / (4 * 2**0.5)
"""Symlet of 2 vanishing moments, low-pass, of unit energy."""


class ADA:
    """Eighteen changes of images in the paper's order, each made with probability p, by draws of each image's own.

    In a training loop of one's own, both players' losses see augmented images, and gradients pass through::

        ada = ADA(p=Controller(target=0.6))
        real_logits, fake_logits = D(ada(real)), D(ada(fake))
        ada.controller.observe(real_logits)
        ada.controller.adjust(examples=len(real))

    groups: any of blit (flips in x, quarter turns, whole pixels), geometry (scales, rotations, fractions of pixels),
    color (brightness, contrast, luma flip, hue, saturation; only the first three for one channel), filter (gains of
    four octaves), noise, cutout. By default the paper's choice "bgc". p: a probability, or what moves it.
    With p at 0 every image is returned as it is. Differs from the authors' code: an image that is but flipped, turned
    and moved by whole pixels is copied, where theirs is resampled; see `pixels.resample` too. The filters mirror
    images for ever, so that small ones can be filtered.
    """

    def __init__(self, groups: tuple[str, ...] = GROUPS[:3], p: Controller | float = 0.0) -> None:
        unknown = [name for name in groups if name not in GROUPS]
        if unknown or not groups:
            raise ValueError(f"ADA's groups are {', '.join(GROUPS)}, got {groups}; name one or more")
        self.groups = groups
        self.controller = p if isinstance(p, Controller) else Controller(p, target=None)

    def draws(self, clock: Numbers, n: int, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """All that n images of `shape` (C, H, W) are changed by, [n, ...]; the same whatever p is."""
        found = {
            "chance": clock.uniform(n, len(CHANCES)),
            "uniform": clock.uniform(n, len(UNIFORMS)),
            "normal": clock.normal(n, len(NORMALS)),
        }
        return found | ({"noise": clock.normal(n, *shape)} if "noise" in self.groups else {})

    def __call__(self, x: Tensor, draws: dict[str, Tensor] | None = None) -> Tensor:
        """x [B, C, H, W] in [-1, 1], augmented; colours may leave that range.

        draws: of `draws`, or None for torch's global generator. Returns the shape and type of x. Raises ValueError for
        color where C is neither 1 nor 3.
        """
        if self.controller.off:
            return x
        if draws is None:
            draws = self.draws(GlobalNumbers(x.device), len(x), tuple(x.shape[1:]))
        # In float32: under autocast, positions would be rounded to parts of a hundred.
        with torch.autocast(x.device.type, enabled=False):
            y = x if x.dtype == torch.float64 else x.float()
            chosen = _Chosen(checked(draws, y), self.controller.p)
            if "blit" in self.groups or "geometry" in self.groups:
                y = _move(y, chosen, "blit" in self.groups, "geometry" in self.groups)
            if "color" in self.groups:
                y = _color(y, chosen)
            if "filter" in self.groups:
                y = _filter(y, chosen)
            if "noise" in self.groups:
                sigma = (0.1 * chosen.normal("noise").abs()).where(chosen.fires("noise"), 0)
                y = y + sigma[:, None, None, None] * chosen.draws["noise"]
            if "cutout" in self.groups:
                y = _cutout(y, chosen)
        return y.to(x.dtype)


class _Chosen:
    """Draws by name, [B] each, and which changes they make at probability p."""

    def __init__(self, draws: dict[str, Tensor], p: Tensor) -> None:
        self.draws, self.p = draws, p

    def fires(self, change: str, p: Tensor | None = None) -> Tensor:
        return self.draws["chance"][:, CHANCES.index(change)] < (self.p if p is None else p)

    def uniform(self, name: str) -> Tensor:
        return self.draws["uniform"][:, UNIFORMS.index(name)]

    def normal(self, name: str) -> Tensor:
        return self.draws["normal"][:, NORMALS.index(name)]

    def factor(self, change: str, octaves: float) -> Tensor:
        """2 to the power of N(0, octaves²), or 1."""
        return torch.exp2(octaves * self.normal(change)).where(self.fires(change), 1)

    def angle(self, change: str, p: Tensor | None = None) -> Tensor:
        """Uniform in [-π, π), or 0."""
        return ((2 * self.uniform(change) - 1) * math.pi).where(self.fires(change, p), 0)


def _move(x: Tensor, chosen: _Chosen, blits: bool, bends: bool) -> Tensor:
    """All that moves pixels, as one map A q + t from where a pixel goes to where it comes from."""
    height, width = x.shape[2:]
    linear = torch.eye(2, device=x.device, dtype=x.dtype).expand(len(x), 2, 2)
    shift = x.new_zeros(len(x), 2)
    y, rest = x, torch.zeros(len(x), device=x.device, dtype=torch.bool)
    if blits:
        linear, shift = _blits(chosen, width, height)
        y = blit(x, linear, shift)
        if (width - height) % 2:  # quarter turns then take pixels half way between pixels
            rest = linear[:, 0, 0] == 0
    if bends:
        bent, shifted = _bends(chosen, width, height)
        shift = shift + _times(linear, shifted.unsqueeze(2)).squeeze(2)
        linear = _times(linear, bent)
        rest = rest | _bent(chosen)
    elif (width - height) % 2 == 0:
        return y
    if x.device.type != "cpu":
        return torch.where(rest[:, None, None, None], resample(x, linear, shift), y)
    rows = rest.nonzero().squeeze(1)  # on the CPU nothing waits for the count, and only these are resampled
    if not len(rows):
        return y
    return y.index_copy(0, rows, resample(x.index_select(0, rows), linear[rows], shift[rows]))


def _blits(chosen: _Chosen, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Flip in x, quarter turns, then whole pixels: A [B, 2, 2] and t [B, 2], exact."""
    flip = (chosen.uniform("flip") * 2).floor().where(chosen.fires("flip"), 0)
    turn = (chosen.uniform("turn") * 4).floor().where(chosen.fires("turn"), 0)
    moved = chosen.fires("move")
    x, y = (
        ((2 * chosen.uniform(f"move {axis}") - 1) / 8 * side).round().where(moved, 0)
        for axis, side in (("x", width), ("y", height))
    )
    linear = _rotation(turn * (math.pi / 2)).round()
    linear = torch.stack([(1 - 2 * flip)[:, None] * linear[:, 0], linear[:, 1]], dim=1)
    return linear, -_times(linear, torch.stack([x, y], dim=1).unsqueeze(2)).squeeze(2)


def _bends(chosen: _Chosen, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Scale, rotate, stretch, rotate, then shift: A [B, 2, 2] and t [B, 2]."""
    p = _rotation_chance(chosen)
    scale, stretch = 1 / chosen.factor("scale", 0.2), chosen.factor("stretch", 0.2)
    linear = _rotation(chosen.angle("rotate before", p)) * scale[:, None, None]
    linear = linear * torch.stack([1 / stretch, stretch], dim=1).unsqueeze(1)
    linear = _times(linear, _rotation(chosen.angle("rotate after", p)))
    shift = torch.stack([chosen.normal("shift x") * width, chosen.normal("shift y") * height], dim=1) / 8
    shift = shift.where(chosen.fires("shift").unsqueeze(1), 0)
    return linear, -_times(linear, shift.unsqueeze(2)).squeeze(2)


def _bent(chosen: _Chosen) -> Tensor:
    """Which images `_bends` changes, [B]."""
    p = _rotation_chance(chosen)
    found = chosen.fires("scale") | chosen.fires("stretch") | chosen.fires("shift")
    return found | chosen.fires("rotate before", p) | chosen.fires("rotate after", p)


def _rotation_chance(chosen: _Chosen) -> Tensor:
    """Of each of two rotations, so that one or both happen with probability p."""
    return 1 - (1 - chosen.p).sqrt()


def _rotation(angle: Tensor) -> Tensor:
    """[B] -> [B, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Products of small matrices [B, 2, 2] and [B, 2, N], never in TF32, which would misplace pixels."""
    return (a.unsqueeze(3) * b.unsqueeze(1)).sum(2)


def _color(x: Tensor, chosen: _Chosen) -> Tensor:
    """All changes of colour, as one affine map of each pixel.

    Brightness b, contrast c and a luma flip f = ±1 act alike on the axis v of greys, hue θ and saturation s on the
    plane across: c (f P + s (cos θ (I - P) + sin θ K)) + c f b with P = v vᵀ and K the cross product with v.
    """
    if x.shape[1] not in (1, 3):
        raise ValueError(f"ADA's color needs images of 1 or 3 channels, got {x.shape[1]}; leave out that group")
    b = (0.2 * chosen.normal("brightness")).where(chosen.fires("brightness"), 0)
    c = chosen.factor("contrast", 0.5)
    f = 1 - 2 * (2 * chosen.uniform("luma flip")).floor().where(chosen.fires("luma flip"), 0)
    offset = (c * f * b)[:, None, None, None]
    if x.shape[1] == 1:
        return (c * f)[:, None, None, None] * x + offset
    s, angle = chosen.factor("saturation", 1.0), chosen.angle("hue")
    along, across = s * angle.cos(), s * angle.sin() / math.sqrt(3)
    # Written so that nothing but x is left, exactly, where nothing fires.
    same = c * (along + (f - along) / 3)
    next, last = (c * ((f - along) / 3 + sign * across) for sign in (-1, 1))
    wide = [w[:, None, None, None] for w in (same, next, last)]
    return wide[0] * x + wide[1] * x.roll(-1, 1) + wide[2] * x.roll(1, 1) + offset


def _filter(x: Tensor, chosen: _Chosen) -> Tensor:
    """Gains of four octaves, each followed by a factor that keeps the expected power, as one filter along each side."""
    gain = x.new_ones(len(x), len(POWERS))
    for i, power in enumerate(POWERS):
        own = chosen.factor(f"band {i}", 1.0).unsqueeze(1)
        others = sum(POWERS) - power
        own_at = torch.arange(len(POWERS), device=x.device) == i
        gain = gain * own.where(own_at, 1) / ((power * own.square() + others) / sum(POWERS)).sqrt()
    more = gain - 1  # as a change of the image, so that it is exactly none where nothing fires
    for axis in (2, 3):
        bands = octaves(x.shape[axis], x.dtype, x.device)
        change = (more @ bands.flatten(1)).view(-1, 1, *bands.shape[1:])
        x = x + (change @ x if axis == 2 else x @ change.mT)
    return x


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def octaves(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[4, side, side]: a mirrored row of pixels -> its part in each octave, the lowest first; they sum to the row."""
    tap = torch.arange(len(_band_filters()[0])) - len(_band_filters()[0]) // 2
    pixel = torch.arange(side).unsqueeze(1).expand(side, len(tap))
    matrices = torch.zeros(len(POWERS), side, side, dtype=torch.float64)
    for matrix, band in zip(matrices, _band_filters(), strict=True):
        weights = torch.from_numpy(band).expand(side, -1)
        matrix.index_put_((pixel, reflect(pixel + tap, side)), weights, accumulate=True)
    return matrices.to(device, dtype)


@lru_cache(maxsize=1)
def _band_filters() -> list[np.ndarray]:
    """Symmetric filters of the four octaves, the lowest first: |H(z)|²/2 and |H(-z)|²/2 of sym2, spread and chained."""
    low_pass = np.convolve(SYM2, SYM2[::-1]) / 2
    high_pass = low_pass * (-1.0) ** (np.arange(len(low_pass)) + 1)
    bands, low = [], np.ones(1)
    for octave in range(len(POWERS) - 1):
        low_part, high_part = np.zeros((2, (len(low_pass) - 1) * 2**octave + 1))
        low_part[:: 2**octave], high_part[:: 2**octave] = low_pass, high_pass
        bands.append(np.convolve(low, high_part))
        low = np.convolve(low, low_part)
    return [np.pad(band, (len(low) - len(band)) // 2) for band in (low, *bands[::-1])]


def _cutout(x: Tensor, chosen: _Chosen) -> Tensor:
    """Zeros in a rectangle of half the sides, whose centre is anywhere in the image."""
    hidden = chosen.fires("cutout")[:, None, None, None]
    for axis, name in ((2, "cutout y"), (3, "cutout x")):
        side = x.shape[axis]
        at = (torch.arange(side, device=x.device, dtype=x.dtype) + 0.5) / side
        near = (at - chosen.uniform(name).unsqueeze(1)).abs() < 0.25
        hidden = hidden & (near[:, None, :, None] if axis == 2 else near[:, None, None, :])
    return x * ~hidden
