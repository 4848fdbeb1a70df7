"""The perceptrons of the first GANs: rectifiers in the generator, maxout with dropout in the critic.

Goodfellow et al. 2014, arXiv:1406.2661 (its sizes are those of the authors' code for MNIST); with classes Mirza &
Osindero 2014, arXiv:1411.1784, Section 4.1, where noise, image and class have a hidden layer each before they are
joined. Differs from the papers: tanh for the sigmoid; no dropout in the conditional generator; a uniform initialisation
for the conditional ones too.
"""

import math

import torch
from torch import Tensor, nn

from pushforward.layers.conditioning import Conditioning, Head, one_hot
from pushforward.layers.maxout import Maxout


def _init(net: nn.Module, limit: float) -> None:
    """Weights U(−limit, limit), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -limit, limit)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> x: [B, *shape]; two hidden layers of `width` units, images end in tanh.

    With `classes` a sixth of the first layer's units see z and the others the class.
    """

    def __init__(self, latent: int, shape: tuple[int, ...], width: int = 1200, classes: int = 0) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        own = max(1, width // 6) if classes else width
        self.noise = nn.Linear(latent, own)
        self.told = nn.Linear(classes, width - own) if classes else None
        self.joint, self.last = nn.Linear(width, width), nn.Linear(width, math.prod(shape))
        _init(self, 0.05)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.noise(z)
        if self.told is not None:
            h = torch.cat([h, self.told(one_hot(y, self.classes, z))], dim=1)
        x = self.last(self.joint(h.relu()).relu()).view(len(z), *self.shape)
        return x.tanh() if len(self.shape) == 3 else x


class Critic(nn.Module):
    """x: [B, *shape] (and y: [B]) -> logits [B]; two hidden layers of `width` / 5 maxout units of five pieces.

    With `classes`, by concatenation: `width` / 24 further units see the class, and the second layer, of four pieces,
    sees both; by projection: only the last layer is told. Dropout: a fifth of x, half of what each later layer sees.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 1200,
        classes: int = 0,
        conditioning: Conditioning = "concatenation",
    ) -> None:
        super().__init__()
        units, about_y = max(1, width // 5), max(1, width // 24)
        self.classes = classes if conditioning == "concatenation" else 0
        self.image = Maxout(math.prod(shape), units)
        self.told = Maxout(classes, about_y) if self.classes else None
        self.joint = Maxout(units + about_y, units, pieces=4) if self.classes else Maxout(units, units)
        self.last = Head(units, classes if conditioning == "projection" else 0)
        self.drop_image, self.drop_hidden = nn.Dropout(0.2), nn.Dropout(0.5)
        _init(self, 0.005)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.image(self.drop_image(x.flatten(1)))
        if self.told is not None:
            h = torch.cat([h, self.told(one_hot(y, self.classes, h))], dim=1)
        return self.last(self.drop_hidden(self.joint(self.drop_hidden(h))), y)
