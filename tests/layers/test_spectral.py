import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from pushforward.core.checkpoint import read, write
from pushforward.core.ema import EMA
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move, Player
from pushforward.core.seeding import torch_seeded
from pushforward.layers.spectral import SpectralNorm, spectral
from pushforward.networks import mlp, resnet
from pushforward.objectives.adversarial import hinge
from pushforward.objectives.penalties import r1

with torch_seeded("spectral"):
    LAYERS = {
        "linear": (nn.Linear(12, 7), 0),
        "wide": (nn.Linear(3, 40), 0),
        "convolution": (nn.Conv2d(4, 6, 3, padding=1), 0),
        "groups": (nn.Conv2d(4, 6, 3, groups=2), 0),
        "transposed": (nn.ConvTranspose2d(4, 6, 4, 2, 1), 1),
        "1-D": (nn.Conv1d(3, 5, 7), 0),
    }


def rows(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def norm(weight: Tensor, outputs: int = 0) -> float:
    """The exact largest singular value of the reshaped weights."""
    return torch.linalg.matrix_norm(weight.detach().movedim(outputs, 0).flatten(1).double(), 2).item()


def layer(name: str) -> tuple[nn.Module, int]:
    module, outputs = LAYERS[name]
    return copy.deepcopy(module), outputs


@pytest.mark.parametrize("name", LAYERS)
def test_weights_have_unit_spectral_norm_and_their_direction_from_the_start(name):
    module, outputs = layer(name)
    raw = module.weight.detach().clone()
    assert norm(raw, outputs) != pytest.approx(1, abs=0.01)
    assert spectral(module) is module
    assert norm(module.weight, outputs) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(module.weight.detach(), raw / norm(raw, outputs))
    assert torch.equal(module.parametrizations.weight.original, raw)


@pytest.mark.parametrize("name", LAYERS)
def test_the_iteration_follows_the_weights_through_training(name):
    module, outputs = layer(name)
    spectral(module)
    original = module.parametrizations.weight.original
    target = rows(*original.shape, seed=5)
    for _ in range(300):
        with torch.no_grad():
            original.lerp_(target, 0.02)
        seen = norm(module.weight, outputs)
        assert 0.9999 < seen < 1.3  # σ is never overestimated, and lags where another direction takes the lead
    assert norm(module.weight, outputs) == pytest.approx(1, abs=0.01)
    assert norm(original, outputs) == pytest.approx(norm(target, outputs), rel=0.05)


def test_one_iteration_a_change_is_algorithm_1_of_the_paper():
    module = spectral(nn.Linear(5, 4))
    inner = module.parametrizations.weight
    u, before = inner[0].u.clone(), inner.original.detach().clone()
    for step in range(4):
        W = before + 0.3 * rows(4, 5, seed=step)
        inner.original.data.copy_(W)
        v = F.normalize(W.mT @ u, dim=0)  # Miyato et al. 2018, Algorithm 1
        u = F.normalize(W @ v, dim=0)
        torch.testing.assert_close(module.weight.detach(), W / (u @ W @ v))


def test_the_same_weights_give_the_same_output_however_often_they_are_used():
    # Torch's own iterates at each use: real and fake of one step are judged by different critics.
    D = spectral(mlp.Critic((2,), 16))
    optimizer, x = Adam(D.parameters(), lr=0.05), rows(9, 2)
    for _ in range(3):
        first = D(x)
        assert torch.equal(D(x), first)
        assert torch.equal(D(x), first)
        first.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        before = D(x)
    assert torch.equal(D(x), before)


@pytest.mark.parametrize("name", ["linear", "wide", "convolution", "1-D", "transposed"])
def test_torchs_own_agrees_once_its_iteration_has_converged(name):
    ours, _ = layer(name)
    theirs = copy.deepcopy(ours)
    spectral(ours)
    torch.manual_seed(0)
    nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=300)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-5)


def test_in_eval_mode_nothing_is_iterated_and_looking_changes_nothing():
    D, x = spectral(mlp.Critic((2,), 16)), rows(9, 2)
    with torch.no_grad():
        for p in D.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    state = copy.deepcopy(D.state_dict())
    D.eval()
    assert torch.equal(D(x), D(x))
    assert all(torch.equal(value, state[key]) for key, value in D.state_dict().items())
    D.train()
    D(x)
    assert any(not torch.equal(value, state[key]) for key, value in D.state_dict().items())


def test_all_linear_and_convolution_layers_are_normalised_once_and_nothing_else():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 2), nn.Flatten(), nn.Linear(16, 5),
        nn.Embedding(5, 3),
    )  # fmt: skip
    names = sorted(name for name, _ in spectral(net).named_parameters() if "original" in name)
    assert names == [f"{i}.parametrizations.weight.original" for i in (0, 2, 4)]
    assert sorted(name for name, _ in spectral(net).named_parameters() if "original" in name) == names
    assert {name for name, _ in net.named_parameters() if "original" not in name} == {
        "0.bias", "1.weight", "1.bias", "2.bias", "4.bias", "5.weight",
    }  # fmt: skip


def test_weights_of_zero_are_refused():
    with pytest.raises(ValueError, match=r"weights of shape \(4, 3\) are all zero"):
        SpectralNorm(torch.zeros(4, 3))


def test_a_network_of_normalised_linear_layers_is_1_lipschitz():
    D = spectral(mlp.Critic((6,), 32)).double()
    x, y = rows(500, 6).double() * 3, rows(500, 6, seed=1).double() * 3
    slopes = (D(x) - D(y)).abs() / (x - y).norm(dim=1)
    assert slopes.max() <= 1 + 1e-5
    assert slopes.max() > 0.01
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x)
    assert gradient.norm(dim=1).max() <= 1 + 1e-5


def test_a_convolutions_operator_can_be_larger_than_its_reshaped_matrix_by_the_root_of_the_taps():
    # All taps alike: of norm 3 as a row of nine; the operator sums them on a constant image. The bound is attained.
    convolution = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    nn.init.constant_(convolution.weight, 0.7)
    spectral(convolution)
    columns = convolution(torch.eye(64).view(64, 1, 8, 8)).flatten(1)
    assert norm(columns) == pytest.approx(3, rel=1e-5)
    other = spectral(nn.Conv2d(4, 6, 3, padding=1, bias=False))
    columns = other(torch.eye(4 * 25).view(100, 4, 5, 5)).flatten(1)
    assert 1 < norm(columns) < 3


def test_gradients_agree_with_finite_differences_twice():
    D = spectral(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double())
    x = rows(3, 2).double()
    names = [name for name, _ in D.named_parameters()]
    weights = [p.detach().clone().requires_grad_() for _, p in D.named_parameters()]
    D.eval()  # at exact singular vectors, σ's derivative is that of u and v held constant

    def loss(*values: Tensor) -> Tensor:
        return r1(lambda x: torch.func.functional_call(D, dict(zip(names, values, strict=True)), (x,)).squeeze(1), x)

    assert torch.autograd.gradcheck(loss, weights)


def test_the_gradient_is_the_papers():
    # Miyato et al. 2018, Eq. 12: (1/σ) (G − λ u vᵀ), λ = ⟨G, W_SN⟩ up to the mean over examples.
    module = spectral(nn.Linear(5, 4, bias=False))
    G = rows(4, 5, seed=3)
    (found,) = torch.autograd.grad((module.weight * G).sum(), module.parametrizations.weight.original)
    inner = module.parametrizations.weight[0]
    along = (module.weight.detach() * G).sum()
    torch.testing.assert_close(found, (G - along * torch.outer(inner.u, inner.v)) / inner.sigma)


def test_a_gradient_penalty_trains_a_normalised_critic():
    D = spectral(resnet.Critic((3, 8, 8), 8))
    loss = hinge.critic(D(rows(4, 3, 8, 8)), D(rows(4, 3, 8, 8, seed=1))) + r1(D, rows(4, 3, 8, 8))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in D.named_parameters() if "original" in n)


def test_sigma_is_float32_inside_bf16_autocast():
    module = spectral(nn.Linear(64, 64))
    expected = module.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.weight, expected)
        assert module(rows(2, 64)).dtype == torch.bfloat16
    assert torch.equal(module.weight, expected)


@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_network_is_the_same():
    D, x = spectral(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))), rows(5, 3)
    twin = copy.deepcopy(D)
    twin.compile(backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(twin(x), D(x))
        for net in (D, twin):
            with torch.no_grad():
                for p in net.parameters():
                    p.mul_(1.1).add_(0.01)
    torch.compiler.reset()


@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_network_can_be_used_anew_before_its_first_gradients():
    D, x = spectral(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))), rows(5, 3)
    twin = copy.deepcopy(D)
    twin.compile(backend="aot_eager_decomp_partition")  # which chooses, as the default does, what gradients start from
    for net in (D, twin):
        for p in net.parameters():
            p.data.mul_(1.1).add_(0.01)
        first = net(x).sum()
        net(x)
        first.backward()
    for p, q in zip(D.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    torch.compiler.reset()


class Rows:
    """A source of pictures whose stream repeats."""

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        return {"x": rows(97, 3, 8, 8)[torch.arange(start, stop) % 97].to(device)}


def sngan() -> Game:
    """A hinge game of normalised convolutions, with an average of the generator's (normalised too)."""
    with torch_seeded("toy"):
        D = nn.Sequential(
            nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 8, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(128, 1),
        )  # fmt: skip
        G = nn.Sequential(nn.Linear(4, 128), nn.Unflatten(1, (8, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))
        spectral(D), spectral(G)

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return hinge.critic(D(batch["x"]), D(G(batch["z"]))), {}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return hinge.generator(None, D(G(batch["z"]))), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        x = next(batches)["x"]
        yield Move("critic", critic, {"x": x, "z": clock.normal(len(x), 4)})
        yield Move("generator", generator, {"z": clock.normal(len(x), 4)})

    def player(net: nn.Module, ema: float | None = None) -> Player:
        nets = nn.ModuleDict({"net": net})
        average = None if ema is None else EMA(nets, ema)
        return Player(nets, Adam(nets.parameters(), lr=0.01, betas=(0.0, 0.9), fused=True), ema=average)

    return Game({"critic": player(D), "generator": player(G, 100)}, play, lambda z, y=None: G(z), (4,))


def played(game: Game, n: int, **options) -> Engine:
    engine = Engine(game, Rows(), batch=6, **options)
    for _ in range(n):
        engine.round()
    return engine


def state(game: Game) -> dict[str, Tensor]:
    found = {}
    for name, p in game.players.items():
        for kind, nets in (("nets", p.nets), ("ema", p.ema.nets if p.ema else nn.ModuleDict())):
            found |= {f"{name}/{kind}/{key}": value.detach().clone() for key, value in nets.state_dict().items()}
    return found


@pytest.mark.parametrize("first", [1, 5])
def test_a_run_cut_and_taken_up_again_equals_the_whole_bit_for_bit(tmp_path, first):
    whole, half, rest = sngan(), sngan(), sngan()
    played(whole, 10)
    write(tmp_path / "0", played(half, first).state_dict())
    engine = Engine(rest, Rows(), batch=6, seed=9)
    engine.load_state_dict(read(tmp_path / "0"))
    for _ in range(10 - first):
        engine.round()
    a, b = state(whole), state(rest)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_micro_batches_are_the_whole_batch():
    whole, pieces = sngan(), sngan()
    played(whole, 5)
    played(pieces, 5, accumulate=3)
    a, b = state(whole), state(pieces)
    assert max((a[key] - b[key]).abs().max().item() for key in a) < 1e-4


def test_looking_at_a_network_in_train_mode_between_rounds_does_not_change_the_run():
    plain, watched = sngan(), sngan()
    played(plain, 4)
    engine = Engine(watched, Rows(), batch=6)
    for _ in range(4):
        engine.round()
        watched.players["critic"].nets["net"](rows(2, 3, 8, 8))
    played_on, looked_at = state(plain), state(watched)
    weights = [key for key in played_on if "critic/nets" in key and ("original" in key or "bias" in key)]
    assert all(torch.equal(played_on[key], looked_at[key]) for key in weights)


def test_averages_are_copies_that_share_nothing_and_are_normalised_along_the_networks_own_directions():
    game = sngan()
    played(game, 8)
    G = game.players["generator"]
    assert G.ema is not None
    own, average = dict(G.nets.state_dict()), dict(G.ema.nets.state_dict())
    assert own.keys() == average.keys()
    assert {value.data_ptr() for value in own.values()}.isdisjoint(value.data_ptr() for value in average.values())
    for i, outputs in ((0, 0), (3, 1)):
        layer, live = G.ema.nets["net"][i], G.nets["net"][i].parametrizations.weight
        assert not torch.equal(layer.parametrizations.weight.original, live.original)
        matrix = layer.weight.movedim(outputs, 0).flatten(1)
        assert torch.dot(live[0].u, matrix @ live[0].v).item() == pytest.approx(1, abs=1e-5)
        assert 1 <= norm(layer.weight, outputs) < 1.25
