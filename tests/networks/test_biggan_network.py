import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from pushforward.core.seeding import torch_seeded
from pushforward.layers.attention import SelfAttention
from pushforward.layers.conditioning import ConditionalBatchNorm
from pushforward.layers.spectral import spectral
from pushforward.networks.biggan import Critic, Generator
from pushforward.networks.resnet import DownBlock, FlatBlock


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def draws(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def generator(**changes) -> Generator:
    with torch_seeded("biggan"):
        return Generator(**{"latent": 8, "shape": (1, 32, 32), "width": 2, "classes": 3, "shared": 5, **changes})


def critic(**changes) -> Critic:
    with torch_seeded("biggan"):
        return Critic(**{"shape": (1, 32, 32), "width": 2, "classes": 3, **changes})


def test_with_64_channels_at_128_both_networks_have_as_many_parameters_as_the_authors():
    # The 71.3 M of the paper's Table 1: what the authors expect of theirs in the tests of ajbrock/BigGAN-PyTorch.
    with torch.device("meta"):
        G, D = Generator(120, (3, 128, 128), 64, 1000), Critic((3, 128, 128), 64, 1000)
        assert (count(G), count(D)) == (31_978_628, 39_448_258)


def by_hand(up: list[int], down: list[int], flat: int, at: tuple[int, int], part: int) -> tuple[int, int]:
    """Parameters for channels as in the paper's tables; at: those where G and D attend; part: of z in a block."""

    def conv(a: int, b: int, kernel: int = 3) -> int:
        return a * b * kernel**2 + b

    def attention(c: int) -> int:
        return 2 * c * (c // 8) + 2 * c * (c // 2) + 1

    G = part * 16 * up[0] + 16 * up[0] + 1000 * 128 + 2 * up[-1] + conv(up[-1], 3) + attention(at[0])
    for a, b in pairwise(up):
        G += conv(a, b) + conv(b, b) + conv(a, b, 1) + 2 * (128 + part) * (a + b)
    D = attention(at[1]) + flat + 1 + 1000 * flat
    for a, b in zip([3, *down], down, strict=False):
        D += conv(a, b) + conv(b, b) + conv(a, b, 1)
    D += conv(down[-1], flat) + conv(flat, flat) + (conv(down[-1], flat, 1) if down[-1] != flat else 0)
    return G, D


# Tables 5 and 6 of the paper, and for 64×64 G_arch and D_arch of the authors' code; attention at 64×64, or at half.
@pytest.mark.parametrize(
    ("side", "latent", "up", "down", "at"),
    [
        (64, 100, [16, 16, 8, 4, 2], [1, 2, 4, 8], (4, 1)),
        (256, 140, [16, 16, 8, 8, 4, 2, 1], [1, 2, 4, 8, 8, 16], (4, 2)),
        (512, 160, [16, 16, 8, 8, 4, 2, 1, 1], [1, 1, 2, 4, 8, 8, 16], (4, 2)),
    ],
)
def test_at_other_sides_the_channels_are_the_papers(side, latent, up, down, at):
    with torch.device("meta"):
        G, D = Generator(latent, (3, side, side), 96, 1000), Critic((3, side, side), 96, 1000)
    up, down = [96 * m for m in up], [96 * m for m in down]
    assert (count(G), count(D)) == by_hand(up, down, 96 * 16, (96 * at[0], 96 * at[1]), latent // len(up))


def test_images_of_32_have_the_same_channels_everywhere_as_cifar_10s_in_the_authors_code():
    with torch.device("meta"):
        G, D = Generator(128, (3, 32, 32), 64, 10, attention=None), Critic((3, 32, 32), 64, 10, attention=None)
    assert {b.conv2.weight.shape for b in G.blocks} == {(256, 256, 3, 3)}
    assert len(G.blocks) == 3
    assert [type(b) for b in D.blocks] == [DownBlock, DownBlock, FlatBlock, FlatBlock]
    assert {b.conv2.weight.shape for b in D.blocks} == {(256, 256, 3, 3)}


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("pyramid", [False, True])
def test_any_side_and_labels_or_none(side, classes, pyramid):
    given = {"shape": (2, side, side), "width": 1, "classes": classes, "attention": 16, "pyramid": pyramid}
    G, D = (make(**given) for make in (generator, critic))
    y = torch.tensor([0, 2]) if classes else None
    x = G(draws(2, 8), y)
    assert x.shape == (2, 2, side, side)
    assert x.abs().max() <= 1
    assert D(x, y).shape == (2,)
    assert (G.embed is None) == (classes == 0)


@pytest.mark.parametrize(("side", "flat", "pyramid"), [(8, 4, 2), (16, 4, 4), (32, 4, 8), (64, 16, 16)])
def test_the_critics_last_maps_have_what_the_docs_of_pyramids_say(side, flat, pyramid):
    for asked, multiple in ((False, flat), (True, pyramid)):
        D = critic(shape=(1, side, side), width=3, attention=None, pyramid=asked)
        assert D.blocks[-1].conv2.out_channels == 3 * multiple


def test_eval_gives_the_same_twice_and_changes_nothing():
    G, D = spectral(generator(attention=8)).eval(), spectral(critic(attention=8)).eval()
    nets, y = nn.ModuleList([G, D]), torch.tensor([0, 1])
    before = {k: v.clone() for k, v in nets.state_dict().items()}
    x = G(draws(2, 8), y)
    assert torch.equal(G(draws(2, 8), y), x)
    assert torch.equal(D(x, y), D(x, y))
    assert all(torch.equal(before[k], v) for k, v in nets.state_dict().items())


def scales(G: Generator, z: Tensor, y: Tensor | None) -> list[Tensor]:
    """What the first layer and each block are told: the vector c [B, ...]."""
    told: list[Tensor] = []
    hooks = [G.first.register_forward_pre_hook(lambda _, given: told.append(given[0]))]
    hooks += [block.norm1.register_forward_pre_hook(lambda _, given: told.append(given[1])) for block in G.blocks]
    G(z, y)
    for hook in hooks:
        hook.remove()
    return told


@pytest.mark.parametrize("classes", [0, 3])
def test_each_part_of_z_reaches_its_own_block_and_no_other(classes):
    G, z = generator(classes=classes).eval(), draws(2, 8)
    y = torch.tensor([1, 2]) if classes else None
    before = scales(G, z, y)
    assert torch.equal(torch.cat([part[:, -2:] for part in before], 1), z)
    for i in range(4):
        moved = z.clone()
        moved[:, 2 * i : 2 * i + 2] += 1
        after = scales(G, moved, y)
        assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [i == j for j in range(4)]
        assert (G(moved, y) - G(z, y)).abs().amax((1, 2, 3)).min() > 1e-4


def test_a_latent_that_does_not_divide_gives_the_earlier_layers_more():
    told = scales(generator(latent=10, classes=0).eval(), draws(2, 10), None)
    assert [part.shape[1] for part in told] == [3, 3, 2, 2]
    with pytest.raises(ValueError, match="a number for each of 4 layers, got 3; give a latent of 4 or more"):
        generator(latent=3)


def test_all_blocks_share_one_embedding_which_tells_the_classes_apart():
    G, z = generator().eval(), draws(1, 8).expand(2, 8)
    told = scales(G, z, torch.tensor([0, 1]))
    assert G.embed is not None
    for c in told[1:]:
        assert torch.equal(c[:, :5], G.embed.weight[:2])
    one, other = G(z, torch.tensor([0, 1]))
    assert (one - other).abs().max() > 1e-3
    with pytest.raises(ValueError, match="needs the labels y"):
        G(z)


def test_a_block_scales_and_shifts_by_what_it_is_told():
    G, z, y = generator().eval(), draws(2, 8), torch.tensor([0, 1])
    norm, x = G.blocks[1].norm2, draws(2, 8, 4, 4, seed=1)
    assert isinstance(norm, ConditionalBatchNorm)
    c = torch.cat([G.embed.weight[y], z[:, 4:6]], 1)
    gain, bias = c @ norm.scale.weight.T, c @ norm.shift.weight.T
    plain = x / (1 + 1e-5) ** 0.5 * (1 + gain[:, :, None, None]) + bias[:, :, None, None]
    torch.testing.assert_close(norm(x, c), plain, rtol=1e-5, atol=1e-6)


def test_weights_start_orthogonal_and_biases_at_0():
    for net in (generator(attention=8), critic(attention=8)):
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
                values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
                torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-4, atol=1e-4)
                assert getattr(layer, "bias", None) is None or not layer.bias.any()


def test_spectral_norms_reach_all_layers_but_the_shared_embedding():
    G, D = spectral(generator(attention=8)), spectral(critic(attention=8))
    layers = [m for net in (G, D) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 + 3 * 7 + 4 + 2 * 3 + 2 * 2 + 4 + 2
    assert all(is_parametrized(layer, "weight") for layer in layers)
    assert not is_parametrized(G.embed)


@pytest.mark.parametrize(("asked", "side"), [(64, 16), (16, 16), (8, 8), (15, 8)])
def test_attention_is_at_the_largest_maps_that_may_in_both_networks(asked, side):
    seen: list[int] = []
    for net, given in [(generator(attention=asked), draws(2, 8)), (critic(attention=asked), draws(2, 1, 32, 32))]:
        (layer,) = [m for m in net.modules() if isinstance(m, SelfAttention)]
        layer.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[2]))
        net(given, torch.tensor([0, 1]))
    assert seen == [side, side]


def test_the_class_enters_the_critic_by_projection_or_concatenation():
    x, y = draws(2, 1, 32, 32), torch.tensor([0, 2])
    for told in ("projection", "concatenation"):
        D = critic(conditioning=told, attention=None)
        assert (D(x, y) - D(x, y.flip(0))).abs().min() > 1e-4
    with_classes, without = critic(attention=None), critic(classes=0, attention=None)
    without.load_state_dict({k: v for k, v in with_classes.state_dict().items() if k != "last.embed.weight"})
    h: list[Tensor] = []
    with_classes.last.register_forward_pre_hook(lambda _, given: h.append(given[0]))
    logits = with_classes(x, y)
    projected = (h[0] * with_classes.last.embed.weight.T[y]).sum(1)
    torch.testing.assert_close(logits - without(x), projected, rtol=1e-4, atol=1e-5)


def test_a_flow_of_gradients_reaches_every_parameter_of_both():
    G, D, y = generator(attention=16), critic(attention=16), torch.tensor([0, 1, 2])
    nets = nn.ModuleList([G, D])
    for net in (G, D):
        nn.init.constant_(net.attention.gamma, 0.5)
    copy.deepcopy(nets)  # what an average does
    D(G(draws(3, 8), y), y).sum().backward()
    # A bias before BatchNorm has none but rounding; every other parameter does.
    assert [name for name, p in nets.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("shape", "words"),
    [((3, 1024, 1024), "largest images are 512×512, got 1024×1024"), ((3, 24, 24), "images of 24×24 do not fit")],
)
def test_other_sides_are_refused(shape, words):
    for make in (generator, critic):
        with pytest.raises(ValueError, match=words):
            make(shape=shape)
    with pytest.raises(ValueError, match="got a side of 4 or less where the smallest is 8"):
        critic(attention=4)
