"""The answers of all raters: one JSON object a line, appended, on the disk before it is acknowledged."""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a rater said of one image.

    trial: its place in the rater's session; image: its row among the reals (if real) or the fakes; said_real: the
    answer; milliseconds: from the image's appearance to the answer, pauses left out; exposure: milliseconds for which
    the image was seen, as the page measured it; loads: how often the page fetched the image, above 1 where the rater
    reloaded or broke the trial off, and so may have seen it again.
    """

    rater: str
    trial: int
    practice: bool
    real: bool
    image: int
    said_real: bool
    milliseconds: float
    exposure: float
    loads: int

    @property
    def wrong(self) -> bool:
        return self.said_real != self.real


def read(path: Path) -> list[Answer]:
    """All answers of a file, the first of each rater and trial; none where there is no file.

    A last line that is damaged, as a crash or a full disk leaves it, is passed over: it was never acknowledged.
    Raises ValueError for damage elsewhere.
    """
    return _read(path)[0]


class AnswerBook:
    """The file of answers, held open for appending by one process at a time; a damaged last line is cut off.

    Not for several threads at once: the caller locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        try:
            _lock(self._file, path)
            answers, self._size = _read(path)
            os.ftruncate(self._file, self._size)
            _sync_folder(path.parent)
        except BaseException:
            os.close(self._file)
            raise
        self._answers: dict[str, dict[int, Answer]] = {}
        for answer in answers:
            self._answers.setdefault(answer.rater, {})[answer.trial] = answer

    @property
    def raters(self) -> list[str]:
        """Those who answered, in the order of their first answers."""
        return list(self._answers)

    @property
    def answers(self) -> list[Answer]:
        """All of them, rater by rater."""
        return [answer for given in self._answers.values() for answer in given.values()]

    def of(self, rater: str) -> list[Answer]:
        """One rater's answers."""
        return list(self._answers.get(rater, {}).values())

    def next(self, rater: str) -> int:
        """The first trial that the rater did not answer."""
        given = self._answers.get(rater, {})
        return next(i for i in range(len(given) + 1) if i not in given)

    def add(self, answer: Answer) -> None:
        """Appends one answer and returns when it is on the disk; where that fails, the file is as before (OSError).

        Raises ValueError for a trial that the rater answered already.
        """
        if answer.trial in self._answers.get(answer.rater, {}):
            raise ValueError(f"trial {answer.trial} of {answer.rater} is answered already; its first answer counts")
        line = json.dumps(dataclasses.asdict(answer), ensure_ascii=False).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        self._answers.setdefault(answer.rater, {})[answer.trial] = answer

    def close(self) -> None:
        """Lets the file go."""
        os.close(self._file)


def _read(path: Path) -> tuple[list[Answer], int]:
    """The answers, and the bytes of the file that hold them."""
    if not path.exists():
        return [], 0
    *lines, rest = path.read_bytes().split(b"\n")
    found: dict[tuple[str, int], Answer] = {}
    size = 0
    for i, line in enumerate(lines):
        answer = _parsed(line)
        if answer is None:
            if i == len(lines) - 1 and not rest:
                break
            raise ValueError(f"line {i + 1} of {path} is no answer, got {line[:60]!r}; take the line out")
        found.setdefault((answer.rater, answer.trial), answer)
        size += len(line) + 1
    return list(found.values()), size


def _parsed(line: bytes) -> Answer | None:
    """The answer of a line; None for anything else."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {field.name: field.type for field in dataclasses.fields(Answer)}
    if not isinstance(row, dict) or row.keys() != kinds.keys():
        return None
    whole = all(type(row[name]) is kind or (kind is float and type(row[name]) is int) for name, kind in kinds.items())
    return Answer(**row) if whole else None


def _lock(file: int, path: Path) -> None:
    """Refuses a file that another process holds. Windows has no such lock; there the first answer of a trial counts."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path} is in use by another judging server; stop that one or choose another folder"
            ) from None


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk, too; Windows syncs no folders."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
