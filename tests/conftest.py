"""One cache for the whole session: rendered glyphs and classifiers are made once, and never in the user's own cache."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    os.environ["PUSHFORWARD_CACHE"] = str(root / "cache")
