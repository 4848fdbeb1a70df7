"""Arithmetic on codes: the difference between two classes, found from labels, and what adding it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.core.game import Generate
from pushforward.latent.classes import between
from pushforward.latent.generators import made, over_paths

Classify = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] -> classes [N]."""
CHECKED = 50  # codes of a class on which a difference is tried
HELD_OUT = 0.2
BY_INPUT, BY_MEAN = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0, 1.5, 2.0)  # strengths of differences


@dataclass(frozen=True)
class ClassMeans:
    """means: [K, ...], of each class's codes; counts: [K], how many they were; a class without codes has the mean 0."""

    means: Tensor
    counts: Tensor

    def difference(self, source: int, target: int) -> Tensor:
        """Mean code of `target` less that of `source`, [...]. Raises ValueError where a class has no codes."""
        for k in (source, target):
            if not 0 <= k < len(self.counts) or not self.counts[k]:
                seen = ", ".join(str(i) for i in self.counts.nonzero().flatten().tolist())
                raise ValueError(
                    f"no sample was taken for class {k} (some were for {seen}); choose another, or draw more"
                )
        return self.means[target] - self.means[source]


@dataclass(frozen=True)
class Arithmetic:
    """What comes of adding strengths [S] of the difference from `source` to `target`.

    images: [M, S, C, H, W] of some codes of the source class. reached, kept: shares [S] of `n` such codes whose images
    are taken for the target and for the source class; None where nobody said which class an image is of.
    """

    source: int
    target: int
    images: Tensor
    strengths: Tensor
    reached: Tensor | None = None
    kept: Tensor | None = None
    n: int = 0


def class_means(codes: Tensor, classes: Tensor, count: int) -> ClassMeans:
    """Means of the codes [N, ...] by class [N], of `count` classes."""
    flat = codes.flatten(1)
    classes = classes.to(codes.device)
    counts = torch.bincount(classes, minlength=count)
    sums = torch.zeros(count, flat.shape[1], device=flat.device, dtype=flat.dtype).index_add_(0, classes, flat)
    means = sums / counts.clamp_min(1)[:, None]
    return ClassMeans(means.view(count, *codes.shape[1:]), counts)


def tried(classes: Tensor, held_out: float = HELD_OUT) -> list[int]:
    """The classes [N] that both the first codes and the last, the share held out, have."""
    first = round((1 - held_out) * len(classes))
    both = (set(part.tolist()) for part in (classes[:first], classes[first:]))
    return sorted(set.intersection(*both))


def shifted(codes: Tensor, direction: Tensor, strengths: Tensor) -> Tensor:
    """codes [N, ...] + strengths [S] · direction [...], [N, S, ...]."""
    s = strengths.to(codes).view(1, -1, *[1] * (codes.dim() - 1))
    return codes[:, None] + s * direction


def add_differences(
    generate: Generate,
    codes: Tensor,
    classes: Tensor,
    pairs: Sequence[tuple[int, int]],
    strengths: Tensor,
    *,
    classify: Classify,
    y: Tensor | None = None,
    held_out: float = HELD_OUT,
    shown: int = 1,
) -> list[Arithmetic]:
    """For each pair of classes, the difference of their mean codes added to codes of the first. Images in [-1, 1].

    codes: [N, ...]; classes: [N], of their images, by `classify` or as they were asked for; y: labels [N] to generate
    with, or None. held_out: the share of the codes, the last, on which the differences of the others are tried.
    shown: images [M, ...] to return of each pair, of the first codes there are.
    No pairs give no differences. Raises ValueError where a class has no codes.
    Radford et al. 2016, arXiv:1511.06434, Section 6.3.2, with means of as many codes as there are for its three.
    """
    first = round((1 - held_out) * len(codes))
    count = max(int(classes.max()), *(max(pair) for pair in pairs), 0) + 1
    means = class_means(codes[:first], classes[:first], count)
    found = []
    for source, target in pairs:
        direction = means.difference(source, target)
        rows = first + (classes[first:] == source).nonzero().flatten()[: max(CHECKED, shown)]
        if not len(rows):
            raise ValueError(f"no sample was left of class {source} to try the difference on; draw more")
        labels = None if y is None else y[rows]
        images = over_paths(generate, shifted(codes[rows], direction, strengths), labels)
        found.append(_told(source, target, images, strengths, classify, shown))
    return found


def blend_classes(
    generate: Generate,
    codes: Tensor,
    classes: int,
    pairs: Sequence[tuple[int, int]],
    strengths: Tensor,
    *,
    classify: Classify | None = None,
    shown: int = 1,
) -> list[Arithmetic]:
    """For each pair of classes, codes [N, ...] with the first class's input, to which the difference of both is added.

    The code stays as it is; each pair shows other codes. Strength 0 is the first class, 1 the second.
    Raises NotBlendable where the generator can't be given blends.
    """
    found = []
    for i, (source, target) in enumerate(pairs):
        own = codes.roll(-i * shown, 0)[: max(CHECKED, shown) if classify else shown]
        a, b = (torch.full((len(own),), k, device=codes.device) for k in (source, target))
        y = between(a, b, classes, strengths)
        images = made(generate, own.repeat_interleave(len(strengths), 0), y).unflatten(0, (len(own), -1))
        found.append(_told(source, target, images, strengths, classify, shown))
    return found


def reached_by(found: Sequence[Arithmetic]) -> Tensor | None:
    """Shares [S] of all pairs' samples that are taken for the target class; None where nobody said of any."""
    told = [f.n * f.reached for f in found if f.reached is not None]
    return torch.stack(told).sum(0) / sum(f.n for f in found) if told else None


def in_turn(classes: Sequence[int], most: int = 10) -> list[tuple[int, int]]:
    """Pairs of each class and the next, the last with the first; at most `most`, evenly among them; none of one."""
    pairs = list(zip(classes, [*classes[1:], *classes[:1]], strict=True)) if len(classes) > 1 else []
    return pairs if len(pairs) <= most else [pairs[round(i * len(pairs) / most)] for i in range(most)]


def _told(
    source: int, target: int, images: Tensor, strengths: Tensor, classify: Classify | None, shown: int
) -> Arithmetic:
    """images: [n, S, C, H, W]; the first are shown, all are classified."""
    if classify is None:
        return Arithmetic(source, target, images[:shown], strengths)
    classes = classify(images.flatten(0, 1)).unflatten(0, images.shape[:2])  # [n, S]
    reached, kept = ((classes == k).double().mean(0) for k in (target, source))
    return Arithmetic(source, target, images[:shown], strengths, reached, kept, len(images))
