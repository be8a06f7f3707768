"""A network between a worker and a runner that can be cut."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.server import Server


class Proxy(ThreadingHTTPServer):
    """Hands requests on to a runner; start it by ``with``.

    ``is_cut`` is asked with ``METHOD /path`` and how many such requests came before: of an answer that is cut
    half of the body arrives. While ``down`` no request is answered at all.
    """

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.is_cut: Callable[[str, int], bool] = lambda request, before: False
        self.down = False
        self.seen: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        self.close_connection = True
        if self.server.down:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        runner = http.client.HTTPConnection("127.0.0.1", self.server.server.port, timeout=60)
        try:
            runner.request(self.command, self.path, body, dict(self.headers))
            answer = runner.getresponse()
            data = answer.read()
        finally:
            runner.close()
        request = f"{self.command} {self.path.partition('?')[0]}"
        before, self.server.seen[request] = self.server.seen[request], self.server.seen[request] + 1
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if self.server.is_cut(request, before) else data)

    do_GET = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815  # the names of the standard library

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the standard library
        """Nothing is printed."""
