"""Every image recipe at its paper's size: parameters and shapes, each number with its source.

Built by the recipe itself from its preset, on the device `meta`, which holds no numbers. Numbers that nobody printed
are sums over the layers that the source lists; such sums stand as they are summed. LOGAN has no row: its authors'
networks are BigGAN-deep's and unpublished, and ours are BigGAN's, so that there is nothing to hold them against.
"""

import dataclasses
from typing import Any, NamedTuple

import pytest
import torch
from pair import zoo
from torch import nn

from pushforward import recipes
from pushforward.data.spec import DataSpec


class Published(NamedTuple):
    """A recipe's preset, images [C, R, R], classes, parameters by player, and where the numbers come from."""

    recipe: str
    preset: str
    shape: tuple[int, int, int]
    classes: int
    counts: dict[str, int]
    source: str


def both(generator: int, critic: int) -> dict[str, int]:
    return {"generator": generator, "critic": critic}


def r3gan_block(width: int, group: int) -> int:
    """1×1 to twice the channels, a grouped 3×3, 1×1 back, and two biases."""
    return 4 * width**2 + 2 * width * group * 9 + 2 * 2 * width


R3GAN, R3GAN_WIDE = 8 * r3gan_block(768, 16), 8 * r3gan_block(1536, 32)
R3GAN_64 = R3GAN + 2 * r3gan_block(384, 16) + 768 * 384

TABLE = [
    Published(
        "gan", "paper", (1, 28, 28), 10,
        both(101 * 1200 + 1201 * 1200 + 1201 * 784, 785 * 240 * 5 + 241 * 240 * 5 + 241),
        "goodfeli/adversarial, mnist.yaml: 100 to 1200 and 1200 rectified units, 784; 240 and 240 maxout units of five",
    ),
    Published(
        "cgan", "paper", (1, 28, 28), 10,
        both(101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 784, 785 * 240 * 5 + 11 * 50 * 5 + 291 * 240 * 4 + 241),
        "1411.1784, Section 4.1: 200 see z, 1000 the class, 1200 both; 240×5 the image, 50×5 the class, 240×4 both",
    ),
    Published(
        "dcgan", "paper", (3, 64, 64), 0,
        both(
            102 * 1024 * 16 + (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) * 25 + 2 * (512 + 256 + 128),
            (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) * 25 + 2 * (256 + 512 + 1024) + 1024 * 16,
        ),
        "Newmu/dcgan_code, faces/train_uncond_dcgan.py: 100, 4×4×1024, … 32×32×128, 64×64×3, filters of 5×5; gains and "
        "shifts of 16,384 units, then of channels; no biases",
    ),
    Published(
        "lapgan", "paper", (3, 32, 32), 0,
        {
            **both(837_763, 437_889),
            "generator16": 837_763, "critic16": 76 * 128 + 3201 * 128 + 128 * 4 * 4 + 1,
            "generator8": 101 * 1200 + 1201 * 1200 + 1201 * 192, "critic8": 193 * 600 + 601 * 600 + 601,
        },
        "facebook/eyescream, train_cifar_coarse_to_fine.lua: 7×7, 7×7, 5×5 of 128 channels against 5×5, 5×5 and a "
        "linear layer; 1506.05751, Section 4: at 8×8 two hidden layers of 1200 against two of 600",
    ),
    Published(
        "sngan", "paper", (3, 32, 32), 0, both(4_276_739, 1_053_825),
        # Of the critic the authors' snresnet_32.py has one less: its last layer has no bias.
        "pfnet-research/sngan_projection, resnet_32.py (256), snresnet_32.py (128); counted by torch-mimicry 0.1.16",
    ),
    Published(
        "projection", "paper", (3, 128, 128), 1000, both(41_996_931, 30_041_857),
        "pfnet-research/sngan_projection, resnet.py, snresnet.py; counted by torch-mimicry 0.1.16 (ndf=1024)",
    ),
    Published(
        "sagan", "paper", (3, 128, 128), 1000, both(42_078_852, 30_062_338 + 9 * (1024**2 - 64**2) + 1024 - 64),
        "torch-mimicry 0.1.16 (ndf=1024), whose critic's blocks are narrow between their convolutions; wide in "
        "brain-research/self-attention-gan, discriminator_test",
    ),
    Published(
        "biggan", "paper", (3, 128, 128), 1000, both(70_433_988, 87_982_370),
        "google/compare_gan, resnet_biggan_test.py; 158.3 M in 1809.11096, Table 1, without the embedding's 128,000",
    ),
    Published(
        "progan", "paper", (3, 1024, 1024), 0, both(23_079_115, 23_087_249),
        "1710.10196, Table 2 (23.1M each); D as NVlabs/stylegan prints it, G by the layers of the authors' networks.py",
    ),
    Published(
        "stylegan", "paper", (3, 1024, 1024), 0, both(26_219_627, 23_087_249),
        "NVlabs/stylegan, README and what train.py prints; 26.2M in 1812.04948, Section 2.1",
    ),
    Published(
        "stylegan2", "paper", (3, 1024, 1024), 0, both(28_794_124 + 6 * 512 * 513, 29_012_513),
        "stylegan2-ada-pytorch prints these at --cfg=auto, with two layers of mapping; --cfg=stylegan2 has six more",
    ),
    Published(
        "stylegan2", "cifar10", (3, 32, 32), 10,
        both(2 * 262_656 + 512 * 16 + 7 * 2_622_465 + 4 * 264_195, 2048 + 6 * 2_359_808 + 2_364_416 + 4_194_816 + 513),
        "stylegan2-ada-pytorch, --cfg=cifar: the same layers, all of 512 channels, no skips in D",
    ),
    Published(
        "r3gan", "cifar10", (3, 32, 32), 10,
        both(
            10 * 64 + 128 * 768 + 768 * 16 + R3GAN + 768 * 3, 3 * 768 + R3GAN + 768 * 16 + 768 * 768 + 10 * 768,
        ),
        "brownvc/R3GAN, train.py, CIFAR10 with --cond=1: 4 stages of 768, 96 groups, 2 blocks a stage, 64 latents",
    ),
    Published(
        "r3gan", "ffhq64", (3, 64, 64), 0,
        both(64 * 768 + 768 * 16 + R3GAN_64 + 384 * 3, 3 * 384 + R3GAN_64 + 768 * 16 + 768),
        "brownvc/R3GAN, train.py, FFHQ-64: the same, and a stage of 384 with 48 groups",
    ),
    Published(
        "r3gan", "imagenet32", (3, 32, 32), 1000,
        both(
            1000 * 64 + 128 * 1536 + 1536 * 16 + R3GAN_WIDE + 1536 * 3,
            3 * 1536 + R3GAN_WIDE + 1536 * 16 + 1536 * 1536 + 1000 * 1536,
        ),
        "brownvc/R3GAN, train.py, ImageNet-32: 4 stages of 1536, 96 groups, so that a group has 32 channels",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.recipe}-{row.preset}")
@pytest.mark.usefixtures("without_numbers")
def test_parameters_and_shapes_are_the_published_ones(row: Published) -> None:
    module = recipes.load(row.recipe)
    config = module.PRESETS[row.preset]
    if "standing" in config.__dataclass_fields__:
        config = dataclasses.replace(config, standing=None)  # statistics that need numbers
    game = module.build(config, DataSpec("some", "images", row.shape, row.classes or None))
    nets: dict[str, nn.Module] = {
        name: player.nets["G" if name.startswith("generator") else "D"] for name, player in game.players.items()
    }
    assert {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()} == row.counts
    assert (game.classes or 0) == (row.classes if config.conditioning else 0)
    n = 8  # which minibatch deviations can group
    y: Any = None if game.classes is None else torch.zeros(n, dtype=torch.int64)
    images = torch.zeros(n, *row.shape)
    assert game.sample(torch.zeros(n, *game.latent), y).shape == images.shape
    assert nets["critic"].eval()(images, y).shape == (n,)


def test_the_table_has_every_recipe_of_the_zoo() -> None:
    assert {row.recipe for row in TABLE} == {*zoo()} - {"logan"}
