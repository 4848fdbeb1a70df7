"""Every recipe, on every kind of data it has a preset for: builds, trains, samples, resumes bit for bit."""

import ast
import copy
import dataclasses
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import BATCH, DATA, build, data, small
from torch import Tensor

from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games import adversarial


def cases() -> list[Any]:
    found = []
    for name in recipes.names():
        for preset, config in recipes.load(name).PRESETS.items():
            for where in DATA["points" if preset == "points" else "images"]:
                # Told the class and not, where both are possible.
                told_how = getattr(config, "conditioning", None) or (
                    "projection" if preset == "points" else "concatenation"
                )
                for told in (told_how, None) if hasattr(config, "conditioning") else ("",):
                    changes = {} if told == "" else {"conditioning": told}
                    mark = "-conditional" if told else ""
                    if not (name == "cgan" and told is None):
                        found.append(pytest.param(name, preset, where, changes, id=f"{name}-{preset}-{where}{mark}"))
    return found


EVERYWHERE = pytest.mark.parametrize(("name", "preset", "where", "changes"), cases())


def engine(game: Game, where: str, **options: Any) -> Engine:
    return Engine(game, data(where), batch=BATCH, seed=3, **options)


def play(engine: Engine, rounds: int) -> Engine:
    for _ in range(rounds):
        engine.round()
    engine.check()
    return engine


def tensors(game: Game) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, averages included."""
    found = {}
    for name, p in game.players.items():
        found |= {f"{name}/{k}": v.clone() for k, v in p.nets.state_dict().items()}
        found |= {f"{name}/ema/{k}": v.clone() for k, v in (p.ema.nets.state_dict() if p.ema else {}).items()}
    return found


def ask(game: Game, n: int = 6) -> Tensor:
    z = torch.randn(n, *game.latent, generator=torch.Generator().manual_seed(1))
    return game.sample(z, None if game.classes is None else torch.arange(n) % game.classes)


@EVERYWHERE
def test_builds_trains_moves_every_player_samples_and_resumes_bit_for_bit(name, preset, where, changes):
    config, spec = small(name, preset, **changes), data(where).spec
    game = build(name, config, where)
    before = tensors(game)
    first = play(engine(game, where), 3)
    after = tensors(game)
    steps = getattr(config, "critic_steps", 1)
    assert first.clock.seen == 3 * steps * BATCH
    # A network's growth is a function of the examples seen, and has just begun.
    still = {k for k in before if torch.equal(before[k], after[k]) and not k.endswith("growth._extra_state")}
    # The singular vectors of a layer with one input or output are always 1.
    still -= {key for key in still if key.endswith(("weight.0.u", "weight.0.v")) and before[key].numel() == 1}
    if name == "stylegan":  # which grows from 8×8, so that nobody sees its images of 4×4
        still = {key for key in still if "rgb.0." not in key}
    if getattr(config, "maxout", False):  # whose first logits are all but 0: real and fake pull the last bias alike
        still -= {"critic/D.last.linear.bias"}
    # Only differences of outputs count for these critics (within the hinge too), so the last bias has no gradient.
    assert still <= {
        "critic/D.last.bias",
        "critic/D.last.linear.bias",
        "critic/D.layers.6.bias",
        "critic/D.layers.4.bias",
    }, still
    assert not still or name in ("wgan", "wgan-gp", "sngan", "projection", "sagan", "biggan", "logan", "mmd-gan")
    assert all(v.isfinite().all() for v in after.values())
    logged = first.scalars.flush()
    assert {f"{player}/{term}" for player in game.players for term in ("loss", "gradient")} <= logged.keys()
    assert all(math.isfinite(v) for v in logged.values())

    x = ask(game)
    assert x.shape == (6, *spec.shape)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert not x.requires_grad
    assert torch.equal(ask(game), x)
    assert all(torch.equal(v, after[k]) for k, v in tensors(game).items())  # looking changes nothing
    y = torch.arange(6) % game.classes if game.classes else None
    assert (game.critic is None) == (name == "gmmn")
    judged = None if game.critic is None else game.critic(x, y)
    assert judged is None or (judged.shape == (6,) and judged.isfinite().all() and not judged.requires_grad)

    saved = copy.deepcopy(first.state_dict())
    play(first, 3)
    other = build(name, config, where, seed=9)
    second = engine(other, where)
    second.load_state_dict(saved)
    assert torch.equal(ask(other), x)
    assert judged is None or torch.equal(other.critic(x, y), judged)  # type: ignore[misc]
    play(second, 3)
    left, right = tensors(game), tensors(other)
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert torch.equal(ask(game), ask(other))


@EVERYWHERE
def test_trains_under_bf16_with_losses_close_to_float32s(name, preset, where, changes):
    # Adam's first steps go by a gradient's sign alone, which rounding decides where it is nearly 0.
    still = {"lr": 1e-9, "lr_end": 1e-9, "critic_lr": 1e-9}
    logs = []
    for bf16 in (False, True):
        game = build(name, small(name, preset, **changes, **still), where)
        logs.append(play(engine(game, where, bf16=bf16), 1).scalars.flush())
    assert logs[0].keys() == logs[1].keys()
    for term, value in logs[0].items():
        assert logs[1][term] == pytest.approx(value, rel=0.15, abs=0.15), term


@pytest.mark.parametrize("where", ["ring8", "colours"])
@pytest.mark.parametrize("name", ["gan", "r3gan", "wgan-gp", "sngan"])
def test_micro_batches_sum_to_the_whole_batch(name, where):
    # Within the hinge the last bias has no gradient but rounding, which Adam's first step would make a whole one.
    changes = {
        "sngan": {"loss": "non-saturating", "penalty": "dragan"},
        "r3gan": {"conditioning": "projection"},
    }.get(name, {})
    logs = []
    for parts in (1, 3):
        game = build(name, small(name, data(where).spec.kind, critic_steps=1, **changes), where)
        if name in ("wgan-gp", "sngan"):
            game.players["generator"].nets.eval()  # their BatchNorm sees each micro-batch apart
        logs.append(play(engine(game, where, accumulate=parts), 1).scalars.flush())
    assert logs[0].keys() == logs[1].keys()
    for term, value in logs[0].items():
        assert logs[1][term] == pytest.approx(value, rel=1e-4, abs=1e-5), term


@pytest.mark.parametrize("name", recipes.names())
def test_the_docstring_names_its_paper_and_every_option_has_a_docstring(name):
    path = Path(recipes.__file__).with_name(name.replace("-", "_") + ".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert re.search(r"\barXiv:\d{4}\.\d{4,5}\b", ast.get_docstring(tree) or "")
    described = set()
    for source in (path, Path(adversarial.__file__)):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for config in (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in ("Config", "Rules")):
            for node, below in itertools.zip_longest(config.body, config.body[1:]):
                if isinstance(node, ast.AnnAssign):
                    assert isinstance(below, ast.Expr), ast.unparse(node)
                    assert isinstance(below.value, ast.Constant), ast.unparse(node)
                    assert str(below.value.value).endswith(".")
                    described.add(ast.unparse(node.target))
    assert {f.name for f in dataclasses.fields(recipes.load(name).Config)} <= described


@pytest.mark.parametrize("name", recipes.names())
def test_presets_are_configurations_for_points_or_images(name):
    module = recipes.load(name)
    assert {"points", "images"} & module.PRESETS.keys()
    for config in module.PRESETS.values():
        assert type(config) is module.Config
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.batch = 1


@pytest.mark.parametrize("name", recipes.names())
def test_the_summary_is_one_sentence_read_without_an_import(name, monkeypatch):
    monkeypatch.setattr(recipes.importlib, "import_module", None)
    text = recipes.summary(name)
    assert 10 < len(text) < 120
    assert "\n" not in text
    assert not text.endswith(".")
    assert "arXiv" not in text


POINTS, GREY = DataSpec("dots", "points", (2,)), DataSpec("grey", "images", (1, 8, 8))
ODD = DataSpec("odd", "images", (1, 28, 28), 10)


@pytest.mark.parametrize(
    ("name", "spec", "changes", "words"),
    [
        ("cgan", POINTS, {}, "conditional cgan needs labels, and dots has none"),
        ("cgan", GREY, {}, "conditional cgan needs labels, and grey has none"),
        ("r3gan", GREY, {"conditioning": "projection"}, "needs labels, and grey has none"),
        ("dcgan", POINTS, {}, r"makes images \[C, H, W\], got examples of shape \(2,\)"),
        ("dcgan", ODD, {}, "images of 28×28 do not fit"),
        ("cgan", ODD, {}, "images of 28×28 do not fit"),
        ("wgan-gp", ODD, {}, "images of 28×28 do not fit"),
        ("r3gan", ODD, {}, "images of 28×28 do not fit"),
    ],
)
def test_data_that_does_not_fit_is_refused_in_one_line(name, spec, changes, words):
    config = small(name, "images", **changes)
    with pytest.raises(ValueError, match=words) as caught:
        recipes.load(name).build(config, spec)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # and a remedy


def test_the_multilayer_perceptrons_take_images_of_any_side():
    assert recipes.load("gan").build(small("gan", "images"), ODD).sample(torch.zeros(2, 4)).shape == (2, 1, 28, 28)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|, without bias: 0 for equal laws."""

    def within(x: Tensor) -> float:
        return torch.cdist(x, x).sum().item() / (len(x) * (len(x) - 1))

    return 2 * torch.cdist(x, y).mean().item() - within(x) - within(y)


@pytest.mark.parametrize(
    ("name", "rounds", "changes"),
    [
        ("gan", 400, {"width": 64, "latent": 2, "batch": 128, "depth": 3}),
        ("r3gan", 200, {"width": 32, "latent": 2, "batch": 128, "blocks": 2}),
    ],
)
def test_a_few_hundred_rounds_bring_the_samples_to_the_ring(name, rounds, changes):
    config = small(name, "points", **changes, examples=rounds * 128, ema=2000)
    game = build(name, config, "ring8", seed=1)
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    real, more = (data("ring8").examples(1000, seed)["x"] for seed in (0, 1))
    before = energy_distance(game.sample(z), real)
    play(Engine(game, data("ring8"), batch=128), rounds)
    x = game.sample(z)
    after = energy_distance(x, real)
    assert abs(energy_distance(real, more)) < 0.02  # what chance alone makes of it
    assert before > 0.4
    assert -0.02 < after < before / 4
    assert x.norm(dim=1).mean().item() == pytest.approx(real.norm(dim=1).mean().item(), rel=0.15)
    assert x.std(0).tolist() == pytest.approx(real.std(0).tolist(), rel=0.35)


@pytest.mark.parametrize("name", [n for n in recipes.names() if issubclass(recipes.load(n).Config, adversarial.Rules)])
def test_rates_hold_their_share_of_the_run_and_then_fall_to_zero(name):
    start, held, falling, end = ({} for _ in range(4))
    game = build(name, small(name, "images", lr_hold=0.5), "digits")
    for found, seen in ((start, 0), (held, 500), (falling, 750), (end, 1000)):
        found |= {who: player.lr(seen) for who, player in game.players.items() if player.lr is not None}
    assert set(start) == set(game.players)
    for who, player in game.players.items():
        assert start[who] == pytest.approx(player.optimizer.param_groups[0]["lr"])
        assert 0 < falling[who] <= held[who] / 2
        assert end[who] == 0
