"""The folder of an exported generator: which files it holds, how it is written, and whether it is as it was written.

It appears whole or not at all: written under a hidden name beside its place, synced, and renamed.
"""

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pushforward.core.checkpoint import sync
from pushforward.encoders.weights import digest_of

ABOUT = "generator.json"
TENSORS = "generator.safetensors"
ONNX = "generator.onnx"
PROGRAM = "generator.pt2"
PICTURE = "samples.png"
CARD = "README.md"
CHECKED = (TENSORS, ONNX, PROGRAM, PICTURE)
"""Files whose digests `generator.json` holds; the card has none, as its owner adds to it."""
VERSION = 1


def check_free(out: Path) -> None:
    """Raises ValueError where `out` is more than an empty folder, or the current one, which would be gone.

    An export never writes over anything.
    """
    if out.is_dir() and not any(out.iterdir()):
        if out.samefile(Path()):
            raise ValueError(f"{out} is to be replaced, got the current folder; name a new folder in it")
        return
    if out.exists() or out.is_symlink():
        held = "an exported generator already" if (out / ABOUT).exists() else "something else already"
        raise ValueError(f"{out} must be new or an empty folder, got {held}; choose another --out, or remove it")


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` to write into, which becomes `out` at the end; removed if anything fails before.

    Raises ValueError, before anything is written, where `out` is not free, or can't be replaced, as a mount point.
    """
    check_free(out)
    place = out.resolve()  # of a link, the folder that it leads to
    if place.is_dir():
        mode = place.stat().st_mode
        try:
            place.rmdir()
        except OSError as error:
            raise ValueError(f"{out} can't be replaced ({error.strerror}); name a new folder in it") from error
        place.mkdir(mode)
    beside = place.with_name(f".{place.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        for path in (*beside.rglob("*"), beside):
            sync(path)
        if place.is_dir():
            place.rmdir()
        os.replace(beside, place)
        sync(place.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each file of `CHECKED` that the folder holds."""
    there = [folder / name for name in CHECKED if (folder / name).is_file()]
    return {path.name: {"bytes": path.stat().st_size, "sha256": digest_of(path)} for path in there}


def read_about(folder: Path) -> dict[str, Any]:
    """What `generator.json` says. Raises ValueError where there is none, or one that this version can't read."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        kind = "a run: export it first" if (folder / "checkpoints").is_dir() else "none there"
        raise ValueError(
            f"{folder} must be an exported generator with a {ABOUT}, got {kind}; "
            "make one with `pushforward export RUN --out FOLDER`"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); export the generator again, or pull it again") from error
    version = about.get("format") if isinstance(about, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{path} must have the format {VERSION}, got {version}; use the version of pushforward that wrote it"
        )
    if not isinstance(about.get("files"), dict) or TENSORS not in about["files"]:
        raise ValueError(f"{path} names no {TENSORS}; export the generator again")
    return about


def check_file(folder: Path, name: str, about: dict[str, Any]) -> None:
    """Raises ValueError where the file `name` is not, byte for byte, what `generator.json` says."""
    try:
        wanted = about["files"][name]["sha256"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / ABOUT} names no digest of {name}; export the generator again") from error
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{path} is missing; export the generator again, or pull it again")
    if (got := digest_of(path)) != wanted:
        raise ValueError(
            f"{path} is damaged: its SHA-256 must be {wanted}, got {got}; export the generator again, or pull it again"
        )


def check_folder(folder: Path, among: Collection[str]) -> dict[str, Any]:
    """What `generator.json` says, once the files that it names, of those in `among`, were found to be as it says."""
    about = read_about(folder)
    for name in about["files"]:
        if name in among:
            check_file(folder, name, about)
    return about


def plain_name(path: str) -> str:
    """The last part of a path, with its kind: a published file should not say where on a disk its maker worked."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
