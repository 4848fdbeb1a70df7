"""One run exported in every format, for all tests that only look."""

import json
from pathlib import Path

import pytest
import small_runs

from pushforward.export.writing import export
from pushforward.run import Run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A conditional run, whose last checkpoint was measured in full."""
    run = small_runs.make(tmp_path_factory.mktemp("export") / "run", "cgan")
    row = {"seen": int(run.checkpoint().name), "quick": False, "metrics": small_runs.MEASURED}
    (run.folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return run


@pytest.fixture(scope="session")
def exported(run: Run) -> Path:
    """Its generator in every format."""
    return export(run, run.folder.parent / "generator", ("safetensors", "onnx", "torch"))
