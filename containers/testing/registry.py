"""A registry of images on this machine alone: packs folders as images, and serves them over HTTP as registries do.

A definition's base is looked up here under its real name, so the definition needs no change; what differs is the
digest, which is a build argument.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def pack(archive: Path, blobs: Path, environment: dict[str, str] | None = None) -> str:
    """The digest (`sha256:<64 hex>`) of an image of one layer, the tar file `archive`; its parts go into `blobs`."""
    blobs.mkdir(parents=True, exist_ok=True)
    layer = blobs / "layer.part"
    with archive.open("rb") as tar, gzip.GzipFile(layer, "wb", compresslevel=1, mtime=0) as packed:
        shutil.copyfileobj(tar, packed, 1 << 20)
    layer_digest, layer_size = _digest(layer), layer.stat().st_size
    layer.rename(blobs / layer_digest.removeprefix("sha256:"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"{key}={value}" for key, value in (environment or {}).items()]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
    }
    config_digest, config_size = _add(blobs, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config_size},
        "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer_size}],
    }
    return _add(blobs, manifest)[0]


@contextmanager
def served(blobs: Path) -> Iterator[int]:
    """The port of 127.0.0.1 at which the images of `blobs` are served, under any name, by their digests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name, _, reference = self.path.rpartition("/")
            blob = blobs / reference.removeprefix("sha256:")
            if self.path == "/v2/":
                self._answer(200, b"{}", "application/json")
            elif name.endswith(("/manifests", "/blobs")) and reference.startswith("sha256:") and blob.is_file():
                kind = MANIFEST if name.endswith("/manifests") else "application/octet-stream"
                self._answer(200, blob.read_bytes(), kind, {"Docker-Content-Digest": reference})
            else:
                self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', "application/json")

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no fault: it has what it needs."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _add(blobs: Path, document: object) -> tuple[str, int]:
    content = json.dumps(document, sort_keys=True).encode()
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    return f"sha256:{name}", len(content)
