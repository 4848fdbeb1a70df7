"""A run that was cut and taken up again equals the one that was not, bit for bit."""

from collections.abc import Iterator

import pytest
import torch
from games import LATENT, Table, assert_same, conv_gan, gan, mlp, mlp_gan, rounds, weights
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from pushforward.core.checkpoint import read, write
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move, Player
from pushforward.core.schedule import cosine
from pushforward.core.seeding import torch_seeded

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))


def moments(game: Game) -> dict[str, Tensor]:
    return {
        f"{name}/{i}/{key}": value.clone()
        for name, p in game.players.items()
        for i, state in enumerate(p.optimizer.state.values())
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def scheduled_gan() -> Game:
    options = {"lr": cosine(1e-3, 1e-4, 200), "betas": lambda seen: (0.0, 0.9 + seen / 10_000), "clip": 0.3}
    with torch_seeded("toy"):
        D = mlp(2, 1)
        critic = Player(
            nn.ModuleDict({"net": D}), Adam(D.parameters(), lr=1e-3, fused=True), options["lr"], options["betas"], 0.3
        )
        game = gan(mlp(LATENT, 2), D, critic_steps=2)
    game.players["critic"] = critic
    return game


def other_optimizer(kind: type[Optimizer], **options) -> Game:
    with torch_seeded("toy"):
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 1))
    nets = nn.ModuleDict({"net": net})

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        yield Move("model", lambda b: (net(b["x"]).square().mean(), {}), next(batches))

    return Game({"model": Player(nets, kind(nets.parameters(), lr=0.01, **options))}, play, lambda z, y=None: z, (2,))


GAMES = {
    "convolutions, BatchNorm, dropout, a pool": (conv_gan, (3, 8, 8)),
    "schedules, clipping, two critic steps": (scheduled_gan, (2,)),
    "simultaneous moves": (lambda: mlp_gan(simultaneous=True), (2,)),
    "momentum": (lambda: other_optimizer(SGD, momentum=0.9, nesterov=True), (1, 4, 4)),
    "amsgrad, not fused": (lambda: other_optimizer(Adam, amsgrad=True, foreach=True), (1, 4, 4)),
    "weight decay": (lambda: other_optimizer(torch.optim.AdamW, fused=True, weight_decay=0.1), (1, 4, 4)),
}


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_ten_rounds_a_file_and_ten_more_are_twenty(tmp_path, name, device):
    build, shape = GAMES[name]
    whole, first, second = build(), build(), build()
    options = {"batch": 6, "seed": 4, "device": device}
    one = rounds(Engine(whole, Table(*shape), **options), 20)
    half = rounds(Engine(first, Table(*shape), **options), 10)
    write(tmp_path / "0", half.state_dict())
    torch.manual_seed(99)
    two = Engine(second, Table(*shape), batch=6, seed=77, device=device)
    two.load_state_dict(read(tmp_path / "0"))
    assert_same(weights(first), weights(second))
    assert_same(moments(first), moments(second))
    rounds(two, 10)
    assert_same(weights(whole), weights(second))
    assert_same(moments(whole), moments(second))
    assert one.clock.state_dict() == two.clock.state_dict()
    for p, q in zip(whole.players.values(), second.players.values(), strict=True):
        assert [(g["lr"], g["betas"]) if "betas" in g else g["lr"] for g in p.optimizer.param_groups] == [
            (g["lr"], g["betas"]) if "betas" in g else g["lr"] for g in q.optimizer.param_groups
        ]


def test_loading_sets_an_engine_back_that_has_gone_on(tmp_path):
    game = conv_gan()
    engine = rounds(Engine(game, Table(3, 8, 8), batch=6), 3)
    write(tmp_path / "0", engine.state_dict())
    rounds(engine, 3)
    after = weights(game)
    engine.load_state_dict(read(tmp_path / "0"))
    rounds(engine, 3)
    assert_same(weights(game), after)


def test_moments_lie_as_their_filters_do_after_loading(tmp_path):
    game, fresh = conv_gan(), conv_gan()
    engine = rounds(Engine(game, Table(3, 8, 8), batch=6), 1)
    write(tmp_path / "0", engine.state_dict())
    Engine(fresh, Table(3, 8, 8), batch=6).load_state_dict(read(tmp_path / "0"))
    for p in fresh.players.values():
        for parameter, state in p.optimizer.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == parameter.stride()
            assert state["exp_avg_sq"].dtype == parameter.dtype
            assert state["step"].dtype == torch.float32


def test_a_small_float_scalars_step_count_keeps_its_precision():
    scale = nn.Parameter(torch.ones((), dtype=torch.bfloat16))
    net = nn.Module()
    net.scale = scale

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        next(batches)
        yield Move("model", lambda b: (net.scale.float().square(), {}), {})

    nets = nn.ModuleDict({"net": net})
    game = Game({"model": Player(nets, Adam(nets.parameters(), fused=True))}, play, lambda z, y=None: z, (2,))
    engine = rounds(Engine(game, Table(2), batch=2), 1)
    state = engine.state_dict()
    state["players"]["model"]["optimizer"]["state"][0]["step"] = torch.tensor(1001.0)
    engine.load_state_dict(state)
    assert game.players["model"].optimizer.state[scale]["step"].item() == 1001


def test_a_run_in_many_pieces_is_the_whole_run():
    whole, pieces = mlp_gan(), mlp_gan()
    rounds(Engine(whole, Table(2), batch=6), 9)
    state = None
    for n in (1, 3, 0, 5):
        engine = Engine(pieces, Table(2), batch=6)
        if state is not None:
            engine.load_state_dict(state)
        state = rounds(engine, n).state_dict()
    assert_same(weights(whole), weights(pieces))


def test_without_its_state_a_game_would_not_resume_the_same():
    """The comparison above can fail: a pool that is left out of `state` shows."""
    whole, first, second = conv_gan(), conv_gan(), conv_gan()
    rounds(Engine(whole, Table(3, 8, 8), batch=6), 6)
    half = rounds(Engine(first, Table(3, 8, 8), batch=6), 3)
    state = half.state_dict()
    second.state.clear()
    two = Engine(second, Table(3, 8, 8), batch=6)
    two.load_state_dict(state)
    rounds(two, 3)
    a, b = weights(whole), weights(second)
    assert any(not torch.equal(a[key], b[key]) for key in a)
