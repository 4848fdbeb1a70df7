import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pushforward.core.seeding import torch_seeded
from pushforward.layers.filters import upsample
from pushforward.layers.style_mean import StyleMean
from pushforward.networks.stylegan2 import Critic, Generator, Mapping, Styled, modulated

SHAPE, K, N = (3, 16, 16), 3, 6


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def generator(classes: int = 0, depth: int = 2) -> Generator:
    """With noise that counts."""
    with torch_seeded("stylegan2"):
        G = Generator(4, SHAPE, width=8, base=64, depth=depth, classes=classes)
        for p in G.parameters():
            if p.dim() == 0:
                torch.nn.init.constant_(p, 0.5)
    return G


def critic(classes: int = 0, **options: Any) -> Critic:
    with torch_seeded("stylegan2"):
        return Critic(SHAPE, width=8, base=64, classes=classes, depth=2, **options)


def test_with_a_short_mapping_configuration_f_has_the_authors_parameters_at_1024():
    # stylegan2-ada-pytorch prints, at 1024×1024 with channel_base 32768: generator 28,794,124
    # with the two mapping layers of --cfg=auto (buffers 2,797,104: 2,796,176 numbers of noise, the mean style, 26
    # filters of 16 taps). --cfg=stylegan2 has six more mapping layers of 512 · 513 = 262,656: 30,370,060.
    with torch.device("meta"):
        G, short = Generator(512, (3, 1024, 1024)), Mapping(512, 512, 2)
    assert count(G) - count(G.styles) + count(short) == 28_794_124
    assert (G.used, G.synthesis.numbers) == (18, 2_796_176)


def test_layers_have_the_authors_parameters():
    # The same table: b1024.conv0 51,297, b4.conv1 2,622,465, b1024.torgb 16,515; b128 of the discriminator: skip
    # 131,072, conv0 590,080, conv1 1,180,160; b4.conv 2,364,416, fc 4,194,816, out 513.
    with torch.device("meta"):
        G, D = Generator(512, (3, 1024, 1024)), Critic((3, 1024, 1024))
    assert [count(G.synthesis.convolutions[i]) for i in (-2, 0)] == [51_297, 2_622_465]
    assert count(G.synthesis.images[-1]) == 16_515
    assert [count(part) for part in (D.blocks[3].skip, D.blocks[3].first, D.blocks[3].second)] == [
        131_072,
        590_080,
        1_180_160,
    ]
    assert [count(part) for part in (D.conv, D.linear, D.last)] == [2_364_416, 4_194_816, 513]


def explicitly(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool) -> Tensor:
    """Eq. 1 and 3 for each example by itself. Upsampling first, over one more pixel around, then the convolution with
    the kernel turned round, as a transposed one has it."""
    found = []
    for image, s in zip(x, style, strict=True):
        w = weight * s[None, :, None, None]
        if demodulate:
            w = w / torch.sqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if not up:
            found.append(F.conv2d(image[None], w, padding=weight.shape[2] // 2))
            continue
        # The upsampled map, zero far outside, reaches two numbers beyond its frame: let zeros stand around first.
        wide = upsample(F.pad(image[None], (2, 2, 2, 2)))[..., 3:-3, 3:-3]
        found.append(F.conv2d(wide, w.flip(2, 3)))
    return torch.cat(found)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("up", "kernel"), [(False, 3), (False, 1), (True, 3)])
def test_a_modulated_convolution_is_each_examples_own(demodulate, up, kernel):
    x, weight, style = rows(3, 4, 6, 6), rows(5, 4, kernel, kernel, seed=1), rows(3, 4, seed=2) + 1
    found = modulated(x, weight, style, demodulate=demodulate, up=up)
    assert found.shape == (3, 5, 12, 12) if up else (3, 5, 6, 6)
    torch.testing.assert_close(found, explicitly(x, weight, style, demodulate, up), rtol=1e-4, atol=1e-5)
    again = modulated(x, weight, style, demodulate=demodulate, up=up, gain=3.0)
    torch.testing.assert_close(again, 3 * found, rtol=1e-4, atol=1e-5)


def test_demodulation_keeps_unit_variance_whatever_the_styles():
    x, weight = rows(8, 16, 16, 16), 7 * rows(32, 16, 3, 3, seed=1)
    for size in (0.01, 1.0, 100.0):
        y = modulated(x, weight, size * (rows(8, 16, seed=2) + 1))
        assert y[..., 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.1)


def test_a_styled_layer_is_modulation_noise_bias_and_a_leaky_relu_with_gain():
    with torch_seeded("layer"):
        layer = Styled(4, 5, 6, 8, up=True)
        torch.nn.init.constant_(layer.strength, 0.7)
        torch.nn.init.normal_(layer.bias)
    x, w, noise = rows(2, 4, 4, 4), rows(2, 6, seed=1), rows(2, 64, seed=2)
    assert torch.equal(layer.style.bias, torch.ones(4))
    h = modulated(x, layer.weight, layer.style(w), up=True) + 0.7 * noise.view(2, 1, 8, 8) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x, w, noise), math.sqrt(2) * F.leaky_relu(h, 0.2), rtol=1e-4, atol=1e-5)


def test_the_image_is_the_sum_of_all_stages_images_upsampled():
    G, w = generator().eval(), rows(2, 6, 4)
    S, shown = G.synthesis, []
    for layer in S.images:
        layer.register_forward_hook(lambda module, args, out: shown.append((args[1], out)))
    image = S(w)
    assert [out.shape[-1] for _, out in shown] == [4, 8, 16]
    (w4, a), (w8, b), (w16, c) = shown
    torch.testing.assert_close(image, upsample(upsample(a) + b) + c, rtol=1e-4, atol=1e-5)
    # An image's layer has the style of the convolution that comes next, as in the authors' code.
    assert [torch.equal(given, w[:, i]) for given, i in ((w4, 1), (w8, 3), (w16, 5))] == [True] * 3


def test_the_mapping_normalises_latents_and_learns_a_hundred_times_more_slowly():
    with torch_seeded("mapping"):
        mapping = Mapping(8, 6, depth=3)
    z = rows(4, 8)
    torch.testing.assert_close(mapping(z), mapping(5 * z), rtol=1e-4, atol=1e-5)
    h = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for layer in mapping.layers:
        h = math.sqrt(2) * F.leaky_relu(h @ layer.weight.T * 0.01 / math.sqrt(layer.weight.shape[1]), 0.2)
        assert layer.weight.std().item() == pytest.approx(100, rel=0.3)
    torch.testing.assert_close(mapping(z), h, rtol=1e-4, atol=1e-5)


def test_noise_is_new_in_training_the_same_in_evaluation_and_what_it_is_given():
    G, z = generator(), rows(2, 4)
    assert (G(z) - G(z)).abs().max() > 0.01
    assert torch.equal(G.eval()(z), G(z))
    torch.testing.assert_close(G(z)[:1], G(z[:1]), rtol=1e-4, atol=1e-5)
    w, noise = G.mapping(z), rows(2, G.synthesis.numbers)
    assert torch.equal(G.synthesis(w, noise), G.train().synthesis(w, noise))
    fixed = torch.cat([layer.fixed for layer in G.synthesis.convolutions]).expand(2, -1)
    torch.testing.assert_close(G.eval()(z), G.synthesis(w, fixed), rtol=1e-5, atol=1e-6)
    # Alike in every network, and in no checkpoint.
    assert torch.equal(fixed, torch.cat([m.fixed for m in generator(K).synthesis.convolutions]).expand(2, -1))
    assert not any("fixed" in key for key in G.state_dict())
    assert fixed.std().item() == pytest.approx(1, rel=0.1)


def test_the_mean_style_follows_each_class_in_training_alone():
    mean = StyleMean(2, classes=3, decay=0.9)
    w, y = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 2])
    mean.follow(w, y)
    # Class 0 has 2 of 3 examples, twice its share; class 2 has its share; class 1 has none.
    expected = torch.stack([torch.tensor([2.0, 0.0]) * (1 - 0.9**2), torch.zeros(2), torch.tensor([0.0, 5.0]) * 0.1])
    torch.testing.assert_close(mean.mean, expected)
    for _ in range(200):
        mean.follow(w, y)
    torch.testing.assert_close(mean.mean[[0, 2]], torch.tensor([[2.0, 0.0], [0.0, 5.0]]), rtol=1e-4, atol=1e-4)
    G, z = generator(), rows(64, 4)
    G.eval()(z)
    assert not G.average.mean.any()
    w = G.train().mapping(z)[:, 0]
    torch.testing.assert_close(G.average.mean[0], 0.005 * w.mean(0), rtol=1e-3, atol=1e-6)


def test_truncation_draws_styles_to_the_mean_of_their_class_and_psi_0_gives_one_image_a_class():
    G, z, y = generator(K).eval(), rows(N, 4), torch.arange(N) % K
    G.average.mean.copy_(rows(K, 4, seed=3))
    torch.testing.assert_close(G(z, y, 1.0), G(z, y), rtol=1e-4, atol=1e-5)
    at_mean = G(z, y, 0.0)
    assert torch.equal(at_mean[:K], at_mean[K:])
    assert (at_mean[0] - at_mean[1]).abs().max() > 0.01
    w = G.mapping(z, y)
    half = G.average.mean[y][:, None] + 0.5 * (w - G.average.mean[y][:, None])
    torch.testing.assert_close(G(z, y, 0.5), G.synthesis(half), rtol=1e-4, atol=1e-5)
    alone = generator().eval()
    one = alone(z, psi=0.0)
    assert all(torch.equal(image, one[0]) for image in one)


def test_the_critic_projects_on_the_mapped_label_as_in_the_authors_code():
    D, x, y, seen = critic(K), rows(4, *SHAPE), torch.tensor([0, 2, 2, 1]), []
    D.last.register_forward_hook(lambda module, args, out: seen.append(out))
    logits = D(x, y)
    assert seen[0].shape == (4, 8)
    expected = (seen[0] * D.label(None, y)).sum(1) / math.sqrt(8)
    torch.testing.assert_close(logits, expected)
    assert count(critic(K, conditioning="concatenation")) == count(critic()) + K * 4
    with pytest.raises(ValueError, match="needs the labels"):
        D(x)


def test_the_critics_blocks_are_residual_with_half_the_variance_each_or_plain():
    D, x = critic(), rows(2, 4, 16, 16)
    block = D.blocks[0]
    plain = copy.deepcopy(block)
    plain.skip = None
    skip, block.skip.weight.data = block.skip.weight.data, torch.zeros_like(block.skip.weight)
    torch.testing.assert_close(block(x), plain(x) / math.sqrt(2), rtol=1e-4, atol=1e-5)
    block.skip.weight.data = skip
    seen = block(x) - plain(x) / math.sqrt(2)
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    down = F.conv2d(x, kernel.expand(4, 1, 4, 4), stride=2, padding=1, groups=4)
    torch.testing.assert_close(seen, F.conv2d(down, skip) / 2 / math.sqrt(2), rtol=1e-4, atol=1e-5)
    assert all(b.skip is None for b in critic(residual=False).blocks)


def test_the_critic_knows_how_much_a_group_differs_unless_told_not_to():
    x = rows(4, *SHAPE)
    alone, together = critic(group=None), critic(group=4)
    torch.testing.assert_close(alone(x), torch.cat([alone(x[:1]), alone(x[1:])]), rtol=1e-4, atol=1e-5)
    assert (together(x) - torch.cat([together(x[:1]), together(x[1:])])).abs().max() > 1e-4
    assert count(together) == count(alone) + 8 * 9
