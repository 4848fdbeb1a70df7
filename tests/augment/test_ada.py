import math
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pushforward.augment import ada as module
from pushforward.augment import pixels
from pushforward.augment.ada import ADA, CHANCES, GROUPS, NORMALS, POWERS, SYM2, UNIFORMS, octaves
from pushforward.augment.controller import Controller
from pushforward.augment.draws import GlobalNumbers
from pushforward.augment.pixels import PHASE, SYM6, blit, centred, reflect, resample
from pushforward.core.game import Clock

N = 20_000
READS = ["item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "numpy", "cpu"]


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def clock(seed: int = 0) -> Clock:
    found = Clock(seed)
    found.begin_round()
    return found


def always(groups: tuple[str, ...], p: float = 1.0) -> ADA:
    """With a controller that might move p, so that p = 0 is not known beforehand."""
    return ADA(groups, Controller(p))


def only(n: int = 1, **values: float) -> dict[str, Tensor]:
    """Draws in which just the named changes fire at p = ½; a value is that of the number of the same name."""
    named = {name.replace("_", " "): value for name, value in values.items()}
    found = {}
    for kind, names in (("uniform", UNIFORMS), ("normal", NORMALS)):
        row = [named.get(name, 0.0) for name in names]
        found[kind] = torch.tensor([row] * n, dtype=torch.float64)
    fires = {" ".join(w for w in name.split() if w not in ("x", "y")) for name in named}
    found["chance"] = torch.tensor([[0.0 if name in fires else 0.9 for name in CHANCES]] * n, dtype=torch.float64)
    return found


def changed(x: Tensor, group: str, **values: float) -> Tensor:
    return always((group,), 0.5)(x, only(len(x), **values))


def chosen(p: float, n: int = N) -> module._Chosen:
    draws = ADA().draws(clock(), n, (1, 1, 1))
    return module._Chosen({name: value.double() for name, value in draws.items()}, torch.tensor(p))


def share(fires: Tensor, expected: float) -> None:
    spread = math.sqrt(max(expected * (1 - expected), 1e-9) / fires.numel())
    assert fires.double().mean().item() == pytest.approx(expected, abs=4.5 * spread + 1e-9)


def moments(values: Tensor, mean: float, deviation: float) -> None:
    assert values.mean().item() == pytest.approx(mean, abs=4.5 * deviation / math.sqrt(len(values)))
    assert values.std().item() == pytest.approx(deviation, rel=0.03)


# p = 0, and what is left alone


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 32), (3, 5, 8), (1, 1, 7), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("groups", [*[(g,) for g in GROUPS], GROUPS], ids=str)
def test_at_p_0_every_image_is_returned_exactly(groups, shape):
    x = images(6, *shape).float()
    assert torch.equal(always(groups, 0.0)(x), x)


def test_not_even_a_chance_of_0_fires_at_p_0_and_every_chance_does_at_p_1():
    x = images(1, 1, 8, 8)
    draws = ADA(GROUPS).draws(clock(), 1, (1, 8, 8))
    assert torch.equal(always(GROUPS, 0.0)(x, draws | {"chance": torch.zeros(1, len(CHANCES))}), x)
    assert chosen(1.0, 1).fires("noise").all()


def test_at_a_fixed_p_of_0_nothing_is_computed():
    x = images(2, 1, 8, 8)
    assert ADA(GROUPS)(x) is x


@pytest.mark.parametrize("group", GROUPS)
def test_images_for_which_nothing_fires_are_exact_beside_others(group):
    ada, x = always((group,), 0.3), images(200, 3, 8, 8).float()
    draws = ada.draws(clock(), 200, (3, 8, 8))
    names = {
        "blit": ("flip", "turn", "move"),
        "geometry": ("scale", "rotate before", "stretch", "rotate after", "shift"),
        "color": ("brightness", "contrast", "luma flip", "hue", "saturation"),
        "filter": ("band 0", "band 1", "band 2", "band 3"),
    }.get(group, (group,))
    fired = (draws["chance"][:, [CHANCES.index(name) for name in names]] < 0.3).any(1)
    same = (ada(x, draws) == x).flatten(1).all(1)
    assert same[~fired].all()
    assert 10 < (~fired).sum() < 190
    assert (~same[fired]).double().mean() > (0.4 if group == "blit" else 0.9 if group != "geometry" else 0.6)


# pixels moved as they are


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("flip", range(2))
def test_flips_quarter_turns_and_whole_pixels_are_copies(flip, turn, side):
    x = images(2, 3, side, side)
    for u, v in [(0.5, 0.5), (0.0, 0.9), (0.99, 0.3)]:
        right, down = (round((2 * w - 1) / 8 * side) for w in (u, v))
        wanted = np.asarray(x)
        wanted = wanted[..., ::-1] if flip else wanted
        wanted = np.rot90(wanted, turn, axes=(2, 3))
        wanted = np.pad(wanted, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
        wanted = wanted[:, :, 2 - down : 2 - down + side, 2 - right : 2 - right + side]
        y = changed(x, "blit", flip=flip / 2, turn=turn / 4, move_x=u, move_y=v)
        assert torch.equal(y, torch.from_numpy(wanted.copy()))


def test_wide_images_are_turned_about_their_centre():
    x = images(1, 1, 4, 8)
    y = changed(x, "blit", turn=0.3)
    assert torch.equal(y[:, :, :, 2:6], torch.rot90(x[:, :, :, 2:6], 1, (2, 3)))
    x = images(1, 1, 4, 7)  # a quarter turn takes pixels from between pixels: it is resampled, a half turn is not
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(changed(x, "blit", turn=0.3), resample(x, quarter, x.new_zeros(1, 2)))
    assert torch.equal(changed(x, "blit", turn=0.5), torch.rot90(x, 2, (2, 3)))


@pytest.mark.parametrize("side", [1, 2, 5])
def test_mirroring_is_that_of_numpys_reflect_for_ever(side):
    wanted = np.pad(np.arange(side), 23, mode="reflect")
    assert reflect(torch.arange(-23, side + 23), side).tolist() == wanted.tolist()


def test_blits_are_uniform_over_their_ranges():
    linear, shift = module._blits(chosen(1.0), 32, 64)
    codes = (linear.flatten(1) @ torch.tensor([27.0, 9.0, 3.0, 1.0], dtype=torch.float64)).unique(return_counts=True)
    assert len(codes[0]) == 8
    assert ((codes[1] - N / 8).abs() < 5 * math.sqrt(N / 8)).all()
    back = module._times(linear, shift.unsqueeze(2)).squeeze(2)  # of flips and turns, up to signs and order
    assert back.abs().max() <= 8
    across = shift[linear[:, 0, 0] != 0]
    assert across[:, 0].abs().max() == 4
    assert across[:, 1].abs().max() == 8
    moments(across[:, 1], 0, math.sqrt(16**2 / 12 + 1 / 12))


# pixels moved by any map


def test_the_filter_is_orthogonal_to_its_shifts_by_two():
    h = np.array(SYM6)
    overlaps = [h[2 * k :] @ h[: len(h) - 2 * k] for k in range(6)]
    np.testing.assert_allclose(overlaps, [1, 0, 0, 0, 0, 0], atol=1e-10)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-10)
    np.testing.assert_allclose([SYM2 @ SYM2, SYM2[2:] @ SYM2[:2], SYM2.sum()], [1, 0, math.sqrt(2)], atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 12), (1, 3)])
def test_resampling_by_whole_pixels_undoes_its_own_filter(height, width):
    x = images(3, 2, height, width)
    eye = torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
    shift = torch.tensor([[0.0, 0.0], [3.0, -2.0], [-40.0, 17.0]], dtype=torch.float64)
    torch.testing.assert_close(resample(x, eye, shift), blit(x, eye, shift), atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 2.0, math.pi])
@pytest.mark.parametrize("scale", [0.65, 0.9])
def test_a_smooth_image_is_shown_where_it_is_moved_to(angle, scale):
    # With the middle of the filter's taps for its centre, the error at half a turn is 0.12.
    def picture(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-((x - 3) ** 2 + 2 * (y + 2) ** 2) / 18)

    at = centred(32, torch.zeros(1, dtype=torch.float64))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[[cos, -sin], [sin, cos]]], dtype=torch.float64)
    shift = torch.tensor([[0.3, 0.45]], dtype=torch.float64)
    moved = resample(picture(at[None, :], at[:, None])[None, None], linear, shift)
    wanted = picture(*(pixels.position(linear[:, i], shift[:, i], at, at) for i in (0, 1)))
    assert (moved[0] - wanted).abs().max() < 0.012


def test_the_filters_centre_is_where_upsampling_puts_a_pixel():
    side = 33
    up = pixels.upsampling(side, torch.float64, torch.device("cpu"))
    ramp = up @ torch.arange(side, dtype=torch.float64)
    inside = torch.arange(12, 50, dtype=torch.float64)
    torch.testing.assert_close(ramp[12:50], (inside - PHASE) / 2, atol=1e-6, rtol=0)


def test_a_constant_image_stays_constant_under_any_map():
    ada, x = always(("blit", "geometry")), torch.full((64, 1, 7, 9), 0.7, dtype=torch.float64)
    torch.testing.assert_close(ada(x), x, atol=1e-9, rtol=0)


def test_one_map_does_what_the_changes_do_one_after_the_other():
    values = {"scale": 0.7, "rotate_before": 0.6, "stretch": -0.8, "rotate_after": 0.3, "shift_x": 0.4, "shift_y": -0.2}
    draws = only(1, **values)
    of_all = module._bends(module._Chosen(draws, torch.tensor(0.75)), 16, 24)

    def matrix(a: float, b: float, c: float, d: float, e: float = 0, f: float = 0) -> np.ndarray:
        return np.array([[a, b, e], [c, d, f], [0, 0, 1]])

    def rotation(u: float) -> np.ndarray:
        angle = -(2 * u - 1) * math.pi  # the sign is the same for all and of no account
        return matrix(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))

    scale, stretch = 2 ** (0.2 * 0.7), 2 ** (0.2 * -0.8)
    forward = (
        matrix(1, 0, 0, 1, 0.4 / 8 * 16, -0.2 / 8 * 24)
        @ rotation(0.3)
        @ matrix(stretch, 0, 0, 1 / stretch)
        @ rotation(0.6)
        @ matrix(scale, 0, 0, scale)
    )
    backward = np.linalg.inv(forward)
    np.testing.assert_allclose(of_all[0][0], backward[:2, :2], atol=1e-12)
    np.testing.assert_allclose(of_all[1][0], backward[:2, 2], atol=1e-12)


def test_blits_come_before_the_other_maps():
    x = images(1, 1, 16, 16)
    both = {"flip": 0.5, "turn": 0.3, "move_x": 0.9, "move_y": 0.1}
    bend = {"rotate_before": 0.52, "shift_x": 0.01, "shift_y": 0.0}
    y = always(("blit", "geometry"), 0.75)(x, only(1, **both, **bend))
    first = changed(x, "blit", **both)
    after = always(("geometry",), 0.75)(first, only(1, **bend))
    inside = (slice(None), slice(None), slice(5, 11), slice(5, 11))  # no mirrored pixels
    assert (y - after)[inside].abs().max() < 0.35  # resampled once rather than copied first
    x = x.sin()
    smooth = torch.from_numpy(scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, 2, 2)))
    y = always(("blit", "geometry"), 0.75)(smooth, only(1, **both, **bend))
    after = always(("geometry",), 0.75)(changed(smooth, "blit", **both), only(1, **bend))
    assert (y - after)[inside].abs().max() < 0.02


def test_geometry_has_the_papers_distributions():
    linear, shift = module._bends(chosen(1.0), 32, 64)
    moments(-torch.linalg.det(linear).log2() / 2, 0, 0.2)
    stretch = torch.linalg.svdvals(linear)
    moments((stretch[:, 0] / stretch[:, 1]).log2() / 2, 0.2 * math.sqrt(2 / math.pi), 0.2 * math.sqrt(1 - 2 / math.pi))
    back = -torch.linalg.solve(linear, shift)
    moments(back[:, 0], 0, 32 / 8)
    moments(back[:, 1], 0, 64 / 8)
    # A = rotation · stretch · rotation: the angle of its conformal part is the sum of both, uniform.
    angle = torch.atan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    counts = torch.histc(angle, 12, -math.pi, math.pi)
    assert ((counts - N / 12).abs() < 5 * math.sqrt(N / 12)).all()


# how often


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_change_is_made_with_probability_p(p):
    of = chosen(p)
    for change in CHANCES:
        share(of.fires(change), p)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_one_or_both_rotations_are_made_with_probability_p(p):
    of = chosen(p)
    single = module._rotation_chance(of)
    share(of.fires("rotate before", single) | of.fires("rotate after", single), p)
    share(of.fires("rotate before", single) & of.fires("rotate after", single), (1 - math.sqrt(1 - p)) ** 2)
    share(module._bent(of), 1 - (1 - p) ** 4)


def test_numbers_are_shared_by_no_two_changes():
    draws = ADA(GROUPS).draws(clock(), 4000, (1, 2, 2))
    together = torch.cat([draws[k] for k in ("chance", "uniform", "normal")], dim=1)
    assert together.shape[1] == len(CHANCES) + len(UNIFORMS) + len(NORMALS)
    assert (torch.corrcoef(together.T) - torch.eye(together.shape[1])).abs().max() < 0.09


# colour


def in_turn(x: Tensor, b: float, c: float, flip: bool, angle: float, s: float) -> Tensor:
    """Colours of x [B, 3, H, W] changed one after the other, in homogeneous coordinates."""
    v = np.array([1, 1, 1]) / math.sqrt(3)
    along, cross = np.outer(v, v), np.cross(np.eye(3), v)
    rotation = math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) * along + math.sin(angle) * cross
    steps = [c * np.eye(3), np.eye(3) - 2 * flip * along, rotation, along + s * (np.eye(3) - along)]
    moved = np.moveaxis(x.numpy(), 1, -1) + b
    for step in steps:
        moved = moved @ step.T
    return torch.from_numpy(np.moveaxis(moved, -1, 1))


@pytest.mark.parametrize("flip", [False, True])
def test_colours_are_changed_in_the_papers_order_by_one_map(flip):
    x = images(2, 3, 4, 5)
    y = changed(x, "color", brightness=1.3, contrast=-0.7, luma_flip=flip / 2, hue=0.8, saturation=0.4)
    wanted = in_turn(x, 0.2 * 1.3, 2 ** (0.5 * -0.7), flip, (2 * 0.8 - 1) * math.pi, 2**0.4)
    torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize("value", [-2.0, -0.1, 1.5])
@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_shift_and_scale(channels, value):
    x = images(2, channels, 4, 5)
    torch.testing.assert_close(changed(x, "color", brightness=value), x + 0.2 * value)
    torch.testing.assert_close(changed(x, "color", contrast=value), x * 2 ** (0.5 * value))


def test_hue_and_saturation_keep_luma_and_the_luma_flip_only_turns_it_round():
    x = images(2, 3, 4, 5)
    grey = x.mean(1)
    for values in ({"hue": 0.1}, {"saturation": 2.0}, {"hue": 0.9, "saturation": -3.0}):
        y = changed(x, "color", **values)
        torch.testing.assert_close(y.mean(1), grey)
        assert not torch.allclose(y, x, atol=0.1)
    flipped = changed(x, "color", luma_flip=0.5)
    torch.testing.assert_close(flipped.mean(1), -grey)
    torch.testing.assert_close(flipped - flipped.mean(1, keepdim=True), x - x.mean(1, keepdim=True))


def test_a_third_of_a_turn_of_hue_hands_the_channels_on():
    x = images(2, 3, 4, 5)
    y = changed(x, "color", hue=0.5 + 1 / 3)
    torch.testing.assert_close(y, x.roll(1, 1))


def test_grey_images_of_three_channels_are_changed_as_those_of_one():
    ada, x = always(("color",)), images(50, 1, 2, 2)
    draws = ada.draws(clock(), 50, (1, 2, 2))
    torch.testing.assert_close(ada(x.expand(-1, 3, -1, -1), draws), ada(x, draws).expand(-1, 3, -1, -1))


def test_colours_have_the_papers_distributions():
    of = chosen(1.0)
    x = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64).view(1, 3, 1, 1).expand(N, 3, 1, 1)
    y = module._color(x, of).flatten(1)
    contrast = 2 ** (0.5 * of.normal("contrast"))
    moments(y.mean(1) / contrast, 0, 0.2)  # the flip's sign and brightness are independent
    across = (y - y.mean(1, keepdim=True)).norm(dim=1) / contrast / math.sqrt(2)
    moments(across.log2(), 0, 1.0)
    moments(contrast.log2(), 0, 0.5)
    angle = torch.atan2((y[:, 0] + y[:, 2] - 2 * y[:, 1]) / math.sqrt(3), y[:, 0] - y[:, 2])
    counts = torch.histc(angle, 12, -math.pi, math.pi)
    assert ((counts - N / 12).abs() < 5 * math.sqrt(N / 12)).all()
    grey = module._color(torch.ones(N, 1, 1, 1, dtype=torch.float64), chosen(1.0)).flatten()
    share(grey / contrast - 0.2 * of.normal("brightness") * (grey / contrast).sign() < 0, 0.5)


# filters, noise, cutout


@pytest.mark.parametrize("side", [1, 4, 32])
def test_octaves_sum_to_the_image_and_only_the_lowest_sees_its_mean(side):
    bands = octaves(side, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(bands.sum(0), torch.eye(side, dtype=torch.float64), atol=1e-12, rtol=0)
    means = bands.sum(2)
    torch.testing.assert_close(means[0], torch.ones(side, dtype=torch.float64))
    torch.testing.assert_close(means[1:], torch.zeros(3, side, dtype=torch.float64))


def test_octaves_pass_the_frequencies_that_they_are_named_after():
    side = 257  # a mirrored row of 257 pixels holds each cosine whole
    bands = octaves(side, torch.float64, torch.device("cpu"))
    at = torch.arange(side, dtype=torch.float64)
    for octave, frequency in enumerate([0.02, 0.09, 0.18, 0.4]):
        cycles = round(frequency * 256 * 2) / 2 / 256
        wave = (2 * math.pi * cycles * at).cos()
        gains = (bands @ wave) @ wave / (wave @ wave)
        assert gains.argmax() == octave
        assert gains[octave] > 0.6


def test_filtering_is_a_mirrored_convolution_along_both_sides():
    x, gains = images(1, 2, 6, 40), [1.2, -0.5, 0.3, -1.0]
    y = changed(x, "filter", **{f"band_{i}": g for i, g in enumerate(gains)})
    factors = np.ones(4)
    for i, g in enumerate(gains):
        own = np.ones(4)
        own[i] = 2**g
        factors *= own / math.sqrt(np.array([10, 1, 1, 1]) / 13 @ own**2)
    taps = factors @ np.stack(module._band_filters())
    wanted = scipy.ndimage.convolve1d(x.numpy(), taps, axis=2, mode="mirror")
    wanted = scipy.ndimage.convolve1d(wanted, taps, axis=3, mode="mirror")
    np.testing.assert_allclose(y, wanted, atol=1e-12)


@pytest.mark.parametrize("band", range(4))
def test_the_gain_of_one_octave_keeps_the_power_of_a_natural_image(band):
    # Of power in octaves as POWERS has it, along one side: 1 / sqrt of what is left of the mean is the others' gain.
    value = 1.7
    low = changed(torch.ones(1, 1, 64, 64, dtype=torch.float64), "filter", **{f"band_{band}": value}).mean().item()
    own, others = (2**value) ** 2 * POWERS[band], sum(POWERS) - POWERS[band]
    shrunk = math.sqrt((own + others) / sum(POWERS))
    assert low == pytest.approx((2**value / shrunk if band == 0 else 1 / shrunk) ** 2, rel=1e-9)


def test_noise_has_a_half_normal_deviation_of_a_tenth():
    ada = always(("noise",))
    x = torch.zeros(2000, 3, 8, 8)
    y = ada(x, ada.draws(clock(), 2000, (3, 8, 8))).flatten(1)
    moments(y.std(1), 0.1 * math.sqrt(2 / math.pi), 0.1 * math.sqrt(1 - 2 / math.pi))
    assert (y.mean(1) / y.std(1)).abs().max() < 6 / math.sqrt(192)
    assert not torch.allclose(y[:, :64], y[:, 64:128])


@pytest.mark.parametrize(("u", "v"), [(0.0, 0.5), (0.5, 0.5), (0.99, 0.13)])
def test_cutout_hides_the_pixels_within_a_quarter_of_each_side(u, v):
    x = images(1, 2, 8, 12) + 2
    y = changed(x, "cutout", cutout_x=u, cutout_y=v)
    for row in range(8):
        for column in range(12):
            hidden = abs((column + 0.5) / 12 - u) < 0.25 and abs((row + 0.5) / 8 - v) < 0.25
            assert torch.equal(y[..., row, column], x[..., row, column] * (not hidden))


def test_cutout_hides_three_eighths_of_each_side_on_average():
    ada = always(("cutout",))
    y = ada(torch.ones(4000, 1, 16, 16), ada.draws(clock(), 4000, (1, 16, 16)))
    # E |[u - ¼, u + ¼] ∩ [0, 1]| = 7/16, for both sides
    assert 1 - y.mean().item() == pytest.approx((7 / 16) ** 2, rel=0.02)


# gradients, batches, devices


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 4)], ids=str)
def test_gradients_of_first_and_second_order_are_right(group, shape):
    ada, x = always((group,)), images(2, *shape).requires_grad_()
    given = ada.draws(clock(), 2, shape)
    assert gradcheck(lambda x: ada(x, given), x, fast_mode=True)
    assert gradgradcheck(lambda x: ada(x, given).sin(), x, fast_mode=True)


def test_the_slope_of_a_critic_of_augmented_images_is_differentiated_in_full():
    # R1 through all of ADA, against differences of the penalty as its critic's weight is moved.
    ada, x = always(GROUPS), images(3, 3, 6, 6).requires_grad_()
    given = ada.draws(clock(), 3, (3, 6, 6))
    w = images(1, 3, 6, 6, seed=1)[0].requires_grad_()

    def penalty(w: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad((ada(x, given) * w).sin().sum(), x, create_graph=True)
        return slope.square().sum()

    (found,) = torch.autograd.grad(penalty(w), w)
    step = 1e-5 * images(1, 3, 6, 6, seed=2)[0]
    difference = penalty(w + step) - penalty(w - step)
    assert (found * step).sum().item() == pytest.approx(difference.item() / 2, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_cut_batch_with_cut_draws_gives_what_the_whole_gives(channels):
    ada, x = always(GROUPS, 0.6), images(9, channels, 8, 8).float()
    given = ada.draws(clock(), 9, (channels, 8, 8))
    parts = [ada(x[s], {k: v[s] for k, v in given.items()}) for s in (slice(0, 1), slice(1, 5), slice(5, 9))]
    torch.testing.assert_close(torch.cat(parts), ada(x, given), atol=1e-5, rtol=0)


def test_two_processes_draw_what_one_would():
    ada = ADA(GROUPS)
    whole = ada.draws(clock(), 6, (1, 4, 4))
    for rank in range(2):
        own = Clock(rank=rank, world=2)
        own.begin_round()
        for name, value in ada.draws(own, 3, (1, 4, 4)).items():
            assert torch.equal(value, whole[name][3 * rank : 3 * rank + 3])


def test_the_draws_are_the_same_whatever_p_is():
    low, high = (always(GROUPS, p).draws(clock(), 4, (1, 4, 4)) for p in (0.0, 0.9))
    assert all(torch.equal(low[name], high[name]) for name in low)


def test_resampling_just_the_images_that_need_it_equals_resampling_all(monkeypatch):
    ada, x = always(("blit", "geometry"), 0.4), images(40, 2, 8, 8)
    given = ada.draws(clock(), 40, (2, 8, 8))
    seen = []

    def counted(x: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
        seen.append(len(x))
        return resample(x, linear, shift)

    monkeypatch.setattr(module, "resample", counted)
    y = ada(x, given)
    of = module._Chosen({k: v.double() for k, v in given.items()}, ada.controller.p)
    linear, shift = module._blits(of, 8, 8)
    bent, shifted = module._bends(of, 8, 8)
    everything = resample(x, linear @ bent, shift + (linear @ shifted.unsqueeze(2)).squeeze(2))
    rest = module._bent(of)
    assert seen == [int(rest.sum())]
    assert 0 < seen[0] < 40
    torch.testing.assert_close(y, torch.where(rest[:, None, None, None], everything, blit(x, linear, shift)))


def test_the_host_reads_nothing_from_the_device(monkeypatch):
    # Tensors on the device "meta" hold no numbers: to ask for one raises.
    def refuse(*_: object) -> None:
        raise AssertionError("the host waited for the device")

    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    ada = always(GROUPS, 0.5)
    x = torch.empty(4, 3, 8, 8, device="meta", requires_grad=True)
    draws = {k: v.to("meta") for k, v in ada.draws(clock(), 4, (3, 8, 8)).items()}
    for name in READS:
        monkeypatch.setattr(Tensor, name, refuse)
    (slope,) = torch.autograd.grad(ada(x, draws).square().sum(), x, create_graph=True)
    assert slope.shape == x.shape
    slope.square().sum().backward()


def test_type_and_shape_are_kept_and_autocast_changes_nothing():
    ada, x = always(GROUPS), images(8, 3, 8, 12).bfloat16()
    given = ada.draws(clock(), 8, (3, 8, 12))
    y = ada(x, given)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ada(x, given), y)
        single = ada(x.float(), given)
    torch.testing.assert_close(single.double(), ada(x.double(), given), atol=2e-4, rtol=2e-4)


def test_what_was_first_seen_without_gradients_can_be_differentiated_later():
    ada, x = always(GROUPS), images(4, 1, 11, 13).float()
    with torch.inference_mode():
        ada(x)
    x.requires_grad_()
    ada(x).sum().backward()
    assert x.grad is not None


def test_without_draws_the_numbers_are_those_of_torchs_own_generator():
    ada, x = always(GROUPS), images(4, 3, 8, 8)
    torch.manual_seed(0)
    first = ada(x)
    torch.manual_seed(0)
    assert torch.equal(ada(x, ada.draws(GlobalNumbers(x.device), 4, (3, 8, 8))), first)
    assert not torch.equal(ada(x), first)


def test_p_is_read_from_the_controller_at_each_call():
    controller = Controller(0.0, speed=100)
    ada, x = ADA(("cutout",), controller), torch.ones(32, 1, 8, 8)
    assert torch.equal(ada(x), x)
    controller.observe(torch.ones(4))
    controller.adjust(100)
    assert (ada(x) == 0).flatten(1).any(1).all()


@pytest.mark.parametrize("groups", [("blit", "colour"), ()])
def test_groups_that_are_none_are_refused_with_those_there_are(groups):
    with pytest.raises(ValueError, match="blit, geometry, color, filter, noise, cutout, got"):
        ADA(groups)


def test_colours_of_two_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, got 2; leave out"):
        always(("color",))(images(1, 2, 4, 4))
