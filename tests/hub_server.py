"""A hub on this machine that speaks the part of the hub's protocol that its own client asks for: metadata, refs, access, files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """What the hub holds of one repository: its commits by branch or tag, the files of each commit, its licence, whether it is gated."""

    refs: dict[str, str]
    commits: dict[str, Mapping[str, bytes]]
    licence: str = "mit"
    gated: bool = False


@dataclass
class Hub:
    """Repositories by kind and id, and every request that was made."""

    repositories: dict[tuple[str, str], Repository]
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """The hub at a port of its own, until the block ends."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self._paths(self.hub.repositories["dataset", "/".join(parts[2:4])], parts[5], asked.get("paths", []))

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        self.hub.requests.append(f"{self.command} {unquote(urlsplit(self.path).path)}")

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "api":
            self._api("dataset" if parts[1] == "datasets" else "model", "/".join(parts[2:4]), parts[4:])
        else:
            kind, rest = ("dataset", parts[1:]) if parts[0] == "datasets" else ("model", parts)
            self._file(kind, "/".join(rest[:2]), rest[3:], body=body)

    def _api(self, kind: str, name: str, rest: list[str]) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._send(401, {"error": "no such repository"}, "RepoNotFound")
        if rest[:1] == ["auth-check"]:
            return self._send(*((403, {"error": "restricted"}, "GatedRepo") if repository.gated else (200, {})))
        if rest[:1] == ["refs"]:
            known = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit} for ref, commit in repository.refs.items()]
            return self._send(200, {"branches": known, "tags": [], "converts": []})
        if rest[:1] == ["tree"]:
            return self._tree(repository, rest[1], "/".join(rest[2:]))
        asked = "/".join(rest[1:]) or "main"
        commit = repository.refs.get(asked, asked)
        if commit not in repository.commits:
            return self._send(404, {"error": "no such revision"}, "RevisionNotFound")
        files = [_sibling(path, data) for path, data in repository.commits[commit].items()]
        about = {"id": name, "sha": commit, "private": False, "gated": "auto" if repository.gated else False, "tags": [], "downloads": 0}
        return self._send(200, {**about, "siblings": files, "cardData": {"license": repository.licence}})

    def _tree(self, repository: Repository, revision: str, below: str) -> None:
        files = repository.commits[repository.refs.get(revision, revision)]
        found = [_entry(path, data) for path, data in files.items() if path.startswith(f"{below}/" if below else "")]
        self._send(*((200, found) if found else (404, {"error": "nothing there"}, "EntryNotFound")))

    def _paths(self, repository: Repository, revision: str, paths: list[str]) -> None:
        files = repository.commits[repository.refs.get(revision, revision)]
        self._send(200, [_entry(path, files[path]) for path in paths if path in files])

    def _file(self, kind: str, name: str, rest: list[str], *, body: bool) -> None:
        repository = self.hub.repositories[kind, name]
        if repository.gated:
            return self._send(403, {"error": "restricted"}, "GatedRepo")
        commit = repository.refs.get(rest[0], rest[0])
        data = repository.commits[commit].get("/".join(rest[1:]))
        if data is None:
            return self._send(404, {"error": "no such file"}, "EntryNotFound")
        self.send_response(200)
        for header, value in {"X-Repo-Commit": commit, "ETag": f'"{_etag(data)}"', "Content-Length": str(len(data))}.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _send(self, status: int, value: object, code: str = "") -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _sibling(path: str, data: bytes) -> dict[str, object]:
    """A file as the hub lists it; weights are kept apart, by their sha256."""
    large = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return {"rfilename": path, "size": len(data), "blobId": _etag(data)} | ({"lfs": large} if path.endswith(".safetensors") else {})


def _entry(path: str, data: bytes) -> dict[str, object]:
    """A file as the hub's tree has it."""
    return {"type": "file", "path": path, "size": len(data), "oid": _etag(data)}


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
