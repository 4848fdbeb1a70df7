"""A generator and a critic for whatever kind of data: the recipe's own networks on images, perceptrons on points."""

from types import ModuleType

from torch import nn

from pushforward.networks import mlp


def pair(kind: str, images: ModuleType, latent: int, shape: tuple[int, ...], width: int) -> tuple[nn.Module, nn.Module]:
    """(G, D) of the module `images` for images [C, R, R], of `mlp` for anything else; width: as the module means it."""
    networks = images if kind == "images" else mlp
    return networks.Generator(latent, shape, width), networks.Critic(shape, width)
