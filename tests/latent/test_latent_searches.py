"""Projection, truncation, style mixing and directions on generators whose answers are known."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward import sampling
from pushforward.core.seeding import torch_seeded
from pushforward.latent import directions
from pushforward.latent.directions import (
    at_random,
    effects,
    first_outputs,
    ganspace,
    readers,
    sefa,
    traverse,
)
from pushforward.latent.generators import from_styles, is_styled, made, styles
from pushforward.latent.interpolation import Interpolation
from pushforward.latent.mixing import style_mixing
from pushforward.latent.opened import convolutions
from pushforward.latent.projection import Perceptual, nearest, project
from pushforward.latent.truncation import truncation_sweep
from pushforward.metrics.classifier import Network
from pushforward.networks import dcgan


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Toy(nn.Module):
    """tanh of a linear map of 4 numbers to an image of 1 × 4 × 4, and a number for the class."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(normal(4, 16, seed=3) / 2)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        shift = 0 if y is None else y.view(-1, 1, 1, 1).float()
        return (z @ self.matrix).tanh().view(len(z), 1, 4, 4) + shift


class StyledToy(nn.Module):
    """A mapping that stretches one number, and a synthesis that shows all styles as pixels."""

    layers = 4

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return (z * torch.tensor([1.0, 5.0, 1.0]))[:, None].expand(-1, self.layers, -1)

    def synthesis(self, w: Tensor) -> Tensor:
        return w[:, None]  # [B, 1, L, W]

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, y))


def test_projection_finds_the_code_of_a_generated_image():
    G, z = Toy(), normal(1, 4, seed=9)
    target = G(z)[0].detach()
    found = project(G, target, normal(6, 4), steps=200, lr=0.1)
    torch.testing.assert_close(found.code, z[0], atol=0.02, rtol=0.02)
    assert found.rms < 0.01
    assert found.distance == pytest.approx(float(found.restarts.min()), abs=1e-9)
    assert found.distance < 0.001 < found.start
    torch.testing.assert_close(found.image, G(found.code[None])[0].detach())
    assert G.matrix.grad is None


def test_of_several_starts_the_best_is_kept_with_its_label():
    G, z = Toy(), normal(1, 4, seed=9)
    target = G(z, torch.tensor([2]))[0].detach()
    found = project(G, target, z.expand(3, -1), torch.tensor([0, 2, 1]), steps=1, lr=1e-6)
    assert found.label == 2
    assert found.restarts.tolist() == pytest.approx([4.0, 0.0, 1.0], abs=1e-4)
    assert found.rms == pytest.approx(0.0, abs=1e-3)


def test_the_nearest_of_many_codes_come_first():
    G, z = Toy(), normal(40, 4)
    target = G(z)[17].detach()
    order = nearest(G, target, z, n=5, batch=7)
    assert order[0] == 17
    d = (made(G, z) - target).square().mean((1, 2, 3))
    assert order.tolist() == d.argsort()[:5].tolist()


def test_a_search_needs_steps_and_a_target_of_the_generators_shape():
    with pytest.raises(ValueError, match="1 step at least"):
        project(Toy(), torch.zeros(1, 4, 4), normal(2, 4), steps=0)
    with pytest.raises(ValueError, match=r"makes images \(1, 4, 4\), got a target \(3, 4, 4\); resize it"):
        project(Toy(), torch.zeros(3, 4, 4), normal(2, 4))


def test_the_perceptual_distance_is_pixels_and_normalised_activations():
    stages = [nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3, stride=2, padding=1)]
    distance = Perceptual(stages, side=8)
    x, t = normal(2, 1, 8, 8), normal(1, 1, 8, 8, seed=1)
    expected = (x - t).square().mean((1, 2, 3))
    a, b = x, t
    for stage in stages:
        a, b = stage(a), stage(b)
        units = [v / v.norm(dim=1, keepdim=True) for v in (a, b)]
        expected = expected + (units[0] - units[1]).square().sum(1).mean((1, 2))
    torch.testing.assert_close(distance(x, t), expected)
    assert distance(t, t).item() == 0.0
    assert Perceptual(stages, side=4)(normal(2, 1, 16, 16), normal(1, 1, 16, 16)).shape == (2,)


@pytest.mark.parametrize("side", [8, 32])
def test_the_classifiers_activations_are_those_that_it_was_trained_with(side):
    with torch_seeded("classifier"):
        body = Network(1, side, 3).eval().body
    h = x = normal(2, 1, side, side)
    stages = convolutions(body)
    ends = [i for i, layer in enumerate(body) if isinstance(layer, nn.Sequential)]
    assert len(stages) == len(ends) == (4 if side == 8 else 5)
    for stage, end in zip(stages, ends, strict=True):
        h = stage(h)
        assert torch.equal(h, body[: end + 1](x))


def test_truncation_trades_recall_for_precision():
    real = normal(300, 2, seed=7)

    def features(bound: float | None) -> Tensor:
        return sampling.latents(300, (2,), 0, bound) * 1.6  # wider than the reals: some are far out

    found = truncation_sweep(features, real, [0.1, 0.6, 1.2, None])
    precision, recall = ([f.overlap.precision.value for f in found], [f.overlap.recall.value for f in found])
    assert precision == sorted(precision, reverse=True)
    assert recall == sorted(recall)
    assert recall[0] < 0.2 < 0.9 < recall[-1]
    assert precision[0] > 0.95 > precision[-1]
    assert all(f.precision.low <= f.precision.value <= f.precision.high for f in found)
    assert [f.truncation for f in found] == [0.1, 0.6, 1.2, None]


def test_mixing_takes_the_columns_styles_where_it_says_and_the_rows_elsewhere():
    G = StyledToy()
    rows, columns = normal(2, 4, 3), normal(3, 4, 3, seed=1)
    found = style_mixing(from_styles(G), rows, columns, [3, 1])
    shown = found.mixed[:, :, 0]  # [R, N, L, W]
    for r in range(2):
        for n in range(3):
            assert torch.equal(shown[r, n, [0, 2]], rows[r, [0, 2]])
            assert torch.equal(shown[r, n, [1, 3]], columns[n, [1, 3]])
    assert torch.equal(found.rows[:, 0], rows)
    assert torch.equal(found.columns[:, 0], columns)


@pytest.mark.parametrize("layers", [[], [4], [-1], [0, 1, 2, 3]])
def test_mixing_no_layers_all_of_them_or_others_is_refused(layers):
    with pytest.raises(ValueError, match="some of the layers 0 to 3 from the columns, and not all"):
        style_mixing(from_styles(StyledToy()), normal(1, 4, 3), normal(1, 4, 3), layers)


def test_a_generator_with_a_mapping_and_a_synthesis_is_styled():
    G, z = StyledToy(), normal(7, 3)
    assert is_styled(G)
    assert not is_styled(Toy())
    torch.testing.assert_close(styles(G, z, batch=3), G.mapping(z))
    torch.testing.assert_close(from_styles(G)(G.mapping(z)), G(z))


def test_sefa_finds_the_planted_axis_and_agrees_with_singular_vectors():
    u = F.normalize(normal(1, 6, seed=2), dim=1)
    weight = normal(40, 6) + 4 * normal(40, 1, seed=1) * u  # rows lie along u, either way
    found = sefa([weight[:10], weight[10:]], 3)
    assert abs(float(found.vectors[0] @ u[0])) == pytest.approx(1.0, abs=0.02)
    _, s, v = torch.linalg.svd(F.normalize(weight.double(), dim=1))
    torch.testing.assert_close(found.values.double(), s[:3] ** 2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((found.vectors.double() * v[:3]).sum(1).abs(), torch.ones(3).double())
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3))


def test_sefa_does_not_let_one_long_row_decide():
    weight = torch.cat([torch.tensor([[0.0, 1000.0]]), torch.tensor([[1.0, 0.0]]).repeat(5, 1)])
    assert sefa([weight], 1).vectors[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_ganspace_finds_the_planted_axes_of_a_linear_layer_in_order():
    q, p = (torch.linalg.qr(normal(n, n, seed=n)).Q for n in (5, 12))
    scales = torch.tensor([9.0, 5.0, 2.0, 1.0, 0.5])
    A = p[:, :5] @ torch.diag(scales) @ q.T  # right singular vectors: the columns of q
    z = normal(20_000, 5)
    found = ganspace(z @ A.T, z, 3)
    torch.testing.assert_close((found.vectors @ q[:, :3]).abs(), torch.eye(3), atol=0.05, rtol=0)
    share = scales**2 / scales.square().sum()
    torch.testing.assert_close(found.values, share[:3], atol=0.02, rtol=0.05)
    assert float(ganspace(z @ A.T, z, 1).values) == pytest.approx(float(share[0]), rel=0.03)
    torch.testing.assert_close(found.spread, torch.ones(3), atol=0.03, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_ganspace_of_many_features_looks_for_the_strongest_axes_alone(noise: float, monkeypatch: pytest.MonkeyPatch):
    z = normal(500, 6)
    x = z @ normal(6, 80, seed=1) + noise * normal(500, 80, seed=2)
    exact = ganspace(x, z, 4)
    monkeypatch.setattr(directions, "EXACT", 79)
    monkeypatch.delattr(torch.linalg, "eigh")
    state = torch.get_rng_state()
    found = ganspace(x, z, 4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found.vectors, exact.vectors, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.values, exact.values, atol=0, rtol=1e-5)


def test_ganspace_of_styles_is_their_principal_axes():
    w = styles(StyledToy(), normal(5000, 3))[:, 0]
    found = ganspace(w, w, 2)
    assert found.vectors[0].tolist() == pytest.approx([0, 1, 0], abs=0.03)
    assert float(found.spread[0]) == pytest.approx(5.0, rel=0.05)


def test_directions_move_the_styles_of_some_layers_alone():
    w = styles(StyledToy(), normal(5000, 3))
    found = ganspace(w[:, 0], w[:, 0], 1)
    generate, strengths = from_styles(StyledToy()), torch.tensor([-2.0, 2.0])
    (all_of_them,) = traverse(generate, w[0], found, strengths)[:, :, 0]  # [S, L, Z]
    (some,) = traverse(generate, w[0], found, strengths, layers=[1, 3])[:, :, 0]
    assert torch.equal(some[:, [1, 3]], all_of_them[:, [1, 3]])
    assert torch.equal(some[:, [0, 2]], w[0][[0, 2]].expand(2, -1, -1))
    with pytest.raises(ValueError, match=r"got \[0\] and one code \[Z\] for all; give styles"):
        traverse(generate, w[0, 0], found, strengths, layers=[0])
    step = found.vectors[0] * found.spread[0]
    for layers, share in ((None, 1.0), ([0], 0.25)):  # of the squares
        assert effects(generate, w[:5], found, layers=layers).item() == pytest.approx(
            (share * step.square().mean()).sqrt().item(), rel=1e-4
        )


def test_more_directions_than_there_are_and_too_few_codes_are_refused():
    with pytest.raises(ValueError, match="1 to 4 directions"):
        sefa([normal(9, 4)], 5)
    with pytest.raises(ValueError, match="more codes than the 4 numbers of one that are read, got 4; use SeFa"):
        ganspace(normal(4, 9), normal(4, 4), 1)
    for nothing in ([], [torch.zeros(3, 4)]):
        with pytest.raises(ValueError, match="no linear layer reads the code"):
            sefa(nothing, 1)
    with pytest.raises(ValueError, match="no linear layer reads the code"):
        first_outputs(lambda z, y=None: z[:, None, None], normal(9, 4))


def test_the_layer_that_reads_the_code_is_found_and_its_part_for_the_class_left_out():
    G = dcgan.Generator(6, (1, 8, 8), 4, classes=3).eval()
    z, y = normal(8, 6), torch.arange(8) % 3
    (reader,) = readers(lambda: G(z, y), z)
    torch.testing.assert_close(reader.weight, G.first.weight[:, :6].detach())
    outputs, read = first_outputs(G, z, y, batch=5)
    torch.testing.assert_close(outputs, reader.output)
    assert read.tolist() == [True] * 6


def test_layers_that_read_parts_of_the_code_are_put_in_their_places():
    one, two = nn.Linear(2, 3), nn.Linear(5, 4)
    z, c = normal(8, 5), normal(8, 2, seed=1)

    def run() -> None:
        two(torch.cat([c, z[:, 2:]], 1))
        one(z[:, :2])
        one(c)

    first, second = readers(run, z)
    torch.testing.assert_close(first.weight[:, 2:], two.weight[:, 2:].detach())
    torch.testing.assert_close(second.weight[:, :2], one.weight.detach())
    assert not first.weight[:, :2].any()
    assert not second.weight[:, 2:].any()


def test_a_code_is_known_after_pixel_normalisation_and_on_a_map_of_one_place():
    linear, up = nn.Linear(6, 2), nn.ConvTranspose2d(6, 3, 4)
    z = normal(8, 6)
    (normed,) = readers(lambda: linear(z * z.square().mean(1, keepdim=True).rsqrt()), z)
    torch.testing.assert_close(normed.weight, linear.weight.detach())
    (mapped,) = readers(lambda: up(z[:, :, None, None]), z)
    torch.testing.assert_close(mapped.weight @ z[0], (up(z[:1, :, None, None]) - up.bias[:, None, None]).flatten())


def test_a_code_is_known_normalised_beside_the_class_and_as_uniform_numbers():
    beside, uniform = nn.Linear(9, 2), nn.Linear(6, 2)
    z, c = normal(8, 6), normal(8, 3, seed=1)
    both = torch.cat([z, c], 1)
    (normed,) = readers(lambda: beside(both * both.square().mean(1, keepdim=True).rsqrt()), z)
    torch.testing.assert_close(normed.weight, beside.weight[:, :6].detach())
    both = torch.cat([c, z], 1)
    (normed,) = readers(lambda: beside(F.normalize(both)), z)
    torch.testing.assert_close(normed.weight, beside.weight[:, 3:].detach())
    (read,) = readers(lambda: uniform(2 * torch.special.ndtr(z) - 1), z)
    torch.testing.assert_close(read.weight, uniform.weight.detach())
    assert readers(lambda: uniform(z.square()), z) == []
    assert readers(lambda: uniform(z * normal(6, seed=2)), z) == []  # each number by a factor of its own


def test_directions_leave_alone_the_numbers_of_a_code_that_the_layer_does_not_read():
    layer, z = nn.Linear(4, 8), normal(60, 100)  # fewer codes than numbers, but more than those that are read

    def generate(z: Tensor, y: Tensor | None = None) -> Tensor:
        return layer(z[:, 10:14])[:, None, None]

    (reader,) = readers(lambda: generate(z), z)
    outputs, read = first_outputs(generate, z)
    assert read.nonzero().flatten().tolist() == [10, 11, 12, 13]
    own = ganspace(outputs, z[:, 10:14], 3)
    for found, alone in ((ganspace(outputs, z, 3, read), own), (sefa([reader.weight], 3, z), None)):
        assert not found.vectors[:, :10].any()
        assert not found.vectors[:, 14:].any()
        torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(found.spread, (z @ found.vectors.T).std(0))
        if alone is not None:
            torch.testing.assert_close(found.vectors[:, 10:14], alone.vectors)
            torch.testing.assert_close(found.values, alone.values)
    with pytest.raises(ValueError, match="1 to 4 directions"):
        sefa([reader.weight], 5)


def test_layers_that_read_a_row_of_the_styles_are_found():
    a, b = nn.Linear(3, 2), nn.Linear(3, 5)
    w = normal(8, 4, 3)
    found = readers(lambda: (a(w[:, 0]), b(w[:, 3]), a(w[:, 1] * 2)), w)
    assert [tuple(r.weight.shape) for r in found] == [(2, 3), (5, 3)]


def test_a_code_is_moved_by_so_many_spreads():
    G, codes = Linear(), normal(3000, 4) * torch.tensor([1.0, 3.0, 1.0, 1.0])
    found = sefa([torch.tensor([[0.0, 1.0, 0.0, 0.0]])], 1, codes)
    assert float(found.spread[0]) == pytest.approx(3.0, rel=0.05)
    images = traverse(G, codes[0], found, torch.tensor([-1.0, 0.0, 2.0]))
    assert images.shape == (1, 3, 1, 2, 2)
    torch.testing.assert_close(images[0, 1].flatten(), codes[0])
    step = torch.tensor([0.0, float(found.spread[0]), 0.0, 0.0])
    torch.testing.assert_close(images[0, 2].flatten(), codes[0] + 2 * step)


def test_a_style_is_moved_alike_in_all_layers():
    found = sefa([torch.tensor([[0.0, 1.0, 0.0]])], 1)
    images = traverse(from_styles(StyledToy()), torch.zeros(4, 3), found, torch.tensor([0.0, 1.5]))
    assert images[0, 1, 0].tolist() == [[0, 1.5, 0]] * 4


def test_a_directions_effect_is_the_change_of_the_images():
    codes = normal(50, 4)
    along = sefa([torch.tensor([[0.0, 1.0, 0.0, 0.0]])], 1)
    # One of four pixels moves by 1: √(1/4).
    assert effects(Linear(), codes, along).tolist() == pytest.approx([0.5], abs=1e-6)
    some = at_random(along, 200, codes, torch.Generator().manual_seed(0))
    torch.testing.assert_close(some.vectors.norm(dim=1), torch.ones(200))
    assert math.sqrt(1 / 4) == pytest.approx(float(effects(Linear(), codes, some).mean()), rel=0.1)


class Linear(nn.Module):
    """Codes of four numbers as images of 2 × 2."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z.view(len(z), 1, 2, 2)


def test_the_loop_on_the_page_runs_as_printed():
    page = (Path(__file__).parents[2] / "docs" / "latent.md").read_text(encoding="utf-8")
    first, _ = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(first, "docs/latent.md", "exec"), names)
    paths, rows = names["paths"], names["rows"]
    assert isinstance(paths, Interpolation)
    assert isinstance(rows, Tensor)
    assert (paths.images.shape, rows.shape) == ((4, 9, 1, 8, 8), (3, 7, 1, 8, 8))
