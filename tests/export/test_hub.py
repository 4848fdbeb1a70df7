"""The hub, by a stand-in of its HTTP API on this machine: nothing here talks to any other."""

import errno
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_in
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from pushforward import load_generator
from pushforward.cli import main
from pushforward.export.folder import ABOUT, CARD, ONNX, PICTURE, PROGRAM, TENSORS
from pushforward.export.hub import pull, push

REPO = "someone/shapes-generator"
# The client's own, of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[stand_in.Hub]:
    monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    disable_progress_bars()
    with stand_in.serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub
    enable_progress_bars()


def contents(folder: Path) -> dict[str, bytes]:
    """All files by name, but for the program, which does not travel."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != PROGRAM}


def test_what_is_pushed_is_what_is_pulled(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(exported), REPO]) == 0
    assert capsys.readouterr().out.strip() == f"{hub.endpoint}/{REPO}"
    assert hub.private == {REPO}  # open to all only when asked
    assert hub.files(REPO) == contents(exported)
    assert main(["pull", REPO, "--out", str(tmp_path / "pulled")]) == 0
    assert contents(tmp_path / "pulled") == contents(exported)
    assert [path.name for path in tmp_path.iterdir()] == ["pulled"]
    a, b = load_generator(exported, device="cpu"), load_generator(tmp_path / "pulled", device="cpu")
    assert a.sample(3).equal(b.sample(3))


def test_a_file_that_the_description_does_not_name_stays_here(
    hub: stand_in.Hub, exported: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    about = json.loads((folder / ABOUT).read_text())
    del about["files"][ONNX]
    (folder / ABOUT).write_text(json.dumps(about))
    push(folder, REPO)  # the program is still there, and nothing was held against it
    assert ONNX not in (hub.files(REPO) or ())


@pytest.mark.parametrize("files", [5, [{}], None, {}])
def test_a_description_without_a_list_of_files_is_refused_in_words(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, files: object
) -> None:
    push(exported, REPO)
    about = json.loads(hub.repos[REPO][0][ABOUT])
    hub.repos[REPO][0][ABOUT] = json.dumps({**about, "files": files}).encode()
    with pytest.raises(ValueError, match=f"^{REPO}: {ABOUT} names no {TENSORS}"):
        pull(REPO, tmp_path / "pulled")
    assert not list(tmp_path.iterdir())


def test_only_one_that_is_asked_to_be_open_is(hub: stand_in.Hub, exported: Path) -> None:
    push(exported, REPO, public=True)
    assert hub.private == set()


def test_one_that_is_there_and_private_is_not_taken_for_open(hub: stand_in.Hub, exported: Path) -> None:
    hub.repos[REPO], hub.private = [{"notes.txt": b""}], {REPO}
    with pytest.raises(ValueError, match=r"is private, .* nothing was sent; open it in its settings"):
        push(exported, REPO, public=True)
    assert hub.files(REPO) == {"notes.txt": b""}


def test_one_that_is_there_and_open_is_not_written_to_unless_asked(hub: stand_in.Hub, exported: Path) -> None:
    hub.repos[REPO] = [{"notes.txt": b""}]
    with pytest.raises(ValueError, match=r"is open to all, so that nothing was sent; give --public to publish there"):
        push(exported, REPO)
    assert hub.files(REPO) == {"notes.txt": b""}


def test_where_nobody_says_that_it_is_private_nothing_is_sent_unless_asked(hub: stand_in.Hub, exported: Path) -> None:
    hub.tells = False
    with pytest.raises(ValueError, match=r"is not known to be private, so that nothing was sent; give --public"):
        push(exported, REPO)
    assert hub.files(REPO) == {}
    push(exported, REPO, public=True)
    assert hub.files(REPO) == contents(exported)


def test_a_card_that_the_hub_refuses_is_told_by_what_is_wrong_with_it(hub: stand_in.Hub, exported: Path) -> None:
    hub.card = '"license" must be one of apache-2.0, mit'
    with pytest.raises(ValueError, match=r'README.md. - "license" must be one of .*: mend what it names') as told:
        push(exported, REPO)
    assert "connection" not in str(told.value)
    assert hub.files(REPO) == {}


def test_a_second_push_replaces_the_first_whole(hub: stand_in.Hub, exported: Path, tmp_path: Path) -> None:
    hub.repos[REPO] = [{"notes.txt": b"its owner's"}]
    push(exported, REPO, public=True)
    folder = Path(shutil.copytree(exported, tmp_path / "without"))
    (folder / ONNX).unlink()
    about = json.loads((folder / ABOUT).read_text())
    del about["files"][ONNX]
    (folder / ABOUT).write_text(json.dumps(about))
    push(folder, REPO, public=True)
    assert hub.files(REPO) == {**contents(folder), "notes.txt": b"its owner's"}
    assert contents(pull(REPO, tmp_path / "pulled")) == contents(folder)


def test_a_pickle_goes_neither_there_nor_back(hub: stand_in.Hub, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "with"))
    for name in ("generator.pt", "more.pkl"):
        (folder / name).write_bytes(b"\x80\x04N.")
    assert (folder / PROGRAM).is_file()
    push(folder, REPO)
    carried = {ABOUT, TENSORS, ONNX, PICTURE, CARD}
    assert set(hub.files(REPO) or ()) == carried
    assert PROGRAM in json.loads((folder / ABOUT).read_text())["files"]
    hub.repos[REPO][0] |= {PROGRAM: (folder / PROGRAM).read_bytes(), "pytorch_model.bin": b"\x80\x04N."}
    assert {path.name for path in pull(REPO, tmp_path / "pulled").iterdir()} == carried


@pytest.mark.parametrize("name", [TENSORS, PICTURE])
def test_a_pulled_file_with_a_wrong_checksum_is_refused_by_name(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, name: str
) -> None:
    push(exported, REPO)
    hub.repos[REPO][0][name] = contents(exported)[name][:-1] + b"?"
    with pytest.raises(ValueError, match=rf"^{REPO}: {name} is damaged: its SHA-256 must be .* pull it again, or"):
        pull(REPO, tmp_path / "pulled")
    assert not any(path for path in tmp_path.iterdir() if "pulled" in path.name)


def test_a_commit_is_fetched_as_it_was(hub: stand_in.Hub, exported: Path, tmp_path: Path) -> None:
    push(exported, REPO)
    first = stand_in.sha(hub.repos[REPO][0])
    hub.repos[REPO].insert(0, {**hub.repos[REPO][0], CARD: b"changed"})
    assert contents(pull(REPO, tmp_path / "new"))[CARD] == b"changed"
    assert contents(pull(REPO, tmp_path / "old", revision=first)) == contents(exported)


def test_a_damaged_folder_is_not_sent(hub: stand_in.Hub, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "damaged"))
    (folder / TENSORS).write_bytes(b"short")
    with pytest.raises(ValueError, match=f"{TENSORS} is damaged"):
        push(folder, REPO)
    assert hub.asked == []


def test_nobody_is_asked_where_the_words_are_wrong(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    for words, said in (
        (["push", str(exported), "generator"], "OWNER/NAME, got 'generator'"),
        (["push", str(exported.parent / "run"), REPO], "got a run: export it first"),
        (["pull", "../../etc/x"], "OWNER/NAME"),
        (["pull", REPO, "--out", str(full)], "choose another --out, or remove it"),
        (["push", str(exported)], "see pushforward push --help"),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
    assert hub.asked == []


def test_what_the_hub_says_becomes_a_line_with_a_remedy(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pulled"
    with pytest.raises(ValueError, match=r"cannot pull from someone/none: .*; check its name"):
        pull("someone/none", out)
    push(exported, REPO)
    with pytest.raises(ValueError, match=r"cannot pull from .*revision"):
        pull(REPO, out, revision="0" * 40)
    hub.repos["someone/other"] = [{"model.safetensors": b""}]
    with pytest.raises(ValueError, match=r"someone/other must hold an exported generator with a generator.json"):
        pull("someone/other", out)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(ValueError, match=r"cannot push to .*; check its name, and log in with `hf auth login`"):
        push(exported, REPO)
    assert not out.exists()


def test_a_full_disk_is_not_taken_for_a_lost_connection(
    hub: stand_in.Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    push(exported, REPO)
    monkeypatch.setattr(HfApi, "hf_hub_download", full)
    with pytest.raises(ValueError, match="No space left on device; make room on the disk"):
        pull(REPO, tmp_path / "pulled")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "the hub refuses it as it is: mend what it names"),
        (403, "your token may not do that: make one that may write"),
        (412, "wait a little, then try again"),
        (429, "wait a little, then try again"),
        (500, "check the connection"),
    ],
)
def test_what_the_hub_refuses_is_mended_as_its_status_asks(
    hub: stand_in.Hub, exported: Path, status: int, remedy: str
) -> None:
    hub.refusing = status
    with pytest.raises(ValueError, match=rf"cannot push to {REPO}: .*; {remedy}"):
        push(exported, REPO)


def test_a_file_that_may_not_be_read_is_no_matter_of_the_connection(
    hub: stand_in.Hub, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "cache/one")

    monkeypatch.setattr(HfApi, "create_commit", shut)
    with pytest.raises(ValueError, match="Permission denied: 'cache/one'; see to that file"):
        push(exported, REPO)


def test_without_a_connection_one_line_says_so(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        for words in (["push", str(exported), REPO], ["pull", REPO, "--out", str(tmp_path / "pulled")]):
            assert main(words) == 2
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert f"{REPO}: " in line
            assert line.endswith("then try again")
            assert "check the connection to http://127.0.0.1" in line
    assert [path.name for path in tmp_path.iterdir()] == []
