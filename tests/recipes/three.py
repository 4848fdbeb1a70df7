"""One process of three: averaging statistics leaves all buffers to the bit that every process has alike."""

import torch
from small import build, data, small

from pushforward.core.distributed import barrier, joined
from pushforward.core.engine import Engine

if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as world:
        for name in ("sngan", "stylegan"):
            game = build(name, small(name, "images"), "colours")
            engine = Engine(game, data("colours"), batch=6, seed=5, world=world)
            engine.round()
            nets = [player.nets for player in game.players.values()]
            alike = {k: b for net in nets for k, b in net.named_buffers() if "running" not in k and "mean" not in k}
            before = {k: b.clone() for k, b in alike.items()}
            engine.average_buffers()
            assert sum(b.numel() for b in alike.values()) > 50, name  # a third of so many would not stay by chance
            assert [k for k, b in alike.items() if not torch.equal(b, before[k])] == [], name
        barrier(world)
