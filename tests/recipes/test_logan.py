"""LOGAN's step in latent space, and BigGAN's orthogonality, against their formulas."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.engine import Engine
from pushforward.core.game import Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.recipes import biggan, logan
from pushforward.recipes.logan import Optimised, Uniform, latent_step

SPEC = DataSpec("stripes", "images", (1, 8, 8), 3)
N, Z = 6, 8


class Stripes:
    """Images of stripes whose direction is their class."""

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        y = torch.arange(start, stop) % 3
        along = torch.sin(torch.arange(8) + y[:, None].float())
        return {"x": torch.where(y[:, None, None] == 1, along[:, :, None], along[:, None, :]).unsqueeze(1), "y": y}


def build(recipe: Any = logan, **changes: Any) -> Game:
    config = recipe.Config(**{"latent": Z, "width": 2, "batch": N, "standing": None, "shared": 4, **changes})
    with torch_seeded("logan"):
        return recipe.build(config, SPEC)


class Smooth(nn.Module):
    """A small smooth network in float64; of images it says one number, as a critic does."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(fan_in, 5), nn.Tanh(), nn.Linear(5, fan_out)).double()
        self.fan_out = fan_out

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x) if self.fan_out > 1 else self.layers(x).squeeze(1)


def pair() -> tuple[Smooth, Smooth]:
    with torch_seeded("smooth pair"):
        return Smooth(4, 3), Smooth(3, 1)


def latents(n: int = 5, size: int = 4) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return 1.2 * torch.rand(n, size, generator=draws, dtype=torch.float64) - 0.6


def slope(G: nn.Module, D: nn.Module, z: Tensor) -> Tensor:
    """∂D(G(z))/∂z by central differences, example by example."""
    h, columns = 1e-5, []
    for i in range(z.shape[1]):
        e = torch.zeros_like(z)
        e[:, i] = h
        columns.append((D(G(z + e)) - D(G(z - e))) / (2 * h))
    return torch.stack(columns, 1).detach()


@pytest.mark.parametrize("damping", [0.01, 0.1, 5.0])
def test_the_natural_step_solves_the_damped_fisher_matrix(damping):
    (G, D), z = pair(), latents()
    g = slope(G, D, z)
    fisher = g[:, :, None] * g[:, None, :] + damping * torch.eye(4, dtype=torch.float64)
    expected = 0.9 * torch.linalg.solve(fisher, g)
    torch.testing.assert_close(latent_step(lambda z: D(G(z)), z, 0.9, damping), expected, rtol=1e-6, atol=1e-9)


def test_the_plain_step_is_along_the_gradient():
    (G, D), z = pair(), latents()
    found = latent_step(lambda z: D(G(z)), z, 0.3, None)
    torch.testing.assert_close(found, 0.3 * slope(G, D, z), rtol=1e-6, atol=1e-9)


def test_a_natural_step_is_never_longer_than_its_damping_allows():
    (G, D), z = pair(), latents()
    for scale in (0.01, 1.0, 100.0):
        steps = latent_step(lambda z, s=scale: s * D(G(z)), z, 0.9, 0.1)
        assert steps.norm(dim=1).max() <= 0.9 / (2 * math.sqrt(0.1)) + 1e-9


def optimised(**changes: Any) -> tuple[Smooth, Smooth, Optimised]:
    G, D = pair()
    config = logan.Config(**{"latent": 4, "moved": 1.0, "step": 0.3, **changes})
    return G, D, Optimised(G, D, config)


@pytest.mark.parametrize("damping", [0.1, None])
def test_both_players_gradients_go_through_the_step(damping):
    G, D, fakes = optimised(damping=damping)
    z = latents()

    def loss() -> Tensor:
        return D(fakes.make({"z": z})).mean() + 2 * fakes.length()

    def value() -> float:
        return loss().item()

    for net in (G, D):
        weights = list(net.parameters())
        gradients = torch.autograd.grad(loss(), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            at, h = weight.data.view(-1), 1e-5
            for i in range(0, weight.numel(), 3):
                was = at[i].item()
                at[i] = was + h
                above = value()
                at[i] = was - h
                below = value()
                at[i] = was
                assert gradient.view(-1)[i].item() == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-8)
    # With the latents held where they went, the gradients are others.
    step = latent_step(lambda z: D(G(z)), z, 0.3, damping).detach()
    held = torch.autograd.grad(D(G((z + step).clamp(-1, 1))).mean(), list(D.parameters()))
    through = torch.autograd.grad(D(fakes.make({"z": z})).mean(), list(D.parameters()))
    assert max((a - b).abs().max().item() for a, b in zip(held, through, strict=True)) > 1e-4


@pytest.mark.parametrize("penalty", ["r1", "r1+r2", "0gp"])
def test_the_critics_gradient_goes_through_the_step_under_any_penalty(penalty):
    def gradients(penalty: str | None) -> list[Tensor]:
        rules = {"loss": "wasserstein", "penalty": penalty, "penalty_weight": 0.0, "step": 0.05, "step_weight": 0.0}
        game = build(**rules)
        clock = Clock(2)
        clock.begin_round()
        batch = Stripes().batch(0, 0, N, torch.device("cpu"))
        move = next(iter(game.play(iter([batch]), clock)))
        assert isinstance(move, Move)
        loss = move.objective(move.batch)[0]
        return list(torch.autograd.grad(loss, list(game.players["critic"].nets.parameters()), allow_unused=True))

    for plain, penalised in zip(gradients(None), gradients(penalty), strict=True):
        if plain is not None and penalised is not None:
            torch.testing.assert_close(penalised, plain, rtol=1e-3, atol=1e-5)


def test_the_step_sees_fakes_as_the_critic_does():
    game = build(augment="ada", augment_p=1.0, augment_target=None, augment_groups=("blit", "geometry"))
    seen: list[Tensor] = []
    made: list[Tensor] = []
    game.players["critic"].nets["D"].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    game.players["generator"].nets["G"].inner.register_forward_hook(lambda *given: made.append(given[2].detach()))
    clock = Clock(2)
    clock.begin_round()
    batch = Stripes().batch(0, 0, N, torch.device("cpu"))
    critic = next(iter(game.play(iter([batch]), clock)))
    assert isinstance(critic, Move)
    critic.objective(critic.batch)
    assert seen[0].shape == made[0].shape
    assert not torch.equal(seen[0], made[0])


def test_latents_are_cut_off_at_the_ends_of_the_uniform_law():
    G, _, fakes = optimised(step=1000.0)
    seen: list[Tensor] = []
    G.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fakes.make({"z": latents()})
    assert seen[1].abs().max() == 1
    assert (seen[1].abs() == 1).double().mean() > 0.9


@pytest.mark.parametrize(("share", "moving"), [(0.5, 4), (0.8, 6), (1.0, 8)])
def test_only_the_share_of_z_moves_and_it_is_spread_over_z(share, moving):
    players = build(moved=share).players
    G, D = players["generator"].nets["G"].inner, players["critic"].nets["D"]
    fakes = Optimised(G, D, logan.Config(latent=Z, moved=share))
    seen: list[Tensor] = []
    G.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    clock = Clock(seed=1)
    clock.begin_round()
    batch = {**fakes.draws(clock, N), "y": torch.arange(N) % 3}
    assert batch["z"].abs().max() <= 1
    fakes.make(batch)
    moved = (seen[1] != seen[0]).any(0)
    assert int(moved.sum()) == moving == sum(fakes.moves)
    assert all(moved[i : i + 3].any() for i in range(Z - 2))
    expected = (seen[1] - seen[0]).square().sum(1).mean()  # where nothing is cut off
    assert fakes.length().item() >= 0.99 * expected.item() > 0


@pytest.mark.parametrize("changes", [{}, {"damping": None, "step": 0.01}, {"conditioning": None}])
def test_after_some_training_the_step_raises_the_critics_logits(changes):
    game = build(**changes)
    engine = Engine(game, Stripes(), batch=N)
    for _ in range(5):
        engine.round()
    engine.check()
    G, D = game.players["generator"].nets["G"].inner.eval(), game.players["critic"].nets["D"].eval()
    fakes = Optimised(G, D, logan.Config(latent=Z, **{"step": 0.1, **changes}))
    clock = Clock(seed=3)
    clock.begin_round()
    batch = fakes.draws(clock, 60)
    y = torch.arange(60) % 3 if game.classes else None
    batch |= {} if y is None else {"y": y}
    before, after = D(G(batch["z"], y), y), D(fakes.make(batch), y)
    assert ((after - before) > 0).float().mean() > 0.9
    assert (after - before).mean() > 1e-4


def test_what_both_players_minimise_is_the_hinge_on_moved_latents_and_the_steps_length():
    game = build(step_weight=7.0, critic_steps=1)
    G, D = game.players["generator"].nets["G"].inner, game.players["critic"].nets["D"]
    game.players["generator"].nets.eval()  # BatchNorm's running means change at each pass, no outcome does
    clock = Clock(seed=2)
    clock.begin_round()
    source = Stripes()
    moves = list(game.play(iter([source.batch(0, 0, N, torch.device("cpu"))]), clock))
    for move in moves:
        assert isinstance(move, Move)
        batch, y = move.batch, move.batch["y"]
        steps = latent_step(lambda z, y=y: D(G(z, y), y), batch["z"], 0.9, 0.1)
        steps = steps * torch.tensor([0, 1, 1, 1, 1, 0, 1, 1])  # four of five, as ⌊0.8 i⌋ goes up
        fake = D(G((batch["z"] + steps).clamp(-1, 1), y), y)
        hinge = (
            (1 - D(batch["x"], y)).relu().mean() + (1 + fake).relu().mean() if move.player == "critic" else -fake.mean()
        )
        expected = hinge + 7 * steps.square().sum(1).mean()
        loss, told = move.objective(batch)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        assert told["step"].item() == pytest.approx(steps.square().sum(1).mean().item(), rel=1e-4)
        weights = list(game.players[move.player].nets.parameters())
        found, plain = (torch.autograd.grad(value, weights, allow_unused=True) for value in (loss, expected))
        for a, b in zip(found, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert [move.player for move in moves if isinstance(move, Move)] == ["critic", "generator"]


def test_normal_latents_become_uniform_ones():
    z = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    inner = nn.Identity()
    inner.forward = lambda z, y=None: z  # type: ignore[method-assign]
    u = Uniform(inner)(z).sort(0).values.squeeze(1)
    assert (u - torch.linspace(-1, 1, 4000)).abs().max() < 0.05
    torch.testing.assert_close(Uniform(inner)(torch.tensor([[1.96]])), torch.tensor([[0.95]]), rtol=1e-4, atol=1e-4)


def test_a_damping_and_a_share_that_make_no_sense_are_refused():
    for changes, words in [({"damping": 0.0}, "damping must be positive, got 0.0"), ({"moved": 1.2}, "got 1.2; use")]:
        with pytest.raises(ValueError, match=words):
            build(**changes)


def test_orthogonality_sums_over_all_of_the_generators_layers_but_the_embedding():
    game = build(biggan, orthogonal=0.5)
    G = game.players["generator"].nets["G"]
    raw = {k: v for k, v in G.named_parameters() if k.endswith("weight.original")}
    assert len(raw) == 1 + 7 + 1  # the first layer, a block's three convolutions and two norms of two, the last
    with torch.no_grad():
        for weight in G.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    expected = 0.0
    for weight in raw.values():
        rows = weight.detach().double().flatten(1)
        gram = rows @ rows.T
        expected += (gram.square().sum() - gram.diagonal().square().sum()).item()
    assert biggan.orthogonality(G, {}).item() == pytest.approx(expected, rel=1e-4)
    biggan.orthogonality(G, {}).backward()
    assert {k for k, p in G.named_parameters() if p.grad is not None} == raw.keys()


@pytest.mark.parametrize("recipe", [biggan, logan])
def test_the_average_is_a_copy_until_it_starts(recipe):
    game = build(recipe, critic_steps=2, ema=100.0, ema_start=4 * N)
    engine = Engine(game, Stripes(), batch=N)
    apart = []
    for _ in range(3):
        engine.round()
        player = game.players["generator"]
        assert player.ema is not None
        pairs = zip(player.nets.parameters(), player.ema.nets.parameters(), strict=True)
        apart.append(max((p - q).abs().max().item() for p, q in pairs))
    assert apart[0] == 0  # after 2 × 6 examples
    assert apart[1] > 0
    assert apart[2] > apart[1]


def test_samples_have_standing_statistics_unless_told_otherwise():
    z, y = torch.randn(4, Z, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3
    made = [build(biggan, standing=passes).sample(z, y) for passes in (None, 2, 2)]
    assert torch.equal(made[1], made[2])
    assert (made[0] - made[1]).abs().max() > 0.01
