import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.networks import resnet
from pushforward.networks.resnet import Critic, DownBlock, FlatBlock, Generator, UpBlock, conv_then_mean, mean_then_conv


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def block(cls, *args) -> nn.Module:
    with torch_seeded("block"):
        net = cls(*args).double()
        for p in net.parameters():
            if p.dim() == 1:
                nn.init.normal_(p)  # biases and scales that are not at their simple first values
    return net


def assert_equal_with_gradients(net: nn.Module, plain, x: Tensor) -> None:
    """The network and its plain form agree in value, in every first derivative, and in a gradient penalty's."""
    results = []
    for f in (net, plain):
        leaf = x.clone().requires_grad_()
        y = f(leaf)
        weights = [leaf, *net.parameters()]
        first = torch.autograd.grad((y * rows(*y.shape, seed=3)).sum(), weights, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), weights[1:], allow_unused=True, materialize_grads=True)
        results.append([y, *first, *second])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(2, 2), (4, 8), (6, 6)])
def test_conv_then_mean_is_a_convolution_followed_by_the_mean_of_2_by_2(size):
    conv = block(nn.Conv2d, 3, 5, 3, 1, 1)
    x = rows(2, 3, *size)
    torch.testing.assert_close(conv_then_mean(x, conv), F.avg_pool2d(conv(x), 2), rtol=1e-12, atol=1e-12)
    x = x.float()
    conv = conv.float()
    torch.testing.assert_close(conv_then_mean(x, conv), F.avg_pool2d(conv(x), 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (4, 8), (6, 6)])
def test_mean_then_conv_is_the_mean_of_2_by_2_before_or_after_a_1_by_1_convolution(size):
    conv, x = block(nn.Conv2d, 3, 5, 1), rows(2, 3, *size)
    torch.testing.assert_close(mean_then_conv(x, conv), conv(F.avg_pool2d(x, 2)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean_then_conv(x, conv), F.avg_pool2d(conv(x), 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
def test_the_down_block_is_its_plain_form(first):
    net = block(DownBlock, 3, 5, first)

    def plain(x: Tensor) -> Tensor:
        h = net.conv2(F.relu(net.conv1(x if first else F.relu(x))))
        return F.avg_pool2d(h, 2) + F.avg_pool2d(net.shortcut(x), 2)

    assert_equal_with_gradients(net, plain, rows(2, 3, 6, 6))


def test_the_up_block_is_its_plain_form():
    net = block(UpBlock, 3, 5).eval()

    def plain(x: Tensor) -> Tensor:
        def up(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")

        h = net.conv1(up(F.relu(net.norm1(x))))
        return net.conv2(F.relu(net.norm2(h))) + net.shortcut(up(x))

    assert_equal_with_gradients(net, plain, rows(2, 3, 6, 6))


def test_the_flat_block_is_its_plain_form():
    net = block(FlatBlock, 4)
    assert_equal_with_gradients(net, lambda x: x + net.conv2(F.relu(net.conv1(F.relu(x)))), rows(2, 4, 5, 5))


def test_convolutions_start_with_hes_variance_and_shortcuts_with_half_of_it():
    with torch_seeded("he"):
        net = DownBlock(64, 64)
    for conv, gain in ((net.conv1, math.sqrt(2)), (net.conv2, math.sqrt(2)), (net.shortcut, 1.0)):
        w = conv.weight
        deviation = gain / math.sqrt(w[0].numel())
        assert w.std().item() == pytest.approx(deviation, rel=0.03)
        assert w.abs().max().item() == pytest.approx(math.sqrt(3) * deviation, rel=0.01)  # uniform
        assert not conv.bias.any()


def test_the_critic_has_no_normalisation_and_the_generator_has_it_twice_a_block_and_once_at_the_end():
    kinds = [type(m) for m in Critic((3, 32, 32), 4).modules()]
    assert not any(issubclass(kind, nn.modules.batchnorm._NormBase) for kind in kinds)
    norms = [m for m in Generator(5, (3, 32, 32), 4).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 2 * 3 + 1


@pytest.mark.parametrize(("side", "bottom"), [(4, 2), (8, 4), (16, 8), (32, 8), (64, 8)])
def test_the_critic_halves_to_8_by_8_as_the_papers_does_on_cifar_10(side, bottom):
    D, seen = Critic((3, side, side), 4), []
    D.blocks.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    D(torch.zeros(1, 3, side, side))
    assert seen == [(1, 4, bottom, bottom)]


def test_the_papers_networks_have_the_parameters_counted_by_hand():
    # Appendix C, CIFAR-10: 128 channels, latents of 128 numbers; a 3×3 convolution of 128 to 128 has 147,584 numbers.
    conv, one, norm = 128 * 128 * 9 + 128, 128 * 128 + 128, 2 * 128
    generator = (128 * 2048 + 2048) + 3 * (2 * conv + one + 2 * norm) + norm + (128 * 3 * 9 + 3)
    first = (3 * 128 * 9 + 128) + conv + (3 * 128 + 128)
    critic = first + (2 * conv + one) + 2 * 2 * conv + (128 + 1)
    with torch.device("meta"):
        G, D = Generator(128, (3, 32, 32), 128), Critic((3, 32, 32), 128)
    assert sum(p.numel() for p in G.parameters()) == generator
    assert sum(p.numel() for p in D.parameters()) == critic


def test_rectify_is_relu():
    x = rows(20)
    assert torch.equal(resnet.rectify(x), x.relu())
