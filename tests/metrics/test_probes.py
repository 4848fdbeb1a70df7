import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pushforward.metrics.modes import kl_to, kl_to_uniform, mode_coverage
from pushforward.metrics.probes import knn_probe, linear_probe


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return x[:600], y[:600], x[600:1200], y[600:1200]


def blobs(seed, n, width, apart, classes=3):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.standard_normal((n, width))
    x[:, :classes] += apart * np.eye(classes)[y]
    return x, y


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_classes_far_apart_are_all_found_and_labels_at_random_are_at_chance(probe):
    x, y = blobs(1, 300, 5, 12.0)
    found = probe(x[:150], y[:150], x[150:], y[150:])
    assert (found.accuracy.value, found.accuracy.high) == (1.0, 1.0)
    assert np.array_equal(found.confusion, np.diag([50, 50, 50]))
    y = np.random.default_rng(2).integers(3, size=300)
    assert probe(x[:150], y[:150], x[150:], y[150:]).accuracy.value == pytest.approx(1 / 3, abs=0.12)


def test_digits_are_told_apart_by_both_probes_as_well_as_is_known(digits):
    linear, vote, plain = linear_probe(*digits), knn_probe(*digits, k=5), knn_probe(*digits, k=5, temperature=None)
    assert 0.93 <= linear.accuracy.value <= 0.98
    assert 0.96 <= vote.accuracy.value <= 0.99
    assert 0.95 <= plain.accuracy.value <= 0.99
    assert linear.strength in (0.1, 1e-2, 1e-3)
    for probe in (linear, vote, plain):
        assert probe.accuracy.low < probe.accuracy.value < probe.accuracy.high
        assert probe.confusion.sum() == 600
        assert np.array_equal(probe.confusion.sum(axis=1), np.bincount(digits[3], minlength=10))
        assert np.trace(probe.confusion) == round(600 * probe.accuracy.value)
        assert probe.per_class[3].value == pytest.approx(probe.confusion[3, 3] / probe.confusion[3].sum())


def test_more_features_than_rows_are_taken():
    x, y = blobs(3, 340, 400, 7.0)
    found = linear_probe(x[:120], y[:120], x[120:], y[120:])
    assert 0.65 <= found.accuracy.value <= 0.9  # chance is 1/3


def test_the_penalty_is_chosen_by_rows_held_out_of_the_training_part():
    x, y = blobs(3, 300, 3, 8.0)
    y = np.minimum(y, 1)  # two thirds are of one class, which a penalty without end puts all in
    strong = linear_probe(x[:150], y[:150], x[150:], y[150:], strengths=(1e6,))
    assert strong.accuracy.value == pytest.approx(2 / 3)
    chosen = linear_probe(x[:150], y[:150], x[150:], y[150:], strengths=(1e6, 1e-3))
    assert (chosen.strength, chosen.accuracy.value) == (1e-3, 1.0)
    # Where all do as well, the strongest.
    assert linear_probe(x[:150], y[:150], x[150:], y[150:], strengths=(1e-4, 1e-2, 1e-3)).strength == 1e-2


def test_the_linear_probe_agrees_with_newtons_method_on_the_same_penalised_loss():
    x, y = blobs(4, 200, 4, 1.0, classes=2)
    z = (x[:100] - x[:100].mean(0)) / x[:100].std(0)
    design, w, strength = np.c_[z, np.ones(100)], np.zeros(5), 0.1
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ w))
        penalty = strength * np.diag([1, 1, 1, 1, 0])
        gradient = design.T @ (p - y[:100]) / 100 + penalty @ w
        w -= np.linalg.solve((design.T * (p * (1 - p))) @ design / 100 + penalty, gradient)
    logits = np.c_[(x[100:] - x[:100].mean(0)) / x[:100].std(0), np.ones(100)] @ w
    found = linear_probe(x[:100], y[:100], x[100:], y[100:], strengths=(strength,))
    assert np.abs(logits).min() > 1e-3
    assert found.confusion[0, 1] == ((logits > 0) & (y[100:] == 0)).sum()
    assert found.confusion[1, 0] == ((logits < 0) & (y[100:] == 1)).sum()


def test_units_offsets_and_constant_features_do_not_change_the_linear_probe(digits):
    x, y, test, test_y = digits
    scale, shift = np.logspace(-3, 3, 64), np.linspace(-50, 50, 64)
    moved = [np.c_[scale * a + shift, np.full(len(a), 0.1)] for a in (x, test)]
    moved[1][:, -1] = 7.0  # constant where it was learnt, so it says nothing
    first, other = linear_probe(x, y, test, test_y), linear_probe(moved[0], y, moved[1], test_y)
    assert other.strength == first.strength
    assert np.array_equal(other.confusion, first.confusion)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (7, None), (20, 0.5)])
def test_the_vote_agrees_with_every_cosine_by_hand(digits, k, temperature):
    x, y, test, test_y = digits
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, test)]
    cosine = unit[1] @ unit[0].T
    near = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    weight = np.ones((600, k)) if temperature is None else np.exp(np.take_along_axis(cosine, near, 1) / temperature)
    votes = np.stack([(weight * (y[near] == c)).sum(axis=1) for c in range(10)], axis=1)
    winner = votes.argmax(axis=1)
    clear = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2] + 1e-9
    found = knn_probe(x, y, test, test_y, k=k, temperature=temperature)
    by_hand = (winner[clear] == test_y[clear]).sum()
    assert by_hand <= np.trace(found.confusion) <= by_hand + (~clear).sum()
    assert clear.mean() > 0.9


def test_a_tie_goes_to_the_class_with_the_nearest_row_and_lengths_do_not_count():
    angles = np.radians([10, 20, 30, 40])
    x, y = np.c_[np.cos(angles), np.sin(angles)] * np.array([[1], [1e6], [1e-6], [1]]), np.array([7, 3, 3, 7])
    for angle, label in ((0.0, 7), (24.0, 3)):
        test = 1e25 * np.array([[np.cos(np.radians(angle)), np.sin(np.radians(angle))]])
        found = knn_probe(x.astype(np.float32), y, test.astype(np.float32), np.array([7]), k=4, temperature=None)
        assert found.classes.tolist() == [3, 7]
        assert found.accuracy.value == float(label == 7)


def test_labels_of_any_integers_and_classes_without_test_rows_are_kept_apart():
    x, y = blobs(5, 120, 3, 12.0)
    names = np.array([-4, 100, 9])[y]
    keep = names[60:] != 9
    for probe in (linear_probe, knn_probe):
        found = probe(x[:60], names[:60], x[60:][keep], torch.from_numpy(names[60:][keep]))
        assert found.classes.tolist() == [-4, 9, 100]
        assert found.per_class[1] is None
        assert found.per_class[0].value == 1.0


def test_the_same_input_gives_the_same_probe_and_global_state_stays(digits):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    for probe in (linear_probe, knn_probe):
        first = probe(*digits)
        again = probe(*(torch.from_numpy(a) for a in digits))
        half = probe(digits[0].astype(np.float16), digits[1], torch.from_numpy(digits[2]).half(), digits[3])
        assert np.array_equal(first.confusion, again.confusion)
        assert np.array_equal(first.confusion, half.confusion)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_x": X * np.nan}, "train_x must be finite"),
        ({"test_x": X[:, :1]}, "as many features, got 2 and 1"),
        ({"train_y": Y[:5]}, r"train_y must be one label for each of 6 rows, got the shape \(5,\)"),
        ({"test_y": Y[:, None]}, "test_y must be one label for each of 6 rows"),
        ({"train_y": Y + 0.5}, "train_y must be integers, got float64"),
        ({"train_y": 0 * Y}, "at least 2 classes, got 1"),
        ({"test_y": Y + 1}, "classes only, got 2 besides"),
    ],
)
def test_input_without_a_probe_is_refused(probe, change, words):
    given = {"train_x": X, "train_y": Y, "test_x": X, "test_y": Y, **change}
    with pytest.raises(ValueError, match=words):
        probe(given["train_x"], given["train_y"], given["test_x"], given["test_y"])


def test_nonsense_settings_are_refused():
    for words, k, temperature in (("k must be 1 to 6", 7, 0.07), ("k must be 1", 0, 0.07), ("temperature", 2, 0.0)):
        with pytest.raises(ValueError, match=words):
            knn_probe(X, Y, X, Y, k=k, temperature=temperature)
    with pytest.raises(ValueError, match="strengths must be positive"):
        linear_probe(X, Y, X, Y, strengths=(0.0,))
    with pytest.raises(ValueError, match="a class with at least 2 rows"):
        linear_probe(X, np.arange(6), X, np.arange(6))


def test_modes_found_are_counted_beside_what_chance_finds():
    found = mode_coverage(np.array([0, 0, 3, 1]), 5)
    assert (found.found, found.counts.tolist()) == (3, [2, 1, 0, 1, 0])
    assert found.expected == pytest.approx(5 * (1 - 0.8**4), rel=1e-12)
    assert found.kl == kl_to_uniform(found.counts)
    real = np.array([0, 0, 1, 2, 3, 3, 3, 3])
    against = mode_coverage(np.array([0, 0, 3, 1]), 5, real)
    shares = np.array([2, 1, 1, 4]) / 8
    assert against.expected == pytest.approx((1 - (1 - shares) ** 4).sum(), rel=1e-12)
    expected = 0.5 * np.log(0.5 / 0.25) + 0.25 * np.log(0.25 / 0.125) + 0.25 * np.log(0.25 / 0.5)
    assert against.kl.value == pytest.approx(expected, rel=1e-12)
    rng = np.random.default_rng(6)
    seen = [mode_coverage(rng.integers(1000, size=2000), 1000).found for _ in range(20)]
    assert np.mean(seen) == pytest.approx(mode_coverage(np.zeros(2000, int), 1000).expected, abs=6)


@pytest.mark.parametrize(("n", "m", "uneven"), [(2000, 2000, 0.0), (500, 5000, 0.0), (2000, 500, 0.8)])
def test_the_interval_of_a_kl_between_two_samples_covers_its_expected_value(n, m, uneven):
    rng = np.random.default_rng(7)
    p = np.exp(uneven * rng.standard_normal(30))
    q = np.full(30, 1 / 30)
    draws = [kl_to(rng.multinomial(n, p / p.sum()), rng.multinomial(m, q)) for _ in range(400)]
    expected = np.mean([d.value for d in draws])
    assert 0.91 <= np.mean([d.low <= expected <= d.high for d in draws]) <= 0.997
    assert np.mean([d.stderr for d in draws]) == pytest.approx(np.std([d.value for d in draws]), rel=0.15)
    if not uneven:
        assert expected == pytest.approx(29 / 2 * (1 / n + 1 / m), rel=0.1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: kl_to(np.array([1, 2]), np.array([3, 0])),
            "reference must have each mode of counts, got none in mode 1",
        ),
        (lambda: kl_to(np.array([1, 2]), np.array([3, 1, 1])), "as many modes, got 2 and 3"),
        (lambda: kl_to(np.array([1, 2]), np.array([0, 0])), "reference must be at least 2 numbers"),
        (lambda: mode_coverage(np.array([0, 5]), 5), "classes must be 0 to 4, got 0 to 5"),
        (lambda: mode_coverage(np.array([0, -1]), 5), "classes must be 0 to 4, got -1 to 0"),
        (lambda: mode_coverage(np.array([0.5]), 5), "list of integers, got float64"),
        (lambda: mode_coverage(np.zeros(0, int), 5), "list of integers"),
    ],
)
def test_modes_that_cannot_be_compared_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
