import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pushforward.pictures import alphas, around, grid, save_png, scatter, to_uint8


def _numbered(n: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.arange(n * height * width * channels).reshape(n, height, width, channels).astype(np.uint8)


def test_minus_one_zero_and_one_are_black_grey_and_white_and_what_is_outside_is_clamped():
    x = torch.tensor([-1.0, 0.0, 1.0, -1.5, 7.0, -math.inf, math.inf]).reshape(1, 1, 1, 7)
    # 0 is 127.5, and a half goes to the even 128.
    assert to_uint8(x)[0, 0, :, 0].tolist() == [0, 128, 255, 0, 255, 0, 255]


def test_bytes_survive_the_way_to_floats_and_back():
    every = torch.arange(256).reshape(1, 1, 16, 16)
    x = every.float() / 127.5 - 1
    assert np.array_equal(to_uint8(x)[..., 0], every[0].numpy())


def test_a_dim_image_stays_dim_because_nothing_is_stretched_to_its_own_extremes():
    x = torch.linspace(-0.1, 0.1, 64).reshape(1, 1, 8, 8)
    pixels = to_uint8(x)
    assert (pixels.min(), pixels.max()) == (115, 140)


def test_channels_go_last_in_their_order():
    x = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(2, 3, 4, 5)
    pixels = to_uint8(x)
    assert pixels.shape == (2, 4, 5, 3)
    assert pixels[1, 3, 4].tolist() == [0, 128, 255]


def test_half_precision_and_gradients_are_no_hindrance():
    x = torch.ones(1, 1, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert (to_uint8(x) == 255).all()


def test_nan_and_wrong_shapes_are_refused_with_what_was_got():
    with pytest.raises(ValueError, match="got 1 NaN"):
        to_uint8(torch.tensor([0.0, math.nan]).reshape(1, 1, 1, 2))
    with pytest.raises(ValueError, match=r"got the shape \(3, 8, 8\)"):
        to_uint8(torch.zeros(3, 8, 8))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 11),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    channels=st.sampled_from([1, 3]),
    columns=st.integers(1, 12),
    scale=st.integers(1, 3),
    gap=st.integers(0, 3),
)
def test_every_pixel_of_every_tile_is_where_the_docstring_says(n, size, channels, columns, scale, gap):
    height, width = size
    images = _numbered(n, height, width, channels)
    picture = grid(images, columns, scale, gap, background=77)
    columns = min(n, columns)
    rows = math.ceil(n / columns)
    assert picture.size == (columns * (width * scale + gap) - gap, rows * (height * scale + gap) - gap)
    pixels = np.asarray(picture).reshape(picture.height, picture.width, channels)
    tiled = np.zeros(pixels.shape[:2], bool)
    for i in range(n):
        y, x = (i // columns) * (height * scale + gap), (i % columns) * (width * scale + gap)
        tile = pixels[y : y + height * scale, x : x + width * scale]
        assert np.array_equal(tile, np.kron(images[i], np.ones((scale, scale, 1), np.uint8)))
        tiled[y : y + height * scale, x : x + width * scale] = True
    assert (pixels[~tiled] == 77).all()


@pytest.mark.parametrize(("side", "enlarged"), [(8, 64), (28, 56), (32, 64), (64, 64), (256, 256)])
def test_small_images_are_enlarged_to_about_64_pixels_and_large_ones_left(side, enlarged):
    assert grid(np.zeros((1, side, side, 1), np.uint8)).size == (enlarged, enlarged)


def test_grey_and_rgb_grids_keep_their_modes_and_are_near_square():
    assert grid(_numbered(9, 8, 8, 1)).mode == "L"
    picture = grid(_numbered(9, 8, 8, 3))
    assert picture.mode == "RGB"
    assert picture.width == picture.height


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8, 1), np.float32), np.zeros((8, 8, 1), np.uint8), np.zeros((2, 8, 8, 2), np.uint8)],
)
def test_a_grid_of_anything_but_byte_images_is_refused(images):
    with pytest.raises(ValueError, match="a grid needs uint8 images"):
        grid(images)


def test_an_empty_grid_and_no_columns_are_refused():
    with pytest.raises(ValueError, match="a grid needs uint8 images"):
        grid(np.zeros((0, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="at least 1"):
        grid(np.zeros((2, 8, 8, 1), np.uint8), columns=0)


def test_a_scatter_draws_points_at_their_place_with_the_second_coordinate_up():
    picture = scatter(np.full((50, 2), [0.75, 0.75]), extent=(0.0, 1.0, 0.0, 1.0), size=400)
    assert picture.mode == "RGB"
    assert picture.size == (400, 400)
    pixels = np.asarray(picture).astype(int)
    orange = (pixels[..., 0] - pixels[..., 2]) > 60
    y, x = (v.mean() / 400 for v in np.nonzero(orange))
    assert 0.7 < x < 0.78
    assert 0.22 < y < 0.33


def test_the_same_scatter_twice_is_the_same_picture():
    rng = np.random.default_rng(0)
    points, real = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    assert scatter(points, real, size=300).tobytes() == scatter(points, real, size=300).tobytes()


def test_a_few_strays_do_not_shrink_the_rest():
    points = np.random.default_rng(0).uniform(-1, 1, size=(1000, 2))
    points[0] = 1e6
    left, right, bottom, top = around(points)
    assert 2.2 < right - left < 2.6
    assert right - left == pytest.approx(top - bottom, rel=1e-9)


def test_crowded_points_are_fainter_and_none_vanishes():
    points = np.concatenate([np.zeros((5000, 2)), [[0.9, 0.9]]])
    alpha = alphas(points, (-1.0, 1.0, -1.0, 1.0))
    assert alpha[0] == pytest.approx(0.15)
    assert alpha[-1] == pytest.approx(0.9)


def test_points_that_are_no_plane_or_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"points \[n, 2\], got the shape \(4, 3\)"):
        scatter(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="got 1 of 2 that are not"):
        scatter(np.array([[0.0, np.nan], [0.0, 0.0]]))


def test_a_png_is_read_back_as_it_was_and_nothing_lies_beside_it(tmp_path: Path):
    images = _numbered(4, 8, 8, 3)
    path = tmp_path / "a.png"
    save_png(grid(images, columns=2, scale=1, gap=0), path)
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture)[8:, 8:], images[3])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_that_can_not_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.png"
    save_png(Image.new("L", (2, 2), 9), path)
    before = path.read_bytes()

    def broken(self: Image.Image, file: Path, **options: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="no space"):
        save_png(Image.new("L", (2, 2), 5), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_importing_pictures_loads_neither_torch_nor_matplotlib():
    code = "import sys, pushforward.pictures; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
