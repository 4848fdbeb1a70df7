"""A run from plan to report, in Python: what it leaves, that it resumes bit for bit, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trees

import pushforward as pf
from pushforward import sampling
from pushforward.core.engine import Engine
from pushforward.core.runlog import rows
from pushforward.run import Run, RunError, kind_of

SMALL: dict[str, Any] = {
    "examples": 3000, "batch": 100, "width": 8, "ticks": 5, "pictures": 2, "checkpoints": 3, "evaluations": 0,
    "measure": False,
}  # fmt: skip


def assert_same(a: Run, b: Run) -> None:
    left, right = a.checkpoints.last(), b.checkpoints.last()
    assert left is not None
    assert right is not None
    trees.assert_same(left, right)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("session") / "run"
    return pf.train("dcgan", data="digits", out=out, **SMALL)


def test_a_run_leaves_its_config_log_pictures_exhibits_checkpoints_and_report(run: Run) -> None:
    config = json.loads((run.folder / "config.json").read_text())
    assert config["recipe"] == "dcgan"
    assert config["config"]["examples"] == 3000
    assert config["data"]["fingerprint"] == run.data().fingerprint
    assert rows(run.folder / "stats.jsonl")[-1]["seen"] == 3000
    assert (run.folder / "report.html").stat().st_size > 1000
    pictures = sorted(p.name for p in (run.folder / "samples").glob("*.png"))
    assert pictures == ["000000000000.png", "000000001500.png", "000000003000.png"]
    with np.load(run.folder / "exhibits.npz") as exhibits:
        assert exhibits["fake"].shape == (64, 8, 8, 1)
        assert exhibits["neighbours"].shape == (8, 5, 8, 8, 1)
        assert exhibits["interpolations"].shape == (6, 9, 8, 8, 1)


def test_the_recorded_command_repeats_a_run_started_from_python(run: Run) -> None:
    words = run.config["command"].split()
    assert words[:5] == ["pushforward", "train", "dcgan", "--data", "digits"]
    for option, value in (("--examples", "3000"), ("--width", "8"), ("--ticks", "5"), ("--evaluations", "0")):
        assert words[words.index(option) + 1] == value


def test_samples_depend_on_the_seed_alone_and_their_first_rows_not_on_how_many(run: Run) -> None:
    state = torch.random.get_rng_state()
    few, many, other = run.sample(3, seed=5), run.sample(7, seed=5), run.sample(3, seed=6)
    assert torch.equal(state, torch.random.get_rng_state())
    assert few.shape == (3, 1, 8, 8)
    torch.testing.assert_close(few, many[:3])
    assert not torch.allclose(few, other)


def test_truncated_latents_stay_within_the_bound_and_keep_the_shape_of_the_law() -> None:
    z = sampling.latents(4000, (4,), seed=0, truncation=0.5)
    assert z.shape == (4000, 4)
    assert float(z.abs().max()) <= 0.5
    # Standard deviation of a normal truncated at ±t: 1 − 2tφ(t)/(2Φ(t) − 1), under a root.
    t = torch.tensor(0.5, dtype=torch.float64)
    phi = torch.exp(-t * t / 2) / (2 * torch.pi) ** 0.5
    expected = (1 - 2 * t * phi / (2 * torch.special.ndtr(t) - 1)).sqrt()
    assert float(z.std()) == pytest.approx(float(expected), rel=0.02)
    with pytest.raises(ValueError, match="truncation must be positive"):
        sampling.latents(2, (4,), seed=0, truncation=0.0)


def test_a_run_stopped_twice_on_its_way_equals_one_that_was_not(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    rounds = {"left": 7}

    def stop_after(engine: Engine, round_: Any) -> None:
        if rounds["left"] == 0:
            raise KeyboardInterrupt
        rounds["left"] -= 1
        round_(engine)

    original = Engine.round
    try:
        Engine.round = lambda self: stop_after(self, original)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            pf.train("dcgan", data="digits", out=out, **SMALL)
        rounds["left"] = 13
        with pytest.raises(KeyboardInterrupt):
            pf.resume(out)
    finally:
        Engine.round = original  # type: ignore[method-assign]
    assert_same(pf.resume(out), run)
    seen = [row["seen"] for row in rows(out / "stats.jsonl")]
    assert seen == sorted(set(seen))


def test_more_examples_continue_a_finished_run(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    more = pf.resume(copy, examples=3400)
    assert rows(more.folder / "stats.jsonl")[-1]["seen"] == 3400


def test_metrics_and_pictures_do_not_change_a_run(run: Run, tmp_path: Path) -> None:
    looked_at = pf.train(
        "dcgan", data="digits", out=tmp_path / "r", **{**SMALL, "evaluations": 3, "pictures": 7, "measure": True}
    )
    assert_same(looked_at, run)
    last = rows(looked_at.folder / "metrics.jsonl")[-1]
    assert not last["quick"]
    assert set(last["metrics"]["frechet"]) == {"value", "low", "high", "floor", "n"}


def test_a_folder_with_a_run_is_not_trained_into_again(run: Run) -> None:
    with pytest.raises(RunError, match="holds a run already; continue it with `pushforward resume"):
        pf.train("dcgan", data="digits", out=run.folder, **SMALL)


def test_data_that_changed_since_are_refused_on_resume(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["fingerprint"] = "0" * 64
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="their content changed"):
        pf.resume(copy)


def test_mistakes_are_named_before_anything_is_written(tmp_path: Path) -> None:
    for arguments, message in (
        ({"recipe": "dcgann", "data": "digits"}, "did you mean dcgan?"),
        ({"recipe": "dcgan", "data": "digts"}, "did you mean digits?"),
        ({"recipe": "dcgan", "data": "grid25"}, "dcgan does not make points"),
        ({"recipe": "dcgan", "data": "digits", "widht": 3}, "did you mean width?"),
        ({"recipe": "dcgan", "data": "digits", "examples": 0}, "examples must be positive"),
        ({"recipe": "dcgan", "data": "digits", "resolution": 20}, "images of 20×20 do not fit"),
        ({"recipe": "cgan", "data": "stacked-digits"}, "cgan needs labels"),
        ({"recipe": "dcgan", "data": "digits", "ticks": 0}, "ticks must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message.replace("?", r"\?")):
            pf.train(out=tmp_path / "r", **arguments)
        assert not (tmp_path / "r").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.json"):
        Run(tmp_path)


def test_a_conditional_run_makes_the_classes_asked_for(tmp_path: Path) -> None:
    run = pf.train("cgan", data="moons", out=tmp_path / "r", **{**SMALL, "latent": 2})
    x, y = run.sample_with_classes(5)
    assert x.shape == (5, 2)
    assert y is not None
    assert y.tolist() == [0, 1, 0, 1, 0]
    with pytest.raises(ValueError, match="class 2 is not one of 0 to 1"):
        run.sample(3, y=2)


def test_the_kind_of_data_is_known_without_opening_them(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.zeros((9, 2), np.float32))
    np.save(tmp_path / "images.npy", np.zeros((9, 8, 8), np.uint8))
    kinds = [kind_of(d) for d in ("ring8", "digits", str(tmp_path / "points.npy"), str(tmp_path / "images.npy"))]
    assert kinds == ["points", "images", "points", "images"]
