import dataclasses
import inspect
import sys
import typing

import pytest
import torch

from pushforward import recipes
from pushforward.data.spec import DataSpec

OWN = '''"""My GAN: what I think a GAN is. Me 2025, arXiv:0000.00000."""

from __future__ import annotations

from dataclasses import dataclass

from pushforward.core.duel import Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.networks.mlp import Critic, Generator
from pushforward.objectives.adversarial import non_saturating


@dataclass(frozen=True)
class Config:
    examples: int = 100
    """Real examples to see."""
    batch: int = 4
    """Examples a move sees."""


PRESETS = {"points": Config()}


def build(cfg: Config, spec) -> Game:
    G, D = Generator(3, spec.shape), Critic(spec.shape)
    players = two_players(G, D, lr=1e-3, betas=(0.5, 0.9), ema=None)
    return Game(players, alternate(G, D, non_saturating, 3), Sampler(players["generator"]), (3,))
'''


def test_names_are_the_files_with_dashes():
    assert {"gan", "dcgan", "cgan", "wgan-gp", "r3gan"} <= set(recipes.names())
    assert recipes.load("wgan-gp").__name__ == "pushforward.recipes.wgan_gp"


@pytest.mark.parametrize(
    ("asked", "meant"), [("dcgn", "dcgan"), ("wgan_gp", "wgan-gp"), ("wgangp", "wgan-gp"), ("R3GAN", None), ("x", None)]
)
def test_an_unknown_name_suggests_the_right_one_or_lists_them_all(asked, meant):
    with pytest.raises(ValueError, match=f"there is no recipe '{asked}'") as caught:
        recipes.load(asked)
    text = str(caught.value)
    assert f"did you mean {meant}?" in text if meant else all(name in text for name in recipes.names())


def test_a_recipe_of_ones_own_loads_from_its_path_and_builds(tmp_path):
    path = tmp_path / "my gan.py"
    path.write_text(OWN)
    module = recipes.load(str(path))
    game = module.build(module.PRESETS["points"], DataSpec("plane", "points", (2,)))
    assert game.sample(torch.zeros(5, 3)).shape == (5, 2)
    # What reads annotations and the docstrings below fields finds them.
    assert typing.get_type_hints(module.Config) == {"examples": int, "batch": int}
    assert "Real examples to see" in inspect.getsource(module.Config)
    assert dataclasses.replace(module.Config(), batch=9).batch == 9


def test_a_recipe_named_like_another_module_hides_nothing(tmp_path):
    path = tmp_path / "dcgan.py"
    path.write_text(OWN)
    assert recipes.load(str(path)).__doc__.startswith("My GAN")
    assert recipes.load("dcgan").__doc__.startswith("DCGAN")
    before = set(sys.modules)
    path = tmp_path / "json.py"
    path.write_text(OWN)
    recipes.load(str(path))
    assert sys.modules["json"].__name__ == "json"
    assert not any(name.endswith(("dcgan", "json")) for name in set(sys.modules) - before)


def test_a_recipe_that_was_changed_is_read_anew(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert recipes.load(str(path)).Config().batch == 4
    path.write_text(OWN.replace("batch: int = 4", "batch: int = 128"))
    assert recipes.load(str(path)).Config().batch == 128


@pytest.mark.parametrize("part", ["Config", "PRESETS", "build"])
def test_a_file_without_one_of_its_parts_is_refused_by_name(tmp_path, part):
    path = tmp_path / "half.py"
    path.write_text("".join(f"{name} = 1\n" for name in ("Config", "PRESETS", "build") if name != part))
    with pytest.raises(ValueError, match=f"half.py has no {part}; a recipe has Config, PRESETS and build"):
        recipes.load(str(path))


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.py does not exist; give a recipe's name or a path"):
        recipes.load(str(tmp_path / "nowhere.py"))
