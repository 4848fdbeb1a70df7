"""DINOv2: features learnt without labels, in which Fréchet distances agree better with people than in Inception's."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pushforward.encoders.encoder import IMAGENET, Encoder
from pushforward.encoders.resize import Mode
from pushforward.encoders.vit import HEAD, Shape, ViT, built, depth_of
from pushforward.encoders.weights import Tell, find, read, taken

SIDE, PATCH = 224, 14
# Of a patch: the authors' code asks for 16.1 of 37 positions, and so reads them a little off. Published distances have
# it; without it features move by 4 % (at random weights).
OFFSET = 0.1
REMEDY = "use dinov2_vitl14_pretrain.pth or dinov2_vitb14_pretrain.pth"
BLOCKS = {"dinov2": (1024, 24), "dinov2-b": (768, 12)}  # (width, depth)


def network_from(tensors: dict[str, Tensor], side: int = SIDE) -> ViT:
    """The network with published weights, `blocks.0.attn.qkv.weight` and so on, for images of `side` pixels.

    Width and depth are read from the tensors. The layer scale is multiplied into the layer before it, and positions
    are interpolated once. Raises ValueError, naming the tensor, if one is missing or of another shape.
    """
    width = taken(tensors, "cls_token", (1, 1, None), REMEDY).shape[2]
    if width % HEAD:
        raise ValueError(f"a DINOv2's width is a multiple of {HEAD}, got {width}; {REMEDY}")
    hidden = taken(tensors, "blocks.0.mlp.fc1.weight", (None, width), REMEDY).shape[0]
    shape = Shape(width, depth_of(tensors, "blocks."), PATCH, side // PATCH, hidden, eps=1e-6)
    state = {
        "patches.weight": taken(tensors, "patch_embed.proj.weight", (width, 3, PATCH, PATCH), REMEDY),
        "patches.bias": taken(tensors, "patch_embed.proj.bias", (width,), REMEDY),
        "token": taken(tensors, "cls_token", (1, 1, width), REMEDY).flatten(),
        "position": _positions(taken(tensors, "pos_embed", (1, None, width), REMEDY)[0], shape.grid),
        "norm.weight": taken(tensors, "norm.weight", (width,), REMEDY),
        "norm.bias": taken(tensors, "norm.bias", (width,), REMEDY),
    }
    for i in range(shape.depth):
        state |= _block(tensors, i, width, hidden)
    return built(shape, state)


def _block(tensors: dict[str, Tensor], i: int, width: int, hidden: int) -> dict[str, Tensor]:
    def part(name: str, *shape: int) -> Tensor:
        return taken(tensors, f"blocks.{i}.{name}", shape, REMEDY)

    scale1, scale2 = part("ls1.gamma", width), part("ls2.gamma", width)
    own = {
        "qkv.weight": part("attn.qkv.weight", 3 * width, width),
        "qkv.bias": part("attn.qkv.bias", 3 * width),
        "out.weight": part("attn.proj.weight", width, width) * scale1[:, None],
        "out.bias": part("attn.proj.bias", width) * scale1,
        "up.weight": part("mlp.fc1.weight", hidden, width),
        "up.bias": part("mlp.fc1.bias", hidden),
        "down.weight": part("mlp.fc2.weight", width, hidden) * scale2[:, None],
        "down.bias": part("mlp.fc2.bias", width) * scale2,
    }
    own |= {f"norm{j}.{kind}": part(f"norm{j}.{kind}", width) for j in (1, 2) for kind in ("weight", "bias")}
    return {f"blocks.{i}.{name}": value for name, value in own.items()}


def _positions(table: Tensor, grid: int) -> Tensor:
    """The learnt positions [1 + old², W] at another number of patches, as the authors' code reads them."""
    old = round((len(table) - 1) ** 0.5)
    if old * old != len(table) - 1:
        raise ValueError(f"pos_embed must have 1 + n² rows, got {len(table)}; {REMEDY}")
    if old == grid:
        return table
    square = table[1:].view(1, old, old, -1).permute(0, 3, 1, 2)
    factor = (grid + OFFSET) / old
    scaled = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], scaled[0].flatten(1).T])


def dinov2(
    name: str = "dinov2",
    file: Path | None = None,
    download: bool = False,
    resize: Mode = "clean",
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Encoder:
    """DINOv2's class token: `dinov2` is ViT-L/14 [N, 1024], as FD-DINOv2 is defined, `dinov2-b` ViT-B/14 [N, 768].

    224 pixels, ImageNet's mean and deviation. Stein et al. 2023, arXiv:2306.04675, App. A; their default rounds to
    bytes after the resize, `clean` does not. Oquab et al. 2023, arXiv:2304.07193.
    Raises ValueError if the weights are not found (see `weights.find`) or are of another network.
    """
    found, where = find(name, file, download, tell), torch.device(device)
    network = network_from(read(found.path))
    got = (network.shape.width, network.shape.depth)
    if got != BLOCKS[name]:
        raise ValueError(f"{name} has (width, depth) {BLOCKS[name]}, got {got} from {found.path}; name the other one")
    return Encoder(name, network.to(where), got[0], (SIDE, SIDE), lambda _: IMAGENET, resize, found.sha256, where)
