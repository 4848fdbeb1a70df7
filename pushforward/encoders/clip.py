"""CLIP's image tower: features learnt from captions."""

from pathlib import Path

import torch
from torch import Tensor

from pushforward.encoders.encoder import Encoder, standardised
from pushforward.encoders.resize import Mode
from pushforward.encoders.vit import HEAD, Shape, ViT, built, depth_of
from pushforward.encoders.weights import Tell, find, read, taken

SCALE = standardised((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
REMEDY = "use the published clip-vit-base-patch32 or clip-vit-large-patch14"
TOWERS = {"clip": (768, 12, 32), "clip-l": (1024, 24, 14)}  # (width, depth, patch)
TOWER, LAYERS = "vision_model.", "vision_model.encoder.layers."


def network_from(tensors: dict[str, Tensor]) -> ViT:
    """The image tower with its projection, from published weights (`vision_model.…`, `visual_projection.weight`).

    Shapes are read from the tensors; those of the text tower are passed over. Raises ValueError, naming the tensor, if
    one is missing or of another shape.
    """
    patches = taken(tensors, f"{TOWER}embeddings.patch_embedding.weight", (None, 3, None, None), REMEDY)
    width, _, patch, _ = patches.shape
    if width % HEAD:
        raise ValueError(f"a CLIP tower's width is a multiple of {HEAD}, got {width}; {REMEDY}")
    positions = taken(tensors, f"{TOWER}embeddings.position_embedding.weight", (None, width), REMEDY)
    hidden = taken(tensors, f"{LAYERS}0.mlp.fc1.weight", (None, width), REMEDY).shape[0]
    projection = taken(tensors, "visual_projection.weight", (None, width), REMEDY)
    grid = round((len(positions) - 1) ** 0.5)
    shape = Shape(width, depth_of(tensors, LAYERS), patch, grid, hidden, 1e-5, len(projection), True, True)
    state = {
        "patches.weight": patches,
        "patches.bias": torch.zeros(width),
        "token": taken(tensors, f"{TOWER}embeddings.class_embedding", (width,), REMEDY),
        "position": positions,
        "project.weight": projection,
    }
    for own, theirs in (("first", "pre_layrnorm"), ("norm", "post_layernorm")):  # their spelling
        for kind in ("weight", "bias"):
            state[f"{own}.{kind}"] = taken(tensors, f"{TOWER}{theirs}.{kind}", (width,), REMEDY)
    for i in range(shape.depth):
        state |= _block(tensors, i, width, hidden)
    return built(shape, state)


def _block(tensors: dict[str, Tensor], i: int, width: int, hidden: int) -> dict[str, Tensor]:
    sizes = {"out": (width, width), "up": (hidden, width), "down": (width, hidden)}
    names = {"out": "self_attn.out_proj", "up": "mlp.fc1", "down": "mlp.fc2"}
    state = {}
    for kind in ("weight", "bias"):
        parts = [
            taken(tensors, f"{LAYERS}{i}.self_attn.{p}_proj.{kind}", (width, width)[: 1 + (kind == "weight")], REMEDY)
            for p in "qkv"
        ]
        state[f"qkv.{kind}"] = torch.cat(parts)
        for own, theirs in names.items():
            shape = sizes[own] if kind == "weight" else sizes[own][:1]
            state[f"{own}.{kind}"] = taken(tensors, f"{LAYERS}{i}.{theirs}.{kind}", shape, REMEDY)
        for j in (1, 2):
            state[f"norm{j}.{kind}"] = taken(tensors, f"{LAYERS}{i}.layer_norm{j}.{kind}", (width,), REMEDY)
    return {f"blocks.{i}.{name}": value for name, value in state.items()}


def clip(
    name: str = "clip",
    file: Path | None = None,
    download: bool = False,
    resize: Mode = "clean",
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Encoder:
    """CLIP's image embedding, projected, not normalised: `clip` is ViT-B/32 [N, 512], `clip-l` ViT-L/14 [N, 768].

    Radford et al. 2021, arXiv:2103.00020; ViT-B/32 as in Kynkäänniemi et al. 2022, arXiv:2203.06026, §4.
    Differs from its own preprocessing: an image that is not square is stretched, not cropped, as FID does.
    Raises ValueError if the weights are not found (see `weights.find`) or are of another network.
    """
    found, where = find(name, file, download, tell), torch.device(device)
    network = network_from(read(found.path))
    shape = network.shape
    got = (shape.width, shape.depth, shape.patch)
    if got != TOWERS[name]:
        raise ValueError(
            f"{name} has (width, depth, patch) {TOWERS[name]}, got {got} from {found.path}; name the other"
        )
    side = shape.patch * shape.grid
    return Encoder(
        name,
        network.to(where),
        shape.outputs or shape.width,
        (side, side),
        lambda _: SCALE,
        resize,
        found.sha256,
        where,
    )
