import copy
import dataclasses
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.checkpoint import read, write
from pushforward.core.engine import Engine
from pushforward.core.game import Clock, Game, Move
from pushforward.core.seeding import torch_seeded
from pushforward.data.catalogue import open_data
from pushforward.data.source import Data
from pushforward.games.growing import phase_of
from pushforward.layers.equalised import EqualConv2d
from pushforward.layers.growth import Stage, enlarged, shrunk, stage_at
from pushforward.networks import progan
from pushforward.networks.progan import Critic, EqualHead, Generator, widths_of
from pushforward.recipes import progan as recipe

SHAPE = (3, 16, 16)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(net: nn.Module) -> nn.Module:
    """The network with biases that are not 0, as after training."""
    with torch_seeded("biases"):
        for parameter in net.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return net


def nets(classes: int = 0, shape: tuple[int, ...] = SHAPE, **options: bool) -> tuple[Generator, Critic]:
    with torch_seeded("progan"):
        G = Generator(6, shape, 8, 8, classes, **options)
        D = Critic(shape, 8, 8, classes, **options)
    moved(G), moved(D)
    return G, D


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_layers_are_those_of_table_2():
    assert widths_of((3, 1024, 1024), 512, 32) == (512, 512, 512, 512, 256, 128, 64, 32, 16)
    with torch.device("meta"):
        D = Critic((3, 1024, 1024))
    downs = [(count(b.conv1), count(b.conv2)) for b in reversed(D.blocks)]
    assert downs[:5] == [(2320, 4640), (9248, 18496), (36928, 73856), (147584, 295168), (590080, 1180160)]
    assert downs[5:] == [(2359808, 2359808)] * 3
    assert (count(D.conv), count(D.hidden), count(D.last)) == (2364416, 4194816, 513)


@pytest.mark.parametrize("conv", [EqualConv2d(3, 5, 3), EqualConv2d(5, 3, 3, gain=2.0)])
def test_resampling_within_a_convolution_is_that_beside_it(conv):
    moved(conv)
    x = rows(2, conv.weight.shape[1], 8, 8)
    plain = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(progan.up_conv(x, conv), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(progan.conv_down(x, conv), F.avg_pool2d(conv(x), 2), rtol=1e-4, atol=1e-5)


def smaller(shape: tuple[int, ...], side: int) -> tuple[Generator, Critic]:
    """Networks for images of `side`, with the weights of those for `shape`: those of the stages that both have."""
    large, small = nets(shape=shape), nets(shape=(shape[0], side, side))
    for have, want in zip(large, small, strict=True):
        own, there = want.state_dict(), have.state_dict()
        want.load_state_dict({key: own[key] if "growth" in key else there[key] for key in own})
    return small


@pytest.mark.parametrize("level", [1, 2])
def test_fade_in_at_alpha_0_and_1_equals_the_smaller_and_the_larger_network(level):
    G, D = nets()
    z, x = rows(4, 6), rows(4, *SHAPE, seed=1)
    for alpha, size in ((0.0, level - 1), (1.0, level)):
        stage, side = Stage(level, alpha), 4 * 2**size
        G.growth.set(stage), D.growth.set(stage)
        g, d = smaller(SHAPE, side)
        assert g.growth.level == size
        assert torch.equal(G(z), enlarged(g(z), 2 - size))
        torch.testing.assert_close(D(x), d(shrunk(x, 2 - size)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(D.growth.limited(x), enlarged(shrunk(x, 2 - size), 2 - size))


def test_fade_in_is_linear_in_alpha_and_reaches_all_parts():
    G, D = nets()
    z, x = rows(4, 6), rows(4, *SHAPE, seed=1)
    images, limited, logits = [], [], []
    for alpha in (0.0, 0.25, 1.0):
        G.growth.set(Stage(2, alpha)), D.growth.set(Stage(2, alpha))
        images.append(G(z)), limited.append(D.growth.limited(x)), logits.append(D(x))
    for at in (images, limited):
        torch.testing.assert_close(at[1], 0.75 * at[0] + 0.25 * at[2], rtol=1e-4, atol=1e-5)
        assert (at[0] - at[2]).abs().max() > 0.1
    assert (logits[1] - logits[0]).abs().max() > 1e-4
    assert (logits[1] - logits[2]).abs().max() > 1e-4


@pytest.mark.parametrize("stage", [Stage(0), Stage(1, 0.5), Stage(1), Stage(2, 0.25), Stage(2)])
def test_fakes_have_the_detail_that_reals_are_limited_to(stage):
    G, D = nets()
    G.growth.set(stage)
    images = G(rows(4, 6))
    assert images.shape == (4, *SHAPE)
    G.growth.set(Stage(stage.level))
    torch.testing.assert_close(G.growth.limited(images), images, rtol=1e-5, atol=1e-6)
    used = {n for n, p in D.named_parameters() if p.grad is not None}
    assert not used
    D.growth.set(stage)
    D(images.detach()).sum().backward()
    used = {n.split(".")[1] for n, p in D.named_parameters() if p.grad is not None and n.startswith("from_rgb")}
    assert used == {str(stage.level), *([str(stage.level - 1)] if stage.alpha < 1 else [])}
    assert {n.split(".")[1] for n, p in D.named_parameters() if p.grad is not None and n.startswith("blocks")} == {
        str(i) for i in range(stage.level)
    }


@pytest.mark.parametrize(("examples", "levels"), [(1000, 3), (10**8, 8), (10, 6), (100, 0)])
def test_the_last_level_is_there_after_three_quarters_of_a_short_run(examples, levels):
    phase = phase_of(examples, levels, 800_000)
    assert 1 <= phase <= 800_000
    if examples >= 1000:
        assert stage_at(math.ceil(0.75 * examples), levels, phase) == Stage(levels)
        assert phase == 800_000 or stage_at(round(0.7 * examples), levels, phase) != Stage(levels)


def test_the_stage_is_part_of_the_networks_state_and_of_its_copies():
    G, other = nets()[0], nets()[0]
    G.growth.set(Stage(2, 0.3))
    other.load_state_dict(G.state_dict())
    assert other.growth.stage == copy.deepcopy(G).growth.stage == Stage(2, 0.3)
    assert torch.equal(other(rows(2, 6)), G(rows(2, 6)))


def test_logits_do_not_depend_on_the_order_of_a_group_and_do_on_its_members():
    _, D = nets()
    x = rows(4, *SHAPE)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(D(x[order]), D(x)[order], rtol=1e-4, atol=1e-5)
    others = torch.cat([x[:1], rows(3, *SHAPE, seed=5) * 3])
    assert (D(others)[0] - D(x)[0]).abs() > 1e-4
    # Groups of 4 that follow one another: a multiple of 4 examples sees what its parts would.
    more = torch.cat([x, others])
    torch.testing.assert_close(D(more), torch.cat([D(x), D(others)]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [0, 5])
def test_maps_start_with_unit_mean_square(classes):
    with torch_seeded("scale"):
        G, D = Generator(32, SHAPE, 32, 16, classes), Critic(SHAPE, 32, 16, classes)
    z, y = rows(64, 32), torch.arange(64) % 5 if classes else None
    seen = []
    D.hidden.register_forward_hook(lambda module, args, out: seen.append(out))
    assert G(z, y).square().mean().item() == pytest.approx(1, rel=0.5)
    assert 0.1 < D(rows(64, *SHAPE), y).std().item() < 3
    assert 0.1 < F.leaky_relu(seen[0], 0.2).square().mean().item() < 2  # halving white noise takes some away


def test_the_latents_length_says_nothing():
    G, _ = nets()
    z = rows(3, 6)
    torch.testing.assert_close(G(z), G(7 * z), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
def test_labels_change_images_and_logits_and_must_be_given(conditioning):
    G, _ = nets(classes=5)
    with torch_seeded("told"):
        D = moved(Critic(SHAPE, 8, 8, 5, conditioning))
    z, x, a, b = rows(4, 6), rows(4, *SHAPE), torch.zeros(4).long(), torch.full((4,), 3)
    assert (G(z, a) - G(z, b)).abs().max() > 0.1
    assert (D(x, a) - D(x, b)).abs().max() > 0.05
    for call in (lambda: G(z), lambda: D(x)):
        with pytest.raises(ValueError, match="a network of 5 classes needs the labels"):
            call()


def test_the_head_is_the_projection():
    with torch_seeded("head"):
        head = EqualHead(6, 4)
    head.linear.bias.data.fill_(0.7)
    h, y = rows(3, 6), torch.tensor([1, 3, 1])
    v, table = head.linear.weight[0] / math.sqrt(6), head.embed.weight.T / math.sqrt(6)
    torch.testing.assert_close(head(h, y), (h * (v + table[y])).sum(1) + 0.7, rtol=1e-4, atol=1e-5)


def test_networks_that_do_not_grow_have_no_layers_for_it():
    for growing, fixed in zip(nets(), nets(growing=False), strict=True):
        extra = [p for n, p in growing.named_parameters() if n.startswith(("to_rgb", "from_rgb"))][:-2]
        assert count(growing) - count(fixed) == sum(p.numel() for p in extra)
    G, D = nets(growing=False)
    D(G(rows(4, 6))).sum().backward()
    assert all(p.grad is not None for net in (G, D) for p in net.parameters())


def test_other_sizes_are_refused():
    for build in (lambda: Generator(6, (1, 28, 28)), lambda: Critic((1, 28, 28))):
        with pytest.raises(ValueError, match="images of 28×28 do not fit"):
            build()


@cache
def digits() -> Data:
    return open_data("digits", progress=False)


def game(**changes: object) -> Game:
    small = {"batch": 8, "latent": 4, "width": 8, "examples": 1000, "phase": 24, "ema": 50}
    config = dataclasses.replace(recipe.PRESETS["images"], **(small | changes))
    with torch_seeded("build", 0):
        return recipe.build(config, digits().spec)


def test_a_game_grows_all_its_networks_and_resumes_bit_for_bit_within_a_fade(tmp_path):
    first = game()
    engine = Engine(first, digits(), batch=8, seed=3)
    G, D = first.players["generator"], first.players["critic"]
    assert G.ema is not None
    z, levels = rows(4, 4), []
    for i in range(10):
        engine.round()
        stages = {n["G" if "G" in n else "D"].growth.stage for n in (G.nets, G.ema.nets, D.nets)}
        assert stages == {stage_at(8 * i, 1, 24)}
        levels.append(stages.pop())
        if i == 4:
            write(tmp_path / "saved", engine.state_dict())
            images = first.sample(z)
    assert levels == [Stage(0)] * 3 + [Stage(1, 0.0), Stage(1, 1 / 3), Stage(1, 2 / 3)] + [Stage(1)] * 4
    second = game()
    again = Engine(second, digits(), batch=8, seed=3)
    again.load_state_dict(read(tmp_path / "saved"))
    assert torch.equal(second.sample(z), images)
    for _ in range(5):
        again.round()
    for name in ("critic", "generator"):
        left, right = (g.players[name].nets.state_dict() for g in (first, second))
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert torch.equal(second.sample(z), first.sample(z))


def test_adams_moments_start_anew_with_each_change_of_layers():
    played = game()
    engine, optimizer = Engine(played, digits(), batch=8), played.players["critic"].optimizer
    bias = played.players["critic"].nets["D"].last.linear.bias
    steps = []
    for _ in range(8):
        engine.round()
        steps.append(int(optimizer.state[bias]["step"]))
    assert steps == [1, 2, 3, 1, 2, 3, 1, 2]


def test_the_critic_keeps_real_logits_near_0_by_its_drift_term():
    engine = Engine(game(growing=False), digits(), batch=8)
    engine.round()
    told = engine.scalars.flush()
    expected = told["critic/fake"] - told["critic/real"] + 10 * told["critic/penalty"] + 1e-3 * told["critic/drift"]
    assert told["critic/loss"] == pytest.approx(expected, rel=1e-4)
    # Of the real logits alone.
    still = game(growing=False)
    clock, x = Clock(0), rows(8, *digits().spec.shape).clamp(-1, 1)
    clock.begin_round()
    move = next(iter(still.play(iter([{"x": x}]), clock)))
    assert isinstance(move, Move)
    _, told = move.objective(move.batch)
    torch.testing.assert_close(told["drift"], still.players["critic"].nets["D"](x).square().mean(), rtol=1e-4, atol=0)


def test_the_deviation_is_among_as_many_examples_as_asked():
    x = rows(8, 1, 8, 8)
    logits = []
    for group in (4, 8):
        with torch_seeded("group"):
            logits.append(Critic((1, 8, 8), 8, 8, group=group)(x))
    assert (logits[0] - logits[1]).abs().max() > 1e-4
    assert recipe.PRESETS["paper"].group == 16
