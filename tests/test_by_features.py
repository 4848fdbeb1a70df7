"""Two sets in the features of one network: scores with floors and intervals, comparisons, and what is kept on disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pushforward as pf
from pushforward import by_features, embedding, scoring
from pushforward.by_features import Asked, compare_by_features, measure_by_features
from pushforward.cli import main
from pushforward.data.catalogue import Options, open_data
from pushforward.data.images import of_tensor
from pushforward.embedding import Embedded, embed
from pushforward.encoders.encoder import Encoder, Scale
from pushforward.metrics.catalogue import METRICS
from pushforward.spaces import encoder_for


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits as three sets of arrays: 600 reals, 500 others, and those others under noise."""
    folder = tmp_path_factory.mktemp("sets")
    x, y = open_data("digits").levels(1797, 0)
    rng = np.random.default_rng(0)
    order = rng.permutation(1797)
    reals, good = x[order[:600]].numpy(), x[order[600:1100]].numpy()
    bad = np.clip(good + rng.normal(0, 30, good.shape), 0, 255).astype(np.uint8)
    np.savez(folder / "real.npz", x=reals, y=y[order[:600]].numpy())
    np.savez(folder / "good.npz", x=good, y=y[order[600:1100]].numpy())
    np.savez(folder / "bad.npz", x=bad)
    np.savez(folder / "unseen.npz", x=x[order[1100:]].numpy())
    return folder


def asked(place: Path, **options: object) -> Asked:
    return dataclasses.replace(Asked(features="pixels", cache=place / "cache", progress=False), **options)


def test_reals_score_their_floors_and_noise_does_not(place: Path) -> None:
    good, bad = (
        measure_by_features(str(place / f"{name}.npz"), str(place / "real.npz"), asked(place)).scores.measurements
        for name in ("good", "bad")
    )
    assert list(good) == list(scoring.USUAL)
    for name in ("precision", "recall", "density", "coverage"):
        m = good[name]
        assert m.low is not None
        assert m.high is not None
        assert m.low <= m.value <= m.high
        assert m.value == pytest.approx(m.floor, abs=0.12)
        assert m.n == 500
    assert good["frechet"].value == pytest.approx(good["frechet"].floor, rel=0.25)
    low, high = good["kid"].low, good["kid"].high
    assert low is not None
    assert high is not None
    assert low <= 0 <= high
    assert bad["frechet"].value > 2 * good["frechet"].value
    assert bad["frechet_corrected"].value > 10 * abs(good["frechet_corrected"].value)
    assert bad["precision"].value < good["precision"].value - 0.15


def test_the_better_of_two_is_named_and_two_alike_are_not_told_apart(place: Path) -> None:
    good, bad, real, unseen = (str(place / f"{name}.npz") for name in ("good", "bad", "real", "unseen"))
    told = compare_by_features(bad, good, real, asked(place)).comparisons
    assert {told[name].better for name in ("frechet", "kid", "precision", "density")} == {"B"}
    assert {told[name].better for name in ("recall", "coverage")} <= {"B", None}
    assert told["frechet"].confidence > 0.999
    same = compare_by_features(good, unseen, real, asked(place, metrics=("frechet", "kid"))).comparisons
    assert [c.better for c in same.values()] == [None, None]


def test_features_are_computed_once_for_each_content_and_encoder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(np.load(place / "real.npz")["x"])
    images = of_tensor(x, "x", "one content")
    encoder = encoder_for("pixels", images)
    first = embed(images, encoder, place / "own")
    monkeypatch.setattr(embedding, "_through", None)
    np.testing.assert_array_equal(embed(images, encoder, place / "own").features, first.features)
    # Another content, another resize, another network: another key, and so all is computed anew.
    other = [
        (of_tensor(x, "x", "another content"), encoder),
        (images, encoder.with_resize("legacy-tf")),
        (images, dataclasses.replace(encoder, weights="others")),
    ]
    for changed, by in other:
        with pytest.raises(TypeError):
            embed(changed, by, place / "own")


def test_statistics_kept_for_one_set_are_never_used_for_another(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    real = str(folder)
    measure = dataclasses.replace(asked(place, metrics=("frechet",)), cache=tmp_path / "cache")
    first = measure_by_features(real, real, measure).scores
    assert first.measurements["frechet"].value == 0
    assert "the same images" in first.notes[-1]
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    # The same path with another content is another set; another path with the same content is the same.
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(folder / "3.png")
    changed = measure_by_features(str(copy), real, measure).scores
    assert changed.measurements["frechet"].value > 0
    assert not any("the same images" in warning for warning in changed.notes)


def test_mixed_sizes_and_odd_files_give_the_value_of_the_clean_folder(place: Path, tmp_path: Path) -> None:
    clean, odd = tmp_path / "clean", tmp_path / "odd"
    clean.mkdir()
    (odd / "deep").mkdir(parents=True)
    rng = np.random.default_rng(2)
    for i in range(40):
        height, width = rng.integers(20, 60, 2)
        x = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(x).save(clean / f"{i:02}.png")
        where = [odd / f"{i:02}.PNG", odd / "deep" / f"{i:02}.bmp", odd / f"{i:02}.tiff", odd / f"{i:02}.webp"][i % 4]
        Image.fromarray(x).save(where, **({"lossless": True} if i % 4 == 3 else {}))
    (odd / "notes.txt").write_text("not an image, and not called one")
    np.savez(tmp_path / "real.npz", x=rng.integers(0, 256, (50, 32, 32, 3)).astype(np.uint8))
    real = str(tmp_path / "real.npz")
    options = asked(place, metrics=("frechet", "kid"), resize="clean")
    values = [
        {name: m.value for name, m in measure_by_features(str(f), real, options).scores.measurements.items()}
        for f in (clean, odd)
    ]
    for name, value in values[0].items():
        # KID is a small difference of float32 sums near 1, whose order is the files'.
        assert values[1][name] == pytest.approx(value, rel=1e-6, abs=1e-8), name
    (odd / "cut.png").write_bytes((clean / "00.png").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"1 of 41 images in .* cannot be read .*cut\.png.*--max-bad"):
        measure_by_features(str(odd), real, options)
    borne = measure_by_features(str(odd), real, dataclasses.replace(options, max_bad=0.1)).scores.measurements
    assert borne["kid"].value == pytest.approx(values[0]["kid"], rel=1e-6, abs=1e-8)


def test_memorisation_needs_and_uses_a_set_that_was_not_trained_on(place: Path) -> None:
    train, unseen = str(place / "real.npz"), str(place / "unseen.npz")
    with pytest.raises(ValueError, match=r"copies needs reals that were not trained on: held_out"):
        measure_by_features(str(place / "good.npz"), train, asked(place, metrics=("copies",)))
    names = ("copies", "c_t", "authenticity")
    clear = measure_by_features(str(place / "good.npz"), train, asked(place, metrics=names, held_out=unseen)).scores
    copied = measure_by_features(train, train, asked(place, metrics=names, held_out=unseen)).scores
    assert clear.measurements["copies"].value <= 0.01
    assert copied.measurements["copies"].value == 1
    assert copied.measurements["authenticity"].value == 0
    assert copied.measurements["c_t"].value < -5 < clear.measurements["c_t"].value
    assert clear.measurements["copies"].floor is not None
    with pytest.raises(ValueError, match="the held-out set is the training set itself, which tells nothing"):
        measure_by_features(str(place / "good.npz"), train, asked(place, metrics=names, held_out=train))
    more = asked(place, metrics=("kid", *names), held_out=train)
    itself = measure_by_features(str(place / "good.npz"), train, more).scores
    assert list(itself.measurements) == ["kid"]
    assert itself.notes == ("the held-out set is the training set itself: nothing is told of memorisation",)


def test_memorisation_of_a_run_is_of_its_part_of_the_data_and_all_else_of_all_of_them(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"examples": 200, "width": 4, "ticks": 1, "pictures": 1, "checkpoints": 1, "evaluations": 0}
    run = pf.train("dcgan", "digits", tmp_path / "run", **quick, limit=300, mirror=True, measure=False)
    given: list[Embedded] = []

    def seen(fake: Embedded, real: Embedded, *, held_out: Embedded, train: Embedded, **options: Any) -> scoring.Scores:
        given.extend((fake, real, held_out, train))
        return scoring.score(fake, real, held_out=held_out, train=train, **options)

    monkeypatch.setattr(by_features, "score", seen)
    options = asked(place, metrics=("kid", "copies"), held_out=str(place / "unseen.npz"), n=200)
    told = measure_by_features(str(run.folder), None, options).scores
    assert [len(one) for one in given] == [200, 1797, 697, 300]
    searched = "memorisation: mirror images, which training saw too, are not searched"
    assert told.notes[-1] == searched
    monkeypatch.undo()
    others = asked(place, metrics=("kid",), held_out=str(place / "unseen.npz"), n=200)
    assert searched not in measure_by_features(str(run.folder), None, others).scores.notes
    sets = [of_tensor(torch.from_numpy(np.load(place / f"{name}.npz")["x"]), name, name) for name in ("real", "unseen")]
    train, held_out = (embed(images, encoder_for("pixels", images), None) for images in sets)
    unseen, others = held_out.split(0.5, 0)
    for learnt, share in ((train, 1.0), (others, 0.0)):  # copies of `train` are copies where it was trained on alone
        found = scoring.score(train, train, metrics=("copies",), held_out=unseen, train=learnt).measurements
        assert found["copies"].value == pytest.approx(share, abs=0.02)


def test_labelled_sets_have_a_classifier_probes_and_classes_of_their_own(place: Path) -> None:
    names = ("frechet_per_class", "linear_probe", "knn_probe", "sliced_w2", "w2", "prd_f8", "prd_f1_8")
    names += ("class_modes", "class_kl", "inception_score")
    options = asked(place, features="classifier", metrics=names)
    found = measure_by_features(str(place / "good.npz"), str(place / "real.npz"), options).scores.measurements
    assert tuple(found) == names
    assert found["linear_probe"].value > 0.9
    assert found["knn_probe"].floor is None
    assert found["w2"].value == pytest.approx(found["w2"].floor, rel=0.3)
    assert found["prd_f8"].value > 0.8
    assert found["class_modes"].value == 10
    assert found["class_kl"].value < 0.05
    assert 5 < found["inception_score"].value <= 10
    with pytest.raises(ValueError, match="has no classes"):
        measure_by_features(str(place / "good.npz"), str(place / "bad.npz"), options)


def test_every_metric_is_in_the_catalogue_and_says_what_it_takes() -> None:
    offered = {name for group in scoring.GROUPS for name in group}
    assert offered <= set(METRICS)
    assert {name for name, m in METRICS.items() if m.takes == "held-out"} == set(scoring.MEMORISED)


def test_an_encoder_that_gives_nan_is_refused_with_the_image_it_failed_on() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return torch.where(x.flatten(1)[:, :3] > 0.99, torch.nan, x.flatten(1)[:, :3]), None

    x = torch.zeros(10, 1, 4, 4, dtype=torch.uint8)
    x[7] = 255
    encoder = Encoder(
        "broken", Broken().eval(), 3, (4, 4), lambda _: Scale((0.0,), (255.0,)), "clean", "", torch.device("cpu"), 1
    )
    with pytest.raises(ValueError, match=r"broken gives NaN or infinity for 1 of 10 images .*number 7"):
        embed(of_tensor(x, "x", "nan"), encoder)


def test_parts_of_the_reals_have_no_row_in_common_and_the_share_asked_for() -> None:
    rows = np.arange(41, dtype=np.float32)[:, None]
    one = Embedded("x", rows, "key", "pixels", "hash")
    a, b = one.split(0.25, 0)
    assert (len(a), len(b)) == (10, 31)
    assert set(a.features[:, 0]) | set(b.features[:, 0]) == set(range(41))
    assert a.key != b.key


def test_the_frechet_floor_is_brought_to_the_sizes_measured() -> None:
    """The plug-in's bias goes as 1/N + 1/M: halves of 300 against the fakes' 600 and the reals' 600."""
    rng = np.random.default_rng(3)
    values, floors = [], []
    for i in range(20):
        fake, real = (Embedded("x", rng.standard_normal((600, 8)).astype(np.float32), f"{i}{s}", "", "") for s in "fr")
        m = scoring.score(fake, real, metrics=("frechet",)).measurements["frechet"]
        values.append(m.value)
        floors.append(m.floor)
    assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.1)


def test_the_command_says_network_hash_resize_seed_and_floor(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(place / "cache"))
    words = ["evaluate", str(place / "good.npz"), str(place / "real.npz"), "--features", "pixels", "--json"]
    assert main([*words, "--metrics", "kid", "recall"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["features"] == {"name": "pixels", "sha256": "none", "resize": "clean"}
    assert set(told["metrics"]) == {"kid", "recall"}
    assert told["floor_sizes"] == [273, 327]
    assert (
        main(
            [
                "evaluate",
                str(place / "bad.npz"),
                str(place / "good.npz"),
                "--against",
                str(place / "real.npz"),
                "--features",
                "pixels",
                "--metrics",
                "frechet",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "nearer" in out
    assert " B " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["good.npz", "real.npz", "--features", "pixls"], "did you mean pixels?"),
        (["good.npz", "real.npz", "--features", "pixels", "--metrics", "fretchet"], "did you mean frechet?"),
        (["good.npz", "real.npz", "--features", "pixels", "--metrics", "path_length"], "path_length takes a run"),
        (["good.npz", "real.npz", "--metrics", "kid"], "--metrics needs --features"),
        (["good.npz", "--features", "pixels"], "name the real data"),
        (["good.npz", "--against", "real.npz"], "evaluate A B --against REAL"),
        (["good.npz", "bad.npz", "--against", "real.npz", "--features", "pixels", "--metrics", "prd_f8"], "got prd_f8"),
        (
            ["good.npz", "bad.npz", "--against", "real.npz", "--features", "pixels", "--held-out", "x"],
            "not compared by",
        ),
        (["good.npz", "real.npz", "--features", "pixels", "--checkpoint", "best"], "checkpoint best is of a run"),
        (["good.npz", "real.npz", "-n", "0"], "--n needs --features"),
        (["good.npz", "real.npz", "--features", "inception"], "weights of inception are not there"),
        (["good.npz", "real.npz", "--features", "inception_score"], "no features are called"),
        (["good.npz", "real.npz", "--features", "pixels", "--weights", "x"], "weights are for inception"),
        (["colour.npz", "real.npz", "--features", "pixels"], "has images in colour, and pixels is made for the grey"),
        (["nothing.npz", "real.npz", "--features", "pixels"], "neither a data set nor an existing path"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    place: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    np.savez("colour.npz", x=np.arange(20 * 8 * 8 * 3).reshape(20, 8, 8, 3).astype(np.uint8))
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(place / "cache"))
    assert main(["evaluate", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1
    assert said in told.err


def test_statistics_are_kept_in_a_file_that_stands_for_the_reals(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(place / "cache"))
    out = tmp_path / "real.npz"
    assert main(["statistics", str(place / "real.npz"), "--features", "pixels", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    images, kept = (
        measure_by_features(str(place / "good.npz"), str(real), asked(place, metrics=("frechet",))).scores.measurements
        for real in (place / "real.npz", out)
    )
    assert kept["frechet"].value == pytest.approx(images["frechet"].value, rel=1e-9)
    assert kept["frechet"].low is None
    with pytest.raises(ValueError, match="statistics alone, which tell the Fréchet distance and no kid"):
        measure_by_features(str(place / "good.npz"), str(out), asked(place, metrics=("frechet", "kid")))
    with pytest.raises(ValueError, match="both statistics"):
        measure_by_features(str(out), str(out), asked(place))
    np.savez(tmp_path / "other.npz", mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(ValueError, match="statistics of 5 features, and pixels has 64"):
        measure_by_features(str(place / "good.npz"), str(tmp_path / "other.npz"), asked(place))


def shifted(n: int, by: float, key: str, d: int = 8, seed: int = 0) -> Embedded:
    x = np.random.default_rng([seed, n]).standard_normal((n, d)) + by
    return Embedded(key, x.astype(np.float32), key, "", "")


def test_sets_of_unequal_size_are_cut_at_random_not_at_the_end(tmp_path: Path) -> None:
    """A has the reals' law, sorted by class; its first half would be one class."""
    rng = np.random.default_rng(4)

    def squares(n: int, wrong: bool) -> np.ndarray:
        x = rng.integers(0, 60, (n, 8, 8, 1)).astype(np.uint8)
        for i in range(n):
            x[i, : (8 if wrong else 4), 4 * (i >= n // 2) : 4 * (i >= n // 2) + 4] += 120
        return x

    np.savez(tmp_path / "a.npz", x=squares(400, False))
    np.savez(tmp_path / "b.npz", x=squares(200, True))
    np.savez(tmp_path / "real.npz", x=rng.permutation(squares(400, False)))
    asked = Asked(features="pixels", cache=tmp_path / "cache", progress=False, metrics=("frechet", "kid"))
    both = compare_by_features(*(str(tmp_path / f"{name}.npz") for name in ("a", "b", "real")), asked)
    assert {c.better for c in both.comparisons.values()} == {"A"}
    # What is compared is what is shown.
    for name, c in both.comparisons.items():
        a, b = (side.scores.measurements[name] for side in (both.first, both.second))
        assert (a.n, b.n) == (200, 200)
        assert c.difference.value == pytest.approx(a.value - b.value, rel=1e-3)


def test_a_classifier_is_trained_anew_for_other_labels_of_the_same_images(tmp_path: Path) -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8)).astype(np.uint8))
    two, three = (
        of_tensor(x, "x", "one content", np.arange(60) % k, tuple("abc"[:k]), Options(cache=tmp_path)) for k in (2, 3)
    )
    first, second = (encoder_for("classifier", images, cache=tmp_path) for images in (two, three))
    assert first.weights != second.weights
    assert second.encode(x).logits is not None
    assert second.encode(x).logits.shape == (60, 3)


def test_floors_are_measured_in_the_proportion_of_the_sets() -> None:
    """Coverage of 3,000 reals by 300 fakes is far from 1 for equal laws too, and so must its floor be."""
    fake, real = shifted(300, 0, "fake"), shifted(3000, 0, "real", seed=1)
    scores = scoring.score(fake, real, metrics=("coverage", "w2", "sliced_w2"))
    assert scores.floor_sizes == (273, 2727)
    for name, m in scores.measurements.items():
        assert m.value == pytest.approx(m.floor, rel=0.2), name


def test_the_frechet_distance_has_no_scaled_floor_below_full_rank() -> None:
    scores = scoring.score(shifted(100, 0, "fake", 200), shifted(120, 0, "real", 200), metrics=("frechet",))
    assert scores.measurements["frechet"].floor is None
    assert any("without a floor" in note for note in scores.notes)
    assert any("no full covariance" in note for note in scores.notes)


def test_what_cannot_be_told_is_said_and_what_can_is_told() -> None:
    fake, real = shifted(60, 0, "fake", 100), shifted(60, 0, "real", 100, seed=1)
    scores = scoring.score(fake, real, metrics=("frechet_corrected", "kid"))
    assert list(scores.measurements) == ["kid"]
    assert any(note.startswith("frechet_corrected: can't be told from 60 images") for note in scores.notes)
    assert "frechet_corrected" not in scoring.usual(fake, real, None)
    # 2.5 rows a feature are there, and half of the reals have them not.
    few = scoring.score(shifted(60, 0, "f", 20), shifted(60, 0, "r", 20, 1), metrics=("frechet_infinity", "kid"))
    assert few.measurements["frechet_infinity"].floor is None
    assert few.measurements["kid"].floor is not None
    assert any(note.startswith("frechet_infinity: without a floor") for note in few.notes)
    with pytest.raises(ValueError, match=r"frechet_corrected of f against r: .* at least 20 rows, got 5"):
        scoring.score(shifted(5, 0, "f"), shifted(5, 0, "r"), metrics=("frechet_corrected",))


def test_the_bias_of_the_frechet_distance_is_told_where_it_shows() -> None:
    near = scoring.score(shifted(300, 0.05, "f", 32), shifted(300, 0, "r", 32, 1))
    assert any("is bias of 300 images" in note for note in near.notes)
    far = scoring.score(shifted(3000, 3, "f", 4), shifted(3000, 0, "r", 4, 1), metrics=("frechet", "frechet_corrected"))
    assert far.notes == ()


def test_ms_ssim_and_path_length_stand_beside_the_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    asked = Asked(features="pixels", metrics=("ms_ssim",), cache=tmp_path / "cache", progress=False)
    m = measure_by_features(str(folder), str(folder), asked).scores.measurements["ms_ssim"]
    assert m.value == m.floor
    assert -0.1 < m.value < 0.2
    Image.fromarray(np.zeros((20, 16, 3), np.uint8)).save(folder / "other.png")
    with pytest.raises(ValueError, match="several sizes"):
        measure_by_features(str(folder), str(folder), asked)
    run = tmp_path / "run"
    small = [
        "--examples",
        "500",
        "--batch",
        "100",
        "--width",
        "8",
        "--evaluations",
        "0",
        "--no-measure",
        "--pictures",
        "1",
    ]
    assert main(["train", "cgan", "--data", "digits", "--out", str(run), *small]) == 0
    told = measure_by_features(str(run), None, dataclasses.replace(asked, metrics=("path_length",), n=40))
    length = told.scores.measurements["path_length"]
    assert length.n == 40
    assert length.low is not None
    assert 0 < length.low < length.value
    with pytest.raises(ValueError, match="n is for runs"):
        measure_by_features(str(folder), str(folder), dataclasses.replace(asked, metrics=("kid",), n=5))
    capsys.readouterr()


def test_classes_without_a_real_image_cost_the_divergence_only(place: Path) -> None:
    logits = np.eye(6, dtype=np.float32)
    rows = np.zeros((60, 2), np.float32)
    fake = Embedded("f", rows, "f", "classifier", "", logits=logits[np.arange(60) % 6])
    real = Embedded("r", rows, "r", "classifier", "", logits=logits[np.arange(60) % 4])
    scores = scoring.score(fake, real, metrics=("class_modes", "class_kl"))
    assert scores.measurements["class_modes"].value == 6
    assert "class_kl" not in scores.measurements
    assert any("in 2 classes without a real image" in note for note in scores.notes)
