"""Each recipe's moves against its paper, written out plainly."""

import dataclasses
from typing import Any

import played
import pytest
import torch
import torch.nn.functional as F
from played import assert_same_loss, nets
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from pushforward import recipes
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.objectives.penalties import zero_centred_penalty

N = 6
PLANE, COLOURS = DataSpec("plane", "points", (2,), 3), DataSpec("colours", "images", (3, 8, 8), 3)


def build(name: str, spec: DataSpec, **changes: Any) -> Game:
    config = recipes.load(name).Config(latent=4, width=8, examples=1000, **changes)
    with torch_seeded("moves"):
        return recipes.load(name).build(config, spec)


def batches(spec: DataSpec):
    i = 0
    while True:
        draws = torch.Generator().manual_seed(i)
        x = torch.randn(N, *spec.shape, generator=draws)
        yield {"x": x, "y": torch.randint(3, (N,), generator=draws)}
        i += 1


def moves(game: Game, spec: DataSpec, seen: int = 0) -> list[Move]:
    return played.moves(game, batches(spec), seen)


ROUNDS = [
    ("gan", PLANE, {}, 1),
    ("gan", COLOURS, {"loss": "minimax"}, 1),
    ("dcgan", COLOURS, {}, 1),
    ("cgan", PLANE, {}, 1),
    ("cgan", COLOURS, {}, 1),
    ("wgan-gp", PLANE, {}, 5),
    ("wgan-gp", COLOURS, {"critic_steps": 2}, 2),
    ("r3gan", PLANE, {}, 1),
    ("r3gan", COLOURS, {"group": 4, "conditioning": "projection"}, 1),
]


@pytest.mark.parametrize(("name", "spec", "changes", "steps"), ROUNDS)
def test_a_round_is_the_critics_steps_on_batches_of_their_own_then_one_of_the_generator(name, spec, changes, steps):
    game = build(name, spec, **changes)
    played = moves(game, spec)
    assert [move.player for move in played] == ["critic"] * steps + ["generator"]
    drawn = batches(spec)
    for move in played[:-1]:
        assert torch.equal(move.batch["x"], next(drawn)["x"])
    latents = torch.stack([move.batch["z"] for move in played])
    assert latents.shape == (steps + 1, N, 4)
    assert len(latents.flatten().unique()) == latents.numel()  # fresh for every move, the generator's too
    conditional = name == "cgan" or "conditioning" in changes
    assert all(("y" in move.batch) == conditional for move in played)
    assert game.classes == (3 if conditional else None)
    assert all(len(value) == N for move in played for value in move.batch.values())  # cut alike into micro-batches


def by_class(net: nn.Module, batch: Batch):
    return lambda x: net(x, batch.get("y"))


@pytest.mark.parametrize(("name", "spec", "changes", "steps"), [r for r in ROUNDS if r[0] in ("gan", "dcgan", "cgan")])
def test_gans_play_the_non_saturating_game_or_minimax(name, spec, changes, steps):
    game = build(name, spec, **changes)
    G, D = nets(game)
    critic, generator = moves(game, spec)
    d, g = by_class(D, critic.batch), by_class(G, critic.batch)
    real, fake = d(critic.batch["x"]), d(g(critic.batch["z"]).detach())
    expected = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
    assert_same_loss(critic.objective(critic.batch)[0], expected, D)
    fake = by_class(D, generator.batch)(by_class(G, generator.batch)(generator.batch["z"]))
    expected = F.logsigmoid(-fake).mean() if changes.get("loss") == "minimax" else -F.logsigmoid(fake).mean()
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


@pytest.mark.parametrize("spec", [PLANE, COLOURS], ids=lambda spec: spec.name)
def test_wgan_gp_is_the_wasserstein_loss_with_lambda_times_the_penalty(spec):
    game = build("wgan-gp", spec, penalty=7.0, critic_steps=1)
    G, D = nets(game)
    critic, generator = moves(game, spec)
    real, fake = critic.batch["x"], G(critic.batch["z"]).detach()
    eps = critic.batch["eps"].view(-1, *[1] * (real.dim() - 1))
    assert len(eps.unique()) == N
    between = (eps * real + (1 - eps) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
    found, logged = critic.objective(critic.batch)
    assert_same_loss(found, D(fake).mean() - D(real).mean() + 7 * penalty, D)
    assert logged["distance"].item() == pytest.approx((D(real).mean() - D(fake).mean()).item(), abs=1e-5)
    assert logged["penalty"].item() == pytest.approx(penalty.item(), rel=1e-4)
    assert_same_loss(generator.objective(generator.batch)[0], -D(G(generator.batch["z"])).mean(), G)


def penalty_of(move: Move) -> float | None:
    """The penalty's weight that an adversarial critic's move carries."""
    return move.objective.keywords["penalty"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("spec", "conditional"), [(PLANE, False), (PLANE, True), (COLOURS, False), (COLOURS, True)], ids=str
)
def test_r3gan_is_relativistic_pairing_with_half_gamma_times_r1_and_r2(spec, conditional, frozen):
    weights = {"penalty_weight": 3.0, "penalty_weight_end": 0.1, "settle": 0.5, "penalty_every": 1}
    game = build("r3gan", spec, group=4, conditioning="projection" if conditional else None, **weights)
    G, D = nets(game)
    for module in (*G.modules(), *D.modules()):
        if hasattr(module, "third"):
            nn.init.normal_(module.third.weight, std=0.3)  # a nonlinear critic, whose gradient depends on x
    critic, generator = moves(game, spec, seen=250)
    # Half way through its half of the run: the middle of half a cosine.
    assert penalty_of(critic) == pytest.approx(1.55, rel=1e-6)
    G.requires_grad_(not frozen)
    d, g = by_class(D, critic.batch), by_class(G, critic.batch)
    real, fake = critic.batch["x"], g(critic.batch["z"]).detach()
    r1, r2 = zero_centred_penalty(d, real), zero_centred_penalty(d, fake)
    assert abs(r1.item() - r2.item()) > 1e-4 * r1.item()
    found, logged = critic.objective(critic.batch)
    assert_same_loss(found, F.softplus(d(fake) - d(real)).mean() + 1.55 / 2 * (r1 + r2), D)
    assert logged["r1"].item() == pytest.approx(r1.item(), rel=1e-4)
    assert logged["r2"].item() == pytest.approx(r2.item(), rel=1e-4)
    assert (logged["real"] - logged["fake"]).item() == pytest.approx((d(real) - d(fake)).mean().item(), abs=1e-4)

    G.requires_grad_(True)
    d = by_class(D, generator.batch)
    fake = by_class(G, generator.batch)(generator.batch["z"])
    expected = F.softplus(d(generator.batch["x"]) - d(fake)).mean()
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


def test_lazy_penalties_come_every_so_many_rounds_with_so_many_times_the_weight():
    game = build("r3gan", PLANE, penalty_weight=2.0, penalty_weight_end=None, penalty_every=4)
    taken = []
    for number in range(8):
        clock = Clock(0)
        clock.round = number
        clock.begin_round()
        critic = next(game.play(batches(PLANE), clock))
        assert isinstance(critic, Move)
        taken.append(penalty_of(critic) or 0.0)
        loss, logged = critic.objective(critic.batch)
        G, D = nets(game)
        real, fake = D(critic.batch["x"]), D(G(critic.batch["z"]))
        penalty = taken[-1] / 2 * (logged["r1"] + logged["r2"]) if taken[-1] else 0.0
        assert loss.item() == pytest.approx((F.softplus(fake - real).mean() + penalty).item(), rel=1e-5)
    assert taken == [8.0, 0, 0, 0, 8.0, 0, 0, 0]


def test_r3gans_schedules_run_from_their_starts_to_their_ends():
    game = build(
        "r3gan",
        PLANE,
        lr=1e-3,
        lr_end=1e-4,
        beta2=0.9,
        beta2_end=0.99,
        penalty_weight=2.0,
        penalty_weight_end=0.2,
        settle=0.5,
        penalty_every=1,
    )
    for player in game.players.values():
        assert player.lr is not None
        assert player.betas is not None
        assert [player.lr(seen) for seen in (0, 500, 1000, 9999)] == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])
        assert [player.betas(seen)[1] for seen in (0, 250, 500, 1000)] == pytest.approx([0.9, 0.945, 0.99, 0.99])
        assert all(player.betas(seen)[0] == 0 for seen in (0, 999))
    weights = [penalty_of(moves(game, PLANE, seen)[0]) for seen in (0, 250, 500, 1000)]
    assert weights == pytest.approx([2.0, 1.1, 0.2, 0.2])


# Huang et al. 2025, as their train.py has it: the average's half-life rises from 0, ADA's p to its end, γ falls to a
# tenth, the rate to a quarter, β₂ rises from 0.9 to 0.99, all along half a cosine, after which runs go on: Table 9.
@pytest.mark.parametrize(
    ("preset", "run", "whole", "half_life", "p", "gamma"),
    [
        ("cifar10", 2e7, 250e6, 5e6, 0.55, 0.05),
        ("ffhq64", 2e7, 2e7, 5e5, 0.3, 2.0),
        ("imagenet32", 2e8, 1000e6, 5e7, 0.5, 0.5),
    ],
)
def test_r3gans_presets_follow_the_authors_schedules(preset, run, whole, half_life, p, gamma):
    config = recipes.load("r3gan").PRESETS[preset]
    assert config.examples == whole
    small = dataclasses.replace(config, width=16, blocks=1, batch=4, conditioning=None)
    game = recipes.load("r3gan").build(small, COLOURS)
    ema, (critic, generator) = game.players["generator"].ema, game.players.values()
    assert ema is not None
    assert critic.lr is not None
    assert critic.betas is not None
    share = {0: 0.0, run / 4: (1 - 2**-0.5) / 2, run / 2: 0.5, run: 1.0, whole: 1.0}  # (1 − cos πt) / 2
    for seen, t in share.items():
        assert ema.half_life(seen) == pytest.approx(t * half_life)
        assert game.state["augment"].schedule(seen) == pytest.approx(t * p)
        assert critic.lr(seen) == generator.lr(seen) == pytest.approx(2e-4 + t * (5e-5 - 2e-4))
        assert critic.betas(seen) == pytest.approx((0.0, 0.9 + t * 0.09))
        assert penalty_of(moves(game, COLOURS, seen)[0]) == pytest.approx(gamma * (1 - 0.9 * t))
        assert game.state["augment"].p == pytest.approx(t * p)  # as the round has left it


def test_wgan_gps_rate_falls_to_zero_in_a_straight_line():
    for player in build("wgan-gp", PLANE, lr=1e-3).players.values():
        assert player.lr is not None
        assert [player.lr(seen) for seen in (0, 250, 1000, 2000)] == pytest.approx([1e-3, 7.5e-4, 0, 0])
        assert player.optimizer.param_groups[0]["betas"] == (0.0, 0.9)


@pytest.mark.parametrize("name", ["gan", "dcgan", "cgan"])
def test_adams_decays_are_the_configurations(name):
    for player in build(name, COLOURS, beta1=0.4, lr=3e-4).players.values():
        (group,) = player.optimizer.param_groups
        assert group["betas"] == (0.4, 0.999)
        assert group["lr"] == 3e-4
        assert group["fused"]


@pytest.mark.parametrize(("side", "widths"), [(4, [32]), (8, [32, 32]), (32, [32, 32, 16, 8])])
def test_r3gans_channels_halve_beyond_the_largest_full_side_and_never_fall_below_a_group(side, widths):
    spec = DataSpec("squares", "images", (3, side, side))
    game = recipes.load("r3gan").build(recipes.load("r3gan").Config(width=32, full=8, group=8, blocks=1), spec)
    G, D = nets(game)
    assert [m.third.weight.shape[0] for m in G.modules() if hasattr(m, "third")] == widths
    assert [m.third.weight.shape[0] for m in D.modules() if hasattr(m, "third")] == widths[::-1]


def test_a_probability_at_the_end_that_is_none_is_refused_before_training():
    with pytest.raises(ValueError, match=r"--augment-p-end is a probability, from 0 to 1, got 1\.5"):
        build("r3gan", COLOURS, group=4, augment="ada", augment_p_end=1.5)
    with pytest.raises(ValueError, match=r"without an average \(ema None\) ema_start has no meaning, got 9"):
        build("biggan", COLOURS, ema=None, ema_start=9)


@pytest.mark.parametrize("name", ["dcgan", "cgan"])
@pytest.mark.parametrize("norm", ["batch", "spectral", None])
def test_the_critics_norm_is_an_option(name, norm):
    _, D = nets(build(name, COLOURS, critic_norm=norm))
    assert any(isinstance(module, nn.BatchNorm2d) for module in D.modules()) == (norm == "batch")
    assert any(is_parametrized(module) for module in D.modules()) == (norm == "spectral")
