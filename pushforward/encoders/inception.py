"""The Inception-v3 of 2015-12-05, in which all published FIDs and Inception Scores are measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.encoders.encoder import Encoder, Scale
from pushforward.encoders.resize import Mode
from pushforward.encoders.weights import Tell, find, read, taken

SIDE, WIDTH, CLASSES = 299, 2048, 1008
REMEDY = "use pt_inception-2015-12-05-6726825d.pth"
EPS = 1e-3  # of the batch normalisation, not torch's 1e-5


@dataclass(frozen=True)
class Conv:
    """A convolution, batch normalisation and ReLU, by the name that the published weights give it.

    padding None: the size stays, or with a stride nothing is added, as in all but the first few.
    """

    name: str
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int | None = None

    def layer(self, inputs: int) -> nn.Conv2d:
        (high, wide), p = self.kernel, self.padding
        same = (0, 0) if self.stride > 1 else (high // 2, wide // 2)
        return nn.Conv2d(inputs, self.outputs, self.kernel, self.stride, same if p is None else p)


Pool = Literal["mean", "max", "max /2"]  # over 3×3, the size stays or is halved
Fork = tuple[Conv, Conv]  # two that read the same, their outputs one after the other
Branch = tuple[Conv | Fork | Pool, ...]

STEM: Branch = (
    Conv("Conv2d_1a_3x3", 32, (3, 3), 2),
    Conv("Conv2d_2a_3x3", 32, (3, 3), padding=0),
    Conv("Conv2d_2b_3x3", 64, (3, 3)),
    "max /2",
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, (3, 3), padding=0),
    "max /2",
)


def _at_35(pooled: int) -> tuple[Branch, ...]:
    triple = (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3)))
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        triple,
        ("mean", Conv("branch_pool", pooled)),
    )


def _at_17(c: int) -> tuple[Branch, ...]:
    row, column = (1, 7), (7, 1)
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", c), Conv("branch7x7_2", c, row), Conv("branch7x7_3", 192, column)),
        (
            Conv("branch7x7dbl_1", c),
            Conv("branch7x7dbl_2", c, column),
            Conv("branch7x7dbl_3", c, row),
            Conv("branch7x7dbl_4", c, column),
            Conv("branch7x7dbl_5", 192, row),
        ),
        ("mean", Conv("branch_pool", 192)),
    )


def _at_8(pool: Pool) -> tuple[Branch, ...]:
    def fork(name: str) -> Fork:
        return Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1))

    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
        (pool, Conv("branch_pool", 192)),
    )


TO_17: tuple[Branch, ...] = (
    (Conv("branch3x3", 384, (3, 3), 2),),
    (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3), 2)),
    ("max /2",),
)
TO_8: tuple[Branch, ...] = (
    (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2)),
    (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, (1, 7)),
        Conv("branch7x7x3_3", 192, (7, 1)),
        Conv("branch7x7x3_4", 192, (3, 3), 2),
    ),
    ("max /2",),
)
# The published graph pools by the maximum in its very last block, where every other one takes the mean.
BLOCKS: tuple[tuple[str, tuple[Branch, ...]], ...] = (
    *(("Mixed_5b", _at_35(32)), ("Mixed_5c", _at_35(64)), ("Mixed_5d", _at_35(64)), ("Mixed_6a", TO_17)),
    *(("Mixed_6b", _at_17(128)), ("Mixed_6c", _at_17(160)), ("Mixed_6d", _at_17(160)), ("Mixed_6e", _at_17(192))),
    *(("Mixed_7a", TO_8), ("Mixed_7b", _at_8("mean")), ("Mixed_7c", _at_8("max"))),
)


class Mixed(nn.Module):
    """Branches that read the same x [B, C, H, W]; what they make stands one after the other among the channels."""

    def __init__(self, inputs: int, branches: tuple[Branch, ...]) -> None:
        super().__init__()
        self.branches = branches
        self.layers = nn.ModuleDict()
        self.outputs = sum(self._add(branch, inputs) for branch in branches)

    def _add(self, branch: Branch, inputs: int) -> int:
        for step in branch:
            if not isinstance(step, str):
                convs = step if isinstance(step, tuple) else (step,)
                self.layers.update({conv.name: conv.layer(inputs) for conv in convs})
                inputs = sum(conv.outputs for conv in convs)
        return inputs

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._through(branch, x) for branch in self.branches], 1)

    def _through(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, str):
                x = _pooled(x, step)
            elif isinstance(step, tuple):
                x = torch.cat([F.relu_(self.layers[conv.name](x)) for conv in step], 1)
            else:
                x = F.relu_(self.layers[step.name](x))
        return x


def _pooled(x: Tensor, pool: Pool) -> Tensor:
    if pool == "mean":  # TensorFlow's mean at the border counts no padding
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return F.max_pool2d(x, 3, 1, 1) if pool == "max" else F.max_pool2d(x, 3, 2)


class Inception(nn.Module):
    """x [B, 3, 299, 299] in about [−1, 1] to features [B, 2048], not negative, and logits [B, 1008] without the bias.

    Szegedy et al. 2015, arXiv:1512.00567, as published on 2015-12-05: the logits leave out the last layer's bias, as
    every published Inception Score does. Each batch normalisation is multiplied into the convolution before it.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks, inputs = [("", Mixed(3, (STEM,)))], 192
        for name, branches in BLOCKS:
            blocks.append((f"{name}.", Mixed(inputs, branches)))
            inputs = blocks[-1][1].outputs
        self.prefixes = [prefix for prefix, _ in blocks]
        self.blocks = nn.Sequential(*(block for _, block in blocks))
        self.classes = nn.Linear(WIDTH, CLASSES, bias=False)

    def layers(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """The convolutions, by their published names."""
        for prefix, block in zip(self.prefixes, self.blocks, strict=True):
            assert isinstance(block, Mixed)
            for name, layer in block.layers.items():
                assert isinstance(layer, nn.Conv2d)
                yield f"{prefix}{name}", layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.blocks(x).mean((2, 3))
        return features, self.classes(features)


def network_from(tensors: dict[str, Tensor]) -> Inception:
    """The network with published weights, `Mixed_5b.branch1x1.conv.weight` and so on, in eval mode.

    Raises ValueError, naming the tensor, if one is missing or of another shape: of another Inception.
    """
    with torch.device("meta"):  # no initial values: drawing them would take from the global generator
        network = Inception()
    for name, layer in network.layers():
        weight = taken(tensors, f"{name}.conv.weight", tuple(layer.weight.shape), REMEDY).double()
        gamma, beta, mean, variance = (
            taken(tensors, f"{name}.bn.{part}", (layer.out_channels,), REMEDY).double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / (variance + EPS).sqrt()
        folded = (weight * gain[:, None, None, None]).float().contiguous(memory_format=torch.channels_last)
        layer.weight, layer.bias = nn.Parameter(folded), nn.Parameter((beta - mean * gain).float())
    network.classes.weight = nn.Parameter(taken(tensors, "fc.weight", (CLASSES, WIDTH), REMEDY).clone())
    return network.eval().requires_grad_(False)


def scale_of(mode: Mode) -> Scale:
    """(x − 128) / 128, as in the graph; with `legacy-pytorch` 2x/255 − 1, as in the program that resizes like that."""
    return Scale((127.5,), (127.5,)) if mode == "legacy-pytorch" else Scale((128.0,), (128.0,))


def inception(
    file: Path | None = None,
    download: bool = False,
    resize: Mode = "clean",
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Encoder:
    """FID's network. `clean` is as clean-fid measures, `legacy-tf` as the original and torch-fidelity, and
    `legacy-pytorch` as pytorch-fid. Raises ValueError if its weights are not found (see `weights.find`) or not its own.
    """
    found, where = find("inception", file, download, tell), torch.device(device)
    network = network_from(read(found.path)).to(where)
    return Encoder("inception", network, WIDTH, (SIDE, SIDE), scale_of, resize, found.sha256, where)
