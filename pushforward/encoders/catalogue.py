"""The networks that are known by name."""

from pathlib import Path
from typing import Literal, get_args

import torch

from pushforward.encoders.clip import clip
from pushforward.encoders.dinov2 import dinov2
from pushforward.encoders.encoder import Encoder
from pushforward.encoders.inception import inception
from pushforward.encoders.resize import Mode
from pushforward.encoders.weights import Tell

Name = Literal["inception", "dinov2", "dinov2-b", "clip", "clip-l"]
NAMES: tuple[Name, ...] = get_args(Name)


def encoder_named(
    name: Name,
    file: Path | None = None,
    download: bool = False,
    resize: Mode = "clean",
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Encoder:
    """The encoder `name`, its weights from `file`, the cache or, only if `download`, their published address.

    Raises ValueError, in one line, for an unknown name or resize, and where the weights are missing or not its own.
    """
    if name not in NAMES:
        raise ValueError(f"a network is one of {', '.join(NAMES)}, got {name!r}; a file of your own goes by its path")
    if name == "inception":
        return inception(file, download, resize, device, tell)
    family = dinov2 if name.startswith("dinov2") else clip
    return family(name, file, download, resize, device, tell)
