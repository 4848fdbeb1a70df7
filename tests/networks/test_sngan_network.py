"""The residual networks of SNGAN, of the projection critic and of SAGAN."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pushforward import recipes
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.layers.conditioning import ConditionalBatchNorm
from pushforward.layers.spectral import spectral
from pushforward.networks import biggan, mlp, sngan
from pushforward.networks.resnet import DownBlock, FlatBlock
from pushforward.networks.sngan import Critic, Generator, PointCritic, layers_of, pair

LATENT, CLASSES = 5, 3


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(side: int, width: int = 2, classes: int = 0, **options) -> Generator:
    """One whose every part speaks: classes' scales and shifts, and γ, are not 0."""
    with torch_seeded("generator"):
        return spoken(Generator(LATENT, (3, side, side), width, classes, **options))


def critic(side: int, width: int = 2, classes: int = 0, **options) -> Critic:
    with torch_seeded("critic"):
        return spoken(Critic((3, side, side), width, classes, **options))


def spoken(net):
    for name, p in net.named_parameters():
        if name.endswith(("bias", "scale.weight", "shift.weight", "gamma")):
            nn.init.normal_(p)
    return net


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# Parameters by hand, from the authors' code (pfnet-research/sngan_projection, gen_models and dis_models): convolutions
# with biases; a critic's blocks have as many channels between their convolutions as before them, the first as after.
def conv(a: int, b: int, kernel: int = 3) -> int:
    return a * b * kernel**2 + b


def up(a: int, b: int, classes: int = 0) -> int:
    return conv(a, b) + conv(b, b) + conv(a, b, 1) + 2 * (a + b) * (classes or 1)


def made_by(latent: int, bottom: int, channels: list[int], classes: int = 0) -> int:
    first = (latent + 1) * bottom**2 * channels[0]
    blocks = sum(up(a, b, classes) for a, b in pairwise(channels))
    return first + blocks + 2 * channels[-1] + conv(channels[-1], 3)


def judged_by(down: list[int], flat: list[int], classes: int = 0, wide: bool = False) -> int:
    total, a = conv(3, down[0]) + conv(down[0], down[0]) + conv(3, down[0], 1), down[0]
    for i, b in enumerate(down[1:] + flat):
        hidden = b if wide else a
        total += conv(a, hidden) + conv(hidden, b) + (0 if a == b and i >= len(down) - 1 else conv(a, b, 1))
        a = b
    return total + a + 1 + classes * a


def attended(channels: int) -> int:
    return 2 * channels * (channels // 8) + 2 * channels * (channels // 2) + 1


WIDE = [64, 128, 256, 512, 1024]
PUBLISHED = {
    # side: G's width and maps, D's width, its halvings and the rest. 32: resnet_32.py with ch=256, snresnet_32.py with
    # ch=128 (its last version drops the last bias). 48: Miyato et al. 2018, Table 5 (STL-10). 64: resnet_64.py,
    # snresnet_64.py. 128: resnet.py, snresnet.py (Table 6).
    32: (256, 4, [256] * 4, 128, [128] * 2, [128] * 2),
    48: (64, 6, [512, 256, 128, 64], 64, [64, 128, 256, 512], [1024]),
    64: (64, 4, [1024, 512, 256, 128, 64], 64, WIDE, []),
    128: (64, 4, [1024, 1024, 512, 256, 128, 64], 64, WIDE, [1024]),
}


# The numbers at the right are an independent implementation's: torch-mimicry 0.1.16, SNGAN and CGANPD networks at their
# own defaults (at 128×128 with projection: ndf=1024).
@pytest.mark.parametrize(
    ("side", "classes", "theirs"),
    [
        (32, 0, (4_276_739, 1_053_825)),
        (48, 0, (4_878_083, 10_141_441)),
        (64, 0, (12_220_675, 10_141_441)),
        (128, 0, (32_150_787, 29_017_857)),
        (32, 10, (4_304_387, 1_055_105)),
        (128, 1000, (41_996_931, 30_041_857)),
    ],
)
def test_the_published_networks_have_the_published_parameters(side, classes, theirs):
    width, bottom, channels, critics, down, flat = PUBLISHED[side]
    with torch.device("meta"):
        G, D = Generator(128, (3, side, side), width, classes), Critic((3, side, side), critics, classes)
        maps = []
        D.blocks[-1].register_forward_hook(lambda module, args, out: maps.append(out.shape))
        y = torch.zeros(2, dtype=torch.int64) if classes else None
        if classes == 0:  # one-hot looks at its labels, which nothing can on this device
            x = G(torch.zeros(2, 128), y)
            assert x.shape == (2, 3, side, side)
            assert D(x, y).shape == (2,)
            bottoms = {32: 8, 48: 3, 64: 2, 128: 4}
            assert maps == [(2, (down + flat)[-1], bottoms[side], bottoms[side])]
    assert (count(G), count(D)) == (made_by(128, bottom, channels, classes), judged_by(down, flat, classes))
    assert (count(G), count(D)) == theirs


def test_sagans_networks_are_those_of_its_authors_code():
    # brain-research/self-attention-gan, generator_test and discriminator_test, gf_dim = df_dim = 64: as SNGAN's, with
    # attention over the 32×32 maps (256 channels in G, 128 in D), the critic's blocks wide between their convolutions.
    with torch.device("meta"):
        G = Generator(128, (3, 128, 128), 64, 1000, attention=32)
        D = Critic((3, 128, 128), 64, 1000, attention=32, wide=True)
        narrow = Critic((3, 128, 128), 64, 1000, attention=32)
    _, bottom, channels, _, down, flat = PUBLISHED[128]
    assert count(G) == made_by(128, bottom, channels, 1000) + attended(256) == 42_078_852  # torch-mimicry's SAGAN too
    assert count(D) == judged_by(down, flat, 1000, wide=True) + attended(128)
    assert count(narrow) == judged_by(down, flat, 1000) + attended(128) == 30_062_338  # torch-mimicry's, ndf=1024


@pytest.mark.parametrize(
    ("side", "attention", "maps"), [(128, 32, 32), (32, 16, 16), (32, 32, 16), (8, 16, 4), (48, 16, 12)]
)
def test_attention_is_over_the_largest_maps_of_no_more_than_asked_and_half_the_image(side, attention, maps):
    seen = []
    for net in (generator(side, attention=attention), critic(side, attention=attention)):
        assert net.attention is not None
        net.attention.register_forward_hook(lambda module, args, out: seen.append(out.shape[2:]))
        net(rows(1, LATENT) if isinstance(net, Generator) else rows(1, 3, side, side))
    assert seen == [(maps, maps)] * 2


def test_attention_below_the_smallest_maps_is_refused():
    with pytest.raises(ValueError, match="a side of 4 or less where the smallest is 8; choose 8 or more, or None"):
        Critic((3, 32, 32), 2, attention=4)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 36, 36), (3, 32, 64), (3, 4, 4)])
def test_sides_other_than_4_or_6_times_a_power_of_two_are_refused(shape):
    for build in (lambda: Generator(LATENT, shape, 2), lambda: Critic(shape, 2)):
        with pytest.raises(ValueError, match=r"do not fit this network, which makes squares of (8|12), (16|24)"):
            build()


@pytest.mark.parametrize("side", [8, 12, 16, 24, 32, 48, 96])
@pytest.mark.parametrize("pyramid", [False, True])
def test_other_sides_follow(side, pyramid):
    x = generator(side, pyramid=pyramid)(rows(2, LATENT))
    assert x.shape == (2, 3, side, side)
    assert x.abs().max() <= 1
    assert critic(side, pyramid=pyramid)(x).shape == (2,)


@pytest.mark.parametrize(("side", "multiple"), [(8, 2), (12, 2), (16, 4), (24, 4), (32, 8)])
def test_a_small_pyramids_critic_ends_in_as_many_more_features(side, multiple):
    flat, pyramid = (critic(side, pyramid=asked).blocks[-1].conv2.out_channels for asked in (False, True))
    assert pyramid == multiple * flat


@pytest.mark.parametrize(("side", "wide"), [(48, False), (48, True), (32, False), (64, True)])
def test_the_critic_is_its_plain_form(side, wide):
    D, x = critic(side, wide=wide).double(), rows(2, 3, side, side).double()
    h = x
    for i, block in enumerate(D.blocks):
        r = block.conv2(F.relu(block.conv1(h if i == 0 else F.relu(h))))
        s = h if block.shortcut is None else block.shortcut(h)
        down = i < (2 if side == 32 else 5 if side == 64 else 4)
        h = F.avg_pool2d(r, 2) + F.avg_pool2d(s, 2) if down else r + s
    logits = D.last.linear(F.relu(h).sum((2, 3))).squeeze(1)
    torch.testing.assert_close(D(x), logits, rtol=1e-10, atol=1e-10)


def test_the_projection_is_the_product_of_features_and_class_beside_the_unconditional_logit():
    # Miyato & Koyama 2018, Eq. 9: f(x, y) = yᵀVφ(x) + ψ(φ(x)), ψ linear.
    D, x, y = critic(16, 4, CLASSES), rows(4, 3, 16, 16), torch.tensor([2, 0, 1, 2])
    features = []
    D.last.register_forward_hook(lambda module, args, out: features.append(args[0]))
    logits = D(x, y)
    (h,) = features
    for i in range(4):
        by_hand = torch.dot(h[i], D.last.linear.weight[0]) + D.last.linear.bias[0]
        by_hand = by_hand + torch.dot(h[i], D.last.embed.weight[:, y[i]])
        assert logits[i].item() == pytest.approx(by_hand.item(), rel=1e-5, abs=1e-5)
    assert (D(x, (y + 1) % CLASSES) - logits).abs().min() > 1e-3
    with pytest.raises(ValueError, match="a network of 3 classes needs the labels y"):
        D(x)


@pytest.mark.parametrize(("side", "blocks"), [(8, 1), (16, 1), (32, 1), (64, 2)])
def test_concatenation_adds_the_classs_bias_to_the_first_maps_of_16_by_16_or_less(side, blocks):
    D, x, y = critic(side, 2, CLASSES, conditioning="concatenation"), rows(2, 3, side, side), torch.tensor([2, 0])
    h = x
    for i, block in enumerate(D.blocks):
        h = block(h)
        if i == blocks - 1:
            h = h + D.told.embed.weight[:, y].T[:, :, None, None]
    torch.testing.assert_close(D(x, y), D.last.linear(F.relu(h).sum((2, 3))).squeeze(1))
    assert D.last.embed is None


def test_a_generator_told_the_class_is_one_with_that_classs_scales_and_shifts():
    told, plain, z = generator(16, 4, CLASSES).eval(), generator(16, 4).eval(), rows(2, LATENT)
    for k in range(CLASSES):
        state = plain.state_dict() | {n: v for n, v in told.state_dict().items() if n in plain.state_dict()}
        for i, block in enumerate(told.blocks):
            for name in ("norm1", "norm2"):
                norm = getattr(block, name)
                state[f"blocks.{i}.{name}.weight"] = 1 + norm.scale.weight[:, k]
                state[f"blocks.{i}.{name}.bias"] = norm.shift.weight[:, k]
        plain.load_state_dict(state)
        torch.testing.assert_close(told(z, torch.full((2,), k)), plain(z), rtol=1e-4, atol=1e-5)
    assert (told(z, torch.tensor([0, 0])) - told(z, torch.tensor([1, 1]))).abs().max() > 0.05


def test_spectral_normalises_every_layer_of_the_critic_to_one():
    for conditioning in ("projection", "concatenation"):
        D = spectral(critic(16, 4, CLASSES, conditioning=conditioning, attention=8))
        layers = [m for m in D.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        # 3 a halving block and 2 a flat one, 4 of attention, the last, and what the class goes through.
        assert len(layers) == 3 + 2 * 2 + 4 + 1 + 1
        assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
        sigmas = [torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() for layer in layers]
        assert sigmas == pytest.approx([1.0] * len(layers), abs=1e-4)


def test_the_same_input_gives_the_same_output_in_eval_mode_and_changes_nothing():
    y, z = torch.tensor([2, 0]), rows(2, LATENT)
    G, D = generator(16, 4, CLASSES, attention=8), spectral(critic(16, 4, CLASSES, attention=8))
    for layer in list(layers_of(G)):
        spectral(layer)
    for net, given in ((G, z), (D, rows(2, 3, 16, 16))):
        net.train()(given, y)
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(1.1).add_(0.01)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        net.eval()
        assert torch.equal(net(given, y), net(given, y))
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_weights_start_as_of_glorot_and_classes_alike():
    with torch_seeded("init"):
        G, D = Generator(64, (3, 48, 48), 16, CLASSES, 24), Critic((3, 48, 48), 16, CLASSES, attention=24)
    for net in (G, D):
        for layer in layers_of(net):
            taps = layer.kernel_size[0] ** 2 if isinstance(layer, nn.Conv2d) else 1
            gain = 2 if taps == 9 and layer is not G.last else 1
            expected = math.sqrt(gain * 2 / (sum(layer.weight.shape[:2]) * taps))
            rough = 4 / math.sqrt(layer.weight.numel())
            assert layer.weight.std(correction=0).item() == pytest.approx(expected, rel=max(0.03, rough))
            assert layer.weight.abs().max().item() <= math.sqrt(3) * expected * 1.0001  # uniform
            assert layer.bias is None or not layer.bias.any()
    norms = [m for m in G.modules() if isinstance(m, ConditionalBatchNorm)]
    assert len(norms) == 6
    assert not any(p.any() for norm in norms for p in norm.parameters())


def built(name: str, side: int = 64, **changes):
    module = recipes.load(name)
    config = dataclasses.replace(module.PRESETS["paper"], **{"width": 2, "latent": 4} | changes)
    with torch_seeded("recipe"):
        return module.build(config, DataSpec("colours", "images", (3, side, side), CLASSES))


def channels(net: nn.Module) -> list[int]:
    """Of what each block makes."""
    return [block.conv2.out_channels for block in net.blocks]  # type: ignore[union-attr]


# BigGAN's `width` is a unit that its generator has twice at the image, as at 64×64.
@pytest.mark.parametrize(
    ("name", "asked", "generators", "critics"),
    [
        ("sngan", False, [2, 2, 2], [2, 2, 2, 2]),
        ("sngan", True, [8, 4, 2], [2, 4, 8, 16]),
        ("projection", True, [8, 4, 2], [2, 4, 8, 16]),
        ("sagan", True, [8, 4, 2], [2, 4, 8, 16]),
        ("biggan", False, [8, 8, 8], [8, 8, 8, 8]),
        ("biggan", True, [16, 8, 4], [2, 4, 8, 16]),
        ("logan", True, [16, 8, 4], [2, 4, 8, 16]),
    ],
)
def test_a_pyramid_doubles_channels_from_images_of_32_down_too(name, asked, generators, critics):
    players = built(name, 32, pyramid=asked, **{"factor": 1} if name == "sngan" else {}).players
    G, D = players["generator"].nets["G"], players["critic"].nets["D"]
    G = getattr(G, "inner", G)
    assert (channels(G), channels(D)) == (generators, critics)
    assert [type(block) for block in D.blocks] == [DownBlock] * (3 if asked else 2) + [FlatBlock] * (1 if asked else 2)
    assert G.first.out_features == 16 * (16 if asked else generators[0])


@pytest.mark.parametrize("form", [sngan.form, biggan.form])
@pytest.mark.parametrize("side", [64, 128])
def test_images_of_64_and_more_are_pyramids_anyway(form, side):
    assert form((1, side, side), pyramid=True) == form((1, side, side))


def test_sagan_normalises_both_players_but_not_the_classes_scales_and_moves_at_two_rates():
    game = built("sagan")
    for player, rate in (("critic", 4e-4), ("generator", 1e-4)):
        (group,) = game.players[player].optimizer.param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.0, 0.9))
        plain = {n for n, m in game.players[player].nets.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)
                 and not parametrize.is_parametrized(m, "weight")}  # fmt: skip
        assert all(n.endswith((".scale", ".shift")) for n in plain)
        assert len(plain) == (0 if player == "critic" else 4 * 4)
    assert game.players["critic"].nets["D"].attention is not None
    assert game.players["generator"].nets["G"].attention is not None


def test_the_projections_rate_is_constant_for_eight_ninths_and_then_falls_to_zero():
    # sngan_projection's configs/sn_projection.yml: 450,000 rounds, of which the last 50,000 decay.
    rate = built("projection", examples=9000).players["critic"].lr
    assert [rate(seen) for seen in (0, 4000, 8000)] == [2e-4] * 3
    assert rate(8500) == pytest.approx(1e-4)
    assert rate(9000) == rate(9500) == 0


def test_sngans_generator_is_wider_by_the_factor():
    game = built("sngan", factor=3)
    assert game.players["critic"].nets["D"].blocks[0].conv1.out_channels == 2
    assert game.players["generator"].nets["G"].last.in_channels == 6


def test_perceptrons_on_points_are_told_the_class_by_either_way():
    x, y = rows(4, 2), torch.tensor([2, 0, 1, 2])
    for conditioning, layers in (("projection", 5), ("concatenation", 4)):
        G, D = pair("points", LATENT, (2,), 8, 2, CLASSES, conditioning)
        assert G(rows(4, LATENT), y).shape == (4, 2)
        assert (D(x, y) - D(x, (y + 1) % CLASSES)).abs().min() > 1e-4
        assert len(list(layers_of(spectral(D)))) == layers
    assert isinstance(D, mlp.Critic)
    D = PointCritic((2,), 8, CLASSES)
    h = x
    for layer in D.features[0].layers:
        h = layer(h)
    h = F.leaky_relu(h, 0.2)
    torch.testing.assert_close(D(x, y), D.last.linear(h).squeeze(1) + (h * D.last.embed.weight[:, y].T).sum(1))


def test_a_critic_of_points_may_have_one_unit() -> None:
    critic = PointCritic((2,), 1, 3)
    assert critic(torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])).shape == (5,)
