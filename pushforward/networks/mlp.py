"""Multilayer perceptrons for points and small flat images, told the class at the input or, critics, at the output."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pushforward.layers.activation import LeakyReLU
from pushforward.layers.conditioning import Conditioning, one_hot


def with_class(x: Tensor, y: Tensor | None, classes: int) -> Tensor:
    """x: [B, D]; y: [B] labels. Returns [B, D + classes], the class as one-hot; x itself where classes is 0.

    Raises ValueError when a class is missing.
    """
    return x if classes == 0 else torch.cat([x, one_hot(y, classes, x)], dim=1)


def _stack(sizes: list[int], slope: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight, slope, nonlinearity="leaky_relu")
        nn.init.zeros_(linear.bias)
        layers += [linear] if i == len(sizes) - 2 else [linear, LeakyReLU(slope)]
    nn.init.normal_(layers[-1].weight, std=1 / math.sqrt(sizes[-2]))  # type: ignore[arg-type]
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> x: [B, *shape]; images end in tanh.

    `depth` hidden layers of `width` units, leaky ReLU between; initial weights of He et al. 2015, arXiv:1502.01852.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 3,
        classes: int = 0,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.layers = _stack([latent + classes, *[width] * depth, math.prod(shape)], slope)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.layers(with_class(z, y, self.classes)).view(len(z), *self.shape)
        return x.tanh() if len(self.shape) == 3 else x


class Critic(nn.Module):
    """x: [B, *shape] (and y: [B]) -> logits [B]; `depth` hidden layers of `width` units, leaky ReLU between.

    outputs: where more than 1, features [B, outputs] in place of logits. conditioning: how the class enters, where
    there are `classes`: beside x, or as a projection of what the last layer sees (`layers/conditioning.Head`).
    Raises ValueError for a projection of several outputs.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 3,
        classes: int = 0,
        slope: float = 0.2,
        outputs: int = 1,
        conditioning: Conditioning = "concatenation",
    ) -> None:
        super().__init__()
        self.classes = classes if conditioning == "concatenation" else 0
        self.layers = _stack([math.prod(shape) + self.classes, *[width] * depth, outputs], slope)
        self.embed = None
        if classes and conditioning == "projection":
            if outputs != 1:
                raise ValueError(f"projection tells the class to a logit, got {outputs} outputs; give concatenation")
            features = width if depth else math.prod(shape)
            self.embed = nn.Linear(classes, features, bias=False)
            nn.init.normal_(self.embed.weight, std=1 / math.sqrt(features))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = with_class(x.flatten(1), y, self.classes)
        if self.embed is None:
            return self.layers(x).squeeze(1)
        h = self.layers[:-1](x)
        return self.layers[-1](h).squeeze(1) + (self.embed(one_hot(y, self.embed.in_features, h)) * h).sum(1)
