"""A small Hugging Face hub over loopback HTTP: files of repositories at one revision, as the real client asks for them.

`HF_ENDPOINT` points to it. What is served may be damaged on purpose.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_FROM = 4096
"""Bytes from which on a file is a large one, with a sha256 of its own."""


@dataclass
class FakeHub:
    """`files`: by kind and name of the repository (`models/a/b`), then by path. `damage`: (repository, path) to how
    many more times another content is sent. `asked`: every request for a file's content."""

    revision: str
    files: dict[str, dict[str, bytes]]
    damage: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def entry(self, repository: str, path: str) -> dict[str, Any]:
        content = self.files[repository][path]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        found: dict[str, Any] = {"type": "file", "oid": blob, "size": len(content), "path": path}
        if len(content) >= LFS_FROM:
            found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return found

    def etag(self, repository: str, path: str) -> str:
        entry = self.entry(repository, path)
        return str(entry["lfs"]["oid"] if "lfs" in entry else entry["oid"])


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        words = unquote(urlsplit(self.path).path).strip("/").split("/")
        repository = "/".join(words[1:4])
        if words[0] != "api" or words[4] != "paths-info":
            self._refuse("EntryNotFound")
            return
        given = json.loads(body) if body.startswith(b"{") else {}
        paths = given.get("paths", [])
        files = self.hub.files.get(repository, {})
        found = [self.hub.entry(repository, path) for path in paths if path in files]
        found += [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
            for path in paths
            if any(name.startswith(f"{path}/") for name in files)
        ]
        self._json(found)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not path.startswith("/api/"):
            self._file(body=True)
            return
        words = path.strip("/").split("/")
        repository, what, revision, inside = "/".join(words[1:4]), *(words[4:6] or ["", ""]), "/".join(words[6:])
        files = self.hub.files.get(repository)
        if files is None:
            self._refuse("RepoNotFound")
        elif revision not in (self.hub.revision, "main"):
            self._refuse("RevisionNotFound")
        elif what == "tree":
            prefix = f"{inside}/" if inside else ""
            recursive = "recursive=true" in self.path.lower()
            names = [name for name in files if name.startswith(prefix)]
            listed = [self.hub.entry(repository, n) for n in names if recursive or "/" not in n.removeprefix(prefix)]
            folders = {prefix + n.removeprefix(prefix).split("/")[0] for n in names if "/" in n.removeprefix(prefix)}
            listed += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in sorted(folders)]
            if inside and not listed:
                self._refuse("EntryNotFound")
                return
            self._json(listed)
        elif what == "revision":
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": "/".join(words[2:4]), "sha": self.hub.revision, "siblings": siblings, "private": False})
        else:
            self._refuse("EntryNotFound")

    def _file(self, *, body: bool) -> None:
        words = unquote(urlsplit(self.path).path).strip("/").split("/")
        if words[0] != "datasets":
            words = ["models", *words]
        repository, revision, path = "/".join(words[:3]), words[4] if len(words) > 4 else "", "/".join(words[5:])
        files = self.hub.files.get(repository)
        if files is None:
            self._refuse("RepoNotFound")
            return
        if revision not in (self.hub.revision, "main"):
            self._refuse("RevisionNotFound")
            return
        if path not in files:
            self._refuse("EntryNotFound")
            return
        content = files[path]
        if body:
            self.hub.asked.append(f"{repository}/{path}")
            left = self.hub.damage.get((repository, path), 0)
            if left:
                self.hub.damage[repository, path] = left - 1
                content = bytes(byte ^ 1 for byte in content[:64]) + content[64:]
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.hub.revision)
        self.send_header("ETag", f'"{self.hub.etag(repository, path)}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _json(self, data: Any) -> None:
        text = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
