import numpy as np
import pytest
import torch
from by_formula import image, uniform
from PIL import Image

from pushforward.encoders.resize import MODES, resized

SIZES = [((32, 32), (299, 299)), ((300, 420), (224, 224)), ((7, 40), (16, 9)), ((1, 1), (5, 3)), ((64, 64), (64, 20))]


def tensorflow1(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow 1's resize_bilinear(align_corners=False), pixel by pixel."""
    out = np.zeros((x.shape[0], height, width), np.float32)
    down, across = np.float32(x.shape[1] / height), np.float32(x.shape[2] / width)
    for i in range(height):
        y = np.float32(i) * down
        top, bottom = int(y), min(int(y) + 1, x.shape[1] - 1)
        for j in range(width):
            z = np.float32(j) * across
            left, right = int(z), min(int(z) + 1, x.shape[2] - 1)
            above = x[:, top, left] + (x[:, top, right] - x[:, top, left]) * (z - left)
            below = x[:, bottom, left] + (x[:, bottom, right] - x[:, bottom, left]) * (z - left)
            out[:, i, j] = above + (below - above) * (y - top)
    return out


@pytest.mark.parametrize(("old", "new"), [(o, n) for o, n in SIZES if n[0] < 200] + [((32, 20), (50, 61))])
def test_legacy_tf_is_tensorflow_1s_loop(old, new):
    x = image(*old)
    got = resized(x[None], new, "legacy-tf")[0].numpy()
    np.testing.assert_allclose(got, tensorflow1(x.numpy().astype(np.float32), *new), rtol=0, atol=1e-4)


def test_legacy_tf_reads_pixel_i_at_i_times_the_step():
    ramp = torch.arange(8, dtype=torch.uint8).mul(10).view(1, 1, 1, 8)
    assert resized(ramp, (1, 4), "legacy-tf").flatten().tolist() == [0, 20, 40, 60]
    expected = [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 70]  # the last is repeated, not extended
    assert resized(ramp, (1, 16), "legacy-tf").flatten().tolist() == expected


def test_legacy_pytorch_reads_pixel_centres_and_does_not_average_what_it_skips():
    ramp = torch.arange(8, dtype=torch.uint8).mul(10).view(1, 1, 1, 8)
    assert resized(ramp, (1, 4), "legacy-pytorch").flatten().tolist() == [5, 25, 45, 65]
    assert resized(ramp, (1, 2), "legacy-pytorch").flatten().tolist() == [15, 55]
    spike = torch.zeros(1, 1, 1, 16, dtype=torch.uint8)
    spike[..., 5] = 160
    assert float(resized(spike, (1, 4), "legacy-pytorch").max()) == 80.0  # centre 5.5, between pixels 5 and 6
    spike = spike.roll(-1, 3)
    assert float(resized(spike, (1, 4), "legacy-pytorch").abs().max()) == 0.0  # pixel 4 is never read
    assert float(resized(spike, (1, 4), "clean").max()) > 20


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_clean_is_pillows_bicubic_on_float_channels_clipped_and_not_rounded(old, new):
    x = image(*old)
    pillow = [
        np.asarray(Image.fromarray(c.astype(np.float32)).resize(new[::-1], Image.Resampling.BICUBIC)) for c in x.numpy()
    ]
    got = resized(x[None], new, "clean")[0].numpy()
    np.testing.assert_allclose(got, np.stack(pillow).clip(0, 255), rtol=0, atol=1e-4)
    assert 0 <= got.min() <= got.max() <= 255
    if old != (1, 1):
        assert np.abs(got - np.round(got)).max() > 0.3


def test_clean_clips_where_bicubic_overshoots():
    edge = torch.tensor([0, 0, 0, 255, 255, 255], dtype=torch.uint8).view(1, 1, 1, 6)
    got = resized(edge, (1, 25), "clean").flatten()
    assert float(got.min()) == 0
    assert float(got.max()) == 255


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_constant_image_stays_constant(mode, old, new):
    for level in (0, 77, 255):
        got = resized(torch.full((2, 3, *old), level, dtype=torch.uint8), new, mode)
        assert got.shape == (2, 3, *new)
        torch.testing.assert_close(got, torch.full_like(got, level), rtol=0, atol=2e-4)


@pytest.mark.parametrize("mode", MODES)
def test_at_its_own_size_an_image_is_its_own_copy_in_float32(mode):
    x = image(31, 17)[None]
    got = resized(x, (31, 17), mode)
    assert got.dtype == torch.float32
    assert torch.equal(got, x.float())
    floats = x.float()
    resized(floats, (31, 17), mode).zero_()
    assert torch.equal(floats, x.float())


@pytest.mark.parametrize("mode", ["clean", "legacy-pytorch"])
def test_mirror_images_stay_mirror_images_where_pixels_are_centred(mode):
    x = image(20, 33)[None]
    there, back = resized(x, (47, 12), mode), resized(x.flip(3), (47, 12), mode).flip(3)
    torch.testing.assert_close(there, back, rtol=0, atol=2e-4)


def test_legacy_tf_is_half_a_pixel_off_so_mirror_images_do_not_stay_so():
    x = image(20, 33)[None]
    there, back = resized(x, (47, 12), "legacy-tf"), resized(x.flip(3), (47, 12), "legacy-tf").flip(3)
    assert float((there - back).abs().max()) > 20


@pytest.mark.parametrize("mode", MODES)
def test_a_smooth_image_survives_up_and_down(mode):
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    x = (128 + 60 * torch.sin(rows / 6) * torch.cos(columns / 7)).round().to(torch.uint8)[None, None]
    back = resized(resized(x, (96, 96), mode), (24, 24), mode)
    torch.testing.assert_close(back[..., 2:-2, 2:-2], x.float()[..., 2:-2, 2:-2], rtol=0, atol=2.0)


@pytest.mark.parametrize("mode", MODES)
def test_images_do_not_depend_on_each_other_or_on_how_many_there_are(mode):
    x = torch.stack([image(40, 30), image(40, 30).flip(1), image(40, 30).flip(2)])
    together = resized(x, (64, 64), mode)
    assert torch.equal(together, torch.cat([resized(x[i : i + 1], (64, 64), mode) for i in range(3)]))
    assert resized(x[:0], (64, 64), mode).shape == (0, 3, 64, 64)


def test_large_images_are_resized_a_few_at_a_time_to_the_same_values():
    x = torch.from_numpy((255 * uniform("large", 3 * 700 * 800)).astype(np.uint8)).view(3, 1, 700, 800)
    together = resized(x, (32, 32), "clean")
    assert torch.equal(together, torch.cat([resized(x[i : i + 1], (32, 32), "clean") for i in range(3)]))


def test_what_cannot_be_resized_is_refused():
    x = image(8, 8)
    with pytest.raises(ValueError, match="clean, legacy-pytorch, legacy-tf, got 'bicubic'"):
        resized(x[None], (4, 4), "bicubic")
    with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
        resized(x, (4, 4), "clean")
    with pytest.raises(ValueError, match=r"got \(1, 3, 0, 8\)"):
        resized(x[None, :, :0], (4, 4), "clean")
