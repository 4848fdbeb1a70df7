"""The class as something that codes move through: blends of classes, and grids with a row a class."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pushforward.core.game import Generate
from pushforward.latent.generators import made


class NotBlendable(ValueError):
    """A generator uses labels otherwise than by one-hot vectors or rows of a table."""


class Blend(Tensor):
    """Labels that stand for weighted sums of classes: their one-hot vectors, and their rows of a table, are the sums.

    So a generator that was written for labels y [B] shows what lies between its classes, and beyond. For everything
    but looking at them they are refused with NotBlendable: what follows from a label's number would be one class's.
    """

    weights: Tensor

    @staticmethod
    def of(weights: Tensor) -> "Blend":
        """weights: [B, K], each row usually with the sum 1."""
        labels = weights.argmax(1).as_subclass(Blend)
        labels.weights = weights
        return labels

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0]
        if func is F.one_hot:
            return _checked(first.weights, *args[1:], **kwargs)
        if func is F.embedding:
            return _from_table(first.weights, args[1] if len(args) > 1 else kwargs["weight"])
        if func is Tensor.__getitem__ and not isinstance(first, Blend) and isinstance(args[1], Blend):
            return _from_table(args[1].weights, first)
        if func is Tensor.long:  # what a label is already
            return first
        if func is Tensor.repeat_interleave:
            return Blend.of(first.weights.repeat_interleave(args[1], dim=0))
        if func is Tensor.to and isinstance(first, Blend):
            # Labels are integers, and weights are not: only the device is taken up.
            return Blend.of(first.weights.to(func(torch.empty(0, dtype=torch.long), *args[1:], **kwargs).device))
        if func is Tensor.__getitem__ and isinstance(first, Blend):
            return Blend.of(func(first.weights, *args[1:], **kwargs))
        if getattr(func, "__name__", "") in ("__get__", "__len__", "dim", "size", "as_subclass", "__set__"):
            return super().__torch_function__(func, types, args, kwargs)
        name = getattr(func, "__name__", str(func))
        raise NotBlendable(
            f"this generator takes labels by {name}, and blends of classes are known to one-hot vectors and tables "
            "alone; ask for whole classes"
        )


def _checked(weights: Tensor, num_classes: int = -1) -> Tensor:
    if num_classes not in (-1, weights.shape[1]):
        raise ValueError(f"the weights are of {weights.shape[1]} classes, and the generator has {num_classes}")
    return weights


def _from_table(weights: Tensor, table: Tensor) -> Tensor:
    """The rows [K, ...] of a table, summed by weight: [B, ...]."""
    return torch.tensordot(_checked(weights, len(table)).to(table.dtype), table, 1)


def between(source: Tensor, target: Tensor, classes: int, strengths: Tensor) -> Blend:
    """Labels [N · S] from class source [N] (strength 0) to target [N] (strength 1), strengths [S] fastest.

    one_hot(source) + strength · (one_hot(target) − one_hot(source)): the difference of two classes, and how much of it.
    """
    a, b = (F.one_hot(y, classes).float()[:, None] for y in (source, target))
    return Blend.of((a + strengths.to(a)[None, :, None] * (b - a)).flatten(0, 1))


def class_grid(generate: Generate, codes: Tensor, classes: int) -> Tensor:
    """Images [K, N, C, H, W] of codes [N, ...]: a row a class, a column a code that all classes share."""
    y = torch.arange(classes, device=codes.device).repeat_interleave(len(codes))
    images = made(generate, codes.repeat(classes, *[1] * (codes.dim() - 1)), y)
    return images.unflatten(0, (classes, len(codes)))
