"""A comparison from the command line to its page, in this process; and what becomes of one that is cut off."""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from pushforward import evaluation
from pushforward.cli import main
from pushforward.compare import child, runs
from pushforward.compare.curve import due
from pushforward.compare.plan import Comparison, keep_plan, read_plan
from pushforward.compare.results import collect
from pushforward.compare.runs import carry_out
from pushforward.compare.watch import Watch
from pushforward.core import runlog

SMALL = "--width 8 --batch 50"
RECIPES = [f"cgan {SMALL}", f"gan {SMALL} --lr 1e30"]
ASKED = ["--data", "digits", "--examples", "300", "--seeds", "2", "--evaluations", "2"]


class Inline:
    """A child that was carried out in this process before anyone asks."""

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                self.status = child.main(words)
            except Exception as error:
                print(f"{type(error).__name__}: {error}", file=told)
                self.status = 1
        log.write_text(told.getvalue(), encoding="utf-8")

    def poll(self) -> int:
        return self.status

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def quickened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runs, "start", Inline)
    patch.setattr(evaluation, "SIDE", 60)
    # What a probe sets for its process alone.
    patch.setattr("torch.set_flush_denormal", lambda on: None)
    patch.setattr("torch.set_float32_matmul_precision", lambda how: None)


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    quickened(monkeypatch)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, and one that fails; two seeds."""
    folder = tmp_path_factory.mktemp("compare") / "c"
    with pytest.MonkeyPatch.context() as patch:
        quickened(patch)
        assert main(["compare", *RECIPES, *ASKED, "--out", str(folder)]) == 0
    return folder


def plan_of(folder: Path) -> Comparison:
    plan = read_plan(folder)
    assert plan is not None
    return plan


def last(folder: Path) -> dict[str, dict[str, float]]:
    return runlog.rows(folder / "metrics.jsonl")[-1]["metrics"]


def test_the_table_holds_the_numbers_of_the_runs(compared: Path) -> None:
    rows = {row.entry.label: row for row in collect(plan_of(compared), compared).rows}
    row = rows[f"cgan {SMALL}"]
    seeds = [last(compared / "runs" / f"cgan-width-8-batch-50-{seed}") for seed in range(2)]
    ratios = [m["frechet"]["value"] / m["frechet"]["floor"] for m in seeds]
    spread = row.spread("frechet", ratio=True)
    assert spread is not None
    assert spread.values == pytest.approx(ratios)
    assert spread.mean == pytest.approx(sum(ratios) / 2)
    # Student's t with one degree of freedom: 12.706 standard errors, which are half the difference of two values.
    assert spread.high == pytest.approx(spread.mean + 12.7062 * abs(ratios[0] - ratios[1]) / 2, rel=1e-4)
    table = (compared / "table.md").read_text()
    (line,) = [line for line in table.splitlines() if line.startswith("| `cgan` |")]
    assert f"| {spread.mean:.3g} (" in line
    cells = dict(zip(table.splitlines()[0].split(" | "), line.split(" | "), strict=True))
    assert cells["class accuracy"].startswith(f"{sum(m['accuracy']['value'] for m in seeds) / 2:.3g}")
    pixels = [m["frechet_pixels"]["value"] / m["frechet_pixels"]["floor"] for m in seeds]
    assert cells["Fréchet (pixels) ÷ floor"].startswith(f"{sum(pixels) / 2:.3g}")
    assert " | 300 | " in line
    assert line.endswith(" | 2 |")


def test_a_recipe_that_fails_is_in_the_table_with_its_reason_and_ends_no_other(compared: Path) -> None:
    row = collect(plan_of(compared), compared).rows[-1]
    assert row.entry.label == RECIPES[1]
    assert row.reason is not None
    assert row.reason.startswith("seed 0: ")
    assert row.reason.endswith("is not finite in round 0")
    table = (compared / "table.md").read_text()
    assert "Failed: `gan`: seed 0: " in table
    assert table.count("| 0 of 2 |") == 1


def test_every_number_is_in_the_json_and_the_page_asks_for_nothing(compared: Path) -> None:
    record = json.loads((compared / "compare.json").read_text())
    assert record["plan"]["examples"] == 300
    assert {recipe["recipe"] for recipe in record["recipes"]} == {e.label for e in plan_of(compared).entries}
    run = record["recipes"][0]["runs"][1]
    assert run["metrics"] == last(compared / run["folder"])
    assert [point["seen"] for point in run["curve"]] == [150, 300]
    assert run["flops"] == pytest.approx(300 * record["recipes"][0]["probe"]["phases"][0]["flops"])
    assert 0 < run["curve"][0]["seconds"] < run["curve"][1]["seconds"] <= run["seconds"]
    page = (compared / "report.html").read_text()
    assert "src='http" not in page
    for label in ("Fréchet ÷ floor", "Fréchet distance over FLOPs", "real data", "loss is not finite", "seed 1"):
        assert label in page
    with Image.open(compared / "samples.png") as picture:
        # Two grids of 8 × 4 tiles of 40 pixels, 2 apart, 20 around, 26 for each label.
        assert picture.size == (2 * (8 * 42 - 2 + 20) + 20, 20 + 26 + 4 * 42 - 2 + 20)


def test_training_is_not_interrupted_by_evaluations_and_one_checkpoint_stays(compared: Path) -> None:
    folder = compared / "runs" / "cgan-width-8-batch-50-0"
    config = json.loads((folder / "config.json").read_text())
    assert (config["run"]["evaluations"], config["run"]["seed"]) == (0, 0)
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["000000000300"]
    assert [(row["seen"], row["quick"]) for row in runlog.rows(folder / "metrics.jsonl")] == [
        (150, True), (300, True), (300, False),
    ]  # fmt: skip


def test_a_second_call_does_only_what_is_left_and_gives_the_same_numbers(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    # As if killed: one run before anything was written, and one after its training, before its curve.
    shutil.rmtree(copy / "runs" / "cgan-width-8-batch-50-0")
    log = copy / "runs" / "cgan-width-8-batch-50-1" / "metrics.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"quick": false' in line))
    called: list[list[str]] = []

    def launch(words: Sequence[str], log: Path, threads: int) -> Inline:
        called.append([Path(words[1]).name, *words[2:3]])
        return Inline(words, log, threads)

    monkeypatch.setattr(runs, "start", launch)
    assert main(["compare", "--out", str(copy)]) == 0
    assert called == [["cgan-width-8-batch-50-0", "train"], ["cgan-width-8-batch-50-1"]]
    before, after = (collect(plan_of(compared), folder) for folder in (compared, copy))
    for one, other in zip(before.rows, after.rows, strict=True):
        for name in ("frechet", "precision", "recall", "accuracy"):
            assert one.spread(name) == other.spread(name)
    assert "| `cgan` |" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*RECIPES, *ASKED[:3], "400", *ASKED[4:]], "examples: 300 there, 400 asked"),
        ([RECIPES[0], *ASKED], f"recipes: {RECIPES[0]}, {RECIPES[1]} there, {RECIPES[0]} asked"),
        ([*RECIPES, *ASKED, "--seeds", "3"], "seeds: 2 there, 3 asked"),
    ],
)
def test_a_changed_plan_is_refused_by_the_name_of_what_differs(
    words: list[str], said: str, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words, "--out", str(compared)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "choose another --out" in error


def test_time_on_another_machine_is_another_comparison_and_examples_are_not(compared: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of(compared), seconds=9.0, examples=None)
    other = dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, threads=99))
    assert keep_plan(plan, tmp_path) == plan
    with pytest.raises(ValueError, match="with 99; go on with it there"):
        keep_plan(other, tmp_path)
    assert keep_plan(dataclasses.replace(plan_of(compared), machine=other.machine), compared) == plan_of(compared)


def test_a_preset_that_changed_under_the_same_words_is_a_changed_plan(compared: Path, tmp_path: Path) -> None:
    plan = plan_of(compared)
    (tmp_path / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
    first = plan.entries[0]
    changed = dataclasses.replace(first, config={**first.config, "lr": 0.5})
    with pytest.raises(ValueError, match=r"lr of cgan --width 8 --batch 50: 0\.0002 there, 0\.5 asked"):
        keep_plan(dataclasses.replace(plan, entries=(changed, *plan.entries[1:])), tmp_path)


def test_a_preset_that_changed_is_noticed_where_the_folder_alone_is_named(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((compared / "plan.json").read_text())
    plan["entries"][0]["config"]["lr"] = 0.5
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert main(["compare", "--out", str(tmp_path)]) == 2
    assert "lr of cgan --width 8 --batch 50: 0.5 there, 0.0002 asked" in capsys.readouterr().err
    # A field that the version which wrote the plan did not have is no change, where it is now as it was by default.
    plan["entries"][0]["config"]["lr"] = 0.0002
    del plan["entries"][0]["config"]["augment_policy"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert keep_plan(plan_of(compared), tmp_path).entries[1:] == plan_of(compared).entries[1:]
    del plan["entries"][0]["config"]["width"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match="width of cgan --width 8 --batch 50: 32 there, 8 asked"):
        keep_plan(plan_of(compared), tmp_path)


def test_data_that_changed_is_noticed_where_the_folder_alone_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "start", Killed)
    data = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.save("images.npy", data)
    words = ["compare", "dcgan", "--data", "images.npy", "--examples", "300", "--out", "c"]
    assert main(words) == 1  # no run finished
    before = (tmp_path / "c" / "plan.json").read_text()
    monkeypatch.chdir("/")
    assert main(["compare", "--out", str(tmp_path / "c")]) == 1
    assert "no run finished" in capsys.readouterr().err
    np.save(tmp_path / "images.npy", 255 - data)
    for more in ([], ["--add", "gan"]):
        assert main(["compare", *more, "--out", str(tmp_path / "c")]) == 2
        assert "fingerprint: " in capsys.readouterr().err
    assert (tmp_path / "c" / "plan.json").read_text() == before


def test_a_run_that_was_stopped_before_its_samples_gets_them(compared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    place = copy / "runs" / "cgan-width-8-batch-50-0"
    before = last(place)
    (place / "exhibits.npz").unlink()
    log = place / "metrics.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"quick": false' in line))
    assert carry_out(plan_of(copy), copy, Watch(quiet=True), Inline)
    assert (place / "exhibits.npz").exists()
    assert last(place) == before
    assert [row["quick"] for row in runlog.rows(log)].count(False) == 1


class Counted:
    """A child that takes a second look to end, and counts those that live."""

    alive: ClassVar[list[str]] = []
    logs: ClassVar[dict[str, Path]] = {}
    seen: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.words, self.looks = words, 0
        Counted.logs[words[0]] = log
        Counted.alive.append(words[0])

    def poll(self) -> int | None:
        self.looks += 1
        Counted.seen.append((self.words[0], len(Counted.alive)))
        if self.looks < 2:
            return None
        Counted.alive.remove(self.words[0])
        if self.words[0] == "probe":
            child.main(self.words)
        return -signal.SIGKILL

    def terminate(self) -> None: ...

    def kill(self) -> None:
        Counted.alive.remove(self.words[0])


def test_speeds_are_measured_beside_as_many_processes_as_runs_have_beside_them(compared: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of(compared), jobs=2)
    plan = dataclasses.replace(plan, entries=plan.entries[:1], seeds=3)
    (tmp_path / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
    assert carry_out(plan, tmp_path, Watch(quiet=True), Counted)
    assert [count for what, count in Counted.seen if what == "probe"] == [2, 2]
    assert [count for what, count in Counted.seen if what == "run"][:2] == [2, 2]
    assert Counted.alive == []
    assert Counted.logs["beside"] == Counted.logs["probe"].with_name("cgan-width-8-batch-50-beside.log")


def test_the_reason_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    begun = f"{runs.ATTEMPT}\n"
    first = f"{begun}pushforward: error: ValueError: loss is not finite\n"
    log.write_text(f"{first}{begun}Traceback …\nRuntimeError: out of memory\n\n")
    assert runs._reason(log, 1) == "RuntimeError: out of memory"
    log.write_text(f"{first}{begun}Illegal instruction\n\n")
    assert runs._reason(log, 1) == "Illegal instruction"
    log.write_text(f"{first}{begun}")
    assert runs._reason(log, 3) == "ended with status 3"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("Traceback …\npushforward: error: ValueError: loss is not finite\n", "loss is not finite"),
        ("torch.OutOfMemoryError: 8 GiB\nresource_tracker: There appear to be 2 …\n", "torch.OutOfMemoryError: 8 GiB"),
        ("KeyError: 'a'\n\nDuring handling …\nRuntimeError: b\n", "RuntimeError: b"),
        ("KeyError: 'a'\nException ignored in: <function f>\nTraceback …\nAssertionError: c\n", "KeyError: 'a'"),
        ("KeyError: 'a'\nException in thread Thread-1:\nTraceback …\nOSError: d\n", "KeyError: 'a'"),
        ("pushforward: error: a\nException ignored in: f\nKeyError: 'b'\n", "a"),
        ("Exception in thread Thread-1:\nTraceback …\nOSError: d\nSegmentation fault\n", "OSError: d"),
        ("Illegal instruction\n\n", "Illegal instruction"),
    ],
)
def test_the_reason_is_the_error_and_not_what_an_ending_process_leaves(tmp_path: Path, told: str, reason: str) -> None:
    log = tmp_path / "a.log"
    log.write_text(told)
    assert runs._reason(log, 1) == reason
    log.write_text(f"{runs.ATTEMPT}\nValueError: before\n{runs.ATTEMPT}\n{told}")
    assert runs._reason(log, 1) == reason


def test_recipes_are_added_on_the_terms_of_what_is_there_and_nothing_is_done_again(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    called: list[list[str]] = []

    def launch(words: Sequence[str], log: Path, threads: int) -> Inline:
        called.append([words[0], Path(words[1]).name])
        return Inline(words, log, threads)

    monkeypatch.setattr(runs, "start", launch)
    words = ["compare", "--add", f"dcgan {SMALL}", f"cgan {SMALL}", "--out", str(copy)]
    assert main(words) == 0
    slug = "dcgan-width-8-batch-50"
    assert called == [["probe", "copy"], ["run", f"{slug}-0"], ["run", f"{slug}-1"]]
    assert "| `dcgan` |" in capsys.readouterr().out
    plan = plan_of(copy)
    assert [entry.recipe for entry in plan.entries] == [*(e.recipe for e in plan_of(compared).entries), "dcgan"]
    assert dataclasses.replace(plan, entries=(), command="") == dataclasses.replace(
        plan_of(compared), entries=(), command=""
    )
    assert plan.command.splitlines()[0] == plan_of(compared).command
    assert plan.command.splitlines()[1].startswith("pushforward compare --add ")
    assert len(json.loads((copy / "compare.json").read_text())["recipes"]) == 3
    before = (copy / "plan.json").read_text()
    for more, said in ((["--budget", "3s"], "a comparison goes on as it was planned, got --budget too"),):
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    assert main(["compare", "--add", "dcgan --lr nan", "--out", str(copy)]) == 2
    assert "lr must be a number from 0 up, got nan" in capsys.readouterr().err
    assert (copy / "plan.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--add", "--out", "/no/such/comparison"], "--add needs recipes to add"),
        (["--add", "dcgan"], "--add needs the --out of a comparison"),
        (["--add", "dcgan", "--out", "/no/such/comparison"], "; /no/such/comparison holds none"),
        ([], "compare needs recipes"),
        (["dcgan"], "compare needs --data"),
        (["dcgam", "--data", "digits"], "did you mean dcgan?"),
        (["dcgan --widht 3", "--data", "digits"], "did you mean --width?"),
        (["dcgan", "dcgan", "--data", "digits"], "dcgan is there twice"),
        (["dcgan", "--data", "digits", "--budget", "10"], "a budget is a number with s, m or h, got '10'"),
        (["dcgan", "--data", "digits", "--budget", "0s"], "a budget is a number"),
        (["dcgan", "--data", "digits", "--budget", "9s", "--examples", "9"], "leave one out"),
        (["dcgan --examples 9", "--data", "digits"], "the comparison decides how much dcgan sees"),
        (["dcgan --preset papr", "--data", "digits"], "has no preset 'papr'"),
        (["dcgan", "--width", "9", "--data", "digits"], "--width"),
        (["dcgan", "--data", "digits", "--seeds", "0"], "seeds must be at least 1, got 0"),
        (["dcgan", "--data", "/no/such/folder"], "/no/such/folder"),
        (["dcgan", "--data", "ring8"], "recipes that do"),
        (["dcgan", "--data", "digits", "--features", "inceptoin"], "did you mean inception?"),
        (["dcgan --width 0", "--data", "digits"], "width must be at least 1, got 0"),
        (["", "--data", "digits"], "recipe"),
        (["--out", "/no/such/comparison"], "compare needs recipes"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_interruptions_are_not_in_the_curve() -> None:
    seen = [0, 100, 512, 700, 1024, 1536, 1600, 1700]
    names = [p.name for p in due([Path(f"{n:012d}") for n in seen], 2000, 4)]
    assert [int(name) for name in names] == [512, 1024, 1536, 1700]
    names = [p.name for p in due([Path(f"{n:012d}") for n in (0, 640, 1280, 1920, 2048)], 2000, 4)]
    assert [int(name) for name in names] == [640, 1280, 1920, 2048]


class Killed:
    """A child that something outside ended, after it had saved a part of its run."""

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)

    def poll(self) -> int:
        return -signal.SIGKILL

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def test_a_killed_child_is_told_of_and_tried_again_by_the_next_call(compared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    plan = plan_of(copy)
    log = copy / "runs" / "cgan-width-8-batch-50-0" / "metrics.jsonl"
    whole = last(log.parent)
    log.unlink()
    assert carry_out(plan, copy, Watch(quiet=True), Killed)
    row = next(row for row in collect(plan, copy).rows if row.entry.label == RECIPES[0])
    assert row.reason == "seed 0: killed by SIGKILL (was there enough memory?)"
    assert len(row.finished) == 1
    assert carry_out(plan, copy, Watch(quiet=True), Inline)
    assert last(log.parent) == whole


class Endless:
    """A child that ends when it is asked to."""

    asked = 0

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def poll(self) -> int | None:
        return runs.STOPPED if Endless.asked else None

    def terminate(self) -> None:
        Endless.asked += 1

    def kill(self) -> None: ...


def test_ctrl_c_asks_the_children_to_stop_and_says_how_to_go_on(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.json").write_text((compared / "plan.json").read_text())
    monkeypatch.setattr(runs, "start", Endless)
    assert main(["compare", "--out", str(tmp_path)]) == 130
    assert Endless.asked == 1
    assert f"stopped; continue with: pushforward compare --out {tmp_path}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.failed"))
    assert "No run has finished yet." in (tmp_path / "report.html").read_text()


def test_a_child_whose_parent_is_gone_saves_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["run", str(folder), "train", "gan", "--data", "digits", "--out", str(folder), "--examples", "100000000"]
    words += ["--width", "8", "--evaluations", "0", "--ticks", "100000"]
    command = [sys.executable, "-m", "pushforward.compare.child", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    until = time.monotonic() + 60
    while not (folder / "stats.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.stdin.close()  # as the system does when the parent is killed
    assert process.wait(60) == runs.STOPPED, process.stderr.read()
    process.stderr.close()
    seen = runlog.rows(folder / "stats.jsonl")[-1]["seen"]
    assert (folder / "checkpoints" / f"{seen:012d}").is_dir()
    assert seen > 0
