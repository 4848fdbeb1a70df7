import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pushforward.data.decoding import decode, quiet

R = 16


def raw(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def quadrants(side: int = 32, mode: str = "RGB") -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    x = np.zeros((side, side, 3), np.uint8)
    h = side // 2
    x[:h, :h, 0] = x[:h, h:, 1] = x[h:, :h, 2] = x[h:, h:] = 255
    return Image.fromarray(x).convert(mode)


def corners(x: np.ndarray) -> list[list[int]]:
    """Top left, top right, bottom left, bottom right, well inside."""
    e = R // 4
    return [x[i, j].tolist() for i in (e, -e) for j in (e, -e)]


RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("JPEG", "RGB", {"quality": 100, "subsampling": 0}),
        ("JPEG", "CMYK", {"quality": 100}),
        ("TIFF", "CMYK", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("BMP", "RGB", {}),
        ("GIF", "RGB", {}),
        ("PPM", "RGB", {}),
    ],
)
def test_colours_survive_every_format(format: str, mode: str, options: dict) -> None:
    got = decode(raw(quadrants(64, mode), format, **options), R, None)
    assert got.shape == (R, R, 3)
    assert got.dtype == np.uint8
    np.testing.assert_allclose(corners(got), [RED, GREEN, BLUE, WHITE], atol=6)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_exif_rotation_moves_the_pixels(format: str, orientation: int, expected: list) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, **({"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0})}
    got = decode(raw(quadrants(64), format, **options), R, None)
    np.testing.assert_allclose(corners(got), expected, atol=8)


def test_rotation_and_cropping_agree_on_an_oblong_of_odd_size() -> None:
    x = np.random.default_rng(0).integers(64, 192, (31, 20, 3), np.uint8)  # no overshoot is clipped between the passes
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(raw(Image.fromarray(x), exif=exif), R, None)
    by_hand = decode(raw(Image.fromarray(np.rot90(x, -1).copy())), R, None)
    np.testing.assert_allclose(turned.astype(int), by_hand.astype(int), atol=1)


@pytest.mark.parametrize(("mode", "format"), [("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("L", "JPEG"), ("P", "GIF")])
def test_grey_stays_grey(mode: str, format: str) -> None:
    assert decode(raw(quadrants(32, "L").convert(mode), format), R, None).shape == (R, R)
    assert decode(raw(quadrants(32, "L").convert("RGB"), "PNG"), R, None).shape == (R, R)


def test_colour_becomes_grey_by_luma_where_one_channel_is_asked() -> None:
    got = decode(raw(quadrants()), R, 1)
    np.testing.assert_allclose(corners(got), [76, 150, 29, 255], atol=1)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "TIFF-big-endian", "TIFF-32"])
def test_sixteen_bit_grey_is_scaled_not_clipped(format: str) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16) * np.ones((64, 1), np.uint16)
    ramp[0, 0] = 40_000
    image = Image.fromarray(ramp)
    if format == "TIFF-big-endian":
        image = Image.frombytes("I;16B", (64, 64), ramp.astype(">u2").tobytes())
    if format == "TIFF-32":
        image = Image.fromarray(ramp.astype(np.int32))
    got = decode(raw(image, format.split("-")[0]), R, None)
    assert got.shape == (R, R)
    assert got.mean() == pytest.approx(ramp.mean() / 257, abs=1)
    np.testing.assert_allclose(got[R // 2], np.linspace(0, 255, 65)[2::4][:R] - 2 + 2, atol=4)


@pytest.mark.parametrize(("high", "factor"), [(1.0, 255.0), (255.0, 1.0), (65535.0, 255 / 65535)])
def test_floats_are_scaled_by_the_least_range_that_holds_them(high: float, factor: float) -> None:
    x = np.linspace(0, high, 32 * 32, dtype=np.float32).reshape(32, 32)
    assert decode(raw(Image.fromarray(x), "TIFF"), R, None).mean() == pytest.approx(x.mean() * factor, abs=1)


def test_floats_that_are_not_numbers_are_refused() -> None:
    x = np.zeros((8, 8), np.float32)
    x[2, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        decode(raw(Image.fromarray(x), "TIFF"), R, None)


def test_colour_hidden_under_transparency_does_not_show() -> None:
    x = np.zeros((32, 32, 4), np.uint8)
    x[:, :16] = [255, 0, 0, 0]  # invisible red
    x[:, 16:] = [0, 0, 255, 255]
    for image in (Image.fromarray(x), Image.fromarray(x).convert("RGBa").convert("RGBA")):
        for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
            got = decode(raw(image, format, **options), R, None)
            assert corners(got) == [WHITE, BLUE, WHITE, BLUE]
            assert (got[..., 1] <= got[..., 2]).all()  # no red fringe where the halves meet
            assert (got[..., 0].astype(int) - got[..., 1]).max() <= 0


def test_half_transparency_is_half_white() -> None:
    got = decode(raw(Image.new("RGBA", (8, 8), (0, 0, 0, 128))), R, None)
    np.testing.assert_allclose(got, 127, atol=1)


def test_a_transparent_palette_entry_shows_white() -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 16, 32))
    for transparency in (0, bytes([0, 255])):
        got = decode(raw(image, transparency=transparency), R, None)
        assert corners(got) == [WHITE, BLUE, WHITE, BLUE]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_grey_level_shows_white(depth: int) -> None:
    x = np.zeros((32, 32), np.uint8 if depth == 8 else np.uint16)
    x[:, :16] = 7
    got = decode(raw(Image.fromarray(x), transparency=7), R, None)
    assert [got[4, 4], got[4, -4]] == [255, 0]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        got = decode(raw(frames[0], format, save_all=True, append_images=frames[1:], **options), R, None)
        assert corners(got) == [RED] * 4


def test_the_middle_square_of_an_oblong_is_kept() -> None:
    x = np.zeros((32, 96, 3), np.uint8)
    x[:, 32:64, 1] = 255
    assert (decode(raw(Image.fromarray(x)), R, None) == GREEN).all()
    assert (decode(raw(Image.fromarray(x.transpose(1, 0, 2).copy())), R, None) == GREEN).all()


def test_shrinking_is_antialiased() -> None:
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    np.testing.assert_allclose(decode(raw(Image.fromarray(board)), R, None), 127.5, atol=2)
    np.testing.assert_allclose(decode(raw(Image.fromarray(board), "JPEG", quality=95), R, None), 127.5, atol=2)


def test_a_jpegs_scaled_decoding_is_near_the_full_one() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    file = raw(smooth, "JPEG", quality=95)
    full = Image.open(io.BytesIO(file)).resize((R, R), Image.Resampling.LANCZOS)
    difference = decode(file, R, None).astype(int) - np.asarray(full).astype(int)
    assert np.abs(difference).mean() < 1.5


def test_an_image_of_the_asked_size_is_kept_bit_for_bit() -> None:
    x = np.random.default_rng(0).integers(0, 256, (R, R, 3), np.uint8)
    np.testing.assert_array_equal(decode(raw(Image.fromarray(x)), R, None), x)
    np.testing.assert_array_equal(decode(raw(Image.fromarray(x[..., 0])), R, None), x[..., 0])


def test_more_pixels_than_are_safe_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = raw(Image.new("L", (60, 60)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with quiet(), pytest.raises(ValueError, match="60x60 pixels"):
        decode(file, R, None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with quiet(), pytest.raises(Image.DecompressionBombError):
        decode(file, R, None)


@pytest.mark.parametrize("file", [b"hello, I am a text", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_refused(file: bytes) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        decode(file, R, None)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_truncated_image_is_refused(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    file = raw(noise, format)
    with quiet(), pytest.raises((OSError, ValueError, SyntaxError, EOFError)):
        decode(file[: len(file) // 2], R, None)
