import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pushforward.metrics.diversity import (
    feature_diversity,
    ms_ssim,
    ms_ssim_diversity,
    path_length,
    perceptual_distance,
    scales,
    ssim,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def maps_by_hand(x, y):
    """Luminance and contrast-structure at each place of two images [H, W] in [0, 1], by loops."""
    place = np.arange(11) - 5
    w = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    w /= w.sum()
    shape = (x.shape[0] - 10, x.shape[1] - 10)
    luminance, structure = np.empty(shape), np.empty(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb, vab = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
            luminance[i, j] = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
            structure[i, j] = (2 * vab + 9e-4) / (va + vb + 9e-4)
    return luminance, structure


def test_ssim_is_the_formula_at_every_place():
    x = noise(1, 2, 13, 15)
    y = (0.6 * x + 0.4 * noise(1, 2, 13, 15, seed=1)).astype(np.uint8)
    expected = np.mean([np.prod(maps_by_hand(x[0, c] / 255, y[0, c] / 255), axis=0).mean() for c in range(2)])
    assert ssim(x, y) == pytest.approx([expected], rel=1e-10)


def test_ms_ssim_takes_structure_at_each_scale_and_luminance_at_the_last():
    x = noise(1, 1, 45, 49)
    y = np.clip(0.7 * x + 40 + 0.1 * noise(1, 1, 45, 49, seed=1), 0, 255).astype(np.uint8)
    a, b, expected = x[0, 0] / 255, y[0, 0] / 255, 1.0
    weights = np.array([0.0448, 0.2856, 0.3001])
    for scale, weight in enumerate(weights / weights.sum()):
        luminance, structure = maps_by_hand(a, b)
        expected *= (structure if scale < 2 else luminance * structure).mean() ** weight
        h, w = a.shape[0] // 2 * 2, a.shape[1] // 2 * 2
        a, b = (t[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for t in (a, b))
    assert scales(45, 49) == 3
    assert ms_ssim(x, y) == pytest.approx([expected], rel=1e-10)


@pytest.mark.parametrize("side", [11, 32, 64, 180])
@pytest.mark.parametrize("form", [ssim, ms_ssim])
def test_an_image_is_1_like_itself(form, side):
    x = noise(2, 3, side, side)
    x[1] = 7
    assert form(x, x.copy()) == pytest.approx([1, 1], abs=1e-12)


def test_flat_images_differ_by_their_luminance_alone():
    x, y = np.full((1, 1, 32, 32), 51, np.uint8), np.full((1, 1, 32, 32), 204, np.uint8)
    luminance = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert ssim(x, y) == pytest.approx([luminance], rel=1e-9)
    assert ms_ssim(x, y) == pytest.approx([luminance ** (0.2856 / (0.0448 + 0.2856))], rel=1e-9)


def test_an_image_and_its_negative_are_unlike_and_no_power_of_a_negative_number_is_nan():
    x = noise(1, 1, 64, 64)
    assert ssim(x, 255 - x)[0] < -0.5
    assert ms_ssim(x, 255 - x) == pytest.approx([0], abs=1e-12)


def test_bytes_and_floats_with_their_range_agree_in_any_batch():
    x, y = noise(70, 1, 22, 22), noise(70, 1, 22, 22, seed=1)
    expected = ms_ssim(x, y)
    for low, high in ((0, 1), (-1, 1)):
        a, b = (torch.from_numpy(t.astype(np.float64) / 255 * (high - low) + low) for t in (x, y))
        assert ms_ssim(a, b, (low, high)) == pytest.approx(expected, rel=1e-9)
    assert ms_ssim(x[65:66], y[65:66]) == pytest.approx(expected[65:66], rel=1e-12)
    x.flags.writeable = False
    assert ms_ssim(torch.from_numpy(y), x[::-1][::-1]) == pytest.approx(expected, rel=1e-12)


def test_scales_are_as_many_as_hold_the_window():
    assert [scales(s, 300) for s in (11, 21, 22, 43, 44, 87, 88, 175, 176, 1024)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_diversity_is_1_for_one_image_repeated_and_falls_with_variety():
    rng = np.random.default_rng(2)
    base = rng.integers(64, 192, size=(1, 1, 24, 24))
    alike, unlike = ((base + rng.integers(-s, s + 1, size=(60, 1, 24, 24))).astype(np.uint8) for s in (4, 60))
    one = ms_ssim_diversity(np.repeat(alike[:1], 10, axis=0))
    assert (one.low, one.high) == pytest.approx((1, 1), abs=1e-9)
    near, far = ms_ssim_diversity(alike), ms_ssim_diversity(unlike)
    assert far.high < near.low < 1
    assert ms_ssim_diversity(alike, pairs=20, seed=3) == ms_ssim_diversity(alike, pairs=20, seed=3)
    assert ms_ssim_diversity(alike, pairs=20, seed=4) != ms_ssim_diversity(alike, pairs=20, seed=3)


def layers(x):
    return [x, F.avg_pool2d(x, 2)]


def test_perceptual_distance_is_2_for_features_at_right_angles_4_for_opposite_ones_and_blind_to_scale():
    a, b = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    a[:, 0], b[:, 1] = 5, 0.1
    assert perceptual_distance([a], [b]).item() == pytest.approx(2, rel=1e-12)
    assert perceptual_distance([a], [-b - 7 * a]).item() == pytest.approx(2 + 2 / math.hypot(1, 0.1 / 35), rel=1e-9)
    assert perceptual_distance([a, a], [-a, 3 * a]).item() == pytest.approx(4, rel=1e-9)
    assert perceptual_distance([torch.zeros_like(a)], [a]).item() == pytest.approx(1, rel=1e-12)


def test_feature_diversity_is_the_mean_over_pairs_and_0_for_one_image():
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((300, 3, 4, 4)))
    found = feature_diversity(x, layers)
    # Directions drawn evenly are at right angles on average, at every place of both layers.
    assert found.low <= 4 <= found.high
    assert found.stderr == pytest.approx(0.04, rel=0.6)
    same = feature_diversity(x[:1].expand(8, -1, -1, -1), layers)
    assert (same.low, same.high) == pytest.approx((0, 0), abs=1e-12)


def test_no_image_is_in_two_pairs():
    seen = []

    def spy(x):
        seen.extend(x[:, 0, 0, 0].tolist())
        return [x]

    feature_diversity(torch.arange(1.0, 201).reshape(200, 1, 1, 1), spy)
    assert sorted(seen) == list(range(1, 201))


def squared(a, b):
    return (a - b).square().flatten(1).sum(1)


def test_on_a_line_of_latents_a_linear_generator_has_its_ends_distance_squared():
    rng = torch.Generator().manual_seed(0)
    matrix, w = torch.randn(5, 7, generator=rng), torch.randn(100, 5, generator=rng, dtype=torch.float64)
    found = path_length(lambda w: (w.float() @ matrix)[:, :, None, None].double(), squared, w, "w", epsilon=1e-2)
    expected = ((w[1::2] - w[::2]) @ matrix.double()).square().sum(1)
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-4)
    assert found.stderr == pytest.approx(float(expected.std()) / math.sqrt(50), rel=1e-3)


def test_on_the_sphere_the_identity_has_the_angle_squared():
    z = torch.randn(60, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = 3 * F.normalize(z, dim=1)
    angles = torch.acos((z[::2] * z[1::2]).sum(1) / 9)
    found = path_length(lambda z: z[:, :, None, None], squared, z)
    assert found.value == pytest.approx(float(9 * angles.square().mean()), rel=1e-6)
    line = path_length(lambda z: z[:, :, None, None], squared, z, "w")
    assert line.value == pytest.approx(float((z[::2] - z[1::2]).square().sum(1).mean()), rel=1e-6)
    assert line.value < found.value


@pytest.mark.parametrize("space", ["z", "w"])
def test_equal_ends_are_no_path(space):
    z = torch.ones(8, 3).double()
    assert path_length(lambda z: z[:, :, None, None], squared, z, space).value == pytest.approx(0, abs=1e-12)


def test_the_lowest_and_highest_of_each_hundred_paths_are_left_out():
    w = torch.zeros(2 * 301, 1).double()
    w[1::2, 0] = torch.arange(301).double()
    w[1] = 1e4  # path 0 is wild
    found = path_length(lambda w: w[:, :, None, None], squared, w, "w")
    kept = np.sort(np.r_[np.arange(1, 301) ** 2, 1e8])[3:-3]
    assert found.value == pytest.approx(kept.mean(), rel=1e-5)


def test_the_crop_of_faces_is_the_papers():
    seen = []

    def distance(a, b):
        seen.append(a)
        return squared(a, b)

    image = torch.arange(256.0).reshape(1, 1, 16, 16)
    path_length(lambda w: image.expand(len(w), -1, -1, -1), distance, torch.zeros(4, 2), "w", crop_faces=True)
    assert torch.equal(seen[0][0], image[0, :, 6:14, 4:12])


def test_the_seed_decides_the_places_and_batches_and_global_state_do_not_count(monkeypatch):
    w = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    state = torch.random.get_rng_state()

    def bend(w):
        return (3 * w).sin()[:, :, None, None]

    found = path_length(bend, squared, w, "w", epsilon=1e-2, seed=1)
    monkeypatch.setattr("pushforward.metrics.diversity.BATCH", 7)
    assert vars(path_length(bend, squared, w, "w", epsilon=1e-2, seed=1)) == pytest.approx(vars(found), rel=1e-6)
    assert path_length(bend, squared, w, "w", epsilon=1e-2, seed=2).value != found.value
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ssim(noise(1, 1, 10, 40), noise(1, 1, 10, 40)), "at least 11×11, got 10×40"),
        (lambda: ssim(noise(1, 1, 20, 20), noise(2, 1, 20, 20)), "pairs of one shape"),
        (
            lambda: ssim(np.zeros((1, 1, 20, 20)), np.zeros((1, 1, 20, 20))),
            "value_range, got float64",
        ),
        (lambda: ssim(np.ones((1, 1, 20, 20)) * 255, np.zeros((1, 1, 20, 20)), (0, 1)), r"in \[0, 1\], got 255"),
        (lambda: ssim(np.full((1, 1, 20, 20), np.nan), np.zeros((1, 1, 20, 20)), (0, 1)), "got nan"),
        (lambda: ms_ssim(noise(20, 20), noise(20, 20)), r"images must be \[N, C, H, W\]"),
        (lambda: ms_ssim_diversity(noise(3, 1, 20, 20)), "at most half of the 3 images, got 1"),
        (lambda: ms_ssim_diversity(noise(9, 1, 20, 20), pairs=5), "at most half of the 9 images, got 5"),
        (lambda: feature_diversity(torch.full((4, 1, 2, 2), torch.nan), layers), "NaN or inf for 2 pairs"),
        (lambda: perceptual_distance([], []), "lists of equal maps"),
        (lambda: path_length(layers, squared, torch.zeros(5, 2)), "even number of rows"),
        (lambda: path_length(layers, squared, torch.zeros(4, 2), "x"), "space 'z' or 'w'"),  # pyright: ignore
        (
            lambda: path_length(lambda z: z, lambda a, b: a.sum(1) / 0, torch.ones(4, 2)),
            "NaN or inf for 2 paths",
        ),
    ],
)
def test_what_has_no_diversity_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
