import math

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.layers.attention import SelfAttention
from pushforward.layers.spectral import SpectralNorm, spectral
from pushforward.objectives.penalties import r1


def maps(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def attention(channels: int, gamma: float) -> SelfAttention:
    with torch_seeded("attention"):
        layer = SelfAttention(channels).double()
    nn.init.constant_(layer.gamma, gamma)
    return layer


def by_places(layer: SelfAttention, x: Tensor) -> Tensor:
    """The definition, place by place: Zhang et al. 2019, Eq. 1-3, keys and values pooled as in the authors' code."""
    q, k, v, o = (part.weight for part in (layer.query, layer.key, layer.value, layer.out))
    count, _, height, width = x.shape
    result = x.clone()
    corners = [(i, j) for i in range(0, height, 2) for j in range(0, width, 2)]
    for b in range(count):
        patches = [[x[b, :, i + di, j + dj] for di in (0, 1) for dj in (0, 1)] for i, j in corners]
        keys = [torch.stack([k @ place for place in patch]).amax(0) for patch in patches]
        values = [torch.stack([v @ place for place in patch]).amax(0) for patch in patches]
        for i in range(height):
            for j in range(width):
                scores = [math.exp(torch.dot(q @ x[b, :, i, j], key).item()) for key in keys]
                mean = sum((s * value for s, value in zip(scores, values, strict=True)), torch.zeros(1)) / sum(scores)
                result[b, :, i, j] += layer.gamma * (o @ mean)
    return result


@pytest.mark.parametrize(("channels", "height", "width"), [(16, 4, 6), (3, 2, 2)])
def test_it_is_the_softmax_over_pooled_places_written_out(channels, height, width):
    layer, x = attention(channels, 0.7), maps(2, channels, height, width)
    with torch.no_grad():
        found, expected = layer(x), by_places(layer, x)
        assert (found - x).abs().max() > 0.02
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), found)


def test_it_begins_as_the_identity_and_learns_gamma_first():
    with torch_seeded("attention"):
        layer = SelfAttention(16)
    x = maps(2, 16, 4, 4).float()
    assert torch.equal(layer(x), x)
    layer(x).square().sum().backward()
    assert layer.gamma.grad is not None
    assert layer.gamma.grad.abs() > 1e-4
    assert all(part.weight.grad is not None and not part.weight.grad.any() for part in layer.children())


def test_every_place_sees_every_other():
    layer, x = attention(16, 1.0), maps(1, 16, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()
    permuted = layer(x.roll((2, 2), (2, 3))).roll((-2, -2), (2, 3))  # shifts by whole patches leave all as it is
    torch.testing.assert_close(permuted, layer(x))


def test_the_parameters_are_those_of_the_authors_code():
    # brain-research/self-attention-gan, non_local.py: theta and phi C·C/8, g C·C/2, the last C/2·C, and sigma_ratio; no
    # biases. At SAGAN's 32×32 map of the generator C is 256.
    with torch.device("meta"):
        layer = SelfAttention(256)
    assert sum(p.numel() for p in layer.parameters()) == 2 * 256 * 32 + 2 * 256 * 128 + 1 == 81_921


def test_spectral_normalises_all_four_of_its_matrices_and_not_gamma():
    layer = spectral(SelfAttention(16))
    assert sum(isinstance(module, SpectralNorm) for module in layer.modules()) == 4
    for part in (layer.query, layer.key, layer.value, layer.out):
        assert torch.linalg.matrix_norm(part.weight.detach(), 2).item() == pytest.approx(1, abs=1e-5)
    assert "gamma" in dict(layer.named_parameters())


def test_its_gradients_agree_with_finite_differences_twice():
    layer, x = attention(2, 0.5), maps(1, 2, 2, 4)
    assert torch.autograd.gradcheck(
        lambda *p: r1(lambda x: layer(x).square().sum((1, 2, 3)), x), list(layer.parameters())
    )
    x.requires_grad_()
    assert torch.autograd.gradgradcheck(layer, x)


@pytest.mark.parametrize("shape", [(1, 8, 3, 4), (1, 8, 4, 1)])
def test_odd_sides_are_refused(shape):
    with pytest.raises(ValueError, match=r"pooled 2×2, got maps of \d×\d; put attention at a stage of even sides"):
        SelfAttention(8)(torch.zeros(shape))
