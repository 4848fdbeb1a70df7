"""An encoder: bytes of any size in, features out, one row an image, whatever the batch."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pushforward.encoders.resize import Mode, resized

VERSION = 1  # of all that is done to pixels before a network sees them; part of every fingerprint

Image = Tensor | NDArray[np.uint8]
Images = Tensor | Iterable[Image]


@dataclass(frozen=True)
class Encoded:
    """What a network makes of images: features [N, D] and, of a network with classes, logits [N, K]; float32, CPU."""

    features: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class Scale:
    """Pixels 0 to 255 become (x − shift) / unit, channel by channel or alike for all."""

    shift: tuple[float, ...]
    unit: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        shift, unit = (x.new_tensor(v).view(-1, 1, 1) for v in (self.shift, self.unit))
        return (x - shift) / unit


def standardised(mean: tuple[float, ...], std: tuple[float, ...]) -> Scale:
    """The scale that takes pixels to 0–1, then to mean 0 and deviation 1 by a training set's `mean` and `std`."""
    return Scale(tuple(255 * m for m in mean), tuple(255 * s for s in std))


IMAGENET = standardised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Encoder:
    """A frozen network and everything that is done to an image before it.

    network: images [B, C, height, width], scaled, to features [B, D] and logits [B, K] or None; in eval mode.
    size: (height, width) of what it takes. channels: 3, or 1 for a network of grey images.
    scale: from the way of resizing to what is done with the pixels. resize: the way in use.
    weights: SHA-256 of the file of weights, or for a module in memory of its state.
    """

    name: str
    network: nn.Module
    width: int
    size: tuple[int, int]
    scale: Callable[[Mode], Scale]
    resize: Mode
    weights: str
    device: torch.device
    channels: int = 3

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, the size, the resize, the scale and the version of this code: a key to cache by."""
        parts = (VERSION, self.name, self.weights, self.size, self.channels, self.resize, self.scale(self.resize))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def with_resize(self, mode: Mode) -> "Encoder":
        """The same network behind another way of resizing."""
        return replace(self, resize=mode)

    @torch.no_grad()
    def encode(self, images: Images, batch: int = 32) -> Encoded:
        """Features and logits of uint8 images, in their order; none is left out, and the last batch may be small.

        images: a tensor [N, C, H, W], or one at a time, of any sizes: tensors [C, H, W], arrays [H, W] or [H, W, C].
        Grey becomes three equal channels. An image of another shape is stretched to the network's, not cropped.
        batch: how many go through the network at once; the result depends on it by rounding alone.
        Raises ValueError, with the image's number, for another dtype or number of channels.
        """
        if batch < 1:
            raise ValueError(f"a batch holds at least 1 image, got {batch}")
        if isinstance(images, Tensor) and images.ndim != 4:
            raise ValueError(f"a tensor of images is [N, C, H, W], got {tuple(images.shape)}; add the missing axes")
        source = (_checked(image, self.channels, i) for i, image in enumerate(images))
        features: list[Tensor] = []
        logits: list[Tensor] = []
        with torch.autocast(self.device.type, enabled=False):  # half precision around us is not the network's
            while part := list(islice(source, batch)):
                made, scores = self.network(self._prepared(part))
                features.append(made.float().cpu())
                if scores is not None:
                    logits.append(scores.float().cpu())
        if not features:
            return Encoded(torch.zeros(0, self.width), None)
        return Encoded(torch.cat(features), torch.cat(logits) if logits else None)

    @torch.no_grad()
    def of_floats(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, C, H, W] of 0 to 255 that are finer than bytes, as small steps need them."""
        where = torch.device("cpu") if self.device.type == "mps" else self.device  # no float64 there
        x = resized(images.to(where), self.size, self.resize).expand(-1, self.channels, -1, -1).to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            return self.network(self.scale(self.resize)(x))[0].float().cpu()

    def _prepared(self, part: list[Tensor]) -> Tensor:
        where = torch.device("cpu") if self.device.type == "mps" else self.device  # no float64 there
        runs: Iterator[Tensor] = (
            torch.stack(list(run)).to(where) for _, run in groupby(part, lambda image: image.shape)
        )
        x = torch.cat([resized(run, self.size, self.resize).expand(-1, self.channels, -1, -1) for run in runs])
        return self.scale(self.resize)(x.to(self.device)).contiguous(memory_format=torch.channels_last)


def _checked(image: Image, channels: int, number: int) -> Tensor:
    """One image as a uint8 tensor [C, H, W], C = 1 or `channels`."""
    if isinstance(image, Tensor):
        x = image
    else:
        array = np.asarray(image)
        # A copy where torch cannot take the array as it is: read-only memory, or rows that run backwards.
        x = torch.from_numpy(np.ascontiguousarray(array) if array.flags.writeable else array.copy())
        x = x[None] if x.ndim == 2 else x.permute(2, 0, 1) if x.ndim == 3 else x
    if x.dtype != torch.uint8:
        raise ValueError(f"image {number} must be bytes (uint8, 0 to 255), got {x.dtype}; round it to bytes first")
    if x.ndim != 3 or x.shape[0] not in {1, channels} or 0 in x.shape:
        wants = "1 channel" if channels == 1 else f"1 or {channels} channels"
        raise ValueError(
            f"image {number} must have {wants}, as a tensor [C, H, W] or an array [H, W, C], got {tuple(image.shape)}"
        )
    return x
