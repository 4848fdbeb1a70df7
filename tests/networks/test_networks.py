"""What holds for every generator and critic: shapes, classes, determinism, eval mode, memory layout."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.networks import dcgan, mlp, r3gan, resnet
from pushforward.networks.stages import doublings

LATENT, WIDTH, CLASSES = 5, 4, 3
Build = Callable[[tuple[int, ...], int], nn.Module]


def widths(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (2 * WIDTH, *[WIDTH] * doublings(shape))


GENERATORS: dict[str, Build] = {
    "mlp": lambda shape, classes: mlp.Generator(LATENT, shape, 8, 2, classes),
    "dcgan": lambda shape, classes: dcgan.Generator(LATENT, shape, WIDTH, classes),
    "resnet": lambda shape, classes: resnet.Generator(LATENT, shape, WIDTH),
    "r3gan": lambda shape, classes: r3gan.Generator(LATENT, shape[0], widths(shape), 1, 4, classes),
    "r3gan-points": lambda shape, classes: r3gan.PointGenerator(LATENT, shape[0], 8, 2, classes),
}
CRITICS: dict[str, Build] = {
    "mlp": lambda shape, classes: mlp.Critic(shape, 8, 2, classes),
    "dcgan": lambda shape, classes: dcgan.Critic(shape, WIDTH, classes),
    "resnet": lambda shape, classes: resnet.Critic(shape, WIDTH),
    "r3gan": lambda shape, classes: r3gan.Critic(shape[0], widths(shape), 1, 4, classes),
    "r3gan-points": lambda shape, classes: r3gan.PointCritic(shape[0], 8, 2, classes),
}
IMAGES = ["mlp", "dcgan", "resnet", "r3gan"]
CONDITIONAL = ["mlp", "dcgan", "r3gan", "r3gan-points"]


def rows(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def shape_for(name: str, side: int = 8) -> tuple[int, ...]:
    return (2,) if name.endswith("points") else (3, side, side)


def built(build: Build, shape: tuple[int, ...], classes: int = 0, seed: int = 0) -> nn.Module:
    """A network whose every layer speaks: R3GAN's last layer of each block starts at zero."""
    with torch_seeded("network", seed):
        net = build(shape, classes)
        for module in net.modules():
            if isinstance(module, r3gan.Residual):
                nn.init.normal_(module.third.weight, std=0.3)
    return net


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_side_go_in_and_out(name, side, channels):
    shape = (channels, side, side)
    x = built(GENERATORS[name], shape)(rows(2, LATENT))
    assert x.shape == (2, *shape)
    assert x.isfinite().all()
    assert x.flatten(1).std(1).min() > 0
    if name != "r3gan":
        assert x.abs().max() <= 1
    logits = built(CRITICS[name], shape)(x)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["resnet", "r3gan"])
def test_the_smallest_image_is_4_by_4(name):
    shape = (1, 4, 4)
    x = built(GENERATORS[name], shape)(rows(2, LATENT))
    assert x.shape == (2, *shape)
    assert built(CRITICS[name], shape)(x).shape == (2,)


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("name", ["mlp", "r3gan-points"])
def test_points_of_any_dimension_go_in_and_out(name, size):
    x = built(GENERATORS[name], (size,))(rows(3, LATENT))
    assert x.shape == (3, size)
    assert built(CRITICS[name], (size,))(x).shape == (3,)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("dcgan", (1, 28, 28), "images of 28×28 do not fit this network, which makes squares of 8, 16, 32, 64 …"),
        ("dcgan", (1, 8, 16), "images of 8×16 do not fit this network, which makes squares of 8, 16, 32, 64 …"),
        ("dcgan", (1, 16, 8), "images of 16×8 do not fit this network, which makes squares of 8, 16, 32, 64 …"),
        ("dcgan", (1, 4, 4), "images of 4×4 do not fit this network, which makes squares of 8, 16, 32, 64 …"),
        ("resnet", (3, 28, 28), "images of 28×28 do not fit this network, which makes squares of 4, 8, 16, 32 …"),
        ("resnet", (3, 32, 64), "images of 32×64 do not fit this network, which makes squares of 4, 8, 16, 32 …"),
        ("resnet", (3, 2, 2), "images of 2×2 do not fit this network, which makes squares of 4, 8, 16, 32 …"),
        ("resnet", (3, 1, 1), "images of 1×1 do not fit this network"),
        ("r3gan", (3, 12, 12), "images of 12×12 do not fit this network"),
        ("dcgan", (2,), r"this network makes images \[C, H, W\], got examples of shape \(2,\)"),
        ("resnet", (2,), r"this network makes images \[C, H, W\], got examples of shape \(2,\)"),
    ],
)
def test_other_shapes_are_refused_in_one_line_that_says_what_fits(name, shape, words):
    for build in (GENERATORS[name], CRITICS[name]):
        with pytest.raises(ValueError, match=words) as caught:
            build(shape, 0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("kind", [GENERATORS, CRITICS], ids=["generator", "critic"])
def test_the_class_changes_the_output_and_each_example_has_its_own(kind, name):
    shape = shape_for(name)
    net = built(kind[name], shape, CLASSES).eval()
    given = rows(4, LATENT) if kind is GENERATORS else rows(4, *shape)
    y = torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        mixed = net(given, y)
        for k in range(CLASSES):
            all_k = net(given, torch.full((4,), k))
            same = (mixed - all_k).flatten(1).abs().amax(1) if mixed.dim() > 1 else (mixed - all_k).abs()
            assert same[y == k].max() < 1e-5
            assert same[y != k].min() > 1e-4


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("kind", [GENERATORS, CRITICS], ids=["generator", "critic"])
def test_missing_labels_are_an_error_that_names_the_classes(kind, name):
    shape = shape_for(name)
    net = built(kind[name], shape, CLASSES)
    with pytest.raises(ValueError, match=r"of 3 classes needs the labels y \[B\], got None"):
        net(rows(2, LATENT) if kind is GENERATORS else rows(2, *shape))


def test_the_class_is_one_hot_beside_the_latent_and_a_bias_of_the_image_critic():
    y = torch.tensor([2, 0])
    z = mlp.with_class(rows(2, LATENT), y, CLASSES)
    assert torch.equal(z[:, LATENT:], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert mlp.with_class(z, None, 0) is z
    D, seen = built(CRITICS["dcgan"], (3, 8, 8), CLASSES), []
    D.layers[0].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = rows(2, 3, 8, 8)
    D(x, y)
    bias = seen[0] - D.first(x)
    torch.testing.assert_close(bias, D.told.embed.weight.T[y][:, :, None, None].expand_as(bias))


@pytest.mark.parametrize("name", GENERATORS)
def test_weights_and_outputs_follow_the_seed(name):
    for kind, given in ((GENERATORS, (LATENT,)), (CRITICS, shape_for(name))):
        a, b, c = (built(kind[name], shape_for(name), seed=seed) for seed in (1, 1, 2))
        assert a.state_dict().keys() == b.state_dict().keys()
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
        assert any(not torch.equal(v, c.state_dict()[k]) for k, v in a.state_dict().items())
        x = rows(3, *given)
        assert torch.equal(a(x), b(x))
        assert not torch.equal(a(x), c(x))


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("kind", [GENERATORS, CRITICS], ids=["generator", "critic"])
def test_eval_mode_gives_the_same_twice_changes_nothing_and_treats_examples_apart(kind, name):
    net = built(kind[name], shape_for(name))
    x = rows(6, LATENT) if kind is GENERATORS else rows(6, *shape_for(name))
    net(x)  # in train mode, so that running statistics are not the initial ones
    net.eval()
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        first, second, alone = net(x), net(x), net(x[:1])
    assert torch.equal(first, second)
    torch.testing.assert_close(alone, first[:1], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", ["resnet", "r3gan", "mlp"])
def test_critics_for_penalties_treat_examples_apart_in_train_mode_too(name):
    D, x = built(CRITICS[name], shape_for(name)), rows(4, *shape_for(name))
    torch.testing.assert_close(D(x)[:1], D(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dcgan", "resnet", "r3gan"])
@pytest.mark.parametrize("kind", [GENERATORS, CRITICS], ids=["generator", "critic"])
def test_channels_last_and_contiguous_agree(kind, name):
    net = built(kind[name], (3, 16, 16))
    other = copy.deepcopy(net).to(memory_format=torch.channels_last)
    x = rows(4, LATENT) if kind is GENERATORS else rows(4, 3, 16, 16)
    last = x if x.dim() == 2 else x.to(memory_format=torch.channels_last)
    a, b = net(x), other(last)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    cotangent = rows(*a.shape, seed=5)
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad((y * cotangent).sum(), list(n.parameters()))])
        for y, n in ((a, net), (b, other))
    ]
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("kind", [GENERATORS, CRITICS], ids=["generator", "critic"])
def test_every_parameter_gets_a_gradient_under_bf16_autocast_close_to_float32s(kind, name):
    classes = CLASSES if name in CONDITIONAL else 0
    net = built(kind[name], shape_for(name), classes)
    x = rows(8, LATENT) if kind is GENERATORS else rows(8, *shape_for(name))
    y = torch.arange(8) % 3 if classes else None

    def gradients() -> list[Tensor]:
        # A random direction: the sum itself would be blind to what normalisation takes away.
        out = net(x, y).float()
        return list(torch.autograd.grad((out * rows(*out.shape, seed=5)).sum(), list(net.parameters())))

    exact = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        rough = gradients()
    whole = torch.cat([g.flatten() for g in exact]), torch.cat([g.flatten() for g in rough])
    assert torch.cosine_similarity(*whole, dim=0) > 0.98
    assert whole[1].norm().item() == pytest.approx(whole[0].norm().item(), rel=0.1)
    assert all(g.norm() > 0 for g in exact)
