"""``os.environ`` of Python code that runs beside other stages in one process.

An environment belongs to a process. While stages run at the same time, ``os.environ`` therefore shows each of
them a layer of its own: a whole environment that lives as long as the stage and that no other one sees.

The layer is found by a context variable, so code of the same thread, of its ``asyncio`` tasks and of
``asyncio.to_thread`` sees it. Other threads see the process's own environment, as do the C library and
processes started without ``env=``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

if TYPE_CHECKING:
    from typing import Iterator

    _Environ = os._Environ[Any]
else:
    _Environ = os._Environ

_layer: ContextVar[Dict[Any, Any] | None] = ContextVar("stagecoach_environment", default=None)
_lock = threading.Lock()
_users = 0


class _Layered(_Environ):
    """The class of ``os.environ`` meanwhile. The object stays: ``from os import environ`` holds it too."""

    @property
    def _data(self) -> Dict[Any, Any]:
        """Where every reading method of the standard class looks."""
        layer = _layer.get()
        own: Dict[Any, Any] = self.__dict__["_data"]
        return own if layer is None else layer

    def __setitem__(self, key: Any, value: Any) -> None:
        layer = _layer.get()
        if layer is None:
            super().__setitem__(key, value)
        else:
            layer[self.encodekey(key)] = self.encodevalue(value)

    def __delitem__(self, key: Any) -> None:
        layer = _layer.get()
        if layer is None:
            super().__delitem__(key)
            return
        try:
            del layer[self.encodekey(key)]
        except KeyError:
            raise KeyError(key) from None


@contextlib.contextmanager
def own_environment(env: Mapping[str, str]) -> Iterator[None]:
    """Let the code inside have this environment as ``os.environ``, whatever other threads do meanwhile.

    What it writes there is gone afterwards.
    """
    encoded = {os.environ.encodekey(name): os.environ.encodevalue(value) for name, value in env.items()}
    _install(1)
    token = _layer.set(encoded)
    try:
        yield
    finally:
        _layer.reset(token)
        _install(-1)


def _install(change: int) -> None:
    """Count those who need it: the first one puts it in place, the last one takes it away."""
    global _users
    with _lock:
        before, _users = _users, _users + change
        if bool(before) != bool(_users):
            for environ in _environs():
                environ.__class__ = _Layered if _users else _Environ


def _environs() -> List[Any]:
    """``os.environ``, and its twin of bytes where there is one."""
    return [one for one in (os.environ, getattr(os, "environb", None)) if type(one) in (_Environ, _Layered)]
