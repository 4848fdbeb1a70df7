import io
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pushforward.data import files
from pushforward.data.catalogue import open_data
from pushforward.data.source import Data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    def open_it(path: Path, **options: Any) -> Data:
        return open_data(str(path), **{"resolution": 8, "cache": tmp_path / "cache", "progress": False, **options})

    return open_it


def colour(value: int, mode: str = "RGB", side: int = 12) -> Image.Image:
    return Image.new("RGB", (side, side), (value, 50, 100)).convert(mode)


def fill(folder: Path, n: int, ending: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        colour(10 * i).save(folder / f"{i:03}.{ending}")


def reds(data: Data) -> list[int]:
    """The red value of each example, in the order they are packed in."""
    return data._x[:, 0, 4, 4].tolist()  # type: ignore[attr-defined]


def test_small_images_are_not_enlarged_to_the_default_without_a_word(root: Path, opened: Any, capsys: Any) -> None:
    for i, side in enumerate((20, 28, 200)):
        colour(10 * i, side=side).save(root / f"{i}.jpg")
    for options, told in (
        ({"resolution": 64}, False),
        ({"resolution": None, "max_bad": 0.5}, False),  # from the cache
        ({"resolution": None, "channels": 1, "progress": False}, False),
        ({"resolution": None, "channels": 3}, True),
        ({"resolution": None, "channels": 3}, False),
    ):
        assert opened(root, **{"progress": True, **options}).spec.shape[1:] == (64, 64)
        assert ("about 28 pixels a side are enlarged to 64×64; --resolution 32" in capsys.readouterr().err) == told
    colour(40, side=60).save(root / "1.jpg")
    opened(root, resolution=None, progress=True)
    assert "enlarged" not in capsys.readouterr().err


def test_a_folder_of_every_kind_opens_and_names_the_bad(root: Path, opened: Any, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    good = {
        "a.png": ("RGB", {}),
        "b.JPG": ("RGB", {}),
        "deep/down/c.webp": ("RGB", {}),
        "d.png": ("L", {}),
        "e.gif": ("P", {}),
        "f.png": ("P", {"transparency": 0}),
        "g.PNG": ("RGBA", {}),
        "h.jpeg": ("CMYK", {}),
        "i.jpg": ("RGB", {"exif": exif}),
        "j.tiff": ("RGB", {}),
        "k.bmp": ("RGB", {}),
        "l.ppm": ("RGB", {}),
        "m.gif": ("RGB", {"save_all": True, "append_images": [colour(0)]}),
    }
    for name, (mode, options) in good.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        side = int(rng.integers(5, 40))
        Image.fromarray(rng.integers(0, 256, (side, side + 3, 3), np.uint8)).convert(mode).save(path, **options)
    Image.fromarray(np.full((20, 20), 30_000, np.uint16)).save(root / "n.png")
    noise = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(noise, "JPEG")
    (root / "truncated.jpg").write_bytes(noise.getvalue()[:1500])
    (root / "empty.png").write_bytes(b"")
    (root / "text.png").write_text("I am no image")
    (root / "gone.png").symlink_to(root / "nowhere.png")
    for name in ("README", "notes.txt", "meta.json", "table.csv", "Thumbs.db", ".DS_Store", ".hidden.png"):
        (root / name).write_text("{}")
    data = opened(root, max_bad=0.3, progress=True)
    assert (len(data), data.spec.shape, data.spec.classes) == (14, (3, 8, 8), None)
    reasons = {line.split(" ")[0]: line for line in data.skipped}
    assert list(reasons) == ["empty.png", "gone.png", "text.png", "truncated.jpg"]
    for name, reason in [("empty", "empty file"), ("gone", "No such file"), ("text", "not an image")]:
        assert reason in reasons[f"{name}.png"]
    assert "truncated" in reasons["truncated.jpg"]
    shown = capsys.readouterr()
    assert all(f"skipped {line}" in shown.err for line in data.skipped)
    assert shown.out == ""
    x = data.examples(20, 0)["x"]
    assert x.isfinite().all()
    deep = (30_000 / 65535) * 2 - 1
    assert ((x - deep).abs().amax((1, 2, 3)) < 0.01).any()


def test_sixteen_bit_grey_keeps_its_mean_in_a_folder(root: Path, opened: Any) -> None:
    for i, level in enumerate((0, 20_000, 65_535)):
        Image.fromarray(np.full((9, 9), level, np.uint16)).save(root / f"{i}.png")
    data = opened(root)
    assert data.spec.shape == (1, 8, 8)
    assert reds(data) == [0, round(20_000 / 257), 255]


def test_grey_pictures_stay_grey_until_one_has_colour(root: Path, opened: Any) -> None:
    for i in range(5):
        colour(0).convert("L").point(lambda _, i=i: 10 * i).save(root / f"{i}.png")
    assert opened(root).spec.shape == (1, 8, 8)
    assert opened(root, channels=3).spec.shape == (3, 8, 8)
    colour(200).save(root / "z.png")
    data = opened(root)
    assert data.spec.shape == (3, 8, 8)
    assert reds(data) == [0, 10, 20, 30, 40, 200]
    assert (data._x[:5, 0] == data._x[:5, 2]).all()
    grey = opened(root, channels=1)
    assert grey.spec.shape == (1, 8, 8)
    assert grey.fingerprint != data.fingerprint


def test_packing_many_rows_turns_to_colour_without_loss(root: Path, opened: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("pushforward.data.packing.CHUNK", 3)
    for i in range(11):
        Image.new("L", (8, 8), i).save(root / f"{i:02}.png")
    colour(99).save(root / "99.png")
    assert reds(opened(root)) == [*range(11), 99]


def test_images_lie_in_the_order_of_their_names_with_their_folders_as_classes(root: Path, opened: Any) -> None:
    fill(root / "cats", 3)
    fill(root / "dogs" / "small", 2)
    data = opened(root)
    assert (data.labels, data.spec.classes) == (("cats", "dogs"), 2)
    got = data.examples(9, 0)
    assert got["y"].bincount().tolist() == [3, 2]
    assert reds(data) == [0, 10, 20, 0, 10]
    assert data._y.tolist() == [0, 0, 0, 1, 1]


def test_folders_are_no_classes_when_an_image_lies_beside_them(root: Path, opened: Any) -> None:
    fill(root / "cats", 2)
    fill(root, 1)
    assert opened(root).spec.classes is None


def test_one_folder_around_all_is_no_class(root: Path, opened: Any) -> None:
    fill(root / "wrapped" / "cats", 2)
    assert opened(root).labels is None
    fill(root / "wrapped" / "dogs", 2)
    assert opened(root).labels == ("cats", "dogs")


def test_a_bad_file_beside_the_folders_does_not_undo_the_classes(root: Path, opened: Any) -> None:
    fill(root / "cats", 2)
    fill(root / "dogs", 2)
    (root / "bad.png").write_bytes(b"")
    data = opened(root, max_bad=0.5)
    assert data.labels == ("cats", "dogs")
    assert data._y.tolist() == [0, 0, 1, 1]


def test_dataset_json_gives_the_classes(root: Path, opened: Any) -> None:
    fill(root / "00000", 2)
    fill(root / "00001", 2)
    listed = [["00000/000.png", 7], ["00000/001.png", 2], ["00001/000.png", 7], ["00001/001.png", 7]]
    (root / "dataset.json").write_text(json.dumps({"labels": listed}))
    data = opened(root)
    assert (data.labels, data._y.tolist()) == (("2", "7"), [1, 0, 1, 1])
    first = data.fingerprint
    (root / "dataset.json").write_text(json.dumps({"labels": None}))
    assert opened(root).labels is None  # numbered folders are no classes here
    listed[0][1] = 2
    (root / "dataset.json").write_text(json.dumps({"labels": listed}))
    assert opened(root).fingerprint != first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"labels": [["000.png", 1]]}', "no class for 1 of 2 images, as 001.png"),
        ('{"labels": [["000.png", 0.5], ["001.png", 1]]}', "the class 0.5"),
        ('{"labels": [["000.png", null], ["001.png", 1]]}', "the class None"),
        ("[]", "is not"),
        ("nonsense", "is not"),
    ],
)
def test_a_dataset_json_that_does_not_fit_is_refused(root: Path, opened: Any, content: str, message: str) -> None:
    fill(root, 2)
    (root / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        opened(root)
    assert "\n" not in str(caught.value)


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


def test_a_zip_holds_what_its_folder_does(root: Path, opened: Any, tmp_path: Path) -> None:
    fill(root / "cats", 3)
    fill(root / "dogs", 2)
    plain, packed = opened(root), opened(zipped(root, tmp_path / "set.ZIP"))
    assert packed.labels == plain.labels
    assert torch.equal(packed._x, plain._x)
    assert packed.fingerprint == plain.fingerprint
    (root / "dataset.json").write_text(json.dumps({"labels": [[f"cats/00{i}.png", i] for i in range(3)]}))
    with pytest.raises(ValueError, match="no class for 2 of 5"):
        opened(zipped(root, tmp_path / "wrapped.zip", "set/"))
    (root / "dataset.json").unlink()
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._000.png").write_bytes(b"fork")
    assert opened(zipped(root, tmp_path / "wrapped.zip", "set/")).labels == ("cats", "dogs")


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
def test_a_zip_with_a_path_that_leads_outside_is_refused_as_a_whole(tmp_path: Path, opened: Any, name: str) -> None:
    file = io.BytesIO()
    colour(0).save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for inner in ("a.png", "b.png", name):
            archive.writestr(inner, file.getvalue())
    with pytest.raises(ValueError, match="leads outside of it: refused"):
        opened(tmp_path / "x.zip")


def test_a_zip_of_declared_sizes_that_no_images_have_is_refused(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bmp", bytes(2_000_000))
    monkeypatch.setattr("pushforward.data.listing.LARGE", 1_000_000)
    with pytest.raises(ValueError, match="decompression bomb"):
        opened(tmp_path / "x.zip")


def test_what_is_no_zip_is_refused(tmp_path: Path, opened: Any) -> None:
    (tmp_path / "x.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"cannot read the archive .*x\.zip"):
        opened(tmp_path / "x.zip")


def test_a_damaged_entry_of_a_zip_is_a_bad_file(root: Path, opened: Any, tmp_path: Path) -> None:
    fill(root, 3)
    path = zipped(root, tmp_path / "x.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255
    path.write_bytes(content)
    data = opened(path, max_bad=0.5)
    assert len(data) == 2
    assert data.skipped[0].startswith("000.png (Bad CRC-32")


def test_a_symlink_loop_ends_and_links_are_followed_once(root: Path, opened: Any, tmp_path: Path) -> None:
    fill(root / "real", 2)
    (root / "real" / "up").symlink_to(root)
    (root / "again").symlink_to(root / "real")
    fill(tmp_path / "outside", 3)
    (root / "linked").symlink_to(tmp_path / "outside")
    data = opened(root)
    assert data.labels == ("linked", "real")
    assert data._y.tolist() == [0, 0, 0, 1, 1]


def test_a_second_opening_decodes_nothing_and_one_pixel_makes_it_new(
    root: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, 4)
    first = opened(root)
    decoded: list[int] = []
    original = files.decode
    monkeypatch.setattr(files, "decode", lambda *args: decoded.append(1) or original(*args))
    again = opened(root)
    assert decoded == []
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again._x, first._x)
    image = Image.open(root / "002.png")
    image.putpixel((5, 5), (0, 0, 0))
    image.save(root / "002.png")
    changed = opened(root)
    assert len(decoded) == 4  # each once
    assert changed.fingerprint != first.fingerprint
    assert not torch.equal(changed._x, first._x)
    assert opened(root, resolution=4).spec.shape == (3, 4, 4)
    (root / "003.png").rename(root / "zzz.png")
    assert opened(root).fingerprint != changed.fingerprint


def test_a_kill_while_packing_leaves_no_cache_that_is_used(
    root: Path, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, 4)
    original = files.decode

    def dies(raw: bytes, resolution: int, channels: int | None) -> np.ndarray:
        if raw == (root / "002.png").read_bytes():
            raise KeyboardInterrupt
        return original(raw, resolution, channels)

    monkeypatch.setattr(files, "decode", dies)
    with pytest.raises(KeyboardInterrupt):
        opened(root)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]
    monkeypatch.setattr(files, "decode", original)
    assert reds(opened(root)) == [0, 10, 20, 30]


def test_a_file_that_changes_while_it_is_read_stops_the_job(
    root: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, 3)
    original = files.digested

    def then_changed(*args: Any) -> dict[str, str]:
        digests = original(*args)
        colour(255).save(root / "001.png")
        return digests

    monkeypatch.setattr(files, "digested", then_changed)
    with pytest.raises(ValueError, match=r"001\.png changed while it was read"):
        opened(root)


def test_bad_files_stop_the_job_above_the_share_and_not_at_it(root: Path, opened: Any) -> None:
    fill(root, 18)
    for i in range(2):
        (root / f"bad{i}.jpg").write_text("text")
    data = opened(root, max_bad=0.1)
    assert (len(data), len(data.skipped)) == (18, 2)
    for share in (0.0, 0.01, 0.099):
        with pytest.raises(ValueError, match=r"2 of 20 images .* \(10\.0%, more than .*--max-bad 0\.1$") as caught:
            opened(root, max_bad=share)
        assert "bad0.jpg (not an image), bad1.jpg" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_is_no_data_set_gets_one_line(root: Path, opened: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no images in .*\.png \.jpg"):
        opened(root)
    fill(root, 1)
    with pytest.raises(ValueError, match=r"1 image in .* at least 2"):
        opened(root)
    with pytest.raises(ValueError, match="is one image"):
        opened(root / "000.png")
    (root / "000.png").write_bytes(b"")
    (root / "001.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 2 images .*empty file"):
        opened(root, max_bad=1.0)
    (root / "x.doc").write_text("")
    with pytest.raises(ValueError, match="is no data set"):
        opened(root / "x.doc")
    with pytest.raises(ValueError, match="neither a data set nor an existing path"):
        opened(root / "missing")


def test_the_default_resolution_is_64(root: Path, opened: Any) -> None:
    fill(root, 2)
    assert opened(root, resolution=None).spec.shape == (3, 64, 64)


def test_a_decompression_bomb_is_a_bad_file(root: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, 3)
    Image.new("L", (300, 300)).save(root / "bomb.png")
    for limit in (50_000, 20_000):  # above Pillow's limit, and above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        data = opened(root, max_bad=0.5)
        assert len(data) == 3
        assert data.skipped[0].startswith("bomb.png (")


def test_names_that_cannot_be_shown_are_read_all_the_same(root: Path, opened: Any) -> None:
    fill(root, 2)
    for name in (b"b\xff\xfe.png", b"new\nline.png", "ünïcödé [bold].png".encode()):
        colour(0).save(os.fsdecode(os.path.join(os.fsencode(root), name)))
    (root / "bad\n[red].png").write_text("text")
    data = opened(root, max_bad=0.5, progress=True)
    assert len(data) == 5
    assert data.skipped == ("bad?[red].png (not an image)",)


def test_the_order_of_the_directory_does_not_matter(
    root: Path, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, 6)
    fill(root / "deep", 6)
    first = opened(root)
    for name in random.Random(0).sample(sorted(p.name for p in root.glob("*.png")), 6):
        content = (root / name).read_bytes()
        (root / name).unlink()
        (root / name).write_bytes(content)
    assert opened(root).fingerprint == first.fingerprint
