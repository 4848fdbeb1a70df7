import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from pushforward import evaluation
from pushforward.data.catalogue import open_data
from pushforward.data.source import ArrayData, StreamData
from pushforward.data.spec import DataSpec
from pushforward.evaluation import Evaluator, evaluate
from pushforward.metrics.catalogue import known
from pushforward.metrics.intervals import mean_interval

SHARES = {"precision", "recall", "precision_pixels", "recall_pixels"}


def squares(n: int = 160, labelled: bool = True, side: int = 8) -> ArrayData:
    """Bright squares in one of four corners: the corner is the class."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    x = rng.integers(0, 60, (n, 1, side, side)).astype(np.uint8)
    half = side // 2
    for i, k in enumerate(y):
        top, left = half * (k // 2), half * (k % 2)
        x[i, 0, top : top + half, left : left + half] += rng.integers(120, 190, dtype=np.uint8)
    spec = DataSpec("squares", "images", (1, side, side), 4 if labelled else None)
    labels = ("a", "b", "c", "d") if labelled else None
    return ArrayData(spec, x, y.astype(np.int64) if labelled else None, labels, f"squares{n}{labelled}{side}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def labelled(cache) -> Evaluator:
    return Evaluator(squares(), cache=cache)


def reals(data, n=160) -> tuple[torch.Tensor, torch.Tensor]:
    examples = data.examples(n, 1)
    return examples["x"], examples["y"]


def test_reals_against_reals_score_about_the_floor(labelled):
    x, y = reals(labelled.data)
    scores = labelled(x, asked=y)
    assert set(scores) == {"frechet", "frechet_pixels", "accuracy"} | SHARES
    assert all(known(name) for name in scores)
    # The fakes are the data itself, half of which it is held against: no further than the floor, not at 0 either.
    for name in ("frechet", "frechet_pixels"):
        m = scores[name]
        assert m.n == 80
        assert m.floor is not None
        assert 0.2 * m.floor <= m.value <= 1.1 * m.floor
        assert m.low is not None
        assert m.high is not None
        assert m.low <= m.value <= m.high
    for name in SHARES:
        assert scores[name].value >= (scores[name].floor or 0) - 0.1
    assert scores["accuracy"].value >= 0.95
    assert scores["accuracy"].n == 160


def test_noise_and_collapse_are_told_apart(labelled):
    x, y = reals(labelled.data)
    noise = torch.rand(160, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    collapsed = x[:1].repeat(160, 1, 1, 1)
    good, bad, one = labelled(x), labelled(noise), labelled(collapsed)
    assert bad["frechet"].value > 5 * good["frechet"].value
    assert one["frechet_pixels"].value > 5 * good["frechet_pixels"].value
    assert bad["precision_pixels"].value <= 0.05
    assert one["recall_pixels"].value <= 0.05
    assert labelled(x, asked=(y + 1) % 4)["accuracy"].value <= 0.05


def test_without_labels_frechet_is_on_pixels(cache):
    data = squares(labelled=False)
    scores = evaluate(data.examples(60, 0)["x"], data, cache=cache)
    assert set(scores) == {"frechet", "precision", "recall"}
    assert scores["frechet"].n == 60  # as many reals as there are fakes
    assert not list(cache.glob("classifiers/squares160False*"))


def test_the_order_of_the_fakes_does_not_matter_beyond_chance_when_sorted_by_class(cache):
    data = squares(400, labelled=False)
    x = data.examples(400, 0)["x"]
    corner = x.flatten(1)[:, 0].argsort()
    shuffled, by_brightness = (evaluate(f, data, n=50, cache=cache)["recall"].value for f in (x, x[corner]))
    assert shuffled == pytest.approx(by_brightness, abs=0.15)


def test_the_same_seed_gives_the_same_numbers_and_global_state_is_left_alone(labelled):
    x, y = reals(labelled.data)
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    drawn = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is the point
    first = labelled(x, asked=y)
    assert first == evaluate(x, labelled.data, asked=y, cache=labelled.cache)
    assert torch.equal(before, torch.random.get_rng_state())
    assert str(drawn) == str(np.random.get_state(legacy=False))  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.equal(x, reals(labelled.data)[0])


def test_fakes_are_rounded_to_the_levels_of_real_images(labelled):
    x, _ = reals(labelled.data)
    assert labelled(x) == labelled(x + 0.4 / 127.5)
    assert labelled((x * 3).clamp(-1, 1)) == labelled(x * 3)


def test_quick_looks_at_less_and_computes_the_reals_once(labelled, monkeypatch):
    x, _ = reals(labelled.data)
    first = labelled(x, quick=True)
    monkeypatch.setattr(evaluation, "_drawn", None)
    monkeypatch.setattr(evaluation, "train_classifier", None)
    assert labelled(x, quick=True) == first
    assert set(first) == {"frechet", "frechet_pixels"} | SHARES


def test_large_images_have_at_most_1024_pixel_features():
    for shape, size in (((3, 64, 64), 768), ((1, 32, 32), 1024), ((1, 64, 48), 768), ((3, 40, 40), 588)):
        levels = torch.full((2, *shape), 200, dtype=torch.uint8)
        features = evaluation._pixels(levels)
        assert features.shape == (2, size)
        np.testing.assert_allclose(features, 200 / 127.5 - 1, atol=1e-6)


def test_a_perfect_mixture_scores_its_floors_and_one_mode_is_found_out(cache):
    data = open_data("grid25")
    measure = Evaluator(data, n=200, cache=cache)
    perfect = measure(data.examples(2000, 3)["x"])
    assert set(perfect) == {"modes", "high_quality", "kl", "w2"}
    assert (perfect["modes"].value, perfect["modes"].floor, perfect["modes"].n) == (25, 25, 2000)
    assert perfect["high_quality"].value == pytest.approx(0.989, abs=0.01)
    assert perfect["w2"].n == 200
    assert perfect["w2"].value == pytest.approx(perfect["w2"].floor, rel=0.35)
    law = data.law
    assert law is not None
    assert law.centres is not None
    centre = law.to_model(law.centres[:1]).repeat(1000, 0)
    collapsed = measure(torch.from_numpy(centre))
    assert (collapsed["modes"].value, collapsed["high_quality"].value) == (1, 1)
    assert collapsed["kl"].value == pytest.approx(np.log(25), rel=1e-6)
    # All mass at a corner of the grid: W2² is the mean squared distance of the centres from it, and the noise.
    far = ((law.centres - law.centres[0]) ** 2).sum(1).mean()
    assert collapsed["w2"].value ** 2 == pytest.approx(far, rel=0.1)
    assert collapsed["w2"].floor == perfect["w2"].floor


def test_w2_is_the_mean_over_all_pairs_and_its_interval_counts_each_part_of_the_fakes_once(cache, monkeypatch):
    monkeypatch.setattr(evaluation, "PAIRS", 6)
    found = []
    exact = evaluation.exact_wasserstein
    monkeypatch.setattr(evaluation, "exact_wasserstein", lambda x, y: found.append(exact(x, y)) or found[-1])
    data = open_data("ring8")
    scores = Evaluator(data, n=50, cache=cache)(data.examples(149, 3)["x"])
    values = np.array(found[:6])
    expected = mean_interval([values[::2].mean(), values[1::2].mean()])  # 149 fakes are two parts of 50
    assert (scores["w2"].value, scores["w2"].low) == pytest.approx((values.mean(), expected.low))
    assert len(found) == 12
    assert scores["w2"].floor == pytest.approx(np.mean(found[6:]))


def test_a_curve_has_quality_and_transport_but_no_modes(cache):
    data = open_data("spiral")
    scores = evaluate(data.examples(1000, 3)["x"], data, quick=True, cache=cache)
    assert set(scores) == {"high_quality", "w2"}
    assert scores["high_quality"].value == pytest.approx(scores["high_quality"].floor, abs=0.03)
    assert scores["w2"].n == 500


def test_vectors_without_a_law_are_measured_on_their_coordinates(cache):
    x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    data = ArrayData(DataSpec("mine", "points", (3,)), x, None, None, "mine")
    scores = evaluate(torch.from_numpy(x) + 5, data, cache=cache)
    assert set(scores) == {"frechet", "precision", "recall"}
    assert scores["frechet"].value == pytest.approx(75, rel=0.1)
    assert scores["precision"].value <= 0.05


def test_stacked_images_count_the_modes_of_their_channels(cache, monkeypatch):
    one = squares()
    monkeypatch.setattr(evaluation, "STACKED", 400)

    x, y = one.examples(160, 0)["x"], one.examples(160, 0)["y"]

    def draw(rng, n):
        levels = ((x[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
        return levels[rng.integers(160, size=(n, 3))], None

    data = StreamData(DataSpec("stacked", "images", (3, 8, 8)), draw, "stacked", channel_data=one)
    scores = evaluate(data.examples(500, 9)["x"], data, n=100, cache=cache)
    assert set(scores) == {"frechet", "frechet_pixels", "modes", "kl"} | SHARES
    assert (scores["modes"].n, scores["kl"].n) == (400, 400)
    assert scores["modes"].value == pytest.approx(64, abs=2)
    assert scores["kl"].value == pytest.approx(63 / 800, rel=0.4)  # (K − 1)/2n
    assert scores["kl"].value == pytest.approx(scores["kl"].floor, rel=0.5)
    few = torch.stack([x[y == k][0, 0] for k in (0, 1, 2)])[None].repeat(100, 1, 1, 1)
    collapsed = evaluate(few, data, n=100, cache=cache)
    assert collapsed["modes"].value == 1
    assert collapsed["kl"].value == pytest.approx(np.log(64), rel=1e-6)


def test_measurements_become_the_run_logs_numbers(labelled):
    x, _ = reals(labelled.data)
    for m in labelled(x, quick=True).values():
        assert set(dataclasses.asdict(m)) == {"value", "low", "high", "floor", "n"}
        assert all(type(v) in (float, int, type(None)) for v in dataclasses.asdict(m).values())


def test_the_classifier_is_trained_once_and_kept(labelled, monkeypatch):
    x, y = reals(labelled.data)
    scores = labelled(x, asked=y)
    monkeypatch.setattr(evaluation, "train_classifier", None)
    assert Evaluator(squares(), cache=labelled.cache)(x, asked=y)["accuracy"] == scores["accuracy"]


@pytest.mark.parametrize(
    ("fakes", "asked", "words"),
    [
        (torch.zeros(9, 1, 8, 9), None, r"fakes must be \(1, 8, 8\) as squares is, got \(1, 8, 9\)"),
        (torch.zeros(1, 1, 8, 8), None, "at least 2 fakes, got 1"),
        (torch.zeros(4, 1, 8, 8), None, "at least 5 samples a side, got 4 fakes and 160 reals"),
        (torch.full((9, 1, 8, 8), torch.nan), None, "NaN or infinity in 9 of 9; train anew"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), None, "convert bytes"),
        (torch.zeros(9, 1, 8, 8), torch.zeros(8).long(), "one asked class a fake"),
    ],
)
def test_fakes_that_cannot_be_measured_are_refused(labelled, fakes, asked, words):
    with pytest.raises(ValueError, match=words):
        labelled(fakes, asked=asked)


def test_one_sample_a_side_is_refused():
    with pytest.raises(ValueError, match="at least 2 samples a side, got n = 1"):
        Evaluator(squares(), n=1)
