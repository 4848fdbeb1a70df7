import copy
import itertools
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from games import LATENT, Table, assert_same, conv_gan, gan, mlp, mlp_gan, one_player, player, rounds, weights
from torch import nn
from torch.optim import SGD, Adam

from pushforward.core.distributed import World
from pushforward.core.ema import EMA
from pushforward.core.engine import Engine
from pushforward.core.game import Clock, Game, Move, Player
from pushforward.core.schedule import linear
from pushforward.core.seeding import seed_of, torch_seeded

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))
BATCH = 12


def by_hand(device: str, seed: int, count: int, simultaneous: bool) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The toy GAN as anyone would write it: (critic, generator, the generator's average)."""
    with torch_seeded("toy"):
        G, D = mlp(LATENT, 2).to(device), mlp(2, 1).to(device)
    average = copy.deepcopy(G)
    opt_D = Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.99), fused=True)
    opt_G = Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.99), fused=True)
    table, draws = Table(2), torch.Generator(device)
    for i in range(count):
        draws.manual_seed(seed_of("draws", seed, i))
        x = table.batch(seed, BATCH * i, BATCH * (i + 1), torch.device(device))["x"]
        z1 = torch.randn(BATCH, LATENT, generator=draws, device=device)
        z2 = torch.randn(BATCH, LATENT, generator=draws, device=device)

        def critic(x=x, z1=z1):
            opt_D.zero_grad()
            (F.softplus(-D(x)).mean() + F.softplus(D(G(z1).detach())).mean()).backward(inputs=list(D.parameters()))

        def generator(z2=z2):
            opt_G.zero_grad()
            F.softplus(-D(G(z2))).mean().backward(inputs=list(G.parameters()))

        for turn in [(critic, generator, opt_D.step, opt_G.step), (critic, opt_D.step, generator, opt_G.step)][
            0 if simultaneous else 1
        ]:
            turn()
        # Half-life 500 examples, ramped to 5 % of the examples seen.
        seen = BATCH * (i + 1)
        weight = 1 - 0.5 ** (BATCH / min(500, 0.05 * seen))
        with torch.no_grad():
            for a, p in zip(average.parameters(), G.parameters(), strict=True):
                a.lerp_(p, weight)
    return D, G, average


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_engine_equals_a_loop_written_by_hand_bit_for_bit(device, simultaneous):
    game = mlp_gan(simultaneous=simultaneous)
    engine = rounds(Engine(game, Table(2), batch=BATCH, seed=5, device=device), 7)
    D, G, average = by_hand(device, 5, 7, simultaneous)
    assert_same(game.players["critic"].nets["net"].state_dict(), D.state_dict())
    assert_same(game.players["generator"].nets["net"].state_dict(), G.state_dict())
    assert_same(game.players["generator"].ema.nets["net"].state_dict(), average.state_dict())
    assert engine.clock.seen == 7 * BATCH
    engine.check()


def test_simultaneous_moves_differ_from_alternating_ones():
    a, b = mlp_gan(simultaneous=True), mlp_gan()
    for game in (a, b):
        rounds(Engine(game, Table(2), batch=BATCH), 5)  # Adam's first step is the gradient's sign, the same for both
    critic, generator = "critic/nets/net.0.weight", "generator/nets/net.0.weight"
    assert not torch.equal(weights(a)[critic], weights(b)[critic])
    assert not torch.equal(weights(a)[generator], weights(b)[generator])


def test_only_the_mover_has_gradients_and_objectives_need_no_detach():
    G, D = mlp(LATENT, 2), mlp(2, 1)
    game, looked = gan(G, D), []

    def look(mover: nn.Module, other: nn.Module):
        def hook(optimizer, args, kwargs):
            looked.append(mover)
            assert all(p.grad is not None for p in mover.parameters())
            assert all(p.grad is None and not p.requires_grad for p in other.parameters())

        return hook

    game.players["critic"].optimizer.register_step_pre_hook(look(D, G))
    game.players["generator"].optimizer.register_step_pre_hook(look(G, D))
    rounds(Engine(game, Table(2), batch=BATCH), 2)
    assert looked == [D, G, D, G]
    for parameter in (*G.parameters(), *D.parameters()):
        assert parameter.requires_grad
        assert parameter.grad is None


@pytest.mark.parametrize("steps", [1, 3])
def test_critic_steps_are_steps_and_each_sees_a_batch_of_its_own(steps):
    game, order = mlp_gan(critic_steps=steps), []
    for name, p in game.players.items():
        p.optimizer.register_step_post_hook(lambda *_, name=name: order.append(name))
    engine = rounds(Engine(game, Table(2), batch=BATCH), 2)
    assert order == (["critic"] * steps + ["generator"]) * 2
    assert engine.clock.seen == 2 * steps * BATCH
    assert engine.clock.round == 2


def test_a_parameter_that_its_recipe_froze_stays_frozen_and_put():
    net = mlp(2, 1)
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone(), net[0].bias.clone()
    game = one_player(lambda net, b: (net(b["x"]).square().mean(), {}), net)
    rounds(Engine(game, Table(2), batch=BATCH), 3)
    assert torch.equal(net[0].weight, before[0])
    assert not net[0].weight.requires_grad
    assert not torch.equal(net[0].bias, before[1])


def test_a_second_engine_on_the_same_game_still_trains_every_player():
    game = mlp_gan()
    rounds(Engine(game, Table(2), batch=BATCH), 1)
    before = weights(game)
    rounds(Engine(game, Table(2), batch=BATCH), 1)
    after = weights(game)
    for name in ("critic", "generator"):
        assert not torch.equal(before[f"{name}/nets/net.0.weight"], after[f"{name}/nets/net.0.weight"])


def test_rates_and_betas_follow_the_examples_seen_with_the_batch_of_the_step():
    rate = linear(1.0, 0.0, 100)
    used = []
    game = one_player(lambda net, b: (net(b["x"]).mean(), {}), lr=rate(0), betas=lambda seen: (0.0, 0.9 + seen / 1000))
    game.players["model"].lr = rate
    optimizer = game.players["model"].optimizer
    optimizer.register_step_pre_hook(
        lambda opt, *_: used.append((opt.param_groups[0]["lr"], opt.param_groups[0]["betas"]))
    )
    rounds(Engine(game, Table(2), batch=10), 3)
    assert [lr for lr, _ in used] == pytest.approx([0.9, 0.8, 0.7], abs=1e-12)
    assert [b[0] for _, b in used] == [0, 0, 0]
    assert [b[1] for _, b in used] == pytest.approx([0.91, 0.92, 0.93], abs=1e-12)


def test_a_schedule_over_groups_of_different_rates_is_refused():
    net = mlp(2, 1)
    groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters()}]
    with pytest.raises(ValueError, match="one learning rate"):
        Player(nn.ModuleDict({"net": net}), SGD(groups, lr=1.0), lr=linear(1, 0, 10))


@pytest.mark.parametrize(("clip", "expected"), [(0.5, 0.5), (100.0, 5.0)])
def test_clip_bounds_the_global_norm_and_the_log_keeps_the_norm_before(clip, expected):
    net = nn.Linear(2, 1)
    nets = nn.ModuleDict({"net": net})

    def play(batches, clock):
        # The gradient is (3, 0) for the weight and 4 for the bias: norm 5.
        next(batches)
        yield Move("model", lambda b: (3 * net.weight[0, 0] + 4 * net.bias.sum(), {}), {})

    model = Player(nets, SGD(nets.parameters(), lr=1.0), clip=clip)
    game = Game({"model": model}, play, lambda z, y=None: z, (2,))
    before = torch.cat([net.weight.flatten(), net.bias]).detach()
    engine = rounds(Engine(game, Table(2), batch=4), 1)
    moved = before - torch.cat([net.weight.flatten(), net.bias]).detach()
    assert moved.norm().item() == pytest.approx(expected, rel=1e-5)
    assert engine.scalars.flush()["model/gradient"] == pytest.approx(5, rel=1e-6)


def test_project_acts_after_the_step_and_before_the_average():
    def project(nets):
        for p in nets.parameters():
            p.clamp_(-0.01, 0.01)

    game = one_player(
        lambda net, b: (net(b["x"]).mean(), {}), ema=0.001, lr=1.0
    )  # an average that forgets at once is the value itself
    game.players["model"].project = project
    rounds(Engine(game, Table(2), batch=4), 2)
    model = game.players["model"]
    for p, average in zip(model.nets.parameters(), model.ema.nets.parameters(), strict=True):
        assert p.abs().max().item() == pytest.approx(0.01, rel=1e-5)
        assert torch.equal(p, average)


@pytest.mark.parametrize("parts", [2, 3, 5, 12])
def test_accumulation_is_the_whole_batch_to_float_tolerance_also_where_parts_are_uneven(parts):
    games = [mlp_gan(), mlp_gan()]
    engines = [
        rounds(Engine(game, Table(2), batch=BATCH, accumulate=n), 4) for game, n in zip(games, (1, parts), strict=True)
    ]
    for a, b in zip(weights(games[0]).values(), weights(games[1]).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-6)
    logs = [engine.scalars.flush() for engine in engines]
    assert logs[0].keys() == logs[1].keys() > {"critic/loss", "critic/real", "generator/gradient"}
    assert list(logs[1].values()) == pytest.approx(list(logs[0].values()), rel=1e-4)


def test_a_move_smaller_than_the_number_of_parts_is_cut_into_single_examples():
    sizes = []

    def play(batches, clock):
        x = next(batches)["x"][:3]
        yield Move("model", lambda b: (sizes.append(len(b["x"])) or net(b["x"]).mean(), {}), {"x": x})

    net = mlp(2, 1)
    game = Game({"model": player(net)}, play, lambda z, y=None: z, (2,))
    rounds(Engine(game, Table(2), batch=8, accumulate=8), 1)
    assert sizes == [1, 1, 1]


def test_a_batch_of_unequal_lengths_cannot_be_cut():
    def play(batches, clock):
        yield Move("model", lambda b: (net(b["x"]).mean(), {}), {"x": next(batches)["x"], "w": torch.ones(3)})

    net = mlp(2, 1)
    game = Game({"model": player(net)}, play, lambda z, y=None: z, (2,))
    with pytest.raises(ValueError, match="'x': 8, 'w': 3"):
        Engine(game, Table(2), batch=8, accumulate=2).round()


def test_the_batch_must_be_a_multiple_of_the_processes_and_hold_the_micro_batches():
    with pytest.raises(ValueError, match="batch 63 is not a multiple of 2 processes; use 62 or 64"):
        Engine(mlp_gan(), Table(2), batch=63, world=World(0, 2))
    with pytest.raises(ValueError, match=r"batch 2 is not a multiple of 4 processes; use 4$"):
        Engine(mlp_gan(), Table(2), batch=2, world=World(0, 4))
    with pytest.raises(ValueError, match="from 1 to the 8 examples a process has, got 9"):
        Engine(mlp_gan(), Table(2), batch=8, accumulate=9)


def test_an_objective_that_leaves_its_player_out_is_named():
    x = torch.ones(2, requires_grad=True)
    game = one_player(lambda net, b: (x.sum(), {}))
    with pytest.raises(ValueError, match="model's loss depends on none of its parameters"):
        Engine(game, Table(2), batch=4).round()


def test_a_term_called_loss_does_not_hide_the_loss():
    game = one_player(lambda net, b: (net(b["x"]).mean() * 0 + 2.0, {"loss": torch.tensor(7.0)}))
    engine = rounds(Engine(game, Table(2), batch=4), 1)
    assert engine.scalars.flush()["model/loss"] == pytest.approx(2, abs=1e-6)


def test_what_draws_between_rounds_cannot_change_the_run():
    quiet, noisy = conv_gan(), conv_gan()
    rounds(Engine(quiet, Table(3, 8, 8), batch=6), 4)
    engine = Engine(noisy, Table(3, 8, 8), batch=6)
    for i in range(4):
        engine.round()
        torch.randn(100 + i)
        torch.manual_seed(i)
    assert_same(weights(quiet), weights(noisy))


def test_a_round_seeds_the_global_generator_from_seed_rank_and_round():
    drawn = {}
    for seed, rank, n in itertools.product((0, 1), (0, 1), (0, 1)):
        engine = Engine(mlp_gan(), Table(2), batch=4, seed=seed)
        engine.clock.rank, engine.clock.round = rank, n
        engine.clock.begin_round()
        drawn[seed, rank, n] = torch.rand(()).item()
    assert len(set(drawn.values())) == 8


def test_processes_draw_the_rows_that_one_process_would():
    one = Clock(3)
    two = [Clock(3, rank=rank, world=2) for rank in (0, 1)]
    for clock in (one, *two):
        clock.begin_round()
    for draw in (lambda c, n: c.normal(n, 2), lambda c, n: c.uniform(n), lambda c, n: c.integers(n, 10)):
        assert torch.equal(draw(one, 6), torch.cat([draw(clock, 3) for clock in two]))


def test_bf16_moves_almost_as_float32_does():
    games = [mlp_gan(), mlp_gan()]
    for game, bf16 in zip(games, (False, True), strict=True):
        rounds(Engine(game, Table(2), batch=BATCH, bf16=bf16), 5)
    start, a, b = (weights(game) for game in (mlp_gan(), *games))
    moved = torch.cat([(a[k] - start[k]).flatten() for k in a])
    gap = torch.cat([(a[k] - b[k]).flatten() for k in a])
    assert 0 < gap.norm() < 0.1 * moved.norm()
    assert all(value.dtype == torch.float32 for value in b.values())


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(18, 1)), (2, 8)),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(16, 1)), (1, 4, 4, 4)),
    ],
)
def test_sequences_and_volumes_train_too(net, shape):
    game = one_player(lambda net, b: (net(b["x"]).square().mean(), {}), net, ema=10.0)
    before = weights(game)
    rounds(Engine(game, Table(*shape), batch=4), 2)
    assert not torch.equal(before["model/nets/net.0.weight"], weights(game)["model/nets/net.0.weight"])


def test_filters_and_their_moments_lie_channels_last():
    game = conv_gan()
    rounds(Engine(game, Table(3, 8, 8), batch=6), 1)
    D = game.players["critic"]
    weight = D.nets["net"][3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert D.optimizer.state[weight]["exp_avg"].stride() == weight.stride()


HEADERS = Path(sysconfig.get_path("include")) / "Python.h"


@pytest.mark.skipif(shutil.which("c++") is None or not HEADERS.exists(), reason="no C++ compiler or no Python.h here")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, of itself
def test_compiled_networks_move_as_others_do():
    games = [mlp_gan(), mlp_gan()]
    for game, compiled in zip(games, (False, True), strict=True):
        rounds(Engine(game, Table(2), batch=BATCH, compile=compiled), 3)
    for a, b in zip(weights(games[0]).values(), weights(games[1]).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_cuda_no_step_waits_for_the_device():
    class Resident(Table):
        def batch(self, seed, start, stop, device):
            return {"x": self.rows[: stop - start]}

    table, game = Resident(2), mlp_gan(options={"clip": 1.0})
    table.rows = table.rows.cuda()
    engine = rounds(Engine(game, table, batch=BATCH, device="cuda", bf16=True), 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rounds(engine, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    engine.check()


def test_a_state_is_whole_only_between_rounds():
    def play(batches, clock):
        next(batches)
        raise KeyboardInterrupt
        yield

    game = mlp_gan()
    good = Engine(game, Table(2), batch=4)
    saved = copy.deepcopy(good.state_dict())
    game.play = play
    with pytest.raises(KeyboardInterrupt):
        good.round()
    with pytest.raises(RuntimeError, match="only between rounds"):
        good.state_dict()
    good.load_state_dict(saved)
    assert good.state_dict()["clock"] == {"seed": 0, "seen": 0, "round": 0}


def test_frozen_networks_in_the_state_move_to_the_device_with_the_players():
    game = mlp_gan()
    game.state["reference"] = nn.Linear(2, 2, device="meta").to_empty(device="cpu")
    Engine(game, Table(2), batch=4, device="cpu")
    assert game.state["reference"].weight.device.type == "cpu"


def test_the_average_knows_where_it_stands_when_a_player_moves_twice_on_the_same_examples():
    net = nn.Linear(2, 1)
    nets = nn.ModuleDict({"net": net})
    model = Player(nets, SGD(nets.parameters(), lr=0.1), ema=EMA(nets, 10, ramp=None))

    def play(batches, clock):
        x = next(batches)["x"]
        yield Move("model", lambda b: (net.bias.sum(), {}), {"x": x})
        yield Move("model", lambda b: (net.bias.sum(), {}), {"x": x})

    start = net.bias.item()
    rounds(Engine(Game({"model": model}, play, lambda z, y=None: z, (2,)), Table(2), batch=10), 2)
    # One half-life a round, each towards the weights after its first move: -0.1, then -0.3.
    assert model.ema.nets["net"].bias.item() == pytest.approx(start - 0.5 * 0.05 - 0.5 * 0.3, abs=1e-6)
