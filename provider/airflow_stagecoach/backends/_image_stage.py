"""An ``image:`` stage: a container of any image, in which nothing is ours.

Neither Python nor a shell need be there. So the worker evaluates the stage before its container starts
(:func:`prepare`), and makes its result of what the container leaves behind (:func:`compose`): its exit
code, its output, and the file behind ``$STAGE_OUTPUT``. A place does the rest; see ``docs/architecture.md``.
"""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach import expressions
from airflow_stagecoach.backends._without_engine import (
    FAULTS,
    Evaluation,
    count,
    fail,
    naming,
    new_result,
    refused,
    skipped,
    whole,
)
from airflow_stagecoach.backends.shipment import OUTPUT_FILE
from airflow_stagecoach.engine.bash import check_exit, parse_output
from airflow_stagecoach.engine.classification import classified
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import error_of
from airflow_stagecoach.engine.frame import render
from airflow_stagecoach.engine.process import Finished
from airflow_stagecoach.engine.streams import Stream
from airflow_stagecoach.engine.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_stagecoach.backends.work import Status
    from airflow_stagecoach.engine.contract import Container, Error, Result, Unit


class Prepared(NamedTuple):
    """Exactly one of the two: what is to be run, or the result of a stage that does not run."""

    container: Container | None
    result: Result | None


class Ended(NamedTuple):
    """What a container that has ended leaves behind.

    :ivar began: when its program started, ISO 8601
    :ivar ended: when it ended
    :ivar output: all that it wrote, in pieces: ``("stdout", data)`` or ``("stderr", data)``. A place that
        cannot tell the two apart says ``stdout``. Read once, and never held as a whole
    :ivar written: the file behind ``$STAGE_OUTPUT``; of one that is larger than
        ``engine.bash.LARGEST_OUTPUT`` at least one byte more than that
    """

    began: str
    ended: str
    output: Iterable[tuple[str, bytes]]
    written: bytes


def prepare(unit: Unit, folder: str, workdir: str) -> Prepared:
    """Evaluate an ``image:`` stage.

    :param folder: where our files lie in the container: ``document`` (what ``ship`` says) and the output file
    :param workdir: the scratch folder of the leg there; a relative ``working-directory`` starts in it
    :return: what is to be run, or the result where its ``if`` is false or a value is wrong
    """
    (spec,) = unit["stages"]
    evaluation = Evaluation(unit, folder)
    try:
        if not evaluation.is_wanted():
            return Prepared(None, skipped(unit))
        env = evaluation.env()
        contexts = evaluation.contexts(env=env)
        with naming("image"):
            image = expressions.to_text(render(spec["image"], contexts)).strip()
            if not image:
                raise StageError("it is empty", type="InvalidValue")
        wanted = expressions.to_text(render(spec.get("working_directory"), contexts))
        container: Container = {
            "image": image,
            "env": {**env, "STAGE_OUTPUT": f"{folder}/{OUTPUT_FILE}"},
            "folder": posixpath.normpath(posixpath.join(workdir, wanted)),
        }
        if entrypoint := _words("entrypoint", spec, contexts):
            container["entrypoint"] = entrypoint
        if command := _words("command", spec, contexts):
            container["command"] = command
    except FAULTS as error:
        return Prepared(None, refused(unit, error))
    return Prepared(container, None)


def _words(key: str, spec: Mapping[str, Any], contexts: Mapping[str, Any]) -> list[str]:
    """The words of a command line; none where the image's own count.

    A text is a whole expression: other texts were split when the document was loaded.

    :raises ExpressionError, StageError: it cannot be evaluated, or gives no words
    """
    with naming(key):
        value = render(spec.get(key), contexts)
        if isinstance(value, dict):
            raise StageError("expected text or a list of words, found a map", type="InvalidValue")
        if isinstance(value, str):
            try:
                return shlex.split(value)
            except ValueError as error:
                raise StageError(f"{str(error).lower()} in the text", type="InvalidValue") from error
        if value is None:
            return []
        return [expressions.to_text(word) for word in (value if isinstance(value, list) else [value])]


def compose(unit: Unit, status: Status, ended: Ended) -> Result:
    """The result of an ``image:`` stage whose container has ended.

    :param status: how it ended, as the place sees it: its exit code, and a reason such as ``OOMKilled``
    """
    (spec,) = unit["stages"]
    stage = new_result(ended.began, ended.ended)
    usage = Usage()
    streams = {name: Stream(lambda line: count(usage, line)) for name in ("stdout", "stderr")}
    for name, data in ended.output:
        streams[name].feed(data)
    for stream in streams.values():
        stream.close()
    code = status.exit_code
    try:
        if code is None:
            message = "the container ended, and nobody knows its exit code"
            raise StageError(message, type="NoResult", details={"category": "system"})
        check_exit(Finished(code, streams["stdout"], streams["stderr"]), "the container")
        raw = {
            "return_code": code,
            "stdout": streams["stdout"].text(),
            "stderr": streams["stderr"].text(),
            **parse_output(ended.written),
        }
        stage["outputs"], omitted = Evaluation(unit, "").outputs(raw)
        if omitted:
            stage["omitted"] = omitted
    except FAULTS as found:
        fail(spec, stage, _with_reason(error_of(found), status))
    usage.write(stage)
    # Nobody measures in the container.
    del stage["cpu_seconds"]
    return whole(unit, stage)


def _with_reason(error: Error, status: Status) -> Error:
    """The failure, with what only the place knows of a container that did not end well."""
    if not status.exit_code:
        return error
    if status.message:
        error = {**error, "message": f"{error['message']} ({status.message})"}
    if status.reason:
        # What was concluded from the exit code alone does not count any more.
        error = classified({**_unclassified(error), "reason": status.reason})
    return error


def _unclassified(error: Error) -> Error:
    plain: Error = {**error}
    plain.pop("category", None)
    return plain
