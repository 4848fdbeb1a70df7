"""DiffAugment: the same few random changes to all that the critic sees. Zhao et al. 2020, arXiv:2006.10738."""

import torch
from torch import Tensor

from pushforward.augment.draws import GlobalNumbers, Numbers, checked, whole
from pushforward.augment.pixels import take

POLICIES = ("color", "translation", "cutout")


class DiffAugment:
    """Colour, translation and cutout of every image, each by draws of its own.

    In a training loop of one's own, both players' losses see augmented images, and gradients pass through::

        augment = DiffAugment()
        critic_loss = F.softplus(D(augment(fake.detach()))).mean() + F.softplus(-D(augment(real))).mean()
        ...
        generator_loss = F.softplus(-D(augment(G(z)))).mean()

    policy: any of color (brightness + U(-½, ½), then saturation × U(0, 2), then contrast × U(½, 1½)), translation (by
    up to 1/8 of each side, zeros beyond) and cutout (zeros in a rectangle of half the sides), done in this order.
    Zhao et al. 2020, arXiv:2006.10738, Section 4; the ranges are those of the authors' code.
    """

    def __init__(self, policy: tuple[str, ...] = POLICIES) -> None:
        unknown = [name for name in policy if name not in POLICIES]
        if unknown or not policy:
            raise ValueError(f"DiffAugment's policy is made of {', '.join(POLICIES)}, got {policy}; name one or more")
        self.policy = policy

    def draws(self, clock: Numbers, n: int, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """All that n images are changed by, uniform, [n, ...]; shape: of an image (C, H, W)."""
        return {name: clock.uniform(n, 3 if name == "color" else 2) for name in self.policy}

    def __call__(self, x: Tensor, draws: dict[str, Tensor] | None = None) -> Tensor:
        """x [B, C, H, W] in [-1, 1], augmented; colour may leave that range.

        draws: of `draws`, or None for torch's global generator. Returns the shape and type of x.
        """
        if draws is None:
            draws = self.draws(GlobalNumbers(x.device), len(x), tuple(x.shape[1:]))
        y = x if x.dtype == torch.float64 else x.float()
        u = checked(draws, y)
        for name in self.policy:
            y = {"color": _color, "translation": _translation, "cutout": _cutout}[name](y, u[name])
        return y.to(x.dtype)


def _color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness, saturation, contrast. u: [B, 3]."""
    brightness, saturation, contrast = u[..., None, None, None].unbind(1)
    x = x + (brightness - 0.5)
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def _translation(x: Tensor, u: Tensor) -> Tensor:
    """Moves by whole pixels, down and to the right. u: [B, 2]."""
    sides = x.shape[2:]
    most = [int(side / 8 + 0.5) for side in sides]
    rows, columns = (
        torch.arange(side, device=x.device) - whole(u[:, i, None], -reach, reach)
        for i, (side, reach) in enumerate(zip(sides, most, strict=True))
    )  # [B, H], [B, W]: where each pixel comes from
    seen = _within(rows, 0, sides[0]).unsqueeze(2) & _within(columns, 0, sides[1]).unsqueeze(1)
    moved = take(x, rows.clamp(0, sides[0] - 1).unsqueeze(2), columns.clamp(0, sides[1] - 1).unsqueeze(1))
    return moved * seen.unsqueeze(1)


def _cutout(x: Tensor, u: Tensor) -> Tensor:
    """Zeros in a rectangle whose centre is anywhere in the image. u: [B, 2]."""
    hidden = []
    for i, side in enumerate(x.shape[2:]):
        size = int(side / 2 + 0.5)
        start = whole(u[:, i, None], 0, side - size % 2) - size // 2
        hidden.append(_within(torch.arange(side, device=x.device) - start, 0, size))
    rows, columns = hidden
    return x * ~(rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)


def _within(index: Tensor, low: int, high: int) -> Tensor:
    return (index >= low) & (index < high)
