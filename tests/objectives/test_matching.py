import itertools

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pushforward.objectives import matching
from pushforward.objectives.matching import cheapest_matching

KINDS = ["law", "one mode", "point", "three points", "line", "sorted", "integers", "itself", "far", "copies"]


def samples(kind: str, n: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """x of the kind, y from 25 modes (or what makes x's kind)."""
    rng = np.random.default_rng(seed)
    centres = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    y = centres[rng.integers(25, size=n)] + 0.05 * rng.standard_normal((n, 2))
    x = {
        "law": centres[rng.integers(25, size=n)] + 0.05 * rng.standard_normal((n, 2)),
        "one mode": centres[0] + 0.05 * rng.standard_normal((n, 2)),
        "point": np.full((n, 2), 0.3),
        "three points": centres[rng.integers(3, size=n)],
        "line": np.stack([rng.standard_normal(n), np.zeros(n)], 1),
        "sorted": np.sort(rng.standard_normal((n, 2)), axis=0),
        "integers": rng.integers(0, 4, size=(n, 2)).astype(float),
        "itself": rng.permutation(y),
        "far": rng.standard_normal((n, 2)) + 1e5,
        "copies": np.repeat(rng.standard_normal((n // 10 + 1, 2)), 10, axis=0)[:n],
    }[kind]
    return x, y


def ring(n: int, sigma: float, even: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Both samples have 8 modes at radius 2; x's are as often as y's, or as 1 to 8."""
    rng = np.random.default_rng(seed)
    angles = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    shares = None if even else np.arange(1, 9) / 36
    x, y = (centres[rng.choice(8, n, p=p)] + sigma * rng.standard_normal((n, 2)) for p in (shares, None))
    return x, y


def costs(x: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    return np.asarray(cdist(x, y)) ** p


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [150, 151])
def test_the_sparse_graph_gives_the_dense_solvers_own_optimum(monkeypatch, kind, n, p):
    monkeypatch.setattr(matching, "SMALL", 20)
    x, y = samples(kind, n)
    columns = cheapest_matching(x, y, p)
    assert sorted(columns) == list(range(n))
    matrix = costs(x, y, p)
    best = matrix[linear_sum_assignment(matrix)].sum()
    assert matrix[np.arange(n), columns].sum() == pytest.approx(best, rel=1e-11, abs=1e-11 * matrix.max())


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [2, 64])
def test_two_independent_solvers_agree_to_nine_digits(d, p):
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((700, d)), 1.2 * rng.standard_normal((700, d)) + 0.3
    own = costs(x, y, p)[np.arange(700), cheapest_matching(x, y, p)].mean()
    weights = np.full(700, 1 / 700)
    theirs, log = ot.emd2(weights, weights, costs(x, y, p), numItermax=10**9, log=True)
    assert log["warning"] is None
    assert own == pytest.approx(float(theirs), rel=1e-9)


def test_few_points_agree_with_every_matching():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    for p in (1, 2, 5):
        matrix = costs(x, y, p)
        least = min(matrix[np.arange(6), list(order)].sum() for order in itertools.permutations(range(6)))
        assert matrix[np.arange(6), cheapest_matching(x, y, p)].sum() == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("n", [600, 1001])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(("sigma", "even"), [(0.02, True), (0.02, False), (0.2, True), (0.2, False)])
def test_clusters_even_or_not_have_the_optimum_of_two_other_solvers_without_the_matrix(monkeypatch, n, p, sigma, even):
    monkeypatch.setattr(matching, "_dense", None)
    x, y = ring(n, sigma, even)
    columns = cheapest_matching(x, y, p)
    assert sorted(columns) == list(range(n))
    matrix = costs(x, y, p)
    own = matrix[np.arange(n), columns].mean()
    weights = np.full(n, 1 / n)
    theirs, log = ot.emd2(weights, weights, matrix, numItermax=10**9, log=True)
    assert log["warning"] is None
    assert own == pytest.approx(float(theirs), rel=1e-9)
    assert own == pytest.approx(matrix[linear_sum_assignment(matrix)].mean(), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("p", [1, 2])
def test_the_matching_does_not_depend_on_the_unit_of_length(p, scale):
    x, y = ring(600, 0.02, False)
    matrix = costs(x, y, p)
    best = matrix[linear_sum_assignment(matrix)].sum()
    found = matrix[np.arange(600), cheapest_matching(scale * x, scale * y, p)].sum()
    assert found == pytest.approx(best, rel=1e-11)


def test_points_that_coincide_and_costs_that_tie_are_matched_at_no_more_than_the_optimum():
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(26.0), np.arange(26.0)), -1).reshape(-1, 2)
    doubled = np.repeat(rng.standard_normal((338, 2)), 2, axis=0)
    for x, y in ((grid, rng.permutation(grid) + 1), (doubled, rng.permutation(doubled)), (doubled, grid)):
        matrix = costs(x, y, 2)
        weights = np.full(676, 1 / 676)
        best = float(ot.emd2(weights, weights, matrix, numItermax=10**9))
        found = matrix[np.arange(676), cheapest_matching(x, y)].mean()
        assert found == pytest.approx(best, rel=1e-9, abs=1e-12 * matrix.max())


@pytest.mark.parametrize(("name", "value"), [("ROUNDS", 0), ("ROUNDS", 2), ("DENSITY", 1), ("PIVOTS", 3)])
def test_when_the_graphs_do_not_do_the_dense_solver_ends_with_the_same_optimum(monkeypatch, name, value):
    monkeypatch.setattr(matching, "SMALL", 20)
    monkeypatch.setattr(matching, name, value)
    dense = []
    finish = matching._dense
    monkeypatch.setattr(matching, "_dense", lambda *given: dense.append(1) or finish(*given))
    x, y = samples("one mode", 300)
    matrix = costs(x, y, 2)
    found = matrix[np.arange(300), cheapest_matching(x, y, 2)].sum()
    assert found == pytest.approx(matrix[linear_sum_assignment(matrix)].sum(), rel=1e-12)
    assert dense == [1]


def test_a_solver_whose_duals_are_wrong_proves_nothing(monkeypatch):
    solve = ot.emd

    def wrong(a, b, graph, **options):
        plan, log = solve(a, b, graph, **options)
        return plan, log | {"v": log["v"] + 1e-6 * np.arange(len(b))}

    monkeypatch.setattr(ot, "emd", wrong)
    monkeypatch.setattr(matching, "ROUNDS", 5)
    dense = []
    finish = matching._dense
    monkeypatch.setattr(matching, "_dense", lambda *given: dense.append(1) or finish(*given))
    x, y = ring(600, 0.2, False)
    matrix = costs(x, y, 2)
    found = matrix[np.arange(600), cheapest_matching(x, y)].sum()
    assert found == pytest.approx(matrix[linear_sum_assignment(matrix)].sum(), rel=1e-11)
    assert dense == [1]


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [2, 64, 700])
def test_gaussian_samples_never_need_the_matrix_of_all_costs(monkeypatch, d, p):
    monkeypatch.setattr(matching, "SMALL", 100)
    monkeypatch.setattr(matching, "_dense", None)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, d)), rng.standard_normal((600, d))
    assert sorted(cheapest_matching(x, y, p)) == list(range(600))


@pytest.mark.parametrize("p", [1, 2, 3])
def test_blocks_are_never_above_the_costs_and_hardly_below(p):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((80, 5)) + 40, rng.standard_normal((90, 5)) + 40
    between = matching.Costs.between(x, y, p)
    v = rng.standard_normal(90)
    lower = np.concatenate([block.copy() for _, block in between.lower(v)])
    exact = costs(between.x, between.y, p) - v
    assert (lower <= exact + 1e-15).all()
    assert (lower >= exact - 1e-10).all()


@pytest.mark.parametrize("apart", [1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_tight_clusters_far_apart_are_matched_as_each_is_alone(apart, p):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((700, 2)), rng.standard_normal((700, 2))
    x[350:, 0] += apart
    y[350:, 0] += apart
    alone = 0.0
    for part in (slice(0, 350), slice(350, None)):
        matrix = costs(x[part], y[part], p)
        alone += matrix[linear_sum_assignment(matrix)].sum()
    found = np.linalg.norm(x - y[cheapest_matching(x, y, p)], axis=1) ** p
    assert found.sum() == pytest.approx(alone, rel=2e-9)  # SHARE of either


def test_a_dense_answer_from_rounded_duals_is_not_taken(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, 2)), rng.standard_normal((600, 2))
    x[300:, 0] += 1e7
    y[300:, 0] += 1e7
    monkeypatch.setattr(matching, "_sparse", lambda costs: (None, 1e14 * (np.arange(600) >= 300)))
    matrix = costs(x, y, 2)
    found = matrix[np.arange(600), cheapest_matching(x, y)].sum()
    assert found == pytest.approx(matrix[linear_sum_assignment(matrix)].sum(), rel=1e-11)


def test_a_sample_and_itself_in_another_order_need_no_matrix(monkeypatch):
    monkeypatch.setattr(matching, "_dense", None)
    x = np.random.default_rng(0).standard_normal((600, 2))
    order = np.random.default_rng(1).permutation(600)
    assert (x[order][cheapest_matching(x, x[order])] == x).all()
