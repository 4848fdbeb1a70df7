"""What training costs in floating-point operations, however fast the machine is."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pushforward.core.engine import Engine, Source
from pushforward.core.game import Game


def flops_per_example(
    game: Game, source: Source, batch: int, rounds: int = 1, *, device: torch.device | str = "cpu"
) -> float:
    """Operations a real example seen, over `rounds` rounds of all players' moves; it plays them, and so moves weights.

    A multiplication and an addition are two. Counted are convolutions and products of matrices, forward and backward
    to any order, as they are carried out; not element-wise work, products with a vector, nor the optimizers' steps.
    Lazy terms want as many rounds as they skip, or a multiple.
    """
    return counted(Engine(game, source, batch=batch, device=device), rounds)


def counted(engine: Engine, rounds: int) -> float:
    """Operations a real example seen, over the engine's next rounds."""
    before = engine.clock.seen
    with Counter() as counter:
        for _ in range(rounds):
            engine.round()
    return counter.total / (engine.clock.seen - before)


class Counter(TorchDispatchMode):
    """Sums the operations of all that is computed while it is entered, by torch's formulas.

    torch's own `FlopCounterMode` also tells modules apart, and for that refuses gradients with respect to an input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket
        if name is torch.ops.aten.convolution_backward:
            self.total += _backward(*args)
        elif name in flop_registry:
            self.total += flop_registry[name](*args, **(kwargs or {}), out_val=out)
        return out


def _backward(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    mask: list[bool],
) -> int:
    """Each of the two gradients takes as many products as the forward pass. out: the gradient of the output.

    torch's own formula counts a grouped convolution's gradient of the weights as if it had one group.
    """
    places = math.prod((x if transposed else out).shape[2:])
    return 2 * len(x) * places * weight.numel() * sum(mask[:2])
