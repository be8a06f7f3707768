"""Around Python code of the user, wherever it comes from: what it sees, and how it may end."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Dict

from airflow_stagecoach.engine.capture import captured
from airflow_stagecoach.engine.control import interruptible
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import is_skip
from airflow_stagecoach.engine.thread_environment import own_environment
from airflow_stagecoach.engine.values import View, view

if TYPE_CHECKING:
    import logging
    from typing import Iterator

    from airflow_stagecoach.engine.frame import Work

#: Contexts that code sees as names. Those of nested stages are there only inside one.
_SEEN = ("params", "matrix", "stages", "needs", "jobs", "env", "run")
_SEEN_NESTED = ("item", "loop", "branch", "case")


class Outputs:
    """``result``: what code puts into ``result.outputs`` becomes the stage's outputs."""

    def __init__(self) -> None:
        self.outputs: Any = {}
        self._first = self.outputs

    def were_set(self) -> bool:
        """Whether the code used it at all."""
        return self.outputs is not self._first or bool(self.outputs)


def seen_contexts(work: Work) -> Dict[str, Any]:
    """Copies of the contexts that code sees; in nested stages also ``item``, ``loop`` ...; ``context``."""
    contexts = work.contexts
    seen = {name: view(contexts.get(name, {})) for name in _SEEN}
    seen.update({name: view(contexts[name]) for name in _SEEN_NESTED if name in contexts})
    seen["context"] = View(seen, attempt=work.attempt)
    return seen


def make_logger(work: Work) -> logging.Logger:
    """A logger that writes to the log of the stage, from the level on that ``logging: {level}`` says."""
    import logging

    class ToStage(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
            work.log(self.format(record), level if level in ("debug", "info", "warning", "error") else "info")

    # Not registered anywhere: it ends with the stage.
    level = logging.getLevelName((work.log_level or "").upper())
    logger = logging.Logger("stagecoach.stage", level if isinstance(level, int) else logging.NOTSET)
    logger.addHandler(ToStage())
    return logger


@contextlib.contextmanager
def process_state(work: Work) -> Iterator[None]:
    """The stage's environment and folder for this whole process, put back afterwards.

    Both belong to the process, not to a thread. Where other stages run at the same time,
    the folder is left alone and only this stage sees its environment in ``os.environ``.
    """
    if work.frame.concurrent:
        with own_environment(work.env):
            yield
        return
    environment = dict(os.environ)
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # The worker's own folder is gone; the root always exists.
        folder = os.sep
    try:
        _set_environment(work.env)
        os.chdir(work.frame.place.made_workdir())
        yield
    finally:
        _set_environment(environment)
        os.chdir(folder)


def _set_environment(wanted: Dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def running(work: Work) -> Iterator[None]:
    """Run user code inside this: it can be stopped, and how it ends becomes an ending of the stage.

    ``sys.exit()`` with 0 or nothing ends the code, not the stage or the worker.

    :raises StageError: it left by ``sys.exit`` with another code
    :raises Exception: what it raised; its traceback is in the log by then
    :raises BaseException: what is not the stage's: an interrupt, Airflow's task timeout
    """
    try:
        measured = work.usage.measured(work.frame.concurrent)
        with process_state(work), measured, captured(work), interruptible(work.scope):
            yield
    except SystemExit as leaving:
        work.scope.check()
        _after_exit(leaving.code)
    except Exception as error:
        if not is_skip(error):
            work.log_traceback(error)
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()


def _after_exit(code: object) -> None:
    if code is None or code == 0:
        return
    number = code if isinstance(code, int) else 1
    said = "" if isinstance(code, int) else f": {code}"
    raise StageError(f"sys.exit({number}){said}", type="SystemExit", exit_code=number)
