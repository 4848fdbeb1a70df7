import subprocess
import sys
from pathlib import Path

import pytest

from pushforward.data.cache import cache_folder, cached
from pushforward.data.catalogue import CATALOGUE, open_data


def test_the_catalogue_is_read_without_torch_or_numpy() -> None:
    code = "import sys, pushforward.data.catalogue; print(*({'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_entry_has_one_line_and_a_module_beside_it() -> None:
    folder = Path(sys.modules["pushforward.data.catalogue"].__file__ or "").parent
    for entry in CATALOGUE.values():
        assert 5 < len(entry.summary) < 80
        assert "\n" not in entry.summary
        assert (folder / f"{entry.module}.py").is_file()


def test_a_wrong_name_is_refused_with_the_nearest_and_all_names() -> None:
    with pytest.raises(ValueError, match="did you mean digits") as caught:
        open_data("digts")
    assert "neither a data set nor an existing path" in str(caught.value)
    assert all(name in str(caught.value) for name in CATALOGUE)
    with pytest.raises(ValueError, match="no/such/folder"):
        open_data("no/such/folder")


@pytest.mark.parametrize(
    "options", [{"resolution": 0}, {"channels": 2}, {"max_bad": -0.1}, {"max_bad": 1.5}, {"max_bad": float("nan")}]
)
def test_options_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        open_data("digits", **options)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PUSHFORWARD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "pushforward"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/pushforward")
    monkeypatch.setenv("PUSHFORWARD_CACHE", "/y")
    assert cache_folder() == Path("/y")
    assert cache_folder(Path("/z")) == Path("/z")


def test_what_is_half_built_is_never_found(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "x").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", fails)
    assert not list(tmp_path.glob("*partial")) + list(tmp_path.glob("key"))
    left = tmp_path / "key.123.partial"  # as a kill would leave it
    left.mkdir()
    (left / "x").write_text("half")
    found = cached(tmp_path, "key", lambda folder: (folder / "x").write_text("whole") and None)
    assert (found / "x").read_text() == "whole"
    assert not left.exists()


def test_a_killed_build_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from pushforward.data.cache import cached\n"
        "def build(folder):\n    (folder / 'x').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached(Path(sys.argv[1]), 'key', build)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "key").exists()
    cached(tmp_path, "key", lambda folder: (folder / "x").write_text("whole") and None)
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_cache_that_cannot_be_written_says_where_and_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write the cache folder .*; set PUSHFORWARD_CACHE"):
        cached(tmp_path / "file" / "below", "key", lambda folder: None)
