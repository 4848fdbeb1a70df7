"""What several tests of recipes need."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pushforward.layers import spectral


@pytest.fixture
def without_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks are built on the device `meta`, where they have shapes and no numbers, and cost nothing at any size."""
    # One-hot looks at its labels, and a spectral norm at its weights, which on this device nothing can.
    monkeypatch.setattr(spectral, "SpectralNorm", lambda weight, outputs: nn.Identity())
    monkeypatch.setattr(F, "one_hot", lambda y, classes: y.new_zeros(len(y), classes))
    with torch.device("meta"):
        yield
