"""One comparison for all tests here, which none of them may change."""

from pathlib import Path

import pytest
from comparing import ASKED, RECIPES, quickened

from pushforward.cli import main


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    quickened(monkeypatch)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, and one that fails; two seeds."""
    folder = tmp_path_factory.mktemp("compare") / "c"
    with pytest.MonkeyPatch.context() as patch:
        quickened(patch)
        assert main(["compare", *RECIPES, *ASKED, "--out", str(folder)]) == 0
    return folder
