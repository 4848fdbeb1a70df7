"""The first GANs' perceptrons against their equations, by hand."""

import pytest
import torch

from pushforward import recipes
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.layers.maxout import Maxout
from pushforward.networks.maxout import Critic, Generator
from pushforward.networks.mlp import Critic as Perceptron

SHAPE = (1, 4, 4)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def test_a_maxout_unit_is_the_largest_of_its_pieces():
    with torch_seeded("maxout"):
        layer = Maxout(7, 3, pieces=4)
    x = draw(5, 7)
    for i, row in enumerate(x):
        for unit in range(3):
            pieces = [layer.linear.weight[4 * unit + k] @ row + layer.linear.bias[4 * unit + k] for k in range(4)]
            assert layer(x)[i, unit].item() == pytest.approx(max(p.item() for p in pieces), rel=1e-5)
    with pytest.raises(ValueError, match="the largest of 1 or more pieces, got 0"):
        Maxout(7, 3, pieces=0)


def test_noise_and_class_have_a_hidden_layer_each_before_they_are_joined():
    with torch_seeded("maxout"):
        G, D = Generator(4, SHAPE, 48, classes=3), Critic(SHAPE, 240, classes=3)
    z, y, x = draw(6, 4), torch.arange(6) % 3, draw(6, *SHAPE)
    assert (G.noise.out_features, G.told.out_features) == (8, 40)
    told = G.told.weight.T[y] + G.told.bias
    h = G.joint(torch.cat([G.noise(z), told], dim=1).relu()).relu()
    torch.testing.assert_close(G(z, y), G.last(h).tanh().view(6, *SHAPE))

    D.eval()
    assert (D.image.pieces, D.told.pieces, D.joint.pieces) == (5, 5, 4)
    said = (D.told.linear.weight.T[y] + D.told.linear.bias).view(6, 10, 5).amax(2)
    h = D.joint(torch.cat([D.image(x.flatten(1)), said], dim=1))
    torch.testing.assert_close(D(x, y), D.last.linear(h).squeeze(1))


def test_the_critic_drops_a_fifth_of_the_image_and_half_of_what_is_hidden_in_training_alone():
    with torch_seeded("maxout"):
        D = Critic(SHAPE, 240)
    assert (D.drop_image.p, D.drop_hidden.p) == (0.2, 0.5)
    x = draw(6, *SHAPE)
    assert not torch.equal(D(x), D(x))
    D.eval()
    assert torch.equal(D(x), D(x))


@pytest.mark.parametrize("kind", ["maxout", "perceptron"])
def test_a_projection_adds_the_classs_product_with_the_last_hidden_layer(kind):
    with torch_seeded("maxout"):
        D = (
            Critic(SHAPE, 240, 3, "projection")
            if kind == "maxout"
            else Perceptron(SHAPE, 16, 2, 3, conditioning="projection")
        )
    D.eval()
    x, y = draw(6, *SHAPE), torch.arange(6) % 3
    if isinstance(D, Critic):
        h, last, embed = D.joint(D.image(x.flatten(1))), D.last.linear, D.last.embed
    else:
        h, last, embed = D.layers[:-1](x.flatten(1)), D.layers[-1], D.embed
    torch.testing.assert_close(D(x, y), last(h).squeeze(1) + (embed.weight.T[y] * h).sum(1))
    with pytest.raises(ValueError, match="needs the labels"):
        D(x)


def test_a_perceptron_without_hidden_layers_projects_what_it_is_given_and_several_outputs_are_refused():
    with torch_seeded("maxout"):
        D = Perceptron(SHAPE, 5, 0, 3, conditioning="projection")
    x, y = draw(6, *SHAPE), torch.arange(6) % 3
    flat = x.flatten(1)
    torch.testing.assert_close(D(x, y), D.layers(flat).squeeze(1) + (D.embed.weight.T[y] * flat).sum(1))
    with pytest.raises(ValueError, match="got 2 outputs; give concatenation"):
        Perceptron(SHAPE, 5, 1, 3, outputs=2, conditioning="projection")


@pytest.mark.parametrize(
    ("recipe", "kind", "changes", "match"),
    [
        ("cgan", "images", {"maxout": True, "critic_norm": "spectral"}, "maxout's perceptrons have no normalisation"),
        ("cgan", "points", {"critic_norm": "spectral"}, "perceptrons for points have no normalisation"),
        ("gan", "images", {"maxout": True, "depth": 5}, "two hidden layers, got --depth 5"),
    ],
)
def test_options_that_would_do_nothing_are_refused(recipe, kind, changes, match):
    module = recipes.load(recipe)
    shape = SHAPE if kind == "images" else (2,)
    with pytest.raises(ValueError, match=match):
        module.build(module.Config(**changes), DataSpec("some", kind, shape, 3))
