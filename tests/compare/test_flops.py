"""Operations counted against counts by hand."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from pushforward.compare.flops import Counter, flops_per_example
from pushforward.core.game import Batch, Clock, Game, Move, Player

B, I, H, O = 6, 5, 7, 3


class Rows:
    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        return {"x": torch.ones(stop - start, I)}


def regression(lazy: int = 1, double: bool = False) -> Game:
    """One player, two linear layers without bias; its loss is taken every `lazy` rounds, a smaller one otherwise."""
    net = nn.Sequential(nn.Linear(I, H, bias=False), nn.Linear(H, O, bias=False))

    def whole(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["x"].requires_grad_(double)
        y = net(x).square().sum()
        if double:
            (slope,) = torch.autograd.grad(y, x, create_graph=True)
            y = slope.square().sum()
        return y, {}

    def first(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return net[0](batch["x"]).square().sum(), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        yield Move("one", whole if clock.round % lazy == 0 else first, next(batches))

    player = Player(nn.ModuleDict({"net": net}), SGD(net.parameters(), lr=0.0))
    return Game({"one": player}, play, lambda z, y=None: z, (1,))


def test_two_linear_layers_are_counted_as_by_hand() -> None:
    # Forward; gradients of both weights; and of the hidden layer, but not of the input, which nobody uses.
    by_hand = 2 * (I * H + H * O) + 2 * (I * H + H * O) + 2 * H * O
    assert flops_per_example(regression(), Rows(), B) == by_hand


def test_a_lazy_term_is_counted_at_its_share() -> None:
    whole, first = 2 * (I * H + H * O) + 2 * (I * H + H * O) + 2 * H * O, 2 * I * H + 2 * I * H
    assert flops_per_example(regression(lazy=4), Rows(), B, rounds=4) == pytest.approx((whole + 3 * first) / 4)


def test_gradients_of_gradients_with_respect_to_the_input_are_counted() -> None:
    forward = 2 * (I * H + H * O)
    once = forward + forward  # the slope at the input goes back through both layers
    # Backward from the slope: two products for each of its two, then through the layers to weights and to their inputs.
    by_hand = once + 2 * forward + 2 * forward
    assert flops_per_example(regression(double=True), Rows(), B) == by_hand


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_each_gradient_of_a_convolution_costs_as_much_as_the_convolution(groups: int, transposed: bool) -> None:
    x = torch.ones(2, 8, 9, 9, requires_grad=True)
    shape = (8, 12 // groups, 3, 3) if transposed else (12, 8 // groups, 3, 3)
    weight = torch.ones(shape, requires_grad=True)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    with Counter() as counter:
        y = convolve(x, weight, stride=2, padding=1, groups=groups)
        forward = counter.total
        y.sum().backward()
    # 3 × 3 filters, 8 to 12 channels, at the 5 × 5 places that they are laid on, or at the 9 × 9 that they start from.
    assert forward == 2 * 2 * (8 * 12 // groups) * 9 * (81 if transposed else 25)
    assert counter.total == 3 * forward


def test_a_gradient_that_nobody_asks_for_is_not_counted() -> None:
    x, weight = torch.ones(2, 8, 9, 9), torch.ones(12, 8, 3, 3, requires_grad=True)
    with Counter() as counter:
        y = F.conv2d(x, weight)
        forward = counter.total
        y.sum().backward()
    assert counter.total == 2 * forward
