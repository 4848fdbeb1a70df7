import pytest
import torch
from torch import Tensor

from pushforward import recipes
from pushforward.core.game import Clock
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.networks.lapgan import Critic, Detail, coarser, sides_between, smoother


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).tanh()


def game(shape: tuple[int, ...] = (3, 16, 16), classes: int | None = None, coarsest: int = 4):
    module = recipes.load("lapgan")
    told = None if classes is None else "concatenation"
    config = module.Config(latent=5, width=4, units=6, coarsest=coarsest, conditioning=told, batch=3, ema=None)
    with torch_seeded("lapgan"):
        return module.build(config, DataSpec("some", "images", shape, classes))


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_levels_have_the_layers_of_the_authors_cifar10_code():
    # eyescream, cifar/scripts/train_cifar_coarse_to_fine.lua: 7×7 (1 + 3 -> 128), 7×7 (128 -> 128), 5×5 (128 -> 3), and
    # 5×5 (3 -> 128), 5×5 of stride 2, then ⌊(28 − 5)/2⌋ + 1 = 12 a side. Every layer has biases.
    with torch.device("meta"):
        G, D = Detail(3, 128), Critic((3, 32, 32), 128)
        assert G(torch.zeros(2, 4, 32, 32)).shape == (2, 3, 32, 32)
        assert D(torch.zeros(2, 3, 32, 32)).shape == (2,)
    assert count(G) == (4 * 49 + 1) * 128 + (128 * 49 + 1) * 128 + 128 * 25 * 3 + 3 == 837_763
    assert count(D) == (3 * 25 + 1) * 128 + (128 * 25 + 1) * 128 + 128 * 12 * 12 + 1 == 437_889


@pytest.mark.parametrize(
    ("side", "coarsest", "sides"),
    [(32, 8, [8, 16, 32]), (28, 8, [7, 14, 28]), (8, 8, [4, 8]), (64, 16, [16, 32, 64]), (24, 8, [6, 12, 24])],
)
def test_sides_are_halved_to_the_coarsest_at_least_once(side, coarsest, sides):
    assert sides_between((1, side, side), coarsest) == sides


@pytest.mark.parametrize("shape", [(1, 27, 27), (3, 18, 18), (1, 16, 32), (2,)])
def test_images_that_cant_be_halved_are_refused_with_the_reason(shape):
    with pytest.raises(ValueError, match=r"can't be halved|square images") as caught:
        sides_between(shape, 8)
    assert "--resolution" in str(caught.value)


def test_smoothing_and_coarsening_keep_the_mean_and_invert_each_other_on_flat_images():
    x = images(2, 3, 8, 8)
    assert coarser(x).mean().item() == pytest.approx(x.mean().item(), abs=1e-6)
    flat = torch.full((1, 1, 4, 4), 0.7)
    torch.testing.assert_close(coarser(smoother(flat)), flat)


def test_a_sample_is_the_coarsest_image_with_each_levels_detail_added_in_turn():
    found = game(classes=3)
    assert found.latent == (5 + 8 * 8 + 16 * 16,)
    z, y = images(4, *found.latent), torch.tensor([0, 1, 2, 0])
    nets = {name: player.nets["G"].eval() for name, player in found.players.items() if "generator" in name}
    assert list(nets) == ["generator4", "generator8", "generator"]
    with torch.no_grad():
        x = nets["generator4"](z[:, :5], y)
        for name, start, side in (("generator8", 5, 8), ("generator", 69, 16)):
            noise = z[:, start : start + side * side].view(4, 1, side, side)
            x = smoother(x) + nets[name](torch.cat([noise, smoother(x)], 1), y)
    torch.testing.assert_close(found.sample(z, y), x)
    assert not torch.allclose(found.sample(z, y.flip(0)), x)


def test_the_finest_level_enlarges_images_of_any_size():
    found = game()
    for height, width in ((16, 16), (24, 40)):
        x = images(2, 3, height, width)
        larger = found.sample.enlarge(x, torch.zeros(2, 1, 2 * height, 2 * width))
        assert larger.shape == (2, 3, 2 * height, 2 * width)
        # Convolutions see 9 places to each side: far from a border, a crop is enlarged to the whole's crop.
        crop = found.sample.enlarge(x[..., :14, :14], torch.zeros(2, 1, 28, 28))
        torch.testing.assert_close(crop[..., :16, :16], larger[..., :16, :16], rtol=1e-4, atol=1e-5)


def test_each_level_is_trained_on_real_images_of_its_side_and_fakes_from_coarser_real_ones():
    found, x = game(), images(3, 3, 16, 16, seed=2)
    clock = Clock(0)
    clock.begin_round()
    moves = list(found.play(iter([{"x": x}]), clock))
    order = ["critic4", "generator4", "critic8", "generator8", "critic", "generator"]
    assert [move.player for move in moves] == order
    for player in found.players.values():
        player.nets.eval()  # no dropout
    move, halved = moves[2], coarser(x)
    G, D = found.players["generator8"].nets["G"], found.players["critic8"].nets["D"]
    smooth = smoother(coarser(halved))
    fake = smooth + G(torch.cat([move.batch["z"], smooth], 1))
    loss, told = move.objective(move.batch)
    assert told["real"].item() == pytest.approx(D(halved).mean().item(), abs=1e-6)
    assert told["fake"].item() == pytest.approx(D(fake).mean().item(), abs=1e-6)
    expected = torch.nn.functional.softplus(-D(halved)).mean() + torch.nn.functional.softplus(D(fake)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
