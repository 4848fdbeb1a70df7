"""What the latent tools draw, before it becomes a picture with words on it."""

from typing import Any

import pytest
from PIL import Image
from torch import Tensor

from pushforward.latent import searches, tools
from pushforward.latent.sheets import sheet


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The grids of images [R, N, C, H, W] that become sheets during the test."""
    found: list[Tensor] = []

    def seen(images: Tensor, *given: Any, **named: Any) -> Image.Image:
        found.append(images)
        return sheet(images, *given, **named)

    for module in (searches, tools):
        monkeypatch.setattr(module, "sheet", seen)
    return found
