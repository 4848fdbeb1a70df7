"""Weights and images that any program can make alike, from NumPy's raw PCG64 stream, which never changes, by name."""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pushforward.encoders.inception import Inception


def uniform(name: str, count: int) -> np.ndarray:
    """`count` numbers in [0, 1), float64, of `name` alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return (np.random.PCG64(seed).random_raw(count) >> np.uint64(11)) * 2.0**-53


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """A value for the parameter or buffer `name` that keeps activations near 1 in a deep network."""
    u = uniform(name, math.prod(shape)).reshape(shape)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        value = 0.5 + u
    elif last == "gamma":
        value = 0.1 + 0.4 * u
    elif len(shape) >= 2:
        value = (u - 0.5) * math.sqrt(12 * 1.7 / math.prod(shape[1:])) if shape[0] != 1 else u - 0.5
    elif last == "weight":
        value = 0.8 + 0.4 * u
    else:
        value = 0.4 * (u - 0.5)
    return torch.from_numpy(value.astype(np.float32))


def weights(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    return {name: weight(name, shape) for name, shape in shapes}


def inception_shapes() -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published file."""
    with torch.device("meta"):
        layers = list(Inception().layers())
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for name, layer in layers:
        shapes.append((f"{name}.conv.weight", tuple(layer.weight.shape)))
        shapes += [(f"{name}.bn.{p}", (layer.out_channels,)) for p in ("weight", "bias", "running_mean", "running_var")]
    return [*shapes, ("fc.weight", (1008, 2048)), ("fc.bias", (1008,))]


def dinov2_shapes(width: int, depth: int, positions: int = 37) -> list[tuple[str, tuple[int, ...]]]:
    w = width
    shapes: list[tuple[str, tuple[int, ...]]] = [
        *(("cls_token", (1, 1, w)), ("pos_embed", (1, 1 + positions**2, w)), ("mask_token", (1, w))),
        *(("patch_embed.proj.weight", (w, 3, 14, 14)), ("patch_embed.proj.bias", (w,))),
        *(("norm.weight", (w,)), ("norm.bias", (w,))),
    ]
    block: list[tuple[str, tuple[int, ...]]] = [
        *(("norm1.weight", (w,)), ("norm1.bias", (w,)), ("norm2.weight", (w,)), ("norm2.bias", (w,))),
        *(("attn.qkv.weight", (3 * w, w)), ("attn.qkv.bias", (3 * w,))),
        *(("attn.proj.weight", (w, w)), ("attn.proj.bias", (w,)), ("ls1.gamma", (w,)), ("ls2.gamma", (w,))),
        *(("mlp.fc1.weight", (4 * w, w)), ("mlp.fc1.bias", (4 * w,))),
        *(("mlp.fc2.weight", (w, 4 * w)), ("mlp.fc2.bias", (w,))),
    ]
    return shapes + [(f"blocks.{i}.{name}", shape) for i in range(depth) for name, shape in block]


def clip_shapes(width: int, depth: int, patch: int, grid: int, outputs: int) -> list[tuple[str, tuple[int, ...]]]:
    w, v = width, "vision_model."
    shapes: list[tuple[str, tuple[int, ...]]] = [
        *((f"{v}embeddings.class_embedding", (w,)), (f"{v}embeddings.patch_embedding.weight", (w, 3, patch, patch))),
        *((f"{v}embeddings.position_embedding.weight", (1 + grid**2, w)), ("visual_projection.weight", (outputs, w))),
        *((f"{v}{n}.{k}", (w,)) for n in ("pre_layrnorm", "post_layernorm") for k in ("weight", "bias")),
    ]
    for i in range(depth):
        layer = f"{v}encoder.layers.{i}."
        shapes += [(f"{layer}layer_norm{j}.{k}", (w,)) for j in (1, 2) for k in ("weight", "bias")]
        for p in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes += [(f"{layer}self_attn.{p}.weight", (w, w)), (f"{layer}self_attn.{p}.bias", (w,))]
        shapes += [(f"{layer}mlp.fc1.weight", (4 * w, w)), (f"{layer}mlp.fc1.bias", (4 * w,))]
        shapes += [(f"{layer}mlp.fc2.weight", (w, 4 * w)), (f"{layer}mlp.fc2.bias", (w,))]
    return shapes


def image(height: int, width: int, channels: int = 3) -> Tensor:
    """A uint8 image [C, H, W] with large shapes and fine noise."""
    u = uniform(f"image {height}x{width}x{channels}", channels * height * width).reshape(channels, height, width)
    rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
    phase = 2.1 * np.arange(channels)[:, None, None]
    waves = np.sin(7 * rows + phase) * np.cos(5 * columns - phase)
    return torch.from_numpy(np.clip(128 + 80 * waves + 90 * (u - 0.5), 0, 255).astype(np.uint8))
