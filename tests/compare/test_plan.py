"""A comparison goes on only as it was planned."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from comparing import ASKED, RECIPES, Killed, plan_of

from pushforward.cli import main
from pushforward.compare import runs
from pushforward.compare.plan import keep_plan
from pushforward.run import DataOptions

pytestmark = pytest.mark.usefixtures("inline")


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


def test_runs_are_asked_for_the_same_data(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "start", Killed)
    words = ["dcgan", "--data", "digits", "--examples", "300", "--limit", "200", "--mirror"]
    assert main(["compare", *words, "--out", str(tmp_path / "c")]) == 1  # no run finished
    plan = plan_of(tmp_path / "c")
    assert plan.data_options == DataOptions(limit=200, mirror=True)
    assert plan.words(plan.entries[0], 0, 300, None, tmp_path)[-3:] == ["--limit", "200", "--mirror"]


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
