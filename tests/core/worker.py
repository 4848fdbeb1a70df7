"""One process of two: plays every scenario of test_processes.py and writes what it found."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from games import LATENT, Table, mlp, player, rounds, weights
from torch import Tensor, nn

from pushforward.core.checkpoint import write
from pushforward.core.distributed import World, any_process, average_, barrier, joined, same_everywhere
from pushforward.core.engine import Engine, NonFiniteError
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.core.training import Hook, fit


def wgan_gp(rank: int = 0) -> Game:
    """Gradient penalty, latents and ε from the clock, two critic steps; the initial weights depend on `rank`."""
    with torch_seeded("wgan", rank):
        G, D = mlp(LATENT, 2), mlp(2, 1)

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = batch["x"], G(batch["z"])
        mixed = torch.lerp(real, fake, batch["eps"][:, None]).requires_grad_(True)
        (slope,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        return D(fake).mean() - D(real).mean() + 10 * penalty, {"penalty": penalty}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return -D(G(batch["z"])).mean(), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        for _ in range(2):
            x = next(batches)["x"]
            n = len(x)
            yield Move("critic", critic, {"x": x, "z": clock.normal(n, LATENT), "eps": clock.uniform(n)})
        yield Move("generator", generator, {"z": clock.normal(n, LATENT)})

    players = {"critic": player(D, clip=5.0), "generator": player(G, ema=100)}
    return Game(players, play, lambda z, y=None: G(z), (LATENT,))


def train(world: World, accumulate: int = 1, rank: int = 0) -> tuple[dict[str, Tensor], dict[str, float]]:
    game = wgan_gp(rank)
    engine = rounds(Engine(game, Table(2), batch=16, world=world, accumulate=accumulate), 6)
    engine.check()
    return weights(game), engine.scalars.flush()


def two_nets(world: World, objective_of) -> Engine:
    """A player of two linear networks, and another like it; `objective_of(rank, nets)` is what `a` minimises."""
    with torch_seeded("two"):
        a, b = (nn.ModuleDict({"u": nn.Linear(2, 1), "v": nn.Linear(2, 1)}) for _ in range(2))
    players = {"a": player(a), "b": player(b)}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        x = next(batches)["x"]
        name, objective = objective_of(clock.rank, {"a": a, "b": b})
        yield Move(name, objective, {"x": x})

    return Engine(Game(players, play, lambda z, y=None: z, (2,)), Table(2), batch=8, world=world)


def spoilt_on_one(rank: int, nets):
    def objective(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        # Infinite on rank 1 only, under finite gradients everywhere.
        loss = nets["a"]["u"](batch["x"]).mean() + nets["a"]["v"](batch["x"]).mean()
        return loss + (float("inf") if rank == 1 else 0.0), {}

    return "a", objective


def different_moves(rank: int, nets):
    name = "ab"[rank]
    return name, lambda batch: (nets[name]["u"](batch["x"]).mean() + nets[name]["v"](batch["x"]).mean(), {})


def half_used_on_one(rank: int, nets):
    return "a", lambda batch: (sum(nets["a"][k](batch["x"]).square().mean() for k in ("u", "v")[: 2 - rank]), {})


def used_by_nobody(rank: int, nets):
    return "a", lambda batch: (nets["a"]["u"](batch["x"]).square().mean(), {})


def caught(engine: Engine, n: int = 1) -> str:
    try:
        rounds(engine, n).check()
    except (NonFiniteError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(out: Path) -> None:
    device = torch.device("cpu")
    with joined(device) as world:
        found: dict[str, object] = {"rank": world.rank, "size": world.size}
        trained, found["log"] = train(world)
        parted, _ = train(world, accumulate=2)
        spread, _ = train(world, rank=world.rank)
        found["spoilt"] = caught(two_nets(world, spoilt_on_one))
        late = two_nets(world, spoilt_on_one)
        late._deferred = True
        found["spoilt, seen late"] = caught(late, 2)
        found["moves"] = caught(two_nets(world, different_moves))
        half = two_nets(world, half_used_on_one)
        found["half used"] = caught(half)
        nobody = two_nets(world, used_by_nobody)
        found["unused"] = caught(nobody)
        unmoved = nobody.game.players["a"].nets["net"]["v"].weight
        found["state of the unmoved"] = len(nobody.game.players["a"].optimizer.state[unmoved])
        mixed = [torch.full((3,), float(world.rank)), torch.full((2, 2), 2.0 * world.rank, dtype=torch.float64)]
        average_(mixed, world)
        statistics = nn.BatchNorm1d(2)
        statistics(torch.randn(8, 2) + world.rank)
        average_([b for b in statistics.buffers() if b.is_floating_point()], world)
        found["any"] = [any_process(world.rank == 1, world, device), any_process(False, world, device)]
        found["same"] = [same_everywhere(5, world, device), same_everywhere(5 + world.rank, world, device)]
        engine = Engine(wgan_gp(), Table(2), batch=16, world=world)
        hooks: list[int] = []
        ends = lambda: world.rank == 1 and engine.clock.round >= 5  # noqa: E731
        outcome = fit(engine, examples=10**6, hooks=[Hook(64, lambda e: hooks.append(e.clock.seen))], stopping=ends)
        found["fit"] = [outcome, engine.clock.round, hooks]
        tree = {
            "trained": trained, "parted": parted, "spread": spread, "mixed": mixed,
            "mean": statistics.running_mean, "half": weights(half.game),
        }  # fmt: skip
        write(out / f"rank{world.rank}", tree)
        (out / f"rank{world.rank}.json").write_text(json.dumps(found))
        barrier(world)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
