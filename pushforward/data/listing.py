"""The files of a folder or an archive: their names in one order everywhere, and their bytes."""

import os
import re
import zipfile
from pathlib import Path
from typing import Protocol

from pushforward.data.decoding import ENDINGS

LARGE = 2**30  # declared bytes from which on an archive has to look like one of images
RATIO = 100  # declared bytes in one of the archive: images hardly shrink


class Files(Protocol):
    """names: relative paths with `/`, sorted."""

    names: list[str]

    def read(self, name: str) -> bytes:
        """Raises OSError or zipfile's errors where it cannot."""
        ...


class Folder:
    """All files below a folder. A linked folder is entered unless it was already, so that a loop ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found: list[str] = []
        seen: set[str] = set()
        links = [("", str(root))]  # real folders first, so that a folder's own name wins over a link's
        while links:
            prefix, path = links.pop(0)
            self._walk(prefix, path, found, seen, links)
        self.names = sorted(found)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    @staticmethod
    def _walk(prefix: str, path: str, found: list[str], seen: set[str], links: list[tuple[str, str]]) -> None:
        waiting = [(prefix, path)]
        while waiting:
            prefix, path = waiting.pop()
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            try:
                with os.scandir(path) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                raise ValueError(f"cannot read the folder {shown(path)}: {error.strerror or error}") from error
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{name}/", entry.path))
                elif entry.is_dir():
                    links.append((f"{name}/", entry.path))
                elif entry.is_file() or entry.is_symlink():  # a broken link is a file that cannot be read
                    found.append(name)


class Archive:
    """The files of a .zip, read where they lie; nothing is unpacked to disk.

    Raises ValueError for no archive, an encrypted one, a path that leads outside, or sizes that no images have.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ValueError(f"cannot read the archive {shown(str(path))}: {error}") from error
        infos = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        for name, info in infos.items():
            parts = re.split(r"[/\\]", name)
            if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
                raise ValueError(f"{shown(str(path))} holds the path {shown(name)}, which leads outside of it: refused")
            if info.flag_bits & 1:
                raise ValueError(f"{shown(str(path))} is encrypted ({shown(name)}); unpack it and give the folder")
        declared = sum(info.file_size for info in infos.values())
        largest = max((info.file_size for info in infos.values()), default=0)
        if largest > LARGE or declared > max(LARGE, RATIO * path.stat().st_size):
            raise ValueError(
                f"{shown(str(path))} declares {declared / 2**30:.1f} GiB in {path.stat().st_size / 2**20:.1f} MiB: "
                "refused as a decompression bomb; if it is none, unpack it and give the folder"
            )
        self._infos = infos
        self.names = sorted(infos)

    def read(self, name: str) -> bytes:
        return self._zip.read(self._infos[name])


def image_names(names: list[str]) -> list[str]:
    """Those that end as images do, in any case; hidden files and folders, and what macOS adds to archives, left out."""
    return [
        name
        for name in names
        if name.lower().endswith(ENDINGS)
        and not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    ]


def wrapper(names: list[str]) -> str:
    """The folders that all names lie in, such as the one an archive was made of: `a/b/` or nothing."""
    if not names:
        return ""
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]  # what these share, all share
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return "".join(f"{part}/" for part in first[:shared])


def shown(name: str) -> str:
    """A file's name as one printable line."""
    return "".join(c if c.isprintable() else "?" for c in name)
