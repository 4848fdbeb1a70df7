"""What benchmarks/zoo.py keeps of a comparison, and how it goes on from that."""

import dataclasses
import importlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparing import RECIPES, plan_of
from PIL import Image

from pushforward.cli import main
from pushforward.compare import runs

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("zoo")


def test_the_zoos_record_of_a_comparison_is_enough_to_go_on_from(
    zoo: ModuleType, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.copy(compared, tmp_path / "record", plan_of(compared))
    assert sum(p.stat().st_size for p in (tmp_path / "record").rglob("*") if p.is_file()) < 100_000
    called: list[Sequence[str]] = []
    monkeypatch.setattr(runs, "start", lambda words, log, threads: called.append(words))
    assert main(["compare", "--out", str(tmp_path / "record")]) == 0
    assert called == []
    assert (tmp_path / "record" / "table.md").read_text() == (compared / "table.md").read_text()
    # Each run has a report of its own, which the record has not.
    pages = [(folder / "report.html").read_text() for folder in (compared, tmp_path / "record")]
    assert [page.count("/report.html'>") for page in pages] == [2, 0]
    with Image.open(tmp_path / "record" / "samples.png") as one, Image.open(compared / "samples.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_zoos_record_loses_no_run_and_keeps_no_failure_that_was_mended(
    zoo: ModuleType, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "zoo.md"
    page.write_text("before\n<!-- digits -->\n<!-- digits -->\nafter\n")
    for name, path in (("RECORDS", tmp_path / "records"), ("PAGE", page), ("PICTURES", tmp_path)):
        monkeypatch.setattr(zoo, name, path)
    copy, terms = tmp_path / "copy", zoo.COMPARISONS["digits"][1]
    shutil.copytree(compared, copy)
    with pytest.raises(SystemExit, match=r"no row in .*copy is one of digits's"):
        zoo.record("digits", copy)
    assert not (tmp_path / "records").exists()
    monkeypatch.setitem(zoo.COMPARISONS, "digits", (RECIPES, terms))
    gone = "gan-width-8-batch-50-lr-1e30-0.failed"
    zoo.record("digits", copy)
    assert capsys.readouterr().out.startswith("2 of 4 runs are on record")
    assert (tmp_path / "records" / "digits" / "runs" / gone).exists()
    table = (copy / "table.md").read_text()
    assert page.read_text() == f"before\n<!-- digits -->\n{table}<!-- digits -->\nafter\n"
    (copy / "runs" / gone).unlink()
    zoo.record("digits", copy)
    assert not (tmp_path / "records" / "digits" / "runs" / gone).exists()
    shutil.rmtree(copy / "runs" / "cgan-width-8-batch-50-0")
    before = sorted((tmp_path / "records").rglob("*"))
    kept = plan_of(copy)
    newer = dataclasses.replace(kept.entries[0], config={**kept.entries[0].config, "brought_later": 1})
    for plan in (kept, dataclasses.replace(kept, entries=(newer, *kept.entries[1:]))):
        (copy / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
        with pytest.raises(SystemExit, match=r"of seed 0, which .* has not; begin from the record, with --go-on"):
            zoo.record("digits", copy)
        assert sorted((tmp_path / "records").rglob("*")) == before
    page.write_text("no marks\n")
    with pytest.raises(SystemExit, match="has 0 marks <!-- digits -->, and two are needed"):
        zoo.put(page, "digits", "text\n")
    assert page.read_text() == "no marks\n"


def test_the_zoo_adds_the_rows_that_a_record_lacks_and_drops_those_that_are_no_longer_asked_for(
    zoo: ModuleType, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def called(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words[3:])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(zoo.subprocess, "run", called)
    gan, cgan = RECIPES[1], RECIPES[0]
    out = ["--out", str(compared.resolve())]
    for rows, words in (
        ((gan, cgan), []),
        ((cgan, "dcgan --width 8", "lsgan"), ["dcgan --width 8", "lsgan", "--add"]),
    ):
        monkeypatch.setitem(zoo.COMPARISONS, "digits", (rows, "--data digits --budget 10m"))
        assert zoo.carry_out("digits", compared) == 0
        assert asked[-1] == ["compare", *words, *out]
    new = tmp_path / "new"
    assert zoo.carry_out("digits", new) == 0
    assert asked[-1] == [
        "compare", cgan, "dcgan --width 8", "lsgan", "--data", "digits", "--budget", "10m", *zoo.EACH.split(), "--out",
        str(new),
    ]  # fmt: skip
    page = tmp_path / "zoo.md"
    page.write_text("<!-- digits -->\n<!-- digits -->\n")
    for name, path in (("RECORDS", tmp_path / "records"), ("PAGE", page), ("PICTURES", tmp_path)):
        monkeypatch.setattr(zoo, name, path)
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    zoo.record("digits", copy)
    told = capsys.readouterr().out
    assert f"left out, as it is no row of digits: {gan}" in told
    assert "2 of 2 runs are on record" in told
    assert [entry.label for entry in plan_of(tmp_path / "records" / "digits").entries] == [cgan]
    assert "| `gan" not in page.read_text()
