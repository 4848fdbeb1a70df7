import numpy as np
import pytest
import torch

from pushforward.metrics import neighbours as module
from pushforward.metrics.neighbours import Frame, nearest, side


def by_hand(queries, reference, k, exclude_self=False):
    q, r = queries.astype(np.float64), reference.astype(np.float64)
    squares = np.stack([((row - r) ** 2).sum(1) for row in q])
    if exclude_self:
        np.fill_diagonal(squares, np.inf)
    indices = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(squares, indices, 1), indices


def samples(kind, rng):
    points = rng.standard_normal((300, 5))
    match kind:
        case "smooth":
            return points
        case "duplicates":
            return np.concatenate([points[:150], points[:100], np.repeat(points[:1], 50, axis=0)])
        case "ties":  # so many that no shortlist holds them
            return rng.integers(0, 2, (300, 5)).astype(np.float64)
        case "tight":  # closer together than float32's products can tell, beside some far away
            return np.concatenate([1e-4 * points[:280], 10 * points[280:]])
        case _:
            return np.full((300, 5), 0.25)


@pytest.mark.parametrize("kind", ["smooth", "duplicates", "ties", "tight", "constant"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 7])
def test_neighbours_are_those_of_every_distance_by_hand(kind, dtype, k):
    rng = np.random.default_rng(k)
    reference, queries = samples(kind, rng).astype(dtype), samples(kind, rng)[:90].astype(dtype)
    for found, (squares, indices) in (
        (nearest(queries, reference, k), by_hand(queries, reference, k)),
        (nearest(reference, reference, k), by_hand(reference, reference, k)),
        (nearest(reference, reference, k, exclude_self=True), by_hand(reference, reference, k, exclude_self=True)),
    ):
        np.testing.assert_allclose(found.squares, squares, rtol=1e-13, atol=0)
        np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.parametrize("kind", ["smooth", "duplicates", "ties", "tight"])
def test_neither_the_budget_nor_the_triangle_changes_a_bit(monkeypatch, kind):
    x = samples(kind, np.random.default_rng(0)).astype(np.float32)
    whole = nearest(x, x, 3, exclude_self=True)
    rectangle = nearest(x, x.copy(), 3, exclude_self=True)
    monkeypatch.setattr(module, "LARGEST", 64)
    blocks, small = nearest(x, x, 3, exclude_self=True), nearest(x, x, 3, exclude_self=True, budget=1)
    for other in (rectangle, blocks, small):
        np.testing.assert_array_equal(other.squares, whole.squares)
        np.testing.assert_array_equal(other.indices, whole.indices)


def test_a_block_of_a_sample_with_itself_is_its_own_mirror_image():
    x = torch.randn(1101, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norms = (x * x).sum(1)
    whole = norms + norms[:, None] - 2 * x @ x.T
    found = module.distances(x, x, norms, norms)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_duplicates_far_from_the_origin_are_at_distance_0():
    x = (np.random.default_rng(1).standard_normal((200, 64)) + 1e3).astype(np.float32)
    twice = np.concatenate([x, x])
    found = nearest(twice, twice, exclude_self=True)
    assert not found.squares.any()
    np.testing.assert_array_equal(found.indices[:, 0], (np.arange(400) + 200) % 400)


def test_a_row_is_not_its_own_neighbour_even_where_duplicates_crowd_it_out():
    x = np.zeros((50, 3), np.float32)
    found = nearest(x, x, 4, exclude_self=True)
    assert (found.indices != np.arange(50)[:, None]).all()
    np.testing.assert_array_equal(found.indices[10], [0, 1, 2, 3])
    np.testing.assert_array_equal(found.indices[1], [0, 2, 3, 4])


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_no_scale_overflows_or_vanishes_in_float32(scale):
    x = np.random.default_rng(2).standard_normal((100, 8)).astype(np.float32)
    found, plain = nearest(x * np.float32(scale), x * np.float32(scale), 3), nearest(x, x, 3)
    np.testing.assert_array_equal(found.indices, plain.indices)
    np.testing.assert_allclose(found.squares, plain.squares * scale**2, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_equal_distances_the_lower_indices_come_first_however_many_there_are(dtype):
    around = np.concatenate([np.eye(40), -np.eye(40)]).astype(dtype)
    found = nearest(np.zeros((3, 40), dtype), around, 5)
    np.testing.assert_array_equal(found.indices, np.tile(np.arange(5), (3, 1)))
    np.testing.assert_array_equal(found.squares, np.ones((3, 5)))


def test_half_precision_tensors_that_want_gradients_are_widened():
    x = torch.randn(40, 6, dtype=torch.float16, requires_grad=True)
    squares, indices = by_hand(x.detach().float().numpy(), x.detach().float().numpy(), 2)
    found = nearest(x, x.detach(), 2)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-13)
    assert (found.squares.dtype, found.indices.dtype) == (np.float64, np.int64)


def test_the_input_may_be_read_only_and_stays_as_it_was():
    x = np.random.default_rng(3).standard_normal((60, 4)).astype(np.float32)
    kept = x.copy()
    x.flags.writeable = False
    nearest(x, x, 2, exclude_self=True)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("width", [1, 64, 2048, 200_000])
@pytest.mark.parametrize("budget", [2**24, 2**28])
def test_blocks_fit_into_the_budget(width, budget):
    rows = side(width, torch.float32, budget)
    assert rows == module.SMALLEST or rows == module.LARGEST or 3 * rows * width * 4 + 6 * rows**2 * 4 <= budget


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_products_err_by_less_than_the_bound_that_decisions_rest_on(kind):
    x = np.random.default_rng(4).standard_normal((64, 1000)).astype(np.float32 if kind == torch.float32 else np.float64)
    x = np.abs(x) ** 3  # skewed: sums that cancel nothing
    frame = Frame.of(x, x)
    block = frame.block(x, slice(0, 64), kind)
    exact = (x.astype(np.longdouble) - frame.centre) @ (x.astype(np.longdouble) - frame.centre).T
    error = np.abs(2 * (block @ block.T).numpy() - 2 * exact) / (frame.xx[:, None] + frame.yy)
    assert 0 < error.max() < frame.tau(kind) / 4


@pytest.mark.parametrize(
    ("queries", "reference", "options", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), {}, "as many features, got 2 and 3"),
        (np.zeros((3, 2)), np.zeros((4, 2)), {"k": 5}, "k must be 1 to 4 for 4 rows, got 5"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"k": 4, "exclude_self": True}, "k must be 1 to 3"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"k": 0}, "got 0"),
        (np.zeros((3, 2)), np.zeros((4, 2)), {"exclude_self": True}, "queries to be the reference, got 3 and 4 rows"),
        (np.array([[0.0], [1e200]]), np.zeros((4, 1)), {}, "must be below 1e308"),
        (np.array([[0.0], [np.nan]]), np.zeros((4, 1)), {}, r"queries must be finite, got NaN .* \(first 1\)"),
        (np.zeros((4, 1)), np.array([[0.0], [np.inf]]), {}, r"reference must be finite, .* \(first 1\)"),
    ],
)
def test_what_has_no_neighbours_is_refused(queries, reference, options, words):
    with pytest.raises(ValueError, match=words):
        nearest(queries, reference, **options)
