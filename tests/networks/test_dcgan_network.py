import pytest
import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.networks.dcgan import Critic, Generator


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_initial_weights_are_normal_with_deviation_0_02_scales_about_one_and_biases_zero():
    with torch_seeded("init"):
        nets = Generator(32, (3, 32, 32), 16), Critic((3, 32, 32), 16)
    normalised = 0
    for net in nets:
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                w = module.weight
                assert w.std().item() == pytest.approx(0.02, rel=5 / (2 * w.numel()) ** 0.5)
                assert abs(w.mean().item()) < 5 * 0.02 / w.numel() ** 0.5
                assert module.bias is None or not module.bias.any()
            elif isinstance(module, nn.BatchNorm2d):
                normalised += 1
                assert module.weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / module.num_features**0.5)
                assert 0.01 < module.weight.std().item() < 0.03
                assert not module.bias.any()
    assert normalised == 3 + 2  # in all layers but the generator's last and the critic's first and last (Section 3)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_the_published_layers_have_filters_of_5_a_first_batchnorm_of_units_and_no_biases_at_the_ends(side):
    with torch_seeded("published"):
        G, D = (net(*given, layers="published") for net, given in ((Generator, (6, (3, side, side), 4)),
                                                                   (Critic, ((3, side, side), 4))))  # fmt: skip
    filters = [m for net in (G, D) for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert {m.kernel_size for m in filters} == {(5, 5)}
    assert all(m.bias is None for m in (*filters, G.first, D.last.linear))
    (units,) = (m for m in G.modules() if isinstance(m, nn.BatchNorm1d))
    assert units.num_features == G.first.out_features
    assert units.weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / units.num_features**0.5)
    assert 0.01 < units.weight.std().item() < 0.03
    x = G(torch.randn(5, 6))
    assert x.shape == (5, 3, side, side)
    assert D(x).shape == (5,)
    with pytest.raises(ValueError, match="normalise each unit over the batch, got a part of 1 example"):
        G(torch.randn(1, 6))
    assert G.eval()(torch.randn(1, 6)).shape == (1, 3, side, side)


def order(layers: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_normalisation_and_activations_stand_where_the_paper_has_them():
    G, D = Generator(8, (3, 32, 32), 4), Critic((3, 32, 32), 4)
    up = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert order(G.layers) == ["BatchNorm2d", "ReLU", *up, *up, "ConvTranspose2d", "Tanh"]
    down = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert isinstance(D.first, nn.Conv2d)
    assert order(D.layers) == ["LeakyReLU", *down, *down]


def test_batchnorm_has_the_usual_eps_and_momentum():
    for module in Generator(8, (3, 32, 32), 4).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_the_first_and_last_layers_are_the_convolutions_that_the_paper_has():
    with torch_seeded("matrix"):
        G, D = Generator(6, (3, 16, 16), 4).double(), Critic((3, 16, 16), 4).double()
        z, x = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 3, 16, 16, dtype=torch.float64)
    deep: list[Tensor] = []
    G.layers.register_forward_hook(lambda module, args, out: deep.append(args[0]))
    D.layers.register_forward_hook(lambda module, args, out: deep.append(out))
    G(z)
    logits = D(x)
    first = nn.functional.conv_transpose2d(z[:, :, None, None], G.first.weight.T.reshape(6, G.channels[0], 4, 4))
    last = nn.functional.conv2d(deep[1], D.last.linear.weight.view(1, -1, 4, 4), D.last.linear.bias)
    torch.testing.assert_close(deep[0], first, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(logits, last.flatten(), rtol=1e-10, atol=1e-12)


def test_a_critic_in_train_mode_normalises_real_and_fake_batches_apart():
    with torch_seeded("apart"):
        D = Critic((1, 8, 8), 4)
        real, fake = torch.randn(8, 1, 8, 8), torch.randn(8, 1, 8, 8) * 0.1 + 0.5
    together = D(torch.cat([real, fake]))
    assert (together[:8] - D(real)).abs().max() > 1e-3  # which is why the critic's move takes two passes


@pytest.mark.parametrize("norm", ["spectral", None])
def test_a_critic_without_batchnorm_has_biases_for_it_and_treats_examples_apart(norm):
    with torch_seeded("norm"):
        D = Critic((1, 8, 8), 4, 3, "projection", norm)
        x, y = torch.randn(8, 1, 8, 8), torch.arange(8) % 3
    assert not any(isinstance(module, nn.BatchNorm2d) for module in D.modules())
    assert count(D) == count(Critic((1, 8, 8), 4, 3, "projection")) - 8  # a bias for a scale and a shift
    torch.testing.assert_close(torch.cat([D(x[:3], y[:3]), D(x[3:], y[3:])]), D(x, y), rtol=1e-3, atol=1e-4)
    for _ in range(100):
        D(x, y)  # the iteration comes to its end
    norms = [
        torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        for layer in D.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert (norms == pytest.approx([1] * len(norms), rel=1e-2)) == (norm == "spectral")
