"""Paths between codes, arithmetic on classes, and blends of classes, against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from pushforward.latent.arithmetic import (
    Arithmetic,
    add_differences,
    blend_classes,
    class_means,
    in_turn,
    reached_by,
    shifted,
    tried,
)
from pushforward.latent.classes import Blend, NotBlendable, between, class_grid
from pushforward.latent.interpolation import interpolate, linear, spherical
from pushforward.networks import dcgan, r3gan

T = torch.linspace(0, 1, 7)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def as_image(z: Tensor, y: Tensor | None = None) -> Tensor:
    """A code of 8 numbers as an image of 2 × 4."""
    return z.view(len(z), 1, 2, 4)


@pytest.mark.parametrize("path", [linear, spherical])
@pytest.mark.parametrize("shape", [(5, 16), (5, 3, 4)])
def test_a_path_hits_both_ends(path, shape):
    a, b = normal(*shape), normal(*shape, seed=1)
    codes = path(a, b, T)
    assert codes.shape == (shape[0], 7, *shape[1:])
    torch.testing.assert_close(codes[:, 0], a, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(codes[:, -1], b, rtol=1e-5, atol=1e-6)


def test_a_great_arc_keeps_the_length_and_turns_evenly():
    a, b = (torch.nn.functional.normalize(normal(6, 32, seed=s), dim=1) * 3 for s in (0, 1))
    codes = spherical(a, b, T)
    torch.testing.assert_close(codes.norm(dim=2), torch.full((6, 7), 3.0), rtol=1e-5, atol=1e-5)
    whole = torch.acos(torch.cosine_similarity(a, b))
    turned = torch.acos(torch.cosine_similarity(codes, a[:, None], dim=2).clamp(-1, 1))
    torch.testing.assert_close(turned, whole[:, None] * T, rtol=1e-3, atol=2e-3)


def test_a_third_of_a_right_angle_is_thirty_degrees():
    codes = spherical(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([1 / 3]))
    assert codes[0, 0].tolist() == pytest.approx([math.cos(math.pi / 6), 0.5], abs=1e-6)


def test_codes_on_one_line_through_the_origin_go_straight():
    a = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 0.0]])
    b = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [3.0, 0.0]])
    torch.testing.assert_close(spherical(a, b, T), linear(a, b, T))


def test_the_middle_of_a_line_is_the_mean_of_its_ends():
    a, b = normal(4, 8), normal(4, 8, seed=1)
    torch.testing.assert_close(linear(a, b, torch.tensor([0.5]))[:, 0], (a + b) / 2)


def test_a_jump_is_told_from_an_even_change():
    a, b = normal(3, 8), normal(3, 8, seed=1)
    even = interpolate(as_image, a, b, steps=5, path=linear)
    torch.testing.assert_close(even.steps, ((b - a) / 4).square().mean(1, keepdim=True).sqrt().expand(-1, 4))
    torch.testing.assert_close(even.jump, torch.ones(3), rtol=1e-4, atol=1e-4)
    signs = interpolate(
        lambda z, y=None: as_image(z).sign(), -torch.ones(1, 8), torch.ones(1, 8) * 4, steps=5, path=linear
    )
    assert signs.jump.tolist() == [4.0]  # all change between two neighbours: T − 1
    assert signs.images.shape == (1, 5, 1, 2, 4)


def test_a_row_of_a_path_has_one_label():
    def generate(z: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None
        return as_image(z * 0) + y.view(-1, 1, 1, 1)

    images = interpolate(generate, normal(2, 8), normal(2, 8), torch.tensor([4, 9]), steps=3).images
    assert images.mean((2, 3, 4)).tolist() == [[4.0] * 3, [9.0] * 3]


def test_a_path_of_one_step_is_refused():
    with pytest.raises(ValueError, match="2 steps at least"):
        interpolate(as_image, normal(1, 8), normal(1, 8), steps=1)


def planted() -> tuple[Tensor, Tensor, Tensor]:
    """Codes, a unit direction, and classes by the side of the code on it."""
    z, u = normal(5000, 8), torch.nn.functional.normalize(normal(1, 8, seed=5), dim=1)[0]
    return z, u, (z @ u > 0).long()


def test_the_difference_of_class_means_is_the_planted_direction_and_its_length_is_known():
    z, u, y = planted()
    direction = class_means(z, y, 2).difference(0, 1)
    # The mean of a half normal is √(2/π).
    assert float(direction @ u) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.03)
    assert float((direction - (direction @ u) * u).norm()) < 0.1


def test_class_means_are_those_of_a_loop():
    z, y = normal(50, 2, 3), torch.arange(50) % 4
    found = class_means(z, y, 6)
    for k in range(4):
        torch.testing.assert_close(found.means[k], z[y == k].mean(0))
    assert found.counts.tolist() == [13, 13, 12, 12, 0, 0]


def test_adding_a_difference_brings_as_many_codes_over_as_the_normal_law_says():
    z, u, y = planted()

    def classify(x: Tensor) -> Tensor:
        return (x.flatten(1) @ u > 0).long()

    strengths = torch.tensor([0.0, 1.0, 4.0])
    (found,) = add_differences(as_image, z, y, [(0, 1)], strengths, classify=classify, shown=3)
    assert found.n == 50
    assert found.images.shape == (3, 3, 1, 2, 4)
    assert found.reached is not None
    assert found.kept is not None
    # |N(0, 1)| is below 2 √(2/π) with probability 0.889; 50 codes vary by 0.044.
    assert found.reached[1] == pytest.approx(0.889, abs=0.14)
    assert found.reached[[0, 2]].tolist() == [0.0, 1.0]
    torch.testing.assert_close(found.kept, 1 - found.reached)
    (many,) = add_differences(as_image, z, y, [(0, 1)], strengths, classify=classify, shown=80)
    assert (len(many.images), many.n) == (80, 80)
    # The codes tried are not those that the difference was found from.
    first = z[4000:][y[4000:] == 0][0]
    torch.testing.assert_close(found.images[0, 0].flatten(), first)


def test_pairs_count_by_their_samples():
    shares = [(torch.tensor([0.0, 1.0]).double(), 1), (torch.tensor([0.4, 0.2]).double(), 3)]
    found = [Arithmetic(0, 1, T, T, reached, n=n) for reached, n in shares]
    reached = reached_by(found)
    assert reached is not None
    assert reached.tolist() == pytest.approx([0.3, 0.4])
    assert reached_by([Arithmetic(0, 1, T, T)]) is None


def test_a_class_without_samples_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"class 2 \(some were for 0, 1\)"):
        class_means(normal(4, 2), torch.tensor([0, 1, 0, 1]), 3).difference(0, 2)
    with pytest.raises(ValueError, match="no sample was left of class 0"):
        add_differences(as_image, normal(10, 8), torch.tensor([0] * 8 + [1] * 2), [(0, 0)], T, classify=lambda x: x)


def test_classes_are_tried_where_both_parts_have_them():
    assert tried(torch.tensor([0, 1, 2, 3, 3, 3, 3, 3, 1, 2])) == [1, 2]


def test_pairs_go_round_and_are_thinned_evenly():
    assert in_turn([3, 5, 8]) == [(3, 5), (5, 8), (8, 3)]
    assert in_turn(range(40), most=4) == [(0, 1), (10, 11), (20, 21), (30, 31)]
    assert in_turn([7]) == []


def test_shifted_codes_are_a_code_and_so_many_directions():
    z, d = normal(2, 3, 4), normal(3, 4, seed=1)
    moved = shifted(z, d, torch.tensor([0.0, -2.0]))
    torch.testing.assert_close(moved[:, 0], z)
    torch.testing.assert_close(moved[1, 1], z[1] - 2 * d)


class ByTable(nn.Module):
    """A generator that takes classes from an embedding table, and adds them to the code."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 8)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None
        return as_image(z + self.table(y.long()))


@pytest.mark.parametrize(
    "G",
    [
        dcgan.Generator(6, (1, 8, 8), 4, classes=3).eval(),
        r3gan.Generator(6, 1, (8, 8), 1, 4, classes=3).eval(),
    ],
    ids=["one-hot beside z", "linear embedding"],
)
def test_a_blend_of_one_class_is_that_class(G):
    z, y = normal(4, 6), torch.tensor([2, 0, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(G(z, Blend.of(torch.eye(3)[y])), G(z, y))
        assert (G(z, Blend.of(torch.eye(3)[[0, 1, 2, 0]])) - G(z, y)).abs().max() > 1e-4


def test_half_a_difference_is_the_mean_where_the_class_enters_linearly():
    G, z = ByTable(), normal(2, 8)
    strengths = torch.tensor([0.0, 0.5, 1.0, 2.0])
    (found,) = blend_classes(G, z, 3, [(0, 2)], strengths, shown=2)
    at = [G(z, torch.full((2,), k)) for k in (0, 2)]
    for i, s in enumerate(strengths.tolist()):
        torch.testing.assert_close(found.images[:, i], (at[0] + s * (at[1] - at[0])).detach())
    assert found.reached is None


def test_blends_are_cut_moved_and_repeated_as_labels_are():
    y = between(torch.tensor([0, 1]), torch.tensor([1, 2]), 3, torch.tensor([0.0, 0.5]))
    assert y.weights.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert y[1:3].to("cpu").weights.tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert y[:1].repeat_interleave(2, 0).weights.tolist() == [[1, 0, 0]] * 2
    assert (len(y), y.shape, y.dim()) == (4, (4,), 1)


@pytest.mark.parametrize("use", [lambda y: y + 1, lambda y: y == 0, lambda y: y.float(), lambda y: torch.stack([y, y])])
def test_a_generator_that_computes_with_labels_can_not_be_given_blends(use):
    with pytest.raises(NotBlendable, match="blends of classes are known to one-hot vectors and tables alone"):
        use(Blend.of(torch.eye(3)))


def test_a_table_looked_up_by_a_blend_gives_its_rows_weighted():
    table, y = normal(3, 2, 2), Blend.of(torch.tensor([[0.25, 0.0, 0.75]]))
    # Weights stay what they are where a network makes sure that its labels are integers.
    assert torch.equal(y.to(torch.int64).to("cpu").weights, y.weights)
    torch.testing.assert_close(table[y], (table[0] + 3 * table[2])[None] / 4)


def test_blends_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="weights are of 4 classes, and the generator has 3"):
        ByTable()(normal(4, 8), Blend.of(torch.eye(4)))


def test_a_grid_of_classes_has_a_row_a_class_and_a_column_a_code():
    G, z = ByTable(), normal(5, 8)
    grid = class_grid(G, z, 3)
    assert grid.shape == (3, 5, 1, 2, 4)
    for k in range(3):
        torch.testing.assert_close(grid[k], G(z, torch.full((5,), k)).detach())
