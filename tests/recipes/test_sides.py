"""Which images the recipes of the zoo make: squares of every power of two, grey or in colour, or a refusal."""

import pytest
import torch
from pair import zoo
from small import small

from pushforward import recipes
from pushforward.data.spec import DataSpec

REFUSED = {
    4: {"cgan", "dcgan", "sngan", "projection", "sagan", "biggan", "logan"},  # which double their first map
    1024: {"biggan", "logan"},  # whose papers' networks end at 512
}


@pytest.mark.usefixtures("without_numbers")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [4, 8, 16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("name", zoo())
def test_every_power_of_two_has_networks_of_its_own_or_a_reason(name: str, side: int, channels: int) -> None:
    spec = DataSpec("some", "images", (channels, side, side), 3)
    changes = {"latent": 16, "standing": None} if name in ("biggan", "logan") else {}  # each block takes a part of z
    config = small(name, "images", conditioning="projection", **changes)
    if name in REFUSED.get(side, ()):
        with pytest.raises(ValueError, match=f"{side}×{side}") as caught:
            recipes.load(name).build(config, spec)
        assert ";" in str(caught.value)  # and a remedy
        return
    game = recipes.load(name).build(config, spec)
    y, images = torch.zeros(8, dtype=torch.int64), torch.zeros(8, *spec.shape)
    assert game.sample(torch.zeros(8, *game.latent), y).shape == images.shape
    assert game.critic is not None
    assert game.critic(images, y).shape == (8,)
