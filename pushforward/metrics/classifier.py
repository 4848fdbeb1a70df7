"""A small classifier, trained on the labelled images themselves, whose last features the metrics measure in."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from pushforward.core.seeding import torch_generator, torch_seeded

VERSION = 1  # of the architecture and its training; part of what a cached classifier is found by
SIDE = 32  # larger images are averaged down to this
BATCH = 128
HELD_OUT = 0.15
TENSORS, REST = "tensors.safetensors", "rest.json"


class Network(nn.Module):
    """Images [B, C, H, W] in [-1, 1], H, W <= 32, to features [B, F] and logits [B, K]."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        small = side <= 12
        self.width = 64 if small else 128
        body = [_convolution(channels, 32, 3 if small else 5, 1 if small else 2), _convolution(32, 32), nn.MaxPool2d(2)]
        body += [_convolution(32, 64), _convolution(64, 64)]
        if not small:
            body += [nn.MaxPool2d(2), _convolution(64, 128)]
        # Any height and width end as 4×4: what lies where still counts.
        self.body = nn.Sequential(*body, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        last = 64 if small else 128
        self.neck = nn.Sequential(nn.Linear(16 * last, self.width, bias=False), nn.BatchNorm1d(self.width), nn.ReLU())
        self.head = nn.Linear(self.width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features [B, F], F = 64 for images of up to 12×12, else 128; not negative."""
        return self.neck(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class Seen:
    """What a classifier makes of images: features [N, F] and logits [N, K], float32."""

    features: Tensor
    logits: Tensor

    @property
    def classes(self) -> Tensor:
        """The most likely class [N], int64."""
        return self.logits.argmax(1)


@dataclass(frozen=True)
class Classifier:
    """A trained network, its accuracy on `held_out` images that it never saw, and the shape [C, H, W] it takes."""

    network: Network
    accuracy: float
    held_out: int
    shape: tuple[int, int, int]
    classes: int

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Seen:
        """Features and logits of images [N, C, H, W], float32 in [-1, 1]; no row depends on another."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this classifier takes images {self.shape}, got {tuple(x.shape[1:])}; train another")
        parts = [self.network.features(_prepared(part)) for part in x.split(512)]
        features = torch.cat(parts) if parts else x.new_zeros(0, self.network.width)
        return Seen(features, self.network.head(features))

    def save(self, folder: Path) -> None:
        """Writes the classifier into an existing folder: safetensors and JSON, no pickle."""
        save_file({k: v.contiguous() for k, v in self.network.state_dict().items()}, folder / TENSORS)
        rest = {"version": VERSION, "accuracy": self.accuracy, "held_out": self.held_out}
        rest |= {"shape": self.shape, "classes": self.classes}
        (folder / REST).write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """The inverse of `save`. Raises ValueError for another version of the architecture."""
        rest = json.loads((folder / REST).read_text(encoding="utf-8"))
        if rest["version"] != VERSION:
            raise ValueError(f"{folder} must hold a classifier of version {VERSION}, got {rest['version']}; remove it")
        c, h, w = rest["shape"]
        with torch_seeded("classifier"):  # the initial weights are drawn, then overwritten
            network = Network(c, max(h, w), rest["classes"])
        network.load_state_dict(load_file(folder / TENSORS))
        return cls(_ready(network), rest["accuracy"], rest["held_out"], (c, h, w), rest["classes"])


def train_classifier(x: Tensor, y: Tensor, classes: int, seed: int = 0, rounds: int | None = None) -> Classifier:
    """Trains on images [N, C, H, W], float32 in [-1, 1], with labels [N]; 15 % are held out to tell its accuracy.

    rounds: passes over the data, by default enough for about 900 steps. The result depends on (x, y, seed) alone, and
    global generators are left as they were. Shifts by up to 1/16 of the side, noise and label smoothing (0.05) keep the
    features usable for samples that are a little off.
    Raises ValueError for fewer than 2 classes, fewer than 4 images, labels out of range, or values outside [-1, 1].
    """
    _check(x, y, classes)
    order = torch.randperm(len(x), generator=torch_generator("classifier", seed, "split"))
    held = max(round(HELD_OUT * len(x)), 1)
    test, train = order[:held], order[held:]
    batch = _batch(len(train))
    # At least 8, for large sets; at most 60, for small ones.
    rounds = rounds or min(max(math.ceil(900 * batch / len(train)), 8), 60)
    with torch_seeded("classifier", seed, "weights"):
        network = Network(x.shape[1], max(x.shape[2:]), classes)
    convert_conv2d_weight_memory_format(network, torch.channels_last)
    network = _fit(network, x, y, train, rounds, torch_generator("classifier", seed, "batches"))
    shape = (x.shape[1], x.shape[2], x.shape[3])
    trained = Classifier(network, 0.0, held, shape, classes)
    accuracy = float((trained(x[test]).classes == y[test]).double().mean())
    return Classifier(network, accuracy, held, shape, classes)


def _batch(images: int) -> int:
    """128, or an eighth of a small set, but 16 where there are as many: a batch must tell a mean and a variance."""
    return min(BATCH, max(images // 8, min(images, 16)))


@torch.enable_grad()
def _fit(network: Network, x: Tensor, y: Tensor, train: Tensor, rounds: int, stream: torch.Generator) -> Network:
    batch = _batch(len(train))
    steps = len(train) // batch  # a round's last few go into another round's batches: each has its own order
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=rounds * steps, pct_start=0.2)
    network.train()
    for _ in range(rounds):
        order = train[torch.randperm(len(train), generator=stream)]
        for rows in order[: steps * batch].split(batch):
            image = _augmented(_prepared(x[rows]), stream)
            loss = F.cross_entropy(
                network(image.contiguous(memory_format=torch.channels_last)), y[rows], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return _ready(network)


def _augmented(x: Tensor, stream: torch.Generator) -> Tensor:
    """Each image shifted by up to 1/16 of its side, edges repeated, with a little noise."""
    b, _, h, w = x.shape
    reach = max(round(max(h, w) / 16), 1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    down, right = torch.randint(0, 2 * reach + 1, (2, b, 1), generator=stream)
    rows, columns = down + torch.arange(h), right + torch.arange(w)  # [B, H], [B, W]
    shifted = padded[torch.arange(b)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [B, H, W, C]
    return shifted.permute(0, 3, 1, 2) + 0.05 * torch.randn(x.shape, generator=stream)


def _prepared(x: Tensor) -> Tensor:
    """Images no larger than the network takes, averaged over areas."""
    h, w = x.shape[2:]
    return x if max(h, w) <= SIDE else F.adaptive_avg_pool2d(x, (min(h, SIDE), min(w, SIDE)))


def _ready(network: Network) -> Network:
    convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network.eval().requires_grad_(False)


def _convolution(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())


def _check(x: Tensor, y: Tensor, classes: int) -> None:
    if x.ndim != 4 or y.shape != x.shape[:1]:
        raise ValueError(f"training needs images [N, C, H, W] and N labels, got {tuple(x.shape)}, {tuple(y.shape)}")
    if classes < 2 or len(x) < 4:
        raise ValueError(f"a classifier needs 2 classes and 4 images at least, got {classes} and {len(x)}; add some")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"labels must be 0 to {classes - 1}, got {int(y.min())} to {int(y.max())}; renumber them")
    if not bool(((x >= -1) & (x <= 1)).all()):
        raise ValueError(f"images must be in [-1, 1], got {float(x.min()):.4g} to {float(x.max()):.4g}; rescale them")
