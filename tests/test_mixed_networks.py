"""The benchmark that pairs one recipe's generator with another's critic: benchmarks/mixed.py."""

from pathlib import Path

import pytest
import torch

from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.seeding import torch_seeded
from pushforward.data.catalogue import open_data
from pushforward.networks import dcgan, r3gan, stylegan2

NETWORKS = {"dcgan": dcgan, "r3gan": r3gan, "stylegan2": stylegan2}


@pytest.mark.parametrize("generator", NETWORKS)
@pytest.mark.parametrize("critic", NETWORKS)
def test_any_generator_plays_against_any_critic(generator: str, critic: str) -> None:
    mixed, data = recipes.load(str(Path(__file__).parents[1] / "benchmarks" / "mixed.py")), open_data("digits")
    with torch_seeded("mixed"):
        game = mixed.build(mixed.Config(generator=generator, critic=critic), data.spec)
    nets = {name: player.nets[net] for name, player, net in zip(game.players, game.players.values(), "DG", strict=True)}
    assert type(nets["generator"]) is NETWORKS[generator].Generator
    assert type(nets["critic"]) is NETWORKS[critic].Critic
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in nets.items()}
    engine = Engine(game, data, batch=16, seed=0)
    engine.round()
    engine.check()
    for name, net in nets.items():
        assert any(not p.equal(was) for p, was in zip(net.parameters(), before[name], strict=True))
    x = game.sample(torch.randn(3, *game.latent), torch.arange(3))
    assert x.shape == (3, 1, 8, 8)
    assert x.isfinite().all()
