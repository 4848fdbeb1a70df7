"""A stand-in for the Hugging Face hub: as much of its HTTP API as making, writing and reading a repository takes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_stand_in"
LARGE = (".safetensors", ".onnx", ".png")  # what the hub keeps apart from git


class Hub:
    """The repositories: name -> commits, newest first, each the files by name. private: those that are."""

    def __init__(self) -> None:
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.endpoint = ""
        self.refusing: int | None = None  # the status that commits are answered with
        self.card: str | None = None  # what is wrong with cards
        self.tells = True  # whether a repository is private

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes] | None:
        commits = self.repos.get(repo)
        if commits is None:
            return None
        return next((files for files in commits if revision in ("main", sha(files))), None)


def sha(files: dict[str, bytes]) -> str:
    return hashlib.sha1(
        json.dumps([[k, hashlib.sha1(v).hexdigest()] for k, v in sorted(files.items())]).encode()
    ).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in headers.items():
            self.send_header(name.replace("_", "-"), header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repo, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        else:
            repo, revision = "/".join(parts[:2]), parts[3]
        if repo not in self.hub.repos or (repo in self.hub.private and not self.known):
            return self.refuse(404 if self.known else 401, "RepoNotFound")
        files = self.hub.files(repo, revision)
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        if parts[0] == "api":
            siblings = [{"rfilename": name} for name in files]
            told = {"private": repo in self.hub.private} if self.hub.tells else {}
            return self.answer({"id": repo, "sha": sha(files), "siblings": siblings, **told})
        name = "/".join(parts[4:])
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        etag = hashlib.sha256(files[name]).hexdigest()
        return self.answer(files[name], ETag=f'"{etag}"', X_Repo_Commit=sha(files))

    def do_PUT(self) -> None:
        body = self.body()
        self.hub.large[hashlib.sha256(body).hexdigest()] = body
        self.answer({})

    def do_POST(self) -> None:
        path, body = unquote(self.path.split("?")[0]), self.body()
        self.hub.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            wrong = [] if self.hub.card is None else [{"message": self.hub.card}]
            return self.answer({"errors": wrong, "warnings": []}, 400 if wrong else 200)
        if not self.known:
            return self.refuse(401, "Unauthorized")
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if repo in self.hub.repos:
                return self.answer({"error": "exists", "url": f"{self.hub.endpoint}/{repo}"}, 409)
            self.hub.repos[repo] = [{}]
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(repo)
            return self.answer({"url": f"{self.hub.endpoint}/{repo}"})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            there = {"upload": {"href": f"{self.hub.endpoint}/large"}}
            return self.answer({"transfer": "basic", "objects": [{**o, "actions": there} for o in objects]})
        parts = path.strip("/").split("/")
        repo = "/".join(parts[2:4])
        if repo not in self.hub.repos:
            return self.refuse(404, "RepoNotFound")
        if parts[4] == "preupload":
            files = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        return self.commit(repo, [json.loads(line) for line in body.splitlines()])

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        if self.hub.refusing is not None:
            return self.refuse(self.hub.refusing, "Refused")
        files = dict(self.hub.repos[repo][0])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.repos[repo].insert(0, files)
        oid = sha(files)
        self.answer({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{oid}"})
