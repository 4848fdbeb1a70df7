import dataclasses
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.checkpoint import read, write
from pushforward.core.engine import Engine
from pushforward.core.game import Clock, Game
from pushforward.core.seeding import torch_seeded
from pushforward.data.catalogue import open_data
from pushforward.data.source import Data
from pushforward.games.styles import Mixing, mixed
from pushforward.layers.growth import Stage, enlarged
from pushforward.networks.progan import Critic
from pushforward.networks.stylegan import Generator, Layer, Mapping, adaptive_instance_norm
from pushforward.recipes import stylegan as recipe

SHAPE = (3, 16, 16)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(classes: int = 0, growing: bool = True, shape: tuple[int, ...] = SHAPE) -> Generator:
    """Small, and with biases and noise strengths that are not 0, as after training."""
    with torch_seeded("stylegan"):
        G = Generator(6, shape, 8, 8, 2, classes, growing)
        for parameter in G.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return G.eval()


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_layers_and_styles_are_the_papers_at_1024():
    # As the authors' code prints them of its FFHQ networks.
    with torch.device("meta"):
        G = Generator(512, (3, 1024, 1024)).eval()
        assert G.mapping(torch.empty(2, 512)).shape == (2, 18, 512)
    assert [count(layer) for layer in G.mapping_network.layers] == [262_656] * 8
    assert [count(layer) for layer in G.layers][1:8] == [2_885_632] * 7
    assert count(G.layers[0]) + G.constant.numel() == 534_528
    assert [count(layer) for layer in G.layers][8:] == [
        1_442_816, 852_992, 426_496, 279_040, 139_520, 102_656, 51_328, 42_112, 21_056, 18_752,
    ]  # fmt: skip
    assert [count(layer) for layer in G.to_rgb] == [1539] * 4 + [771, 387, 195, 99, 51]


def test_adain_gives_each_map_of_each_example_the_styles_mean_and_deviation():
    x, style = 3 * rows(4, 5, 8, 8) + 7, rows(4, 10, seed=1)
    expected = torch.empty_like(x)
    for b in range(4):
        for c in range(5):
            plane = x[b, c]
            deviation = (plane - plane.mean()).square().mean().sqrt()
            expected[b, c] = (plane - plane.mean()) / deviation * (1 + style[b, c]) + style[b, 5 + c]
    found = adaptive_instance_norm(x, style)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.mean((2, 3)), style[:, 5:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.std((2, 3), correction=0), (1 + style[:, :5]).abs(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("up", [False, True])
def test_a_layer_is_its_plain_form(up):
    with torch_seeded("layer", up):
        layer = Layer(6, 3, 5, 4 if up else 5).eval()
        for parameter in (layer.strength, layer.bias, layer.style.bias):
            nn.init.normal_(parameter)
    assert layer.conv is not None
    x, w = rows(2, 3, 8, 8) if up else rows(2, 3, 16, 16), rows(2, 6)
    h = F.interpolate(x, scale_factor=2.0, mode="nearest") if up else x
    h = F.conv2d(h, layer.conv.weight * math.sqrt(2 / 27), padding=1)
    if up:
        kernel = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
        h = F.conv2d(h, kernel.expand(5, 1, 3, 3), padding=1, groups=5)
    h = F.leaky_relu(h + layer.strength * layer.noise + layer.bias, 0.2)
    style = w @ layer.style.weight.T / math.sqrt(6) + layer.style.bias
    torch.testing.assert_close(layer(x, w, None), adaptive_instance_norm(h, style), rtol=1e-3, atol=1e-4)


def test_the_mapping_is_deep_slow_and_blind_to_the_latents_length():
    with torch_seeded("mapping"):
        mapping = Mapping(16, 3)
    z = rows(2, 16)
    h = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in mapping.layers:
        assert layer.weight.std().item() == pytest.approx(100, rel=0.2)  # N(0, 1) over the rate's multiplier 0.01
        h = F.leaky_relu(h @ (layer.weight * 0.01 * math.sqrt(2 / 16)).T, 0.2)
    torch.testing.assert_close(mapping(z), h, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(mapping(5 * z), mapping(z), rtol=1e-3, atol=1e-5)


def test_noise_is_new_in_training_and_the_same_in_eval_mode():
    G, z = generator(), rows(2, 6)
    assert torch.equal(G(z), G(z))
    assert torch.equal(generator()(z), G(z))
    assert not any("noise" in key for key in G.state_dict())
    planes = [layer.noise for layer in G.layers]
    assert all(not torch.equal(a, b) for a, b in zip(planes[::2], planes[1::2], strict=True))
    G.train()
    assert not torch.allclose(G(z), G(z))
    for layer in G.layers:
        layer.strength.data.zero_()
    assert torch.equal(G(z), G(z))


def test_noise_moves_each_place_apart_and_not_each_example():
    with torch_seeded("noise"):
        layer = Layer(6, 4, 4, 0)
    layer.strength.data.fill_(1.0)
    x = torch.zeros(3, 4, 4, 4)
    out = layer(x, torch.zeros(3, 6), rows(3, 16))
    assert torch.equal(out[:, 0], out[:, 3])  # one plane for all maps
    assert not torch.allclose(out[0], out[1])


@pytest.mark.parametrize("classes", [0, 3])
def test_images_are_the_synthesis_of_the_mappings_styles(classes):
    G = generator(classes)
    z, y = rows(5, 6), torch.arange(5) % 3 if classes else None
    w = G.mapping(z, y)
    assert w.shape == (5, 6, 6)
    assert all(torch.equal(w[:, 0], w[:, i]) for i in range(6))
    assert torch.equal(G.synthesis(w), G(z, y))


def test_each_layer_takes_its_own_row_of_the_styles():
    G = generator()
    for level in range(3):
        G.growth.set(Stage(level))
        w = rows(2, 6, 6)
        before = G.synthesis(w)
        for i in range(6):
            changed = w.clone()
            changed[:, i] = rows(2, 6, seed=1)
            assert torch.equal(G.synthesis(changed), before) == (i >= G.used), (level, i)


def test_mixing_uses_one_latents_styles_before_the_crossover_and_the_others_from_it_on():
    w, other = rows(4, 6, 3), rows(4, 6, 3, seed=1)
    both = mixed(w, other, torch.tensor([1, 4, 5, 6]))
    for b, at in enumerate((1, 4, 5, 6)):
        assert torch.equal(both[b, :at], w[b, :at])
        assert torch.equal(both[b, at:], other[b, at:])


def test_crossovers_are_uniform_over_the_layers_in_use_and_as_often_as_asked():
    G, clock = generator(), Clock()
    for level in (1, 2):
        G.growth.set(Stage(level))
        crossover = Mixing(G, 6, 0.75).draws(clock, 8000)["crossover"]
        shares = torch.bincount(crossover, minlength=G.used + 1) / 8000
        assert shares[0] == 0
        assert shares[G.used].item() == pytest.approx(0.25, abs=0.02)
        for share in shares[1 : G.used].tolist():
            assert share == pytest.approx(0.75 / (G.used - 1), abs=0.02)


def test_fakes_of_a_game_are_mixed_images_with_the_classs_styles():
    G = generator(3).train()
    mixing, y = Mixing(G, 6, 1.0), torch.tensor([0, 2, 1, 1])
    batch = {**mixing.draws(Clock(), 4), "y": y}
    w = mixed(G.mapping(batch["z"], y), G.mapping(batch["other"], y), batch["crossover"])
    torch.testing.assert_close(mixing.make(batch), G.synthesis(w, batch["maps"]), rtol=1e-4, atol=1e-5)
    # All noise is in the batch: a part of it makes that part of the images.
    part = {name: value[1:3] for name, value in batch.items()}
    torch.testing.assert_close(mixing.make(part), mixing.make(batch)[1:3], rtol=1e-4, atol=1e-5)
    alone = Mixing(G, 6, 0.0)
    assert alone.draws(Clock(), 4).keys() == {"z", "maps"}
    plain = {name: batch[name] for name in ("z", "y", "maps")}
    torch.testing.assert_close(alone.make(plain), G.synthesis(G.mapping(batch["z"], y), batch["maps"]))
    with pytest.raises(ValueError, match=r"probability from 0 to 1, got 1\.5"):
        Mixing(G, 6, 1.5)


def test_psi_0_gives_one_image_a_class_1_changes_nothing_and_between_is_on_the_line():
    G = generator(3)
    G.average.mean.copy_(rows(3, 6, seed=2))
    z, y = rows(6, 6), torch.tensor([0, 0, 1, 1, 2, 2])
    none = G(z, y, 0.0)
    assert torch.equal(none[::2], none[1::2])
    assert all((none[a] - none[b]).abs().max() > 0.01 for a, b in ((0, 2), (2, 4), (0, 4)))
    torch.testing.assert_close(G(z, y, 1.0), G(z, y), rtol=1e-4, atol=1e-5)
    w = G.mapping(z, y)
    expected = G.average.mean[y][:, None] + 0.3 * (w - G.average.mean[y][:, None])
    torch.testing.assert_close(G.average.truncated(w, y, 0.3), expected, rtol=1e-4, atol=1e-5)
    alone = generator()
    assert len(alone(rows(4, 6), None, 0.0).unique(dim=0)) == 1


@pytest.mark.parametrize("classes", [0, 3])
def test_the_mean_follows_the_styles_in_training_only(classes):
    G = generator(classes)
    z, y = rows(9, 6), torch.tensor([0, 1, 2] * 3) if classes else None
    G.mapping(z, y)
    assert not G.average.mean.any()
    G.train()
    w = G.mapping(z, y)[:, 0].detach()
    expected = w.view(3, 3, 6).mean(0) if classes else w.mean(0, keepdim=True)
    torch.testing.assert_close(G.average.mean, 0.005 * expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("level", [1, 2])
def test_fade_in_at_alpha_0_and_1_equals_the_smaller_and_the_larger_network(level):
    G, z = generator(), rows(4, 6)
    for alpha, size in ((0.0, level - 1), (1.0, level)):
        G.growth.set(Stage(level, alpha))
        side = 4 * 2**size
        smaller = generator(shape=(3, side, side))
        own, there = smaller.state_dict(), G.state_dict()
        smaller.load_state_dict({key: own[key] if "growth" in key else there[key] for key in own})
        assert torch.equal(G(z), enlarged(smaller(z), 2 - size))


@pytest.mark.parametrize("blurred", [False, True])
def test_a_critics_halving_is_its_plain_form(blurred):
    with torch_seeded("critic", blurred):
        block = Critic(SHAPE, 8, 8, blurred=blurred).blocks[0]
    x = rows(2, 8, 8, 8)
    h = F.leaky_relu(F.conv2d(x, block.conv1.weight * math.sqrt(2 / 72), padding=1), 0.2)
    if blurred:
        kernel = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
        h = F.conv2d(h, kernel.expand(8, 1, 3, 3), padding=1, groups=8)
    h = F.avg_pool2d(F.conv2d(h, block.conv2.weight * math.sqrt(2 / 72), padding=1), 2)
    torch.testing.assert_close(block(x), F.leaky_relu(h, 0.2), rtol=1e-4, atol=1e-5)


@cache
def digits() -> Data:
    return open_data("digits", progress=False)


def game(**changes: object) -> Game:
    small = {"batch": 8, "latent": 4, "width": 8, "depth": 2, "examples": 1000, "phase": 16, "ema": 50}
    config = dataclasses.replace(recipe.PRESETS["images"], **(small | changes))
    with torch_seeded("build", 0):
        return recipe.build(config, digits().spec)


def test_growth_begins_at_8x8_as_the_papers():
    played = game(growing=True)
    engine = Engine(played, digits(), batch=8)
    engine.round()
    assert played.players["generator"].nets["G"].growth.stage == Stage(1)


@pytest.mark.parametrize("growing", [False, True])
def test_a_game_resumes_bit_for_bit_and_truncates_its_averages_styles(growing, tmp_path):
    first = game(growing=growing, conditioning="projection")
    engine = Engine(first, digits(), batch=8, seed=3)
    for _ in range(3):
        engine.round()
    write(tmp_path / "saved", engine.state_dict())
    second = game(growing=growing, conditioning="projection")
    again = Engine(second, digits(), batch=8, seed=3)
    again.load_state_dict(read(tmp_path / "saved"))
    for one in (engine, again):
        for _ in range(3):
            one.round()
    z, y = rows(20, 4), torch.arange(20) % 10
    assert torch.equal(first.sample(z, y), second.sample(z, y))
    assert first.truncated is not None
    images = first.truncated(0.0)(z, y)
    assert torch.equal(images[:10], images[10:])
    assert (images[0] - images[1]).abs().max() > 1e-5
    assert first.players["generator"].ema is not None
    mean = first.players["generator"].ema.nets["G"].average.mean
    assert torch.equal(mean, first.players["generator"].nets["G"].average.mean)
    assert mean.abs().sum(1).all()
    torch.testing.assert_close(first.truncated(1.0)(z, y), first.sample(z, y), rtol=1e-4, atol=1e-5)
