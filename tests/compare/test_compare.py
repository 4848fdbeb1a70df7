"""A comparison from the command line to its page, in this process."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from comparing import RECIPES, SMALL, Inline, last, plan_of
from PIL import Image

from pushforward.cli import main
from pushforward.compare import runs
from pushforward.compare.results import collect
from pushforward.core import runlog

pytestmark = pytest.mark.usefixtures("inline")


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
    told = capsys.readouterr()
    # Two have failed, and would again.
    assert "2 of 4 runs left, of 300 examples, 1 at once" in told.err
    told_of = told.err.replace("\n", "").split("failed before, and not tried again: ")[1]
    for seed in (0, 1):
        file = f"runs/gan-width-8-batch-50-lr-1e30-{seed}.failed"
        assert file in told_of
        assert (copy / file).exists()
    before, after = (collect(plan_of(compared), folder) for folder in (compared, copy))
    for one, other in zip(before.rows, after.rows, strict=True):
        for name in ("frechet", "precision", "recall", "accuracy"):
            assert one.spread(name) == other.spread(name)
    assert "| `cgan` |" in told.out


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
        (["dcgan --widht=3", "--data", "digits"], "Unrecognized options: --widht=3; did you mean --width?"),
        (["dcgan", "--dta", "digits", "--sede", "3"], "did you mean --data?"),
        (["dcgan", "--data", "digits", "--out=-x-y", "--sede=3"], "Unrecognized options: --sede=3; see"),
        (["dcgan", "--data", "digits", "--miror"], "did you mean --mirror?"),
        (["dcgan", "--data", "digits", "--no-miror"], "did you mean --no-mirror?"),
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
        (["dcgan", "--data", "digits", "--features", "inception"], "the weights of inception are not there"),
        (["dcgan", "--data", "ring8", "--features", "pixels"], "recipes that do"),
        (
            ["dcgan --seed 3", "--data", "digits"],
            "--seed is not the recipe's to decide, got 'dcgan --seed 3'; give --seeds",
        ),
        (["dcgan --resolution=8", "--data", "digits"], "give --resolution outside the quotes"),
        (["dcgan --data digits", "--data", "digits"], "give --data outside the quotes"),
        (["dcgan", "--data", "digits", "--limit", "9", "--features", "pixels,inception"], "the weights of inception"),
        (["dcgan --no-measure", "--data", "digits"], "--no-measure is not the recipe's to decide"),
        (["dcgan --penalty-every 3", "--data", "digits"], "penalty_every does nothing without --penalty"),
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
