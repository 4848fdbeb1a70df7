import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.networks import r3gan
from pushforward.networks.r3gan import Critic, Generator, PointCritic, PointGenerator, Resample, Residual


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def nets() -> dict[str, nn.Module]:
    with torch_seeded("r3gan"):
        return {
            "generator": Generator(16, 3, (32, 32, 16), blocks=2, group=8),
            "critic": Critic(3, (32, 32, 16), blocks=2, group=8),
            "point generator": PointGenerator(16, 2, 32, blocks=3),
            "point critic": PointCritic(2, 32, blocks=3),
        }


def residuals(net: nn.Module) -> list[Residual]:
    return [m for m in net.modules() if isinstance(m, Residual)]


@pytest.mark.parametrize("name", ["generator", "critic", "point generator", "point critic"])
def test_every_block_is_the_identity_at_the_start_and_not_after_its_last_layer_moved(name):
    net = nets()[name]
    assert len(residuals(net)) == (6 if "point" not in name else 3)
    for block in residuals(net):
        channels = block.third.weight.shape[0]
        x = rows(2, channels) if "point" in name else rows(2, channels, 4, 4)
        assert torch.equal(block(x), x)
        nn.init.normal_(block.third.weight)
        assert (block(x) - x).abs().max() > 0.01


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_inner_layers_start_with_hes_variance_over_the_square_root_of_the_number_of_blocks(blocks):
    # Fixup: L^(-1/(2m-2)) with m = 3 layers a block; the gain is that of a leaky ReLU of slope 0.2.
    with torch_seeded("fixup"):
        block = Residual(64, blocks, 8)
    for layer in (block.first, block.second):
        fan_in = layer.weight[0].numel()
        expected = math.sqrt(2 / 1.04 / fan_in) * blocks**-0.25
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert not block.bias1.any()
    assert not block.bias2.any()


def test_the_gain_keeps_the_mean_square_through_a_leaky_relu():
    x = rows(200_000)
    after = r3gan.GAIN * F.leaky_relu(x, r3gan.SLOPE)
    assert after.square().mean().item() == pytest.approx(1, rel=0.02)


def test_a_block_is_its_plain_form():
    with torch_seeded("plain"):
        block = Residual(8, 1, 4)
        for p in block.parameters():
            nn.init.normal_(p, std=0.3)
    x = rows(2, 8, 5, 5)
    h = F.conv2d(x, block.first.weight[:, :, None, None]) + block.bias1
    h = F.conv2d(F.leaky_relu(h, 0.2), block.second.weight, padding=1, groups=4) + block.bias2
    expected = x + F.conv2d(F.leaky_relu(h, 0.2), block.third.weight[:, :, None, None])
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "group"), [(32, 8), (32, 16), (8, 16), (4, 16), (768, 16)])
def test_the_middle_convolution_has_the_asked_channels_in_a_group(channels, group):
    with torch.device("meta"):
        net = Critic(3, (channels,), blocks=1, group=group)
    (block,) = residuals(net)
    assert block.second.weight.shape == (2 * channels, min(group, 2 * channels), 3, 3)


@pytest.mark.parametrize("width", [20, 28, 50, 53])
def test_widths_that_the_group_does_not_divide_still_build(width):
    net = Critic(3, (width, width), blocks=1, group=16)
    assert net(rows(2, 3, 8, 8)).shape == (2,)


@pytest.mark.parametrize("name", ["generator", "critic", "point generator", "point critic"])
def test_signals_start_of_order_one_whatever_the_depth(name):
    point, generator = "point" in name, "generator" in name
    for depth in (1, 8):
        with torch_seeded("depth", depth):
            if point:
                net = PointGenerator(16, 2, 64, depth) if generator else PointCritic(2, 64, depth)
            else:
                cls = Generator if generator else Critic
                net = cls(*((16,) if generator else ()), 3, (32, 32, 32), depth, 16)
        x = rows(64, 16) if generator else rows(64, 2) if point else rows(64, 3, 16, 16)
        with torch.no_grad():
            assert 0.05 < net(x).std().item() < 3


def test_networks_start_linear_so_that_depth_changes_nothing():
    G = nets()["generator"]
    z = rows(3, 16)
    with torch.no_grad():
        torch.testing.assert_close(G(2 * z), 2 * G(z), rtol=1e-4, atol=1e-5)


def test_the_basis_is_weighed_by_a_linear_map_of_the_latent():
    G, seen = nets()["generator"], []
    G.layers.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    z = rows(3, 16)
    G(z)
    expected = torch.einsum("bi,ci,chw->bchw", z, G.linear.weight, G.basis)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)
    assert G.basis.shape == (32, 4, 4)
    assert G.basis.std().item() == pytest.approx(1, rel=0.2)


def test_the_critic_reads_its_4_by_4_map_by_a_learned_filter_a_channel():
    D, seen = nets()["critic"], []
    D.layers.register_forward_hook(lambda module, args, out: seen.append(out))
    logits = D(rows(3, 3, 16, 16))
    assert seen[0].shape[2:] == (4, 4)
    assert D.basis.std().item() == pytest.approx(1 / 4, rel=0.2)  # 16 numbers summed
    expected = torch.einsum("bchw,chw,c->b", seen[0], D.basis.view(-1, 4, 4), D.linear.weight[0])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


KERNEL = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


@pytest.mark.parametrize("side", [4, 8])
def test_up_is_the_bilinear_filter_with_zeros_outside(side):
    x = rows(2, 3, side, side)
    expected = F.conv_transpose2d(x, 4 * KERNEL.expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
    found = Resample(side, up=True)(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    usual = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], usual[..., 1:-1, 1:-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [4, 8, 16])
def test_down_is_the_bilinear_filter_with_zeros_outside(side):
    x = rows(2, 3, side, side)
    expected = F.conv2d(x, KERNEL.expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
    torch.testing.assert_close(Resample(side, up=False)(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_resampling_keeps_constants_inside_and_is_the_same_in_both_directions(up):
    resample, x = Resample(8, up), torch.full((1, 2, 8, 8), 3.0)
    y = resample(x)
    side = 16 if up else 4
    assert y.shape == (1, 2, side, side)
    torch.testing.assert_close(y[..., 1:-1, 1:-1], torch.full((1, 2, side - 2, side - 2), 3.0))
    x = rows(2, 2, 8, 8)
    torch.testing.assert_close(resample(x.mT), resample(x).mT, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(resample(x.flip(2, 3)), resample(x).flip(2, 3), rtol=1e-5, atol=1e-6)


def test_down_is_the_transpose_of_up_up_to_the_ratio_of_areas():
    x, y = rows(1, 2, 8, 8), rows(1, 2, 4, 4, seed=1)
    a = (Resample(8, up=False)(x) * y).sum().item()
    b = (x * Resample(4, up=True)(y)).sum().item() / 4
    assert a == pytest.approx(b, rel=1e-4)


def test_fixed_filters_are_in_no_checkpoint():
    assert not any("matrix" in key or "kernel" in key for key in nets()["critic"].state_dict())


@pytest.mark.parametrize("point", [False, True])
def test_a_conditional_critic_is_the_product_of_features_and_the_classs_embedding(point):
    with torch_seeded("class"):
        D = PointCritic(2, 32, 2, 5) if point else Critic(3, (32, 16), 1, 16, 5)
    x, y, seen = rows(4, 2) if point else rows(4, 3, 8, 8), torch.tensor([0, 3, 3, 4]), []
    D.linear.register_forward_hook(lambda module, args, out: seen.append(out))
    logits = D(x, y)
    torch.testing.assert_close(logits, (seen[0] * D.embed.weight.T[y]).sum(1), rtol=1e-4, atol=1e-6)
    # 32 features of order one times 32 embeddings of variance 1/(5 · 32): logits start of order one, not of order 6.
    assert D.embed.weight.std().item() == pytest.approx(1 / math.sqrt(5 * 32), rel=0.25)


@pytest.mark.parametrize("point", [False, True])
def test_a_conditional_generator_concatenates_the_latent_and_the_classs_embedding(point):
    with torch_seeded("class"):
        G = PointGenerator(6, 2, 32, 2, 5) if point else Generator(6, 3, (32, 16), 1, 16, 5)
    z, y, seen = rows(4, 6), torch.tensor([0, 3, 3, 4]), []
    first = G.layers[0] if point else G.linear
    first.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    G(z, y)
    assert torch.equal(seen[0][:, :6], z)
    torch.testing.assert_close(seen[0][:, 6:], G.embed.weight.T[y])
