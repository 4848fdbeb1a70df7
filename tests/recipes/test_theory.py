"""The recipes that put the theory to work, against their papers written out plainly."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import played
import pytest
import torch
import torch.nn.functional as F
from played import nets
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import RMSprop

import pushforward as pf
from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.objectives.divergence import DIVERGENCES, by_name
from pushforward.report import read_run
from pushforward.report.sections import surface

N = 8
PLANE, GREY = DataSpec("plane", "points", (2,)), DataSpec("grey", "images", (1, 8, 8))
FAMILIES = ["alpha(0.5)", "weighted_jensen_shannon(0.3)"]
assert_same_loss = partial(played.assert_same_loss, rel=1e-4)


def build(name: str, spec: DataSpec, **changes: Any) -> Game:
    module = recipes.load(name)
    config = dataclasses.replace(module.PRESETS[spec.kind], **{"latent": 4, "width": 8, "examples": 1000, **changes})
    with torch_seeded("theory"):
        return module.build(config, spec)


class Noise:
    """A source of normal examples around (2, 2, …), never the same twice."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        draws = torch.Generator().manual_seed(seed + start)
        x = torch.randn(stop - start, *self.spec.shape, generator=draws)
        return {"x": (x + 2 if self.spec.kind == "points" else x.tanh()).to(device)}


def batches(spec: DataSpec) -> Iterator[Batch]:
    start = 0
    while True:
        yield Noise(spec).batch(0, start, start + N, torch.device("cpu"))
        start += N


def moves(game: Game, spec: DataSpec) -> list[Move]:
    return played.moves(game, batches(spec))


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("divergence", [*DIVERGENCES, *FAMILIES])
def test_fgan_plays_for_the_variational_bound_of_each_divergence(divergence, saturating):
    game = build("fgan", PLANE, divergence=divergence, saturating=saturating)
    G, D = nets(game)
    d = by_name(divergence)
    critic, generator = moves(game, PLANE)
    T_real = d.activation(D(critic.batch["x"]))
    T_fake = d.activation(D(G(critic.batch["z"]).detach()))
    assert_same_loss(critic.objective(critic.batch)[0], d.conjugate(T_fake).mean() - T_real.mean(), D)
    T_fake = d.activation(D(G(generator.batch["z"])))
    expected = -d.conjugate(T_fake).mean() if saturating else -T_fake.mean()
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


@pytest.mark.parametrize("divergence", [*DIVERGENCES, *FAMILIES])
def test_a_round_of_fgan_changes_both_players_whatever_the_divergence(divergence):
    game = build("fgan", PLANE, divergence=divergence)
    before = [[p.clone() for p in net.parameters()] for net in nets(game)]
    Engine(game, Noise(PLANE), batch=N).round()
    for net, old in zip(nets(game), before, strict=True):
        for now, then in zip(net.parameters(), old, strict=True):
            # The last bias is shared by all logits, and the generator's first moves may leave it.
            assert now.isfinite().all()
            assert not torch.equal(now, then)


def test_fgan_with_the_gan_divergence_is_the_original_game():
    game = build("fgan", PLANE, divergence="gan", saturating=False)
    G, D = nets(game)
    critic, generator = moves(game, PLANE)
    real, fake = D(critic.batch["x"]), D(G(critic.batch["z"]).detach())
    assert_same_loss(critic.objective(critic.batch)[0], F.softplus(-real).mean() + F.softplus(fake).mean(), D)
    expected = F.softplus(-D(G(generator.batch["z"]))).mean()
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("pearsn", r"there is no divergence 'pearsn'; did you mean pearson\?"),
        ("hellinger", r"there is no divergence 'hellinger'; did you mean squared_hellinger\?"),
        ("reverse_lk", r"there is no divergence 'reverse_lk'; did you mean reverse_kl"),
        ("wasserstein", "one of kl, reverse_kl, .*alpha.*, got 'wasserstein'"),
    ],
)
def test_a_wrong_divergence_is_refused_with_the_near_names(asked, words):
    with pytest.raises(ValueError, match=words) as caught:
        build("fgan", PLANE, divergence=asked)
    assert "\n" not in str(caught.value)


def test_a_divergences_name_may_have_dashes_and_capitals():
    assert build("fgan", PLANE, divergence="Jensen-Shannon").latent == (4,)


def test_fgan_limits_the_gradients_of_both_players():
    assert {player.clip for player in build("fgan", PLANE, clip=3.0).players.values()} == {3.0}


@pytest.mark.parametrize("spec", [PLANE, GREY], ids=lambda spec: spec.name)
def test_lsgan_is_half_the_squares_around_a_b_and_c(spec):
    game = build("lsgan", spec, a=0.5, b=3.0, c=2.0)
    G, D = nets(game)
    critic, generator = moves(game, spec)
    real, fake = D(critic.batch["x"]), D(G(critic.batch["z"]).detach())
    assert_same_loss(
        critic.objective(critic.batch)[0], ((real - 3) ** 2).mean() / 2 + ((fake - 0.5) ** 2).mean() / 2, D
    )
    expected = ((D(G(generator.batch["z"])) - 2) ** 2).mean() / 2
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


def test_lsgans_pearson_preset_meets_the_theorems_conditions_and_equal_targets_are_refused():
    pearson = recipes.load("lsgan").PRESETS["pearson"]
    assert (pearson.b - pearson.c, pearson.b - pearson.a) == (1, 2)
    with pytest.raises(ValueError, match="real and fake need different targets"):
        build("lsgan", PLANE, a=1.0, b=1.0)


@pytest.mark.parametrize("spec", [PLANE, GREY], ids=lambda spec: spec.name)
def test_wgans_critic_is_within_the_limit_after_each_of_its_five_steps_and_the_generator_is_free(spec):
    game = build("wgan", spec, clip=0.01)
    G, D = nets(game)
    play, order = game.play, []

    def watched(given: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        for move in play(given, clock):
            assert isinstance(move, Move)
            yield move
            order.append(move.player)
            largest = max(p.abs().max().item() for p in D.parameters())
            assert largest == pytest.approx(0.01, rel=1e-6)  # initial weights are larger: the limit is felt

    game.play = watched
    engine = Engine(game, Noise(spec), batch=N)
    for _ in range(2):
        engine.round()
    assert order == (["critic"] * 5 + ["generator"]) * 2
    assert max(p.abs().max().item() for p in G.parameters()) > 0.05


def test_wgan_is_moved_by_rmsprop_towards_the_difference_of_means():
    game = build("wgan", PLANE, lr=3e-4, decay=0.9)
    G, D = nets(game)
    for player in game.players.values():
        assert isinstance(player.optimizer, RMSprop)
        (group,) = player.optimizer.param_groups
        assert (group["lr"], group["alpha"], group["momentum"]) == (3e-4, 0.9, 0)
    critic, generator = moves(game, PLANE)[-2:]
    expected = D(G(critic.batch["z"]).detach()).mean() - D(critic.batch["x"]).mean()
    assert_same_loss(critic.objective(critic.batch)[0], expected, D)
    assert_same_loss(generator.objective(generator.batch)[0], -D(G(generator.batch["z"])).mean(), G)


@pytest.mark.parametrize("spec", [PLANE, GREY], ids=lambda spec: spec.name)
def test_each_layer_of_sngans_critic_keeps_a_largest_singular_value_of_one(spec):
    game = build("sngan", spec)
    engine = Engine(game, Noise(spec), batch=N)
    for _ in range(6):
        engine.round()
    _, D = nets(game)
    layers = [m for m in D.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
    D.eval()
    sigmas = [torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() for layer in layers]
    assert len(sigmas) >= 4
    assert 0.99 < min(sigmas) <= max(sigmas) < 1.05  # the iteration lags behind, from below
    owned = [p for group in game.players["critic"].optimizer.param_groups for p in group["params"]]
    raw = [torch.linalg.matrix_norm(p.detach().flatten(1), 2).item() for p in owned if p.dim() > 1]
    assert max(abs(sigma - 1) for sigma in raw) > 0.1  # which the weights underneath do not


def test_sngans_critic_on_points_never_slopes_more_than_one():
    game = build("sngan", PLANE)
    engine = Engine(game, Noise(PLANE), batch=N)
    for _ in range(6):
        engine.round()
    x = (3 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))).requires_grad_()
    (slopes,) = torch.autograd.grad(nets(game)[1].eval()(x).sum(), x)
    assert 0 < slopes.norm(dim=1).max().item() < 1.05


@pytest.mark.parametrize("loss", ["hinge", "non-saturating"])
def test_sngan_plays_for_the_hinge_or_the_logistic_loss(loss):
    game = build("sngan", PLANE, loss=loss)
    G, D = nets(game)
    critic, generator = moves(game, PLANE)[-2:]
    real, fake = D(critic.batch["x"]), D(G(critic.batch["z"]).detach())
    hinge = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    logistic = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
    assert_same_loss(critic.objective(critic.batch)[0], hinge if loss == "hinge" else logistic, D)
    fake = D(G(generator.batch["z"]))
    expected = -fake.mean() if loss == "hinge" else -F.logsigmoid(fake).mean()
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


def rational_and_linear(x: Tensor, y: Tensor) -> Tensor:
    """Bińkowski et al.'s kernel: five shapes, and the inner product."""
    squares = (x[:, None] - y[None]).square().sum(2)
    return sum(((1 + squares / (2 * a)) ** -a for a in (0.2, 0.5, 1.0, 2.0, 5.0)), x @ y.T)


def unbiased(kernel: Any, x: Tensor, y: Tensor) -> Tensor:
    n = len(x)
    within = sum((k.sum() - k.trace()) / (n * (n - 1)) for k in (kernel(x, x), kernel(y, y)))
    return within - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("spec", [PLANE, GREY], ids=lambda spec: spec.name)
def test_mmd_gans_critic_maximises_the_unbiased_mmd_of_its_features_less_the_witness_penalty(spec):
    game = build("mmd-gan", spec, penalty=3.0, features=5)
    G, D = nets(game)
    played = moves(game, spec)
    assert [move.player for move in played] == ["critic"] * 5 + ["generator"]
    critic, generator = played[-2:]
    x, fakes = critic.batch["x"], G(critic.batch["z"]).detach()
    real, fake = D(x), D(fakes)
    assert real.shape == (N, 5)
    squared = unbiased(rational_and_linear, real, fake)
    eps = critic.batch["eps"].view(-1, *[1] * (x.dim() - 1))
    between = (eps * x + (1 - eps) * fakes).requires_grad_()
    at = D(between)
    seen = rational_and_linear(at, real).mean(1) - rational_and_linear(at, fake).mean(1)
    (slope,) = torch.autograd.grad(seen.sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    found, logged = critic.objective(critic.batch)
    assert_same_loss(found, 3 * penalty - squared, D)
    assert logged["mmd2"].item() == pytest.approx(squared.item(), rel=1e-4, abs=1e-6)
    assert logged["penalty"].item() == pytest.approx(penalty.item(), rel=1e-4)
    expected = unbiased(rational_and_linear, D(generator.batch["x"]), D(G(generator.batch["z"])))
    assert_same_loss(generator.objective(generator.batch)[0], expected, G)


def test_mmd_gans_players_want_opposite_things_but_for_the_penalty():
    game = build("mmd-gan", PLANE, penalty=0.0)
    critic = moves(game, PLANE)[-2]
    of_generator, _ = moves(game, PLANE)[-1].objective(critic.batch)
    assert critic.objective(critic.batch)[0].item() == pytest.approx(-of_generator.item(), rel=1e-5)


def test_mmd_gans_judge_is_the_witness_of_the_last_round_high_for_real():
    game = build("mmd-gan", PLANE, ema=None)
    assert game.critic is not None
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(game.critic(x, None), torch.zeros(6))
    engine = Engine(game, Noise(PLANE), batch=N)
    for _ in range(20):
        engine.round()
    _, D = nets(game)
    state: Any = game.state["witness"]
    real, fake = D(state.x), D(game.sample(state.z))
    expected = rational_and_linear(D(x), real).mean(1) - rational_and_linear(D(x), fake).mean(1)
    torch.testing.assert_close(game.critic(x, None), expected.detach(), rtol=1e-4, atol=1e-5)
    assert game.critic(state.x, None).mean() > game.critic(game.sample(state.z), None).mean()


@pytest.mark.parametrize("spec", [PLANE, GREY], ids=lambda spec: spec.name)
def test_gmmn_has_one_player_who_minimises_the_root_of_the_biased_mmd(spec):
    game = build("gmmn", spec, bandwidth=0.5, kernels=3)
    assert list(game.players) == ["generator"]
    assert game.critic is None
    (move,) = moves(game, spec)
    G = game.players["generator"].nets["G"]
    bandwidths = [0.5 * spec.size**0.5 * 2**k for k in range(3)]

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = (x.flatten(1)[:, None] - y.flatten(1)[None]).square().sum(2)
        return sum((torch.exp(-squares / (2 * s**2)) for s in bandwidths), torch.zeros(()))

    x, fake = move.batch["x"], G(move.batch["z"])
    expected = (kernel(x, x).mean() + kernel(fake, fake).mean() - 2 * kernel(x, fake).mean()).sqrt()
    assert_same_loss(move.objective(move.batch)[0], expected, G)


def test_a_game_without_a_critic_is_trained_sampled_and_reported(tmp_path):
    small: dict[str, Any] = {"examples": 200, "batch": 100, "width": 8, "ticks": 2, "pictures": 1, "checkpoints": 1}
    run = pf.train("gmmn", data="ring8", out=tmp_path / "run", evaluations=0, measure=False, **small)
    assert run.outcome == "finished"
    assert run.sample(5).shape == (5, 2)
    with np.load(run.folder / "exhibits.npz") as exhibits:
        assert "surface" not in exhibits
        assert exhibits["fake"].shape[1] == 2
    assert surface(read_run(run.folder)) is None
    assert (run.folder / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("fgan", {"clip": 0.0}, "clip must be a positive norm, got 0.0"),
        ("fgan", {"clip": -1.0}, "clip must be a positive norm, got -1.0"),
        ("mmd-gan", {"batch": 1}, "pairs of examples, got a batch of 1"),
    ],
)
def test_settings_under_which_nothing_could_be_learned_are_refused(recipe, changes, words):
    with pytest.raises(ValueError, match=words):
        build(recipe, PLANE, **changes)


def test_fgan_without_a_limit_is_the_papers():
    assert {player.clip for player in build("fgan", PLANE, clip=None).players.values()} == {None}
    assert recipes.load("fgan").PRESETS["paper"].clip is None
