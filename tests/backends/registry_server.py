"""A registry of images on the loopback, as small as the daemon can pull from: it serves what a test puts in."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """Start it by ``with``.

    :param login: name and password that it wants, if any
    :ivar answer: status and error that every request gets, in place of what it asks for
    :ivar requests: method and path of all that was asked
    """

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self.login = login
        self.answer: tuple[int, str] | None = None
        self.requests: list[str] = []
        self._contents: dict[str, tuple[str, bytes]] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry._serve(self)

            def do_HEAD(self) -> None:
                registry._serve(self)

            def log_message(self, *_: object) -> None:
                """Nothing: the requests are in the list."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Registry:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def push(
        self, name: str, layer: bytes, changes: Sequence[str] = (), *, architecture: str = "amd64"
    ) -> str:
        """Put an image in.

        :param name: with its tag
        :param layer: tar archive
        :param changes: ``ENV`` lines, as for an import
        :return: what the daemon pulls
        """
        packed = gzip.compress(layer, 1, mtime=0)
        settings = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": [change.removeprefix("ENV ") for change in changes]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "test"}],
        }
        config = json.dumps(settings).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": _digest(config)},
            "layers": [{"mediaType": LAYER, "size": len(packed), "digest": _digest(packed)}],
        }
        repository, _, tag = name.partition(":")
        for blob in (config, packed):
            self._contents[f"/v2/{repository}/blobs/{_digest(blob)}"] = ("application/octet-stream", blob)
        self._put_manifest(repository, tag, MANIFEST, manifest)
        return f"{self.address}/{name}"

    def push_list(self, name: str, of: str, *, architecture: str) -> str:
        """Put in a list of images for several platforms, with but one in it.

        :param of: tag of an image that is there
        """
        repository, _, tag = name.partition(":")
        _, manifest = self._contents[f"/v2/{repository}/manifests/{of}"]
        entry = {
            "mediaType": MANIFEST,
            "size": len(manifest),
            "digest": _digest(manifest),
            "platform": {"architecture": architecture, "os": "linux"},
        }
        found = {"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": [entry]}
        self._put_manifest(repository, tag, MANIFEST_LIST, found)
        return f"{self.address}/{name}"

    def _put_manifest(self, repository: str, tag: str, type_: str, manifest: dict[str, Any]) -> None:
        data = json.dumps(manifest).encode()
        for reference in (tag, _digest(data)):
            self._contents[f"/v2/{repository}/manifests/{reference}"] = (type_, data)

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{request.command} {request.path}")
        if self.answer is not None:
            code = {429: "TOOMANYREQUESTS"}.get(self.answer[0], "UNKNOWN")
            _refuse(request, self.answer[0], code, self.answer[1])
        elif not self._may(request.headers.get("Authorization", "")):
            _refuse(request, 401, "UNAUTHORIZED", "authentication required")
        elif request.path == "/v2/":
            _answer(request, 200, "application/json", b"{}")
        elif request.path in self._contents:
            _answer(request, 200, *self._contents[request.path])
        else:
            code = "MANIFEST_UNKNOWN" if "/manifests/" in request.path else "BLOB_UNKNOWN"
            _refuse(request, 404, code, code.lower().replace("_", " "))

    def _may(self, authorization: str) -> bool:
        if self.login is None:
            return True
        wanted = base64.b64encode(":".join(self.login).encode()).decode()
        return authorization == f"Basic {wanted}"


def _refuse(request: BaseHTTPRequestHandler, status: int, code: str, message: str) -> None:
    errors = {"errors": [{"code": code, "message": message}]}
    _answer(request, status, "application/json", json.dumps(errors).encode())


def _answer(request: BaseHTTPRequestHandler, status: int, type_: str, data: bytes) -> None:
    request.send_response(status)
    request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
    if status == 401:
        request.send_header("WWW-Authenticate", 'Basic realm="test"')
    request.send_header("Content-Type", type_)
    request.send_header("Docker-Content-Digest", _digest(data))
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
