"""The server, asked over HTTP: what it shows, what it takes, what it refuses, and that a refusal writes nothing."""

import http.client
import io
import json
import math
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from pushforward import judge
from pushforward.judge import answers
from pushforward.judge.server import JudgeServer, serve, serving, wait_for_ctrl_c

N = 30
# The pixel at the top left says which image it is: red 0 for fakes, 255 for reals; green its row.
FAKES = np.zeros((N, 6, 5, 3), np.uint8)
FAKES[..., 1] = np.arange(N)[:, None, None]
REALS = FAKES.copy()
REALS[..., 0] = 255
SETTINGS: dict[str, Any] = {"seconds": 0.1, "trials": 6, "practice": 2, "seed": 3}


@pytest.fixture
def server(tmp_path) -> Iterator[JudgeServer]:
    with serving(FAKES, REALS, tmp_path, **SETTINGS) as running:
        yield running


def ask(
    server: JudgeServer, path: str, body: Any = None, rater: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of a reply; body: JSON to post, or bytes as they are."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if data is not None else {}
    sent |= {} if rater is None else {"X-Rater": quote(rater)}
    request = urllib.request.Request(server.url + path.removeprefix("/"), data, sent | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def join(server: JudgeServer, name: str) -> dict[str, Any]:
    status, body = ask(server, "/join", {"rater": name})
    assert status == 200, body
    return json.loads(body)


def see(server: JudgeServer, rater: str, trial: int) -> tuple[bool, int]:
    """Whether the trial's image is real, and its row, read off its pixels."""
    status, body = ask(server, f"/image/{trial}", rater=rater)
    assert status == 200, body
    red, green, _ = np.asarray(Image.open(io.BytesIO(body)))[0, 0].tolist()
    return red == 255, green


def reply_to(trial: int, said: str = "real", **changes: Any) -> dict[str, Any]:
    return {"trial": trial, "said": said, "milliseconds": 640.5, "exposure": 100.0} | changes


def give(server: JudgeServer, rater: str, trial: int, said: str = "real") -> dict[str, Any]:
    see(server, rater, trial)
    status, body = ask(server, "/answer", reply_to(trial, said), rater)
    assert status == 200, body
    return json.loads(body)


def raw(server: JudgeServer, request: bytes) -> bytes:
    """The reply to bytes as they are, all of it."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as client:
        client.sendall(request)
        with client.makefile("rb") as reply:
            return reply.read()


def written(server: JudgeServer) -> list[answers.Answer]:
    return answers.read(server.panel.folder / "answers.jsonl")


def test_a_session_shows_the_plan_keeps_the_answers_and_ends_with_the_error_rate(server, tmp_path):
    state = join(server, "Ann")
    assert state == {"rater": "Ann", "next": 0, "total": 8, "practice": 2, "seconds": 0.1, "result": None}
    plan = server.panel.design.plan("Ann")
    for trial in plan:
        assert see(server, "Ann", trial.index) == (trial.real, trial.image)
        # Wrong at trials 3 and 4, and in practice, which doesn't count.
        wrong = trial.index in (0, 3, 4)
        state = give(server, "Ann", trial.index, "real" if trial.real != wrong else "fake")
    kept = written(server)
    assert [(a.rater, a.trial, a.practice, a.real, a.image) for a in kept] == [
        ("Ann", t.index, t.practice, t.real, t.image) for t in plan
    ]
    assert [a.wrong for a in kept] == [i in (0, 3, 4) for i in range(8)]
    assert {(a.milliseconds, a.exposure, a.loads) for a in kept} == {(640.5, 100.0, 2)}
    assert state["next"] == 8
    assert state["result"]["error"]["value"] == pytest.approx(2 / 6)
    file = json.loads((tmp_path / "judgement.json").read_text(encoding="utf-8"))
    assert file["error"]["value"] == pytest.approx(2 / 6)
    assert judge.read_judgement(tmp_path) == server.panel.judgement()
    assert join(server, "Ann")["result"] == state["result"]


def test_the_truth_is_told_after_an_answer_and_in_practice_only(server):
    join(server, "Ann")
    told = [give(server, "Ann", t.index)["truth"] for t in server.panel.design.plan("Ann")]
    first, second = server.panel.design.plan("Ann")[:2]
    assert told == [*("real" if t.real else "fake" for t in (first, second)), *[None] * 6]


def test_nothing_but_its_pixels_tells_a_fake_from_a_real(tmp_path):
    """The same pixels on both sides: every byte that comes before an answer is then the same."""
    with serving(REALS, REALS, tmp_path, **SETTINGS) as server:
        join(server, "Ann")
        heads, bodies = {False: set(), True: set()}, {}
        for trial in server.panel.design.plan("Ann"):
            request = urllib.request.Request(f"{server.url}image/{trial.index}", headers={"X-Rater": "Ann"})
            with urllib.request.urlopen(request) as reply:
                body = reply.read()
                head = sorted((k, v) for k, v in reply.headers.items() if k not in ("Date", "Content-Length"))
            heads[trial.real].add(str(head))
            bodies.setdefault(trial.image, set()).add(body)
            give(server, "Ann", trial.index)
    assert heads[False] == heads[True]
    assert len(heads[True]) == 1
    assert all(len(same) == 1 for same in bodies.values())


def test_grey_images_go_as_they_are(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (4, 7, 9, 1), np.uint8)
    with serving(grey, grey, tmp_path, trials=2, practice=0) as server:
        join(server, "Ann")
        _, body = ask(server, "/image/0", rater="Ann")
        image = np.asarray(Image.open(io.BytesIO(body)))
        assert np.array_equal(image, grey[server.panel.design.plan("Ann")[0].image, ..., 0])


def test_a_rater_goes_on_where_they_stopped_after_the_server_was_started_again(tmp_path):
    with serving(FAKES, REALS, tmp_path, **SETTINGS) as server:
        join(server, "Zoë  Q")
        for trial in range(3):
            give(server, "Zoë Q", trial)
    assert (tmp_path / "judgement.json").is_file()
    with serving(FAKES, REALS, tmp_path, **SETTINGS) as server:
        status, _ = ask(server, "/answer", reply_to(3), "Zoë Q")
        assert status == 403
        state = join(server, " zoË q ")
        assert (state["rater"], state["next"]) == ("Zoë Q", 3)
        give(server, "Zoë Q", 3)
        assert [a.trial for a in written(server)] == [0, 1, 2, 3]


def test_a_trial_fetched_again_is_counted(server):
    join(server, "Ann")
    for _ in range(3):
        see(server, "Ann", 0)
    ask(server, "/answer", reply_to(0), "Ann")
    assert written(server)[0].loads == 3


def test_many_raters_at_once_each_get_their_own_session_and_no_answer_is_lost(server):
    problems = []

    def work(name: str) -> None:
        try:
            join(server, name)
            for trial in server.panel.design.plan(name):
                assert see(server, name, trial.index) == (trial.real, trial.image)
                give(server, name, trial.index)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(f"rater {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    kept = written(server)
    assert sorted((a.rater, a.trial) for a in kept) == [(f"rater {i}", t) for i in range(8) for t in range(8)]
    assert len((server.panel.folder / "answers.jsonl").read_bytes().splitlines()) == 64


def test_one_answer_sent_many_times_at_once_is_kept_once(server):
    join(server, "Ann")
    see(server, "Ann", 0)
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(server, "/answer", reply_to(0), "Ann")[0]))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 9
    assert len(written(server)) == 1


BAD_BODIES = [
    (b"", 400, "no JSON"),
    (b"{", 400, "no JSON"),
    (b"[" * 4000, 400, "no JSON"),
    (b"\xff\xfe", 400, "no JSON"),
    (b"[]", 400, "no object of exactly trial, said"),
    (b"3", 400, "no object"),
    (reply_to(0) | {"real": True}, 400, "no object of exactly"),
    ({"trial": 0, "said": "real"}, 400, "no object of exactly"),
    (reply_to(0) | {"trial": "0"}, 400, "trial is of the wrong kind"),
    (reply_to(0) | {"trial": True}, 400, "trial is of the wrong kind"),
    (reply_to(0) | {"trial": 0.0}, 400, "trial is of the wrong kind"),
    (reply_to(0, "maybe"), 400, "neither real nor fake"),
    (reply_to(0, milliseconds=-1), 400, "milliseconds is not between"),
    (reply_to(0, milliseconds=10**400), 400, "milliseconds is not between"),
    (reply_to(0, milliseconds=math.nan), 400, "milliseconds is not between"),
    (reply_to(0, exposure=math.inf), 400, "exposure is not between"),
    (reply_to(0, exposure=None), 400, "exposure is of the wrong kind"),
    (reply_to(1), 409, "trial 1 is not the next one"),
    (reply_to(-1), 404, "there is no trial -1"),
    (reply_to(8), 404, "there is no trial 8"),
    (reply_to(10**30), 404, "there is no trial"),
    (b" " * 5000, 413, "more than 4096 bytes"),
    (b" " * 900_000, 413, "more than 4096 bytes"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_BODIES)
def test_a_bad_answer_is_refused_in_one_line_and_nothing_is_written(server, body, status, words):
    join(server, "Ann")
    see(server, "Ann", 0)
    got, text = ask(server, "/answer", body, "Ann")
    assert (got, words in text.decode()) == (status, True)
    assert text.count(b"\n") == 1
    assert written(server) == []
    assert give(server, "Ann", 0)["next"] == 1  # and the test goes on


def test_an_answer_twice_or_to_an_image_never_asked_for_is_refused(server):
    join(server, "Ann")
    assert ask(server, "/answer", reply_to(0), "Ann")[0] == 409
    give(server, "Ann", 0, "real")
    status, text = ask(server, "/answer", reply_to(0, "fake"), "Ann")
    assert (status, b"trial 0 is answered already" in text) == (409, True)
    assert [a.said_real for a in written(server)] == [True]


@pytest.mark.parametrize("rater", [None, "Bob", "ann"])
def test_a_rater_who_has_not_started_is_refused(server, rater):
    join(server, "Ann")
    assert ask(server, "/image/0", rater=rater)[0] == 403
    assert ask(server, "/answer", reply_to(0), rater)[0] == 403
    assert written(server) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\nb\0", "\ud800", "\u202eAnn", 7, None, ["Ann"]])
def test_a_name_that_is_none_is_refused(server, name):
    status, text = ask(server, "/join", {"rater": name})
    assert status == 400
    assert text.count(b"\n") == 1
    assert server.panel.judgement().raters == ()


def test_only_the_next_two_images_can_be_seen(server):
    join(server, "Ann")
    assert [ask(server, f"/image/{i}", rater="Ann")[0] for i in (0, 1, 2, 7, 8)] == [200, 200, 409, 409, 404]
    give(server, "Ann", 0)
    assert [ask(server, f"/image/{i}", rater="Ann")[0] for i in (0, 1, 2, 3)] == [409, 200, 200, 409]


@pytest.mark.parametrize(
    "path",
    [
        "/image/../answers.jsonl",
        "/image/%2e%2e%2fdesign.json",
        "/../../etc/passwd",
        "//etc/passwd",
        "/answers.jsonl",
        "/design.json",
        "/judgement.json",
        "/image/-1",
        "/image/00",
        "/image/0/",
        "/image/0?x",
        "/image/٣",
        "/image/" + "9" * 500,
        "/image/",
        "/join",
        "/favicon.ico",
    ],
)
def test_other_addresses_are_not_there(server, path):
    join(server, "Ann")
    reply = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Rater: Ann\r\n\r\n".encode())
    head, _, body = reply.partition(b"\r\n\r\n")
    assert (head.split()[1], body.count(b"\n")) == (b"404", 1)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a@localhost"])
@pytest.mark.parametrize("path", ["/", "/image/0", "/join"])
def test_a_request_addressed_by_another_name_is_refused(server, host, path):
    """A page elsewhere whose name is bound to 127.0.0.1 would send its own name."""
    join(server, "Ann")
    body = {"rater": "Eve"} if path == "/join" else None
    status, text = ask(server, path, body, "Ann", {"Host": host})
    assert (status, text.count(b"\n")) == (421, 1)
    assert "Eve" not in server.panel._plans


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "localhost"])
def test_a_tunnel_with_another_port_may_ask(server, host):
    assert ask(server, "/", headers={"Host": host})[0] == 200


def test_another_sites_page_is_refused(server):
    own = server.url.rstrip("/")
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), (own, 200)):
        assert ask(server, "/join", {"rater": "Ann"}, headers={"Origin": origin})[0] == status
    # What a form can send without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, "/join", {"rater": "Eve"}, headers={"Content-Type": kind})[0] == 415
    assert "Eve" not in server.panel._plans


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(server, method):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, "/")
    reply = connection.getresponse()
    assert (reply.status, reply.read().count(b"\n")) == (405, 0 if method == "HEAD" else 1)
    connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /answer HTTP/1.1\r\nHost: localhost\r\n\r\n", b"411"),
        (b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", b"411"),
        (b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n", b"411"),
        (b"POST /answer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", b"413"),
        (b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", b"404"),
        (b"GET / HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/9.9\r\n\r\n", b"Invalid HTTP version"),
        (b"nonsense\r\n\r\n", b"Bad request syntax"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ],
)
def test_a_malformed_request_is_answered_and_the_server_goes_on(server, head, status):
    assert status in raw(server, head)
    assert ask(server, "/")[0] == 200


def test_a_client_that_goes_away_midway_troubles_nobody(server, capfd):
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(
            b"POST /join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_said_and_the_answer_can_be_given_again(server, monkeypatch):
    join(server, "Ann")
    see(server, "Ann", 0)

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(answers.os, "write", full)
        status, text = ask(server, "/answer", reply_to(0), "Ann")
    assert (status, b"No space left on device" in text) == (507, True)
    assert written(server) == []
    assert ask(server, "/answer", reply_to(0), "Ann")[0] == 200


def test_the_server_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_the_page_asks_for_nothing_from_elsewhere_and_may_run_nothing_else(server):
    with urllib.request.urlopen(server.url) as reply:
        page, policy = reply.read().decode(), reply.headers["Content-Security-Policy"]
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.split("style-src")[0]


def test_a_port_in_use_and_one_that_is_none_are_said(server, tmp_path):
    for port in (server.server_port, 70_000):
        with (
            pytest.raises(ValueError, match=f"port {port} cannot be served on"),
            serving(FAKES, REALS, tmp_path / "other", **SETTINGS, port=port),
        ):
            pass
    with serving(FAKES, REALS, tmp_path / "other", **SETTINGS):  # the folder was let go
        pass


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 0.2}, r"seconds 0\.1, not 0\.2"),
        ({"trials": 8}, "trials 6, not 8"),
        ({"seed": 4}, "seed 3, not 4"),
        ({"practice": 0}, "practice 2, not 0"),
    ],
)
def test_a_folder_is_gone_on_with_in_its_own_way_only(tmp_path, changes, words):
    with serving(FAKES, REALS, tmp_path, **SETTINGS):
        pass
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words), serving(FAKES, REALS, tmp_path, **(SETTINGS | changes)):
        pass
    other = FAKES.copy()
    other[-1, -1, -1, -1] = 1
    with pytest.raises(ValueError, match="other images"), serving(other, REALS, tmp_path, **SETTINGS):
        pass
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_two_servers_don_t_share_a_folder(server):
    with (
        pytest.raises(ValueError, match="in use by another judging server"),
        serving(FAKES, REALS, server.panel.folder, **SETTINGS),
    ):
        pass


@pytest.mark.parametrize(
    ("fakes", "reals", "words"),
    [
        (FAKES.astype(np.float32), REALS, r"fakes are uint8 images \[N, H, W, C\], got float32"),
        (FAKES, REALS[0], r"reals are uint8 images \[N, H, W, C\], got uint8 \(6, 5, 3\)"),
        (FAKES, REALS[:0], "reals are uint8 images"),
        (FAKES, "digits", "reals are uint8 images .* got str"),
        (FAKES[..., :2], REALS, "1 .grey. or 3 .RGB. channels, got 2"),
        (FAKES[:, :5], REALS, "size and colour would tell the two apart"),
        (FAKES[..., :1], REALS, "size and colour would tell the two apart"),
        (FAKES[:3], REALS, "got 3 generated and 30 real images, 4 of each are needed"),
    ],
)
def test_images_that_make_no_fair_test_are_refused_before_anything_is_written(tmp_path, fakes, reals, words):
    with pytest.raises(ValueError, match=words), serving(fakes, reals, tmp_path / "judge", **SETTINGS):
        pass
    assert not (tmp_path / "judge").exists()


def test_a_folder_without_a_test_and_one_whose_design_is_damaged_are_said(tmp_path):
    with pytest.raises(ValueError, match=r"design\.json is missing"):
        judge.read_judgement(tmp_path)
    (tmp_path / "design.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"design\.json is damaged"):
        judge.read_judgement(tmp_path)


def test_serve_tells_where_it_is_until_ctrl_c_and_returns_the_judgement(tmp_path, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("pushforward.judge.server.webbrowser.open", opened.append)
    told: list[str] = []

    def visit(url: str) -> None:
        told.append(url)
        with urllib.request.urlopen(url) as reply:
            assert reply.status == 200

    monkeypatch.setattr("pushforward.judge.server.wait_for_ctrl_c", lambda: None)
    result = serve(FAKES, REALS, tmp_path, **SETTINGS, tell=visit)
    assert opened == told
    assert told[0].startswith("http://127.0.0.1:")
    assert result.verdict == "inconclusive"
    assert json.loads((tmp_path / "judgement.json").read_text(encoding="utf-8"))["answers"] == 0
    with pytest.raises(OSError, match="refused"), urllib.request.urlopen(told[0]):
        pass


@pytest.mark.skipif(not hasattr(os, "kill") or os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_ends_the_waiting():
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    wait_for_ctrl_c()
    timer.join()
