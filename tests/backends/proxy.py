"""A way to a Docker daemon over TCP that can be cut, and can stall."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import NamedTuple


class Cut(NamedTuple):
    """Where the way is cut once: in the answer to the first request that holds some text."""

    request: bytes
    after: int  # bytes of the answer that still come through


class Proxy:
    """Listens on the loopback and hands on to a socket. Start it by ``with``.

    :param path: of the daemon's socket
    :ivar url: where it listens
    :ivar cut: when to cut a connection, once
    :ivar cuts: how often that was done
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._flows = threading.Event()
        self._flows.set()
        self._open: set[socket.socket] = set()
        self._refuses = False
        self.cut: Cut | None = None
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._refuses = True
        self._listener.close()
        self.resume()
        self._hang_up()

    def stall(self) -> None:
        """Hold back every byte; connections stay open, and new ones are taken."""
        self._flows.clear()

    def hang_up(self) -> None:
        """Cut what is open, and every new connection."""
        self._refuses = True
        self._hang_up()

    def resume(self) -> None:
        """Let everything through again."""
        self._refuses = False
        self._flows.set()

    def _hang_up(self) -> None:
        for one in list(self._open):
            _close(one)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                _close(near)
                continue
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._path)
            except OSError:
                _close(near)
                continue
            self._open |= {near, far}
            left: list[int] = []
            for source, target, forward in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=(source, target, forward, left), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, forward: bool, left: list[int]) -> None:
        """Hand on bytes of one direction.

        :param left: of this connection: how many bytes of the answer come through, once that is limited
        """
        try:
            while data := source.recv(65536):
                self._flows.wait()
                cut = self.cut
                if forward and cut is not None and cut.request in data:
                    self.cut = None
                    self.cuts += 1
                    left.append(cut.after)
                if not forward and left:
                    target.sendall(data[: left[0]])
                    left[0] -= len(data)
                    if left[0] <= 0:
                        break
                    continue
                target.sendall(data)
        except OSError:
            pass  # It was hung up.
        finally:
            for one in (source, target):
                _close(one)
                self._open.discard(one)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
