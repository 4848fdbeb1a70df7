"""The file of answers: what was acknowledged is there, whatever happened after."""

import dataclasses
import errno
import json
import os
import sys
from pathlib import Path

import pytest

from pushforward.judge import answers
from pushforward.judge.answers import Answer, AnswerBook, read


def given(trial: int = 0, rater: str = "Ann", **changes) -> Answer:
    values = {"practice": False, "real": True, "image": 7, "said_real": True}
    values |= {"milliseconds": 812.5, "exposure": 500.0, "loads": 1}
    return Answer(rater, trial, **(values | changes))


def write(path: Path, several: list[Answer]) -> None:
    book = AnswerBook(path)
    for answer in several:
        book.add(answer)
    book.close()


def test_what_is_added_is_read_back_line_by_line(tmp_path):
    several = [given(0), given(0, "Björk <b>"), given(1, real=False), given(1, "Björk <b>", milliseconds=3)]
    write(tmp_path / "a.jsonl", several)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [dataclasses.asdict(a) for a in several]
    assert read(tmp_path / "a.jsonl") == several


def test_an_answer_is_on_the_disk_when_add_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(answers.os, "fsync", lambda file: synced.append(os.path.getsize(tmp_path / "a.jsonl")))
    book = AnswerBook(tmp_path / "a.jsonl")
    synced.clear()
    book.add(given())
    assert synced == [os.path.getsize(tmp_path / "a.jsonl")]
    assert synced[0] > 0
    book.close()


def test_wrong_means_that_what_was_said_is_not_so():
    assert [given(real=r, said_real=s).wrong for r in (True, False) for s in (True, False)] == [
        False,
        True,
        True,
        False,
    ]


def test_no_file_holds_no_answers(tmp_path):
    assert read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("tail", [b'{"rater": "Ann", "tri', b"\0\0\0\0\n", b"{}\n", b"[" * 5000 + b"\n", b"\xff\n"])
def test_a_damaged_last_line_is_passed_over_and_cut_off_before_the_next(tmp_path, tail):
    path = tmp_path / "a.jsonl"
    write(path, [given(0), given(1)])
    with path.open("ab") as file:
        file.write(tail)
    assert read(path) == [given(0), given(1)]
    write(path, [given(2)])
    assert read(path) == [given(0), given(1), given(2)]
    assert len(path.read_bytes().splitlines()) == 3


def test_a_line_whose_end_was_not_written_was_not_acknowledged(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, [given(0), given(1)])
    path.write_bytes(path.read_bytes()[:-1])
    book = AnswerBook(path)
    assert book.next("Ann") == 1
    book.close()


def test_every_cut_of_the_file_leaves_the_whole_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, [given(0), given(1)])
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert len(read(path)) == sum(end <= size for end in ends)


@pytest.mark.parametrize(
    "line",
    [
        b"oops",
        b"[]",
        b'{"rater": "Ann"}',
        json.dumps(dataclasses.asdict(given()) | {"trial": True}).encode(),
        json.dumps(dataclasses.asdict(given()) | {"real": 1}).encode(),
        json.dumps(dataclasses.asdict(given()) | {"more": 1}).encode(),
    ],
)
def test_damage_before_the_last_line_is_named_and_nothing_is_cut_off(tmp_path, line):
    path = tmp_path / "a.jsonl"
    write(path, [given(0), given(1)])
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, line, second, b""]))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"line 2 of .* is no answer"):
        read(path)
    with pytest.raises(ValueError, match="line 2"):
        AnswerBook(path)
    assert path.read_bytes() == before


def test_the_first_answer_of_a_trial_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, [given(0)])
    path.write_bytes(path.read_bytes() + path.read_bytes().replace(b'"said_real": true', b'"said_real": false'))
    assert read(path) == [given(0)]
    book = AnswerBook(path)
    with pytest.raises(ValueError, match="answered already"):
        book.add(given(0, said_real=False))
    book.close()


def test_each_rater_goes_on_at_the_first_trial_without_an_answer(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, [given(0), given(0, "Bob"), given(1), given(3)])
    book = AnswerBook(path)
    assert [book.next(name) for name in ("Ann", "Bob", "Cy")] == [2, 1, 0]
    assert book.raters == ["Ann", "Bob"]
    assert book.of("Bob") == [given(0, "Bob")]
    book.close()


def test_an_answer_that_did_not_fit_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    book = AnswerBook(path)
    book.add(given(0))
    before, real_write = path.read_bytes(), os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 20:
            return real_write(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(answers.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        book.add(given(1))
    assert path.read_bytes() == before
    monkeypatch.setattr(answers.os, "write", real_write)
    book.add(given(1))
    book.close()
    assert read(path) == [given(0), given(1)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_one_server_at_a_time_holds_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    book = AnswerBook(path)
    with pytest.raises(ValueError, match="in use by another judging server"):
        AnswerBook(path)
    book.add(given())
    book.close()
    AnswerBook(path).close()
