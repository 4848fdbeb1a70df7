"""The page and its answers over HTTP, on this machine only."""

import contextlib
import json
import re
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import numpy as np

from pushforward.judge.page import POLICY, render
from pushforward.judge.panel import Panel, Refused, design_of
from pushforward.judge.score import Judgement

HOST = "127.0.0.1"
NAMES = {"127.0.0.1", "localhost"}
"""Whom a request may be addressed to: a page elsewhere whose name was bound to this machine gives its own name.

Any port goes, for a tunnel has another one.
"""
LONGEST_BODY = 4096
LONGEST_TIME = 1e8
"""Milliseconds, more than a day."""


class JudgeServer(ThreadingHTTPServer):
    """Serves one panel on 127.0.0.1; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, panel: Panel, port: int) -> None:
        self.panel = panel
        self.page = render(panel.design).encode()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ValueError(f"port {port} cannot be served on ({why}); choose another, or 0 for a free one") from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def server_bind(self) -> None:
        # http.server would look up the machine's name, which may take seconds without a network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@contextmanager
def serving(
    fakes: np.ndarray,
    reals: np.ndarray,
    folder: Path,
    *,
    seconds: float = 0.5,
    trials: int = 100,
    practice: int = 4,
    seed: int = 0,
    port: int = 0,
) -> Iterator[JudgeServer]:
    """`serve` as a context: inside, the server answers at `.url`; after it, judgement.json is written."""
    design = design_of(fakes, reals, seconds=seconds, trials=trials, practice=practice, seed=seed)
    panel = Panel(fakes, reals, folder, design)
    with contextlib.closing(panel), JudgeServer(panel, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            panel.close()  # an answer that is under way is in the judgement, or refused
            panel.judgement()


def serve(
    fakes: np.ndarray,
    reals: np.ndarray,
    folder: Path,
    *,
    seconds: float = 0.5,
    trials: int = 100,
    practice: int = 4,
    seed: int = 0,
    port: int = 0,
    open_browser: bool = True,
    tell: Callable[[str], None] = print,
) -> Judgement:
    """Lets people tell fakes from reals in a page on 127.0.0.1, until Ctrl-C; returns what came out of it.

    fakes, reals: uint8 [N, H, W, C], same H, W and C, C is 1 or 3; both should have come the same way (resize,
    rounding), or that is what people see. folder: where answers.jsonl, design.json and judgement.json are kept; a
    folder with answers is gone on with, which needs the same images and settings. seconds: how long an image is seen,
    0 until it is answered. trials: a rater's, practice: those before, with the truth told; both even. port 0: a free
    one. tell: is given the page's address. Raises ValueError for what makes no test.
    """
    with serving(
        fakes, reals, folder, seconds=seconds, trials=trials, practice=practice, seed=seed, port=port
    ) as server:
        tell(server.url)
        if open_browser:
            webbrowser.open(server.url)
        wait_for_ctrl_c()
    return server.panel.judgement()


def wait_for_ctrl_c() -> None:
    """Returns when the user presses Ctrl-C; for the main thread."""
    never = threading.Event()
    with contextlib.suppress(KeyboardInterrupt):
        while not never.wait(1.0):  # without a limit, Windows would not see Ctrl-C
            pass


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer; HTTP/1.0, so that each connection ends with it."""

    server_version, sys_version = "pushforward", ""
    timeout = 10

    @property
    def _panel(self) -> Panel:
        return cast(JudgeServer, self.server).panel

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _get(self) -> None:
        if self.path == "/":
            self._send(200, "text/html; charset=utf-8", cast(JudgeServer, self.server).page)
        elif image := re.fullmatch(r"/image/(0|[1-9][0-9]{0,8})", self.path):
            self._send(200, "image/png", self._panel.picture(self._rater(), int(image[1])))
        else:
            raise Refused(404, "there is no such address; open /")

    def _post(self) -> None:
        if self.path not in ("/join", "/answer"):
            raise Refused(404, "there is no such address; open /")
        body = self._body()
        if self.path == "/join":
            reply = asdict(self._panel.join(_fields(body, {"rater": str})["rater"]))
        else:
            rater = self._rater()
            kinds = {"trial": int, "said": str, "milliseconds": float, "exposure": float}
            given = _fields(body, kinds)
            if given["said"] not in ("real", "fake"):
                raise Refused(400, "said is neither real nor fake; send one of the two")
            times = {name: float(given[name]) for name in ("milliseconds", "exposure")}
            reply = self._panel.answer(rater, given["trial"], given["said"] == "real", **times)
        self._send(200, "application/json", json.dumps(reply).encode())

    def _answered(self, handle: Callable[[], None]) -> None:
        try:
            self._known_sender()
            handle()
        except Refused as refused:
            self._refuse(refused)

    def _known_sender(self) -> None:
        """Refuses requests that another site's page may have caused."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not re.fullmatch(rf"({'|'.join(map(re.escape, NAMES))})(:[0-9]+)?", host):
            raise Refused(421, f"this server is addressed as {HOST}, not by another name; open its own address")
        if origin not in (None, f"http://{host}", f"https://{host}"):
            raise Refused(403, "the request comes from another site's page; open this server's own page")

    def _rater(self) -> str:
        try:
            return unquote(self.headers.get("X-Rater", ""), errors="strict")
        except UnicodeDecodeError:
            raise Refused(400, "the X-Rater header is no text; send the name percent-encoded in UTF-8") from None

    def _body(self) -> Any:
        """The request's JSON."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not re.fullmatch(r"[0-9]{1,18}", length):
            raise Refused(411, "the body has no length; send it with Content-Length")
        if int(length) > LONGEST_BODY:
            raise Refused(413, f"the body has more than {LONGEST_BODY} bytes; send one answer at a time")
        if self.headers.get_content_type() != "application/json":
            # Another site's form cannot send this kind without asking first.
            raise Refused(415, "the body is not said to be JSON; send Content-Type: application/json")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise Refused(400, "the body ended early; send it again")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Refused(400, "the body is no JSON; send an object") from None

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, refused: Refused) -> None:
        self._send(refused.status, "text/plain; charset=utf-8", (refused.reason + "\n").encode())
        # A client that is still sending would be cut off before it reads the reason; a little more is read for it.
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.settimeout(0.2)
            for _ in range(64):
                if not self.connection.recv(1 << 14):
                    break

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses (an unknown method, a broken request line), in one line as well."""
        self.command = getattr(self, "command", None) or "GET"
        self._refuse(Refused(405 if code == 501 else code, f"{message or 'the request is not understood'}; open /"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""


def _fields(body: Any, kinds: dict[str, type]) -> dict[str, Any]:
    """The body's fields, each of its kind and no others."""
    if not isinstance(body, dict) or body.keys() != kinds.keys():
        raise Refused(400, f"the body is no object of exactly {', '.join(kinds)}; send these")
    for name, kind in kinds.items():
        value = body[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise Refused(400, f"{name} is of the wrong kind, must be {kind.__name__}; send one")
        if kind is float and not 0 <= value <= LONGEST_TIME:
            raise Refused(400, f"{name} is not between 0 and {LONGEST_TIME:.0f} milliseconds; send the measured time")
    return body
