import hashlib
import http.server
import socket
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pushforward.encoders import weights
from pushforward.encoders.weights import PUBLISHED, Published, digest_of, find, read

BODY = bytes(range(256)) * 9000  # more than two pieces
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing.pth":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized.pth":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1500000] if self.path == "/short.pth" else BODY)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    served.asked = []
    thread = threading.Thread(target=partial(served.serve_forever, poll_interval=0.01))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def publish(monkeypatch, server, file, sha256=DIGEST):
    url = f"http://127.0.0.1:{server.server_address[1]}/{file}"
    monkeypatch.setitem(PUBLISHED, "inception", Published(url, sha256))
    return url


def left(tmp_path: Path) -> list[str]:
    """The files that are there, but for the cache's empty lock."""
    return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock")


@pytest.mark.parametrize("file", ["right.pth", "unsized.pth"])
def test_a_download_is_checked_kept_and_not_repeated(monkeypatch, server, tmp_path, file):
    publish(monkeypatch, server, file)
    told = []
    found = find("inception", download=True, tell=lambda done, total: told.append((done, total)))
    assert found.path == tmp_path / "cache/weights/inception" / file
    assert found.path.read_bytes() == BODY
    assert found.sha256 == DIGEST
    assert told[-1] == (len(BODY), None if file == "unsized.pth" else len(BODY))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert find("inception", download=True) == find("inception") == found
    assert server.asked == [f"/{file}"]
    assert left(tmp_path) == [f"cache/weights/inception/{file}"]


def test_nothing_is_downloaded_unasked_and_the_message_says_what_to_put_where(monkeypatch, server, tmp_path):
    url = publish(monkeypatch, server, "right.pth")
    place = tmp_path / "cache/weights/inception/right.pth"
    with pytest.raises(ValueError, match="inception are not there: run `pushforward evaluate") as caught:
        find("inception")
    assert "--features inception --download` once" in str(caught.value)
    assert f"or put {url} at {place}; evaluate also takes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.asked == []
    assert left(tmp_path) == []


def test_other_bytes_are_refused_with_both_digests_and_not_kept(monkeypatch, server, tmp_path):
    publish(monkeypatch, server, "right.pth", "f" * 64)
    with pytest.raises(ValueError, match=f"must have the SHA-256 {'f' * 64}, got {DIGEST}; nothing is kept"):
        find("inception", download=True)
    assert left(tmp_path) == []
    publish(monkeypatch, server, "right.pth")
    assert find("inception", download=True).sha256 == DIGEST


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("missing.pth", "cannot download .*missing.pth: Not Found; try again, or put"),
        ("short.pth", f"(must give {len(BODY)} bytes, got 1500000 before it stopped|IncompleteRead).*or put"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(monkeypatch, server, tmp_path, file, words):
    publish(monkeypatch, server, file)
    with pytest.raises(ValueError, match=words) as caught:
        find("inception", download=True)
    assert "--weights FILE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_without_a_network_the_message_is_one_line_with_the_file_and_its_address(monkeypatch, server, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/w.pth"
    monkeypatch.setitem(PUBLISHED, "inception", Published(url, DIGEST))
    with pytest.raises(ValueError, match=r"cannot download .*refused") as caught:
        find("inception", download=True)
    assert f"put {url} at {tmp_path / 'cache/weights/inception/w.pth'}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_a_copy_put_into_the_cache_by_hand_is_checked_too(monkeypatch, server, tmp_path):
    publish(monkeypatch, server, "right.pth")
    place = tmp_path / "cache/weights/inception/right.pth"
    place.parent.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"must hold right\.pth, got other files; remove the folder"):
        find("inception", download=True)
    place.write_bytes(BODY)
    assert find("inception").sha256 == DIGEST
    place.write_bytes(BODY[:-1])
    with pytest.raises(ValueError, match=f"must have the SHA-256 {DIGEST}, got {digest_of(place)}; remove it"):
        find("inception")
    assert server.asked == []


def test_a_named_file_is_taken_as_it_is_and_a_missing_one_refused(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"mine")
    assert find("inception", file=path).sha256 == hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(ValueError, match=r"inception must be a file, got .*other.pth; give the path of pt_inception"):
        find("inception", file=tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"published for inception, dinov2, .* got 'vgg'"):
        find("vgg")


def test_published_digests_are_whole_and_agree_with_the_name_that_carries_one():
    for source in PUBLISHED.values():
        assert len(bytes.fromhex(source.sha256)) == 32
        assert source.url.startswith("https://")
    inception = PUBLISHED["inception"]
    assert inception.file == f"pt_inception-2015-12-05-{inception.sha256[:8]}.pth"


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_old_and_new_and_safetensors_are_read_alike(tmp_path, zipped):
    state = {"a.weight": torch.randn(3, 4), "b": torch.arange(3), "h": torch.randn(2).half()}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    save_file(state, tmp_path / "w.safetensors")
    for file in ("w.pth", "w.safetensors"):
        got = read(tmp_path / file)
        assert set(got) == set(state)
        assert all(torch.equal(got[k], state[k]) for k in state)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_with_code_is_refused_and_the_code_not_run(tmp_path, zipped):
    torch.save(
        {"w": torch.ones(2), "x": Harmful(tmp_path / "ran")}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(ValueError, match="must be a torch checkpoint of tensors alone, got UnpicklingError") as caught:
        read(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_damaged_files_and_other_contents_are_refused_in_one_line(tmp_path):
    torch.save({"w": torch.ones(1000)}, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    save_file({"w": torch.ones(1000)}, tmp_path / "w.safetensors")
    files = {
        "cut.pth": whole[: len(whole) // 2],
        "empty.pth": b"",
        "page.pth": b"<html>not found</html>",
        "cut.safetensors": (tmp_path / "w.safetensors").read_bytes()[:-4],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"(fetch it again|alone)") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    torch.save({"epoch": 3, "model": {"w": torch.ones(2)}}, tmp_path / "run.pth")
    with pytest.raises(ValueError, match="must hold tensors by name, got other things too"):
        read(tmp_path / "run.pth")


def test_reading_ignores_the_pieces_size(monkeypatch, server):
    publish(monkeypatch, server, "right.pth")
    monkeypatch.setattr(weights, "CHUNK", 1000)
    assert find("inception", download=True).sha256 == DIGEST
