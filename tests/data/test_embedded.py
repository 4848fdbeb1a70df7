from pathlib import Path

import numpy as np
import pytest
import torch

from pushforward.data import embedded, glyphs
from pushforward.data.catalogue import open_data

CPU = torch.device("cpu")


def test_digits_are_all_of_scikit_learns_with_their_labels() -> None:
    from sklearn.datasets import load_digits

    data = open_data("digits")
    assert (data.size, data.spec.shape, data.spec.classes) == (1797, (1, 8, 8), 10)
    assert data.labels == tuple("0123456789")
    bunch = load_digits()
    got = data.examples(2000, 0)
    bytes_ = ((got["x"] + 1) * 127.5).round().reshape(1797, 64)
    expected = torch.from_numpy(np.rint(bunch.data * 255 / 16)).float()  # type: ignore[attr-defined]
    pairs = sorted(map(tuple, torch.cat([bytes_, got["y"][:, None]], 1).tolist()))
    assert pairs == sorted(map(tuple, torch.cat([expected, torch.from_numpy(bunch.target)[:, None]], 1).tolist()))  # type: ignore[attr-defined]
    assert got["x"].min() == -1
    assert got["x"].max() == 1


def test_digits_resized_keep_their_brightness_and_their_order() -> None:
    small, large = open_data("digits").examples(100, 0), open_data("digits", resolution=32).examples(100, 0)
    assert large["x"].shape == (100, 1, 32, 32)
    assert torch.equal(small["y"], large["y"])
    # A cubic kernel loses a little at the border and clips its overshoot.
    torch.testing.assert_close(large["x"].mean((1, 2, 3)), small["x"].mean((1, 2, 3)), atol=0.06, rtol=0)


def test_three_channels_of_digits_repeat_the_grey() -> None:
    grey, colour = (open_data("digits", channels=c).examples(10, 0)["x"] for c in (1, 3))
    assert torch.equal(colour, grey.expand(10, 3, 8, 8))


def test_stacked_digits_are_independent_digits_of_all_thousand_modes() -> None:
    data = open_data("stacked-digits")
    assert (data.size, data.spec.shape, data.spec.classes, data.labels) == (None, (3, 8, 8), None, None)
    assert data.channel_data is not None
    single = data.channel_data.examples(2000, 0)
    label = {tuple(x.flatten().tolist()): y for x, y in zip(single["x"], single["y"].tolist(), strict=True)}
    batch = data.batch(0, 0, 20_000, CPU)
    assert set(batch) == {"x"}
    stacks = batch["x"].reshape(-1, 3, 64).tolist()
    modes = [100 * a + 10 * b + c for a, b, c in (tuple(label[tuple(x)] for x in stack) for stack in stacks)]
    counts = np.bincount(modes, minlength=1000)
    assert (counts > 0).sum() == 1000
    assert counts.std() == pytest.approx(np.sqrt(20), rel=0.15)  # nearly Poisson


def test_stacked_digits_have_three_channels() -> None:
    assert open_data("stacked-digits", resolution=16).spec.shape == (3, 16, 16)
    with pytest.raises(ValueError, match="got channels 1"):
        open_data("stacked-digits", channels=1)


@pytest.fixture(scope="module")
def glyph_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glyphs")


def test_glyphs_are_balanced_labelled_and_deterministic(glyph_cache: Path, tmp_path: Path) -> None:
    data = open_data("glyphs", resolution=8, cache=glyph_cache)
    assert (data.size, data.spec.shape, data.spec.classes) == (21 * 62 * 16, (1, 8, 8), 62)
    assert data.labels == tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    every = data.examples(30_000, 0)
    assert every["y"].bincount().tolist() == [21 * 16] * 62
    path = glyphs._faces()[3]
    np.testing.assert_array_equal(glyphs._drawn(3, path, 8), glyphs._drawn(3, path, 8))
    packed = np.load(next(glyph_cache.glob("glyphs-*/x.npy")))
    np.testing.assert_array_equal(packed[3 * 992 : 4 * 992], glyphs._drawn(3, path, 8))


def test_glyphs_are_rendered_once(glyph_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_data("glyphs", resolution=8, cache=glyph_cache)
    monkeypatch.setattr(glyphs, "_drawn", lambda *_: pytest.fail("rendered again"))
    again = open_data("glyphs", resolution=8, cache=glyph_cache)
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.batch(0, 0, 9, CPU)["x"], again.batch(0, 0, 9, CPU)["x"])
    colour = open_data("glyphs", resolution=8, channels=3, cache=glyph_cache)
    assert colour.spec.shape == (3, 8, 8)
    assert colour.fingerprint != first.fingerprint


def test_glyphs_are_white_ink_inside_a_black_border_and_each_differs() -> None:
    x = glyphs._drawn(0, glyphs._faces()[0], 32)
    assert x.shape == (992, 32, 32)
    edge = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]])
    assert edge.max() == 0
    ink = x.max(axis=(1, 2))
    assert ink.min() > 150
    assert 0.04 < x.mean() / 255 < 0.2
    assert len({image.tobytes() for image in x}) == 992


def test_the_same_letter_is_alike_across_jitters_and_unlike_others() -> None:
    x = glyphs._drawn(3, glyphs._faces()[3], 16).reshape(62, 16, -1).astype(float)
    means = x.mean(axis=1)
    nearest = ((x[:, :, None] - means) ** 2).sum(-1).argmin(-1)
    assert (nearest == np.arange(62)[:, None]).mean() > 0.75


def test_photos_are_deterministic_balanced_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CROPS", 60)
    a, b = (open_data("photos", resolution=32, cache=tmp_path / name, progress=False) for name in "ab")
    assert (a.spec.shape, a.spec.classes, a.labels, a.size) == ((3, 32, 32), 2, ("china", "flower"), 60)
    x, y = a.examples(60, 0).values()
    assert torch.equal(x, b.examples(60, 0)["x"])
    assert y.bincount().tolist() == [30, 30]
    assert len({image.numpy().tobytes() for image in x}) == 60
    sky, petals = x[y == 0].mean((0, 2, 3)), x[y == 1].mean((0, 2, 3))
    assert sky[2] > sky[0] - 0.1  # the palace under a pale sky; the flower is the darker picture
    assert petals.mean() < sky.mean()


def test_photos_take_their_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CROPS", 4)
    assert open_data("photos", channels=1, cache=tmp_path, progress=False).spec.shape == (1, 64, 64)
    with pytest.raises(ValueError, match="427 pixels"):
        open_data("photos", resolution=428, cache=tmp_path)
