"""A round of a game as its moves, and losses against those written out plainly."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.game import Batch, Clock, Game, Move


def moves(game: Game, batches: Iterator[Batch], seen: int = 0) -> list[Move]:
    clock = Clock(seed=2)
    clock.begin_round()
    clock.seen = seen
    return [move for move in game.play(batches, clock) if isinstance(move, Move)]


def nets(game: Game) -> tuple[nn.Module, nn.Module]:
    return game.players["generator"].nets["G"], game.players["critic"].nets["D"]


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, materialize_grads=True))


def assert_same_loss(found: Tensor, expected: Tensor, net: nn.Module, rel: float = 1e-5) -> None:
    """The same value, and the same gradients for the mover."""
    assert found.item() == pytest.approx(expected.item(), rel=rel, abs=1e-6)
    for a, b in zip(gradients(found, net), gradients(expected, net), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
