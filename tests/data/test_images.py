"""Sets of images at their own sizes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pushforward.data.catalogue import Options
from pushforward.data.images import Images, as_bytes, of_tensor, open_images

QUIET = Options(progress=False, max_bad=0.6)


def noise(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def read(images: Images) -> tuple[list[torch.Tensor], list[int], list[str]]:
    parts = list(images.parts())
    pictures = [image for part in parts for image in part.images]
    return pictures, [int(row) for part in parts for row in part.rows], [bad for part in parts for bad in part.bad]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(5):
        Image.fromarray(noise(i, 10 + i, 20)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_images_come_whole_at_their_own_sizes_in_the_order_of_their_names(folder: Path) -> None:
    images = open_images(str(folder), QUIET)
    pictures, rows, bad = read(images)
    assert (images.size, images.shape, rows, bad) == (5, None, [0, 1, 2, 3, 4], [])
    for i, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), noise(i, 10 + i, 20))


def test_every_odd_file_holds_the_pixels_of_its_clean_form(tmp_path: Path) -> None:
    x = noise(7)
    grey = np.asarray(Image.fromarray(x).convert("L"))
    odd = tmp_path / "odd"
    (odd / "deep" / "down").mkdir(parents=True)
    Image.fromarray(x).save(odd / "a.PNG")
    Image.fromarray(x).save(odd / "deep" / "down" / "b.webp", lossless=True)
    Image.fromarray(x).save(odd / "c.tiff")
    Image.fromarray(x).save(odd / "d.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    Image.fromarray(np.rot90(x)).save(odd / "e.png", exif=exif)
    clear = np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])
    clear[:5, :, 3] = 0
    Image.fromarray(clear).save(odd / "f.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(odd / "g.png")
    pictures, _, bad = read(open_images(str(odd), QUIET))
    assert bad == []
    white = x.copy()
    white[:5] = 255  # what hides below transparency is not read
    # In the order of their names: capitals and folders among them.
    expected = {"a": x, "c": x, "d": x, "b": x, "e": x, "f": white, "g": grey[..., None]}
    for picture, name in zip(pictures, "acdbefg", strict=True):
        np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), expected[name], err_msg=name)


def test_files_that_cannot_be_read_are_named_and_the_rest_keep_their_rows(folder: Path) -> None:
    (folder / "1.png").write_bytes(b"")
    (folder / "2.png").write_text("I am no image")
    cut = io.BytesIO()
    Image.fromarray(noise(3, 64, 64)).save(cut, "JPEG")
    (folder / "5.jpg").write_bytes(cut.getvalue()[:900])
    images = open_images(str(folder), QUIET)
    _, rows, bad = read(images)
    assert rows == [0, 3, 4]
    assert [line.split(" ")[0] for line in bad] == ["1.png", "2.png", "5.jpg"]
    images.check(bad)
    strict = open_images(str(folder), Options(progress=False))
    with pytest.raises(ValueError, match=r"3 of 6 images .* cannot be read .* --max-bad 0\.5"):
        strict.check(bad)


def test_the_fingerprint_is_of_the_content_and_of_nothing_else(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = open_images(str(folder), QUIET).fingerprint
    assert open_images(str(folder), Options(progress=False)).fingerprint == first
    copy = tmp_path_factory.mktemp("copy")
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert open_images(str(copy), QUIET).fingerprint == first
    Image.fromarray(noise(99)).save(copy / "0.png")
    assert open_images(str(copy), QUIET).fingerprint != first


def test_an_array_and_a_named_set_come_as_bytes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 8, 9, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=x)
    pictures, rows, _ = read(open_images(str(tmp_path / "a.npz"), QUIET))
    np.testing.assert_array_equal(torch.stack(pictures).permute(0, 2, 3, 1).numpy(), x)
    assert rows == list(range(300))
    digits = open_images("digits", QUIET)
    assert (digits.size, digits.shape) == (1797, (1, 8, 8))
    assert digits.labels is not None
    assert digits.classes is not None
    assert len(digits.labels) == 1797
    stacked = open_images("stacked-digits", QUIET, n=50, seed=3)
    other = open_images("stacked-digits", QUIET, n=50, seed=4)
    assert stacked.size == 50
    assert stacked.fingerprint != other.fingerprint


def test_what_is_no_set_of_images_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.zeros((10, 2), np.float32))
    Image.fromarray(noise(0)).save(tmp_path / "one.png")
    (tmp_path / "notes.txt").write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    for name, words in (
        (tmp_path / "points.npy", "points, not images"),
        (tmp_path / "one.png", "is one image"),
        (tmp_path / "notes.txt", "no set of images"),
        (empty, "no images in"),
        ("digit", "did you mean digits"),
        ("ring8", "points, not images"),
    ):
        with pytest.raises(ValueError, match=words):
            open_images(str(name), QUIET)
    with pytest.raises(ValueError, match="must be uint8"):
        of_tensor(torch.zeros(4, 3, 8, 8), "floats", "")


def test_bytes_are_the_nearest_of_256_levels() -> None:
    levels = torch.arange(256).to(torch.uint8)
    floats = levels.float() / 127.5 - 1
    assert torch.equal(as_bytes(floats), levels)
    assert as_bytes(torch.tensor([-3.0, 3.0, 0.4 / 127.5 - 1])).tolist() == [0, 255, 0]
