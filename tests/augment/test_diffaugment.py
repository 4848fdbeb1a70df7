import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pushforward.augment.diffaugment import DiffAugment
from pushforward.augment.draws import whole
from pushforward.core.game import Clock


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def draws(policy: str, *values: float, n: int = 1) -> dict[str, Tensor]:
    return {policy: torch.tensor([values] * n, dtype=torch.float64)}


def clock(seed: int = 0) -> Clock:
    found = Clock(seed)
    found.begin_round()
    return found


@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 1.0])
def test_brightness_adds_from_minus_to_plus_a_half(u):
    x = images(2, 3, 4, 6)
    y = DiffAugment(("color",))(x, draws("color", u, 0.5, 0.5, n=2))
    torch.testing.assert_close(y, x + u - 0.5)


@pytest.mark.parametrize("u", [0.0, 0.3, 0.5, 1.0])
def test_saturation_scales_what_differs_from_grey_and_keeps_grey(u):
    x = images(2, 3, 4, 6)
    y = DiffAugment(("color",))(x, draws("color", 0.5, u, 0.5, n=2))
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(y.mean(1, keepdim=True), grey)
    torch.testing.assert_close(y - grey, 2 * u * (x - grey))


@pytest.mark.parametrize("u", [0.0, 0.3, 0.5, 1.0])
def test_contrast_scales_what_differs_from_the_images_own_mean(u):
    x = images(2, 3, 4, 6)
    y = DiffAugment(("color",))(x, draws("color", 0.5, 0.5, u, n=2))
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(y - mean, (u + 0.5) * (x - mean))


def test_saturation_leaves_one_channel_as_it_is():
    x = images(2, 1, 4, 4)
    assert torch.equal(*(DiffAugment(("color",))(x, draws("color", 0.7, u, 0.2, n=2)) for u in (0.0, 0.9)))


def test_colours_are_changed_in_the_order_brightness_saturation_contrast():
    x = images(1, 3, 2, 2)
    lighter = x + 0.3
    grey = lighter.mean(1, keepdim=True)
    duller = grey + 0.4 * (lighter - grey)
    wanted = duller.mean() + 1.4 * (duller - duller.mean())
    torch.testing.assert_close(DiffAugment(("color",))(x, draws("color", 0.8, 0.2, 0.9)), wanted)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (12, 7)])
def test_translation_moves_by_whole_pixels_and_shows_zeros_beyond(height, width):
    x = images(1, 2, height, width)
    reach = [int(height / 8 + 0.5), int(width / 8 + 0.5)]
    seen = []
    for i in range(2 * reach[0] + 1):
        for j in range(2 * reach[1] + 1):
            u = (i + 0.5) / (2 * reach[0] + 1), (j + 0.5) / (2 * reach[1] + 1)
            down, right = i - reach[0], j - reach[1]
            wanted = torch.zeros_like(x)
            for row in range(height):
                for column in range(width):
                    if 0 <= row - down < height and 0 <= column - right < width:
                        wanted[..., row, column] = x[..., row - down, column - right]
            assert torch.equal(DiffAugment(("translation",))(x, draws("translation", *u)), wanted)
            seen.append((down, right))
    assert len(set(seen)) == len(seen) > 1


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (28, 32)])
def test_cutout_hides_what_the_authors_code_hides(height, width):
    # The authors' code (data-efficient-gans, rand_cutout): an offset from 0 to side - size % 2, indices clamped.
    sizes = [int(height / 2 + 0.5), int(width / 2 + 0.5)]
    counts = [height + 1 - sizes[0] % 2, width + 1 - sizes[1] % 2]
    x = images(1, 2, height, width)
    for i in range(counts[0]):
        j = (3 * i + 1) % counts[1]
        wanted = x.clone()
        rows = (torch.arange(sizes[0]) + i - sizes[0] // 2).clamp(0, height - 1)
        columns = (torch.arange(sizes[1]) + j - sizes[1] // 2).clamp(0, width - 1)
        wanted[:, :, rows[:, None], columns] = 0
        u = (i + 0.5) / counts[0], (j + 0.5) / counts[1]
        assert torch.equal(DiffAugment(("cutout",))(x, draws("cutout", *u)), wanted)


def test_whole_numbers_are_uniform_and_never_leave_their_range():
    last = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    for low, high in [(0, 1), (-4, 4), (0, 32), (0, 1023)]:
        assert whole(torch.tensor([0.0, last]), low, high).tolist() == [low, high]
    counts = whole(clock().uniform(90_000), -4, 4).add(4).bincount()
    assert ((counts - 10_000).abs() < 5 * math.sqrt(10_000 * 8 / 9)).all()


def test_colours_have_the_papers_ranges():
    x = torch.tensor([0.5, 0.0, -0.5]).view(1, 3, 1, 1).expand(20_000, 3, 1, 1)
    y = DiffAugment(("color",))(x, DiffAugment(("color",)).draws(clock(), 20_000, (3, 1, 1))).flatten(1)
    shift, scale = y.mean(1), y[:, 0] - y[:, 1]  # scale: ½ · U(0, 2) · U(½, 1½)
    assert shift.min() >= -0.5
    assert shift.max() < 0.5
    assert shift.mean().item() == pytest.approx(0, abs=5 * math.sqrt(1 / 12 / 20_000))
    assert shift.var().item() == pytest.approx(1 / 12, rel=0.03)
    assert scale.mean().item() == pytest.approx(0.5, rel=0.03)
    assert scale.square().mean().item() == pytest.approx((1 / 4) * (4 / 3) * (13 / 12), rel=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_first_and_second_order_are_right(channels):
    augment = DiffAugment()
    x = images(2, channels, 4, 5).requires_grad_()
    given = augment.draws(clock(), 2, (channels, 4, 5))
    assert gradcheck(lambda x: augment(x, given), x)
    assert gradgradcheck(lambda x: augment(x, given).sin(), x)


def test_a_cut_batch_with_cut_draws_gives_what_the_whole_gives():
    augment, x = DiffAugment(), images(7, 3, 8, 8).float()
    given = augment.draws(clock(), 7, (3, 8, 8))
    parts = [augment(x[s], {k: v[s] for k, v in given.items()}) for s in (slice(0, 3), slice(3, 7))]
    torch.testing.assert_close(torch.cat(parts), augment(x, given), atol=1e-6, rtol=0)


def test_without_draws_the_numbers_are_those_of_torchs_own_generator():
    augment, x = DiffAugment(), images(4, 3, 8, 8)
    torch.manual_seed(0)
    first = augment(x)
    torch.manual_seed(0)
    again = augment(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(x))


def test_type_and_shape_are_kept_and_autocast_changes_nothing():
    augment, x = DiffAugment(), images(2, 3, 8, 12).bfloat16()
    given = augment.draws(clock(), 2, (3, 8, 12))
    y = augment(x, given)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(x, given), y)


def test_only_the_policy_named_is_drawn_and_made():
    assert DiffAugment(("cutout",)).draws(clock(), 3, (1, 8, 8)).keys() == {"cutout"}
    x = torch.ones(50, 1, 8, 8)
    assert set(DiffAugment(("translation", "cutout"))(x).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("policy", [("colour",), ()])
def test_a_policy_that_is_none_is_refused_with_those_there_are(policy):
    with pytest.raises(ValueError, match="color, translation, cutout, got"):
        DiffAugment(policy)


def test_draws_for_another_number_of_images_are_refused():
    augment = DiffAugment()
    with pytest.raises(ValueError, match="'color' for 4 images and 5 images; cut both alike"):
        augment(images(5, 1, 8, 8), augment.draws(clock(), 4, (1, 8, 8)))
