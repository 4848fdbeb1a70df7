from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pushforward.data.arrays import with_channels
from pushforward.data.catalogue import open_data


def saved(path: Path, x: Any) -> str:
    np.save(path / "x.npy", x)
    return str(path / "x.npy")


def packed(path: Path, **arrays: Any) -> str:
    np.savez(path / "x.npz", **arrays)
    return str(path / "x.npz")


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "spec", "axes"),
    [
        ((6, 5, 4), (1, 5, 4), None),
        ((6, 5, 4, 1), (1, 5, 4), (0, 3, 1, 2)),
        ((6, 5, 4, 3), (3, 5, 4), (0, 3, 1, 2)),
        ((6, 3, 5, 4), (3, 5, 4), (0, 1, 2, 3)),
    ],
)
def test_images_of_every_layout_are_read_as_channels_first(
    tmp_path: Path, shape: tuple, spec: tuple, axes: tuple | None
) -> None:
    x = images(*shape)
    expected = x[:, None] if axes is None else x.transpose(axes)
    for data in (open_data(saved(tmp_path, x)), open_data(packed(tmp_path, images=x))):
        assert (data.spec.kind, data.spec.shape, data.spec.classes, data.size) == ("images", spec, None, 6)
        got = ((data.examples(6, 0)["x"] + 1) * 127.5).round().to(torch.uint8)
        order = [next(i for i, e in enumerate(expected) if (g.numpy() == e).all()) for g in got]
        assert sorted(order) == list(range(6))


def test_an_npz_brings_labels_of_numbers_or_names(tmp_path: Path) -> None:
    data = open_data(packed(tmp_path, x=images(4, 8, 8), y=np.array([5, 3, 5, 5])))
    assert (data.labels, data.spec.classes) == (("3", "5"), 2)
    assert data.examples(4, 0)["y"].bincount().tolist() == [1, 3]
    named = open_data(packed(tmp_path, images=images(3, 8, 8), labels=np.array(["cat", "dog", "cat"])))
    assert named.labels == ("cat", "dog")
    assert open_data(packed(tmp_path, whatever=images(3, 8, 8))).labels is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_are_taken_as_they_are(tmp_path: Path, dtype: type) -> None:
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(dtype) * 5 + 2
    data = open_data(saved(tmp_path, x))
    assert (data.spec.kind, data.spec.shape, data.law) == ("points", (3,), None)
    got = data.examples(7, 0)["x"].numpy()
    np.testing.assert_array_equal(np.sort(got, axis=0), np.sort(x.astype(np.float32), axis=0))


def test_images_are_resized_and_recoloured_where_asked(tmp_path: Path) -> None:
    x = np.full((3, 20, 30, 3), [10, 200, 30], np.uint8)
    data = open_data(saved(tmp_path, x), resolution=8, channels=1)
    assert data.spec.shape == (1, 8, 8)
    luma = round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)
    assert ((data.examples(3, 0)["x"] + 1) * 127.5).round().unique().tolist() == [luma]
    assert open_data(saved(tmp_path, x[..., 0]), channels=3).spec.shape == (3, 20, 30)


def test_luma_of_grey_is_the_grey() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(with_channels(with_channels(x, 3), 1), x)


def test_the_fingerprint_follows_content_and_options(tmp_path: Path) -> None:
    x = images(4, 8, 8)
    first = open_data(saved(tmp_path, x)).fingerprint
    assert open_data(saved(tmp_path, x)).fingerprint == first
    assert open_data(saved(tmp_path, x), resolution=4).fingerprint != first
    x[0, 0, 0] ^= 1
    assert open_data(saved(tmp_path, x)).fingerprint != first


def test_training_writes_nothing_into_the_file(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, images(4, 8, 8, 3)))
    before = path.read_bytes()
    data = open_data(str(path))
    data.batch(0, 0, 4, torch.device("cpu"))["x"].zero_()
    data._x.zero_()  # type: ignore[attr-defined]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((5, 4, 4), np.float32), r"float32 \[5, 4, 4\]; give uint8 images"),
        (np.zeros((5, 4, 4), np.int64), "int64"),
        (np.zeros((5, 4, 4, 4), np.uint8), r"\[5, 4, 4, 4\]"),
        (np.zeros((5, 4), np.uint8), "uint8"),
        (np.zeros(5), r"\[5\]"),
        (np.zeros((1, 2)), "1 example"),
        (np.zeros((0, 8, 8), np.uint8), r"x\.npy"),
        (np.float64(1), "single value"),
        (np.array([[0.0, 1], [np.nan, 2], [np.inf, 3]]), "2 of 3 points"),
        (np.array([{}, {}]), "x.npy"),
    ],
)
def test_other_arrays_are_refused_in_one_line(tmp_path: Path, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_data(saved(tmp_path, x))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, "name the examples x"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, np.int64)}, "one label for each"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, "whole numbers or names"),
    ],
)
def test_archives_of_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_data(packed(tmp_path, **arrays))


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_file_of_other_content_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not an array")
    with pytest.raises(ValueError, match=name):
        open_data(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=name):
        open_data(str(tmp_path / name))


def test_points_take_no_options_of_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave resolution out"):
        open_data(saved(tmp_path, np.zeros((3, 2))), resolution=8)
