"""A run from plan to report, in Python: what it leaves, that it resumes bit for bit, and what it refuses."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trees

import pushforward as pf
from pushforward import course, evaluation, exhibits, sampling, session, sets
from pushforward.cli import main
from pushforward.core.checkpoint import CheckpointError
from pushforward.core.distributed import World
from pushforward.core.engine import Engine
from pushforward.core.runlog import rows
from pushforward.data.catalogue import Options, open_data
from pushforward.data.mirrored import Mirrored
from pushforward.progress import Progress
from pushforward.run import Plan, Run, RunError, evaluate_samples, kind_of, measure

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


def test_a_checkpoint_of_other_networks_is_refused_with_what_to_do(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["config"]["width"] = 16  # as a version with other networks would build
    path.write_text(json.dumps(config))
    for use in (lambda: Run(tmp_path / "run").sample(2), lambda: session.resume(tmp_path / "run")):
        with pytest.raises(RunError, match=r"other networks than this version .*size mismatch .*; use the version"):
            use()
    (checkpoint,) = sorted((tmp_path / "run" / "checkpoints").glob("[0-9]*"))[-1:]
    tensors = max(checkpoint.rglob("*.safetensors"), key=lambda file: file.stat().st_size)
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="could not be read"):  # a damaged file is not another network's
        Run(tmp_path / "run").sample(2)


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
    with pytest.raises(ValueError, match="truncation must not be negative"):
        sampling.latents(2, (4,), seed=0, truncation=-0.5)


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


def test_resume_refuses_fewer_examples_than_were_seen_and_more_where_the_learning_rate_is_zero(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="has seen 3,000 examples, got --examples 2999; ask for more"):
        pf.resume(run.folder, examples=2999)
    ended = pf.train("wgan-gp", data="ring8", out=tmp_path / "r", **{**SMALL, "examples": 1000, "ticks": 1})
    with pytest.raises(RunError, match="falls to zero at 1,000 examples"):
        pf.resume(ended.folder, examples=2000)


def test_a_finished_run_that_is_resumed_keeps_its_checkpoints_scores_and_one_line_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SIDE", 100)
    run = pf.train("gan", data="digits", out=tmp_path / "r", **{**SMALL, "evaluations": 3, "measure": True})

    def state() -> tuple[list[tuple[str, float | None]], list[tuple[int, bool]]]:
        checkpoints = run.checkpoints
        lines = [(row["seen"], row["quick"]) for row in rows(run.folder / "metrics.jsonl")]
        return [(p.name, checkpoints.score(p)) for p in checkpoints.all()], lines

    before = state()
    assert before[0][-1][1] is not None
    assert before[1] == [(1000, True), (2000, True), (3000, True), (3000, False)]
    pf.resume(run.folder)
    assert state() == before


def test_the_best_checkpoint_is_the_best_of_all_evaluations_whenever_others_are_due(tmp_path: Path) -> None:
    options = {**SMALL, "evaluations": 5, "checkpoints": 2, "keep": 1, "latent": 2}
    run = pf.train("gan", data="ring8", out=tmp_path / "r", **options)
    scores = {row["seen"]: row["metrics"]["w2"]["value"] for row in rows(run.folder / "metrics.jsonl")}
    assert len(scores) == 5
    best = run.checkpoints.best()
    assert best is not None
    assert int(best.name) == min(scores, key=lambda seen: scores[seen])


def test_a_run_without_evaluations_says_that_none_is_the_best(run: Run) -> None:
    with pytest.raises(RunError, match="none is the best; use the last one"):
        run.sample(2, checkpoint="best")


def test_two_processes_do_not_train_into_one_folder(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no locks on folders")
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    with session._alone(copy, World()), pytest.raises(RunError, match="another process is training in"):
        pf.resume(copy)
    pf.resume(copy)


def test_ctrl_c_while_a_run_is_measured_stops_at_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)

    def interrupted(self: course.Course) -> None:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(course.Course, "conclude", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pf.resume(copy)
    assert pf.resume(copy).outcome == "finished"


def test_ctrl_c_while_training_saves_and_leaves(tmp_path: Path) -> None:
    original, left = Engine.round, [5]

    def played(engine: Engine) -> None:
        original(engine)
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "round", played)
        stopped = pf.train("gan", data="ring8", out=tmp_path / "r", **SMALL)
    assert stopped.outcome == "stopped"
    last = stopped.checkpoints.last()
    assert last is not None
    assert int(last.name) == 500
    assert not (tmp_path / "r" / "report.html").exists()


def test_data_of_the_catalogue_stay_so_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ring8").mkdir()
    monkeypatch.chdir(tmp_path)
    run = pf.train("gan", data="ring8", **{**SMALL, "examples": 500})
    assert run.folder == Path("runs/gan-ring8")
    assert run.config["data"]["name"] == "ring8"
    assert pf.resume(run.folder).outcome == "finished"


def test_images_can_be_sampled_when_the_data_are_gone_and_measured_against_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 256, (60, 8, 8), np.uint8), y=rng.integers(0, 3, 60))
    run = pf.train("cgan", data=str(tmp_path / "x.npz"), out=tmp_path / "r", **{**SMALL, "examples": 500})
    (tmp_path / "x.npz").unlink()
    assert main(["sample", str(run.folder), "-n", "4"]) == 0
    assert (run.folder / "samples.png").exists()
    numbers = run.evaluate("digits")
    assert "frechet" in numbers
    assert "accuracy" not in numbers, "its three classes are not the ten of digits"
    with pytest.raises(ValueError, match="they can't be compared"):
        run.evaluate("ring8")


def test_points_are_measured_in_the_units_of_the_data_they_are_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "MATCHED", 50)
    law = open_data("grid25").law
    assert law is not None
    points, _ = law.sample(np.random.default_rng(0), 4000)
    np.save(tmp_path / "points.npy", points)
    for numbers in (evaluate_samples("grid25", "grid25"), evaluate_samples(str(tmp_path / "points.npy"), "grid25")):
        assert numbers["modes"].value == 25
        assert 0.97 < numbers["high_quality"].value < 1
    run = pf.train("gan", data="grid25", out=tmp_path / "r", **{**SMALL, "examples": 500})
    # The same points twice: as the law's, which are scaled for networks, and as an array's, which are not.
    x = run.sample(2000, seed=1)
    np.save(tmp_path / "own.npy", law.from_model(x.numpy()))
    of_points = run.evaluate(str(tmp_path / "points.npy"))["frechet"].value
    expected = evaluate_samples(str(tmp_path / "own.npy"), str(tmp_path / "points.npy"))["frechet"].value
    assert of_points == pytest.approx(expected, rel=0.1)


def test_a_config_of_another_version_is_named(run: Run, tmp_path: Path) -> None:
    config = json.loads((run.folder / "config.json").read_text())
    config["run"]["warp"] = 9
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="does not hold what this version of pushforward writes"):
        Run(tmp_path)


def test_latents_of_one_number_are_interpolated_along_a_line(tmp_path: Path) -> None:
    run = pf.train("gan", data="digits", out=tmp_path / "r", **{**SMALL, "examples": 500, "latent": 1})
    assert run.outcome == "finished"
    assert (run.folder / "exhibits.npz").exists()


def test_a_copy_of_a_mirror_image_is_its_own_nearest_neighbour_where_training_saw_it() -> None:
    query = open_data("digits").examples(40, seed=7)["x"]
    for x in (query, query.flip(3)):
        found = exhibits._neighbours(x, open_data("digits", mirror=True))
        assert np.array_equal(found[:, 0], exhibits.shown(x, None))
    plain = exhibits._neighbours(query.flip(3), open_data("digits"))
    assert not np.array_equal(plain[:, 0], exhibits.shown(query.flip(3), None))


def test_a_mirrored_run_is_measured_against_the_data_it_was_trained_on_alone(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    asked = {**SMALL, "examples": 100, "mirror": True, "evaluations": 0, "measure": False}
    run = pf.train("dcgan", data=str(tmp_path / "x.npy"), out=tmp_path / "r", **asked)
    assert np.array_equal(run.reference().levels(60, 0)[0][:, 0].numpy(), x)
    np.save(tmp_path / "x.npy", 255 - x)
    with pytest.raises(RunError, match="their content changed"):
        run.reference()


def test_nearest_neighbours_over_chunks_are_those_of_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data("digits")
    query = data.examples(4, seed=7)["x"]
    pool = data.examples(1797, seed=0)["x"]
    order = torch.cdist(query.flatten(1).double(), pool.flatten(1).double()).argsort(1)[:, :5]
    expected = exhibits.shown(pool[order.flatten()], None).reshape(4, 5, 8, 8, 1)
    monkeypatch.setattr(exhibits, "CHUNK", 100)
    assert np.array_equal(exhibits._neighbours(query, data), expected)
    assert np.array_equal(expected[:, 0], exhibits.shown(query, None))


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


def test_a_folder_with_other_files_is_no_run_folder_and_one_with_a_log_is(tmp_path: Path) -> None:
    for name in ("job.log", "slurm-12.out", "run.sh"):
        (tmp_path / name).touch()
    pf.train("dcgan", data="digits", out=tmp_path, **{**SMALL, "examples": 64, "measure": False, "evaluations": 0})
    (tmp_path / "config.json").unlink()
    with pytest.raises(RunError, match="holds other files, such as checkpoints; choose another --out"):
        pf.train("dcgan", data="digits", out=tmp_path, **SMALL)
    assert not (tmp_path / "config.json").exists()


def test_too_few_examples_to_measure_are_refused_at_the_start_unless_nothing_is_measured(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8))
    asked = {"data": str(tmp_path / "few.npy"), "out": tmp_path / "run", **SMALL, "examples": 64}
    for some in ({"measure": False, "evaluations": 1}, {"measure": True, "evaluations": 0}):
        with pytest.raises(ValueError, match=r"at least 5 samples a side.*leave measuring out: --evaluations 0"):
            pf.train("dcgan", **{**asked, **some})
        assert not (tmp_path / "run").exists()
    run = pf.train("dcgan", **{**asked, "measure": False, "evaluations": 0})
    assert run.outcome == "finished"


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
        ({"recipe": "dcgan", "data": "digits", "examples": 0}, "examples must be at least 1"),
        ({"recipe": "r3gan", "data": "digits", "lr": 0}, "r3gan's rate falls to a share"),
        (
            {"recipe": "r3gan", "data": "digits", "penalty": None, "penalty_weight_end": 1.0},
            "without --penalty, got 1.0",
        ),
        ({"recipe": "r3gan", "data": "digits", "augment_p_end": 0.5}, "without --augment ada, got 0.5"),
        ({"recipe": "stylegan", "data": "digits", "phase": 500}, "without --growing, got 500"),
        ({"recipe": "progan", "data": "digits", "growing": False, "phase": 500}, "without --growing, got 500"),
        ({"recipe": "stylegan2", "data": "digits", "path_weight": None, "path_every": 8}, "without --path-weight"),
        ({"recipe": "biggan", "data": "digits", "conditioning": None, "shared": 7}, "without --conditioning, got 7"),
        ({"recipe": "logan", "data": "digits", "conditioning": None, "shared": 7}, "without --conditioning, got 7"),
        (
            {"recipe": "dcgan", "data": "digits", "augment": "ada", "augment_target": float("nan")},
            "augment_target must",
        ),
        ({"recipe": "dcgan", "data": "digits", "latent": 0}, "latent must be at least 1, got 0"),
        (
            {"recipe": "r3gan", "data": "digits", "penalty_weight": -1.0},
            "penalty_weight must be a number from 0 up, got -1",
        ),
        ({"recipe": "dcgan", "data": "digits", "resolution": 20}, "images of 20×20 do not fit"),
        ({"recipe": "cgan", "data": "stacked-digits"}, "cgan needs labels"),
        (
            {"recipe": "dcgan", "data": "digits", "penalty_every": 2},
            "penalty_every does nothing without --penalty, got 2",
        ),
        (
            {"recipe": "sngan", "data": "digits", "augment": "ada", "augment_policy": ("color",)},
            "--augment diffaugment",
        ),
        ({"recipe": "dcgan", "data": "digits", "ticks": 0}, "ticks must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message.replace("?", r"\?")):
            pf.train(out=tmp_path / "r", **arguments)
        assert not (tmp_path / "r").exists()


def test_0_is_none_of_what_is_no_count_written_as_a_whole_number_too() -> None:
    config = pf.recipes.load("stylegan2").Config
    session.check_numbers(config(lr_hold=0, mixing=0, augment_p=0, augment_target=0, penalty_weight=0))
    with pytest.raises(ValueError, match="path_every must be at least 1, got 0"):
        session.check_numbers(config(path_every=0))


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


def test_the_commit_is_that_of_the_package_not_of_a_checkout_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("git") is None:
        pytest.skip("there is no git on this machine")
    package = tmp_path / "site-packages" / "pushforward"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "theirs").touch()
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (["init", "-q"], ["add", "theirs"], [*who, "commit", "-q", "-m", "theirs"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(pf, "__file__", str(package / "__init__.py"))
    assert session._commit() is None
    subprocess.run(["git", "add", "site-packages"], cwd=tmp_path, check=True, capture_output=True)
    commit = session._commit()
    assert commit is not None
    assert commit.endswith("+")


def test_brackets_in_the_name_of_the_data_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Plan("gan", "[red]x[/b]", {}), seen=0, examples=10) as progress:
        progress.update(5, {"critic/loss": 0.5})
        progress.end("finished", 10)
    said = capsys.readouterr().err
    assert "gan on [red]x[/b]: 5 of 10 examples  critic 0.5" in said
    assert "gan on [red]x[/b]: finished after 10 examples" in said


def test_training_leaves_the_processes_arithmetic_as_it_was(run: Run) -> None:
    smallest = torch.tensor(1e-45)
    assert run.outcome == "finished"
    assert float(smallest * 1.0) > 0
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_run_on_a_part_of_the_data_is_measured_against_all_of_them_and_resumes_on_its_part(tmp_path: Path) -> None:
    asked = {**SMALL, "limit": 100, "mirror": True, "evaluations": 1}
    run = pf.train("dcgan", data="digits", out=tmp_path / "part", **asked)
    assert "--limit 100 --mirror" in run.config["command"]
    assert run.data().size == 100
    assert isinstance(run.data(), Mirrored)
    assert run.reference().size == 1797
    assert not isinstance(run.reference(), Mirrored)
    assert sets.reals_of(run, Options(progress=False)).size == 1797
    assert sets.trained_on(run, Options(progress=False)).size == 100
    assert "Mirror images, which training saw too, are among them." in (run.folder / "report.html").read_text()
    (line,) = rows(run.folder / "metrics.jsonl")
    whole = evaluation.Evaluator(run.reference())
    part = evaluation.Evaluator(run.data())
    game, cpu = run.game("last"), torch.device("cpu")
    values = [measure(game, evaluator, cpu, quick=True)["frechet"].value for evaluator in (whole, part)]
    assert line["metrics"]["frechet"]["value"] == pytest.approx(values[0], rel=1e-6)
    assert abs(values[0] - values[1]) > 0.01 * values[0]
    more = session.resume(run.folder, examples=3500)
    assert more.data().size == 100
