"""The command line as a person or a program meets it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pushforward import lab, recipes
from pushforward.cli import main
from pushforward.commands import train
from pushforward.data.catalogue import CATALOGUE
from pushforward.metrics.catalogue import METRICS

KINDS = ("recipe", "data", "metric", "lab")
SMALL = ["--examples", "2000", "--batch", "100", "--width", "8", "--ticks", "4", "--pictures", "2"]
SMALL += ["--checkpoints", "2", "--evaluations", "0", "--no-measure"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "cgan", "--data", "digits", "--out", str(out), *SMALL]) == 0
    return out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pushforward.cli import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'tyro', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "pushforward train dcgan --data digits" in done.stdout


def test_list_imports_no_torch_and_names_everything() -> None:
    code = (
        "import sys; from pushforward.cli import main; main(['list', '--json']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    names = {kind: [row["name"] for row in listed if row["kind"] == kind] for kind in KINDS}
    assert names == {"recipe": recipes.names(), "data": [*CATALOGUE], "metric": [*METRICS], "lab": lab.names()}
    assert all(row["summary"] for row in listed)


def test_train_says_where_to_look(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "report.html").exists()


def test_a_run_has_its_own_resolution(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--resolution", "16"]) == 2
    assert "leave it out" in capsys.readouterr().err


def test_one_process_of_several_says_where_to_look_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "metrics.jsonl").touch()
    stopped: Any = SimpleNamespace(folder=tmp_path, outcome="stopped")
    assert train._tell(stopped, " --examples 9") == 130
    said = capsys.readouterr()
    assert str(tmp_path / "metrics.jsonl") in said.out
    assert said.err.strip().endswith(f"pushforward resume {tmp_path} --examples 9")
    monkeypatch.setenv("RANK", "1")
    assert train._tell(stopped) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_samples_become_a_grid_files_or_arrays(run: Path, tmp_path: Path) -> None:
    assert main(["sample", str(run), "-n", "9", "--out", str(tmp_path / "grid.png")]) == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (3 * 64 + 2 * 4, 3 * 64 + 2 * 4)
    assert main(["sample", str(run), "-n", "12", "--class", "3", "--out", str(tmp_path / "files")]) == 0
    files = sorted(p.name for p in (tmp_path / "files").iterdir())
    assert files[0] == "00-class3.png"
    assert len(files) == 12
    with Image.open(tmp_path / "files" / files[0]) as image:
        assert image.size == (8, 8)
    assert main(["sample", str(run), "-n", "5", "--truncation", "0.7", "--out", str(tmp_path / "x.npz")]) == 0
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["x"].shape == (5, 8, 8, 1)
        assert arrays["x"].dtype == np.uint8
        assert arrays["y"].tolist() == [0, 1, 2, 3, 4]


def test_evaluate_json_prints_the_metrics_and_nothing_else(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"frechet", "precision", "recall", "accuracy"} <= set(printed["metrics"])
    for measurement in printed["metrics"].values():
        assert set(measurement) == {"value", "low", "high", "floor", "n"}


def test_evaluate_measures_files_and_arrays_against_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sample", str(run), "-n", "40", "--out", str(tmp_path / "files")])
    main(["sample", str(run), "-n", "40", "--out", str(tmp_path / "x.npz")])
    capsys.readouterr()
    numbers = []
    for what in ("files", "x.npz"):
        assert main(["evaluate", str(tmp_path / what), "digits", "--json"]) == 0
        numbers.append(json.loads(capsys.readouterr().out)["metrics"])
    # The same forty samples, in another order: their Fréchet distances at the same size differ only by the order.
    assert numbers[0]["frechet"]["n"] == numbers[1]["frechet"]["n"]
    assert numbers[0]["frechet"]["floor"] == pytest.approx(numbers[1]["frechet"]["floor"])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["tain"], 2, "there is no command 'tain'; did you mean train?"),
        (["train"], 2, "train needs a recipe first"),
        (["train", "dcgam", "--data", "digits"], 2, "did you mean dcgan?"),
        (["train", "dcgan", "--data", "digits", "--widht", "3"], 2, "Unrecognized options: --widht"),
        (["train", "dcgan", "--data", "digits", "--width", "many"], 2, "--width"),
        (["train", "dcgan"], 2, "--data"),
        (
            ["train", "dcgan", "--data", "ring8"],
            2,
            "recipes that do: cgan, fgan, gan, gmmn, lsgan, mmd-gan, projection, r3gan, sngan",
        ),
        (["train", "dcgan", "--data", "/no/such/folder"], 2, "/no/such/folder"),
        (["train", "dcgan", "--data", "digits", "--preset", "papr"], 2, "has no preset 'papr'"),
        (["train", "dcgan", "--data", "digits", "--penalty-weight", "5"], 2, "penalty_weight does nothing without"),
        (
            ["train", "dcgan", "--data", "digits", "--augment-p", "0.5"],
            2,
            "augment_p does nothing without --augment ada",
        ),
        (["train", "dcgan", "--data", "digits", "--out", "/proc/none/run"], 2, "/proc"),
        (["resume", "/no/such/run"], 2, "is not a run folder"),
        (["sample", "/no/such/run"], 2, "is not a run folder"),
        (["evaluate", "/no/such/run"], 2, "name the real data"),
        (["report", "/no/such/run"], 2, "/no/such/run"),
        (["sample", "/no/such/run", "--out", "grid.jpg"], 2, "samples are written as .png, .npz or a folder"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pushforward: error: ")
    assert said in lines[0]


def test_an_empty_folder_and_one_image_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in (0, 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            Image.new("RGB", (9, 9)).save(folder / f"{i}.png")
        assert main(["train", "dcgan", "--data", str(folder), "--out", str(tmp_path / "r")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        assert not (tmp_path / "r").exists()


def test_a_disk_that_refuses_is_one_line_and_earlier_checkpoints_stay(run: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits on a file's size")
    assert resource
    shutil.copytree(run, tmp_path / "run")
    before = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
        "from pushforward.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "resume", str(tmp_path / "run"), "--examples", "3000"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("pushforward: error: ")]
    assert len(errors) == 1
    assert "could not be written" in errors[0]
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == before
