import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.data.source import ArrayData
from pushforward.data.spec import DataSpec
from pushforward.objectives.penalties import zero_centred_penalty
from pushforward.objectives.regularisers import RunningMean

N, SPEC = 8, DataSpec("some", "images", (3, 8, 8), 3)


def data() -> ArrayData:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (50, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, 50)
    return ArrayData(SPEC, x, y, ("a", "b", "c"), "0")


def build(**changes: Any) -> Game:
    module = recipes.load("stylegan2")
    with torch_seeded("stylegan2"):
        game = module.build(module.Config(latent=4, width=8, base=64, batch=N, **changes), SPEC)
    for p in game.players["generator"].nets.parameters():
        if p.dim() == 0:
            torch.nn.init.constant_(p, 0.5)  # so that noise counts
    return game


def rounds(game: Game, n: int) -> list[dict[str, Move]]:
    """The moves of n rounds by player; each is evaluated, but nobody steps."""
    clock, source, found = Clock(seed=2), data(), []
    for clock.round in range(n):
        clock.begin_round()
        start = N * clock.round
        moves = {}
        for move in game.play(iter([source.batch(0, start, start + N, torch.device("cpu"))]), clock):
            assert isinstance(move, Move)
            move.objective(move.batch)
            moves[move.player] = move
        found.append(moves)
    return found


def losses(game: Game, n: int, player: str) -> list[float]:
    return [moves[player].objective(moves[player].batch)[0].item() for moves in rounds(game, n)]


@pytest.mark.parametrize(("player", "every"), [("critic", 3), ("generator", 4)])
def test_over_a_cycle_lazy_regularisers_are_the_eager_ones(player, every, monkeypatch):
    monkeypatch.setattr(RunningMean, "update", lambda self, values: self.value)  # both pull towards the same a
    n, common = 2 * every, {"penalty_weight": 5.0}
    plain = losses(build(penalty=None, path_weight=None), n, player)
    lazy = losses(build(penalty_every=every, path_every=every, **common), n, player)
    eager = losses(build(penalty_every=1, path_every=1, **common), n, player)
    extra = [a - b for a, b in zip(eager, plain, strict=True)]
    assert all(value > 1e-3 for value in extra)
    expected = [every * value if i % every == 0 else 0.0 for i, value in enumerate(extra)]
    assert [a - b for a, b in zip(lazy, plain, strict=True)] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_r1_has_the_weight_of_the_automatic_rule_unless_it_is_told_another():
    for changes, gamma in (({}, 2e-4 * 8**2 / N), ({"penalty_weight": 3.0}, 3.0)):
        game = build(penalty_every=1, **changes)
        (critic,) = (moves["critic"] for moves in rounds(game, 1))
        D = game.players["critic"].nets["D"]
        plain = losses(build(penalty=None), 1, "critic")[0]
        expected = gamma / 2 * zero_centred_penalty(D, critic.batch["x"]).item()
        assert critic.objective(critic.batch)[0].item() - plain == pytest.approx(expected, rel=1e-3, abs=1e-7)


def lengths_by_the_jacobian(game: Game, batch: Batch) -> Tensor:
    """‖Jᵀy‖ / √layers of every second example, from the whole Jacobian of images by styles."""
    G, found = game.players["generator"].nets["G"], []
    for i in range(0, N, 2):
        z, other, cut = batch["z"][i : i + 1], batch["other"][i : i + 1], int(batch["crossover"][i])
        w = torch.cat([G.mapping(z)[:, :cut], G.mapping(other)[:, cut:]], dim=1).detach()
        jacobian = torch.autograd.functional.jacobian(partial(G.synthesis, noise=batch["maps"][i : i + 1]), w)
        y = batch["path"][i].flatten() / 8  # over √(8 · 8)
        found.append((jacobian.reshape(y.numel(), -1).T @ y).norm() / math.sqrt(w.shape[1]))  # type: ignore[union-attr]
    return torch.stack(found)


def test_the_path_length_penalty_is_that_of_every_second_example_and_its_mean_moves_after_the_round():
    game = build()
    mean = game.state["path"]
    first = rounds(game, 1)[0]["generator"]
    expected = lengths_by_the_jacobian(game, first.batch)
    assert mean.value.item() == pytest.approx(expected.mean().item(), rel=1e-4)  # type: ignore[attr-defined]
    penalty = first.objective(first.batch)[1]["path"]
    target = mean.value  # type: ignore[attr-defined]
    assert penalty.item() == pytest.approx((expected - target).square().mean().item(), rel=1e-4)
    assert ["path" in moves["generator"].batch for moves in rounds(build(), 5)] == [True, False, False, False, True]
    assert not any("path" in moves["generator"].batch for moves in rounds(build(path_weight=None), 1))


def test_the_path_lengths_move_the_mapping_too():
    game = build()
    move = rounds(game, 1)[0]["generator"]
    loss = move.objective(move.batch)[1]["path"]
    G = game.players["generator"].nets["G"]
    gradients = torch.autograd.grad(loss, [layer.weight for layer in G.styles.layers])
    assert all(g.abs().max() > 0 for g in gradients)


def test_styles_cross_over_at_each_examples_layer():
    game = build(path_weight=None)
    seen, G = [], game.players["generator"].nets["G"]
    G.synthesis.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    batch = rounds(game, 1)[0]["generator"].batch
    own, other = G.mapping(batch["z"]), G.mapping(batch["other"])
    cuts = batch["crossover"].tolist()
    assert G.used == 4
    assert all(1 <= cut <= 4 for cut in cuts)
    assert len(set(cuts)) > 2
    for i, cut in enumerate(cuts):
        torch.testing.assert_close(seen[-1][i, :cut], own[i, :cut])
        torch.testing.assert_close(seen[-1][i, cut:], other[i, cut:])


def test_all_that_is_random_travels_in_the_batch():
    for moves in rounds(build(conditioning="projection"), 2):
        for move in moves.values():
            assert move.objective(move.batch)[0].item() == move.objective(move.batch)[0].item()


def test_micro_batches_sum_to_the_whole_batch_and_move_the_mean_length_as_one():
    found = []
    for parts in (1, 2):
        game = build()
        engine = Engine(game, data(), batch=N, accumulate=parts)
        for _ in range(2):
            engine.round()
        found.append({**engine.scalars.flush(), "a": game.state["path"].value.item()})  # type: ignore[attr-defined]
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-5)
    assert found[0]["a"] > 0


def test_the_games_truncation_is_that_of_the_averaged_network():
    game = build(conditioning="projection")
    Engine(game, data(), batch=N).round()
    z, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    assert game.truncated is not None
    none = game.truncated(0.0)(z, y)
    assert torch.equal(none[:3], none[3:])
    torch.testing.assert_close(game.truncated(1.0)(z, y), game.sample(z, y), rtol=1e-4, atol=1e-5)
    assert game.players["generator"].ema is not None
    network = game.players["generator"].ema.nets["G"]
    torch.testing.assert_close(game.truncated(0.7)(z, y), network(z, y, 0.7), rtol=1e-5, atol=1e-6)
