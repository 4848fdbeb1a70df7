"""Measuring along a run as `--evaluate` asks for it, which changes the run by not one bit."""

import re
from pathlib import Path
from typing import Any

import pytest
import trees

import pushforward as pf
from pushforward.core.runlog import rows
from pushforward.data.catalogue import open_data
from pushforward.evaluation import AGAINST, Evaluator
from pushforward.looks import looks
from pushforward.metrics.catalogue import ALIASES, METRICS, known

SMALL: dict[str, Any] = {
    "examples": 3000, "batch": 100, "width": 8, "ticks": 5, "pictures": 2, "checkpoints": 2, "evaluations": 0,
    "measure": False,
}  # fmt: skip


def test_words_say_when_what_and_by_which_number() -> None:
    assert looks(()) == looks([])
    asked = looks(["every=2000", "features=pixels,classifier", "metrics=kid,recall", "n=500", "best=recall_pixels"])
    assert (asked.every, asked.n, asked.best, asked.sign) == (2000, 500, "recall_pixels", -1)
    assert (asked.features, asked.metrics) == (("pixels", "classifier"), ("kid", "recall"))
    assert looks(["best=kid_pixels"]).sign == looks(["best=frechet"]).sign == looks(()).sign == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2000"], "got '2000'"),
        (["evry=2000"], "every=N, features=…, metrics=…, n=N and best=…, got 'evry=2000'"),
        (["every=1e4"], "every is a number of examples, got '1e4'"),
        (["every=0"], "every is a number of examples"),
        (["every=5", "every=6"], "takes every once"),
        (["metrics=kidd"], "no metric is called 'kidd'; did you mean kid?"),
        (["metrics=FID"], "no metric is called 'FID'; did you mean frechet?"),
        (["metrics=KID"], "did you mean kid?"),
        (["best=fid_inception"], "did you mean frechet_inception?"),
        (["features=incepton"], "no features are called 'incepton'; did you mean inception?"),
        (["best=frechett"], "did you mean frechet?"),
    ],
)
def test_a_word_that_is_not_known_is_named(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        looks(words)


def test_other_names_of_metrics_lead_to_metrics() -> None:
    assert set(ALIASES.values()) <= set(METRICS)


def test_looking_changes_no_weight_and_the_best_is_by_the_number_asked_for(tmp_path: Path) -> None:
    plain = pf.train("cgan", data="digits", out=tmp_path / "plain", **SMALL)
    words = ("every=1000", "features=pixels", "metrics=kid,recall,coverage", "n=200", "best=kid_pixels")
    looked = pf.train("cgan", data="digits", out=tmp_path / "looked", evaluate=words, **{**SMALL, "keep": 1})
    last = [run.checkpoints.last() for run in (plain, looked)]
    assert last[0] is not None
    assert last[1] is not None
    trees.assert_same(last[0], last[1])
    measured = rows(looked.folder / "metrics.jsonl")
    assert [row["seen"] for row in measured] == [1000, 2000, 3000]
    names = {"kid_pixels", "recall_pixels", "coverage_pixels"}
    for row in measured:
        assert set(row["metrics"]) == names
        assert all(m["floor"] is not None and m["n"] == 200 for m in row["metrics"].values())
    kid = {row["seen"]: row["metrics"]["kid_pixels"]["value"] for row in measured}
    best = looked.checkpoints.best()
    assert best is not None
    assert kid[int(best.name)] == min(kid.values()) < max(kid.values())
    assert "--evaluate every=1000 features=pixels" in looked.config["command"]
    pf.resume(looked.folder)
    assert rows(looked.folder / "metrics.jsonl") == measured


def test_the_best_by_a_share_has_the_highest(tmp_path: Path) -> None:
    asked = {**SMALL, "keep": 1, "evaluate": ("every=500", "best=high_quality")}
    run = pf.train("gan", data="ring8", out=tmp_path / "r", **asked)
    share = {row["seen"]: row["metrics"]["high_quality"]["value"] for row in rows(run.folder / "metrics.jsonl")}
    best = run.checkpoints.best()
    assert best is not None
    assert share[int(best.name)] == max(share.values()) > min(share.values())


def test_what_is_not_measured_cannot_be_the_best_and_that_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"best=frechet_inception is not measured here; .*frechet_pixels"):
        pf.train("cgan", data="digits", out=tmp_path / "r", evaluate=("best=frechet_inception",), **SMALL)
    assert not (tmp_path / "r").exists()


def test_a_metric_that_is_not_measured_along_a_run_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"along a run are measured frechet, kid, .* got c_t"):
        pf.train("cgan", data="digits", out=tmp_path / "r", evaluate=("metrics=kid,c_t",), **SMALL)
    assert not (tmp_path / "r").exists()


def test_points_are_seen_by_no_network(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="points"):
        pf.train("gan", data="ring8", out=tmp_path / "r", evaluate=("features=pixels",), **SMALL)


def test_every_name_that_an_evaluation_gives_is_in_the_catalogue() -> None:
    evaluator = Evaluator(open_data("digits"), n=100, metrics=AGAINST)
    assert "coverage_pixels" in evaluator.names
    assert all(known(name) for name in evaluator.names)
