"""``runs-on``: the backend of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean
from airflow_stagecoach.document.fields import (
    Data,
    FilledText,
    Flag,
    has_expression,
    text_value,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)

#: Checks the ``with`` of a backend: takes the map, gives its canonical form, raises ``fault`` or ``Faults``.
#: It may have an attribute ``capabilities``.
BackendCheck = Callable[[dict[str, Any]], dict[str, Any]]


def capabilities(check: BackendCheck) -> frozenset[str] | None:
    """What a backend can do beyond running stages, such as ``services``; ``None`` where it does not say."""
    found: frozenset[str] | None = getattr(check, "capabilities", None)
    return found


#: Every type that a document may name, by its canonical name.
BACKEND_TYPES = ("local", "docker", "kubernetes", "aws-batch", "azure-batch", "cloud-batch", "self-hosted")
BACKEND_ALIASES = {
    "container": "docker",
    "local-container": "docker",
    "k8s-job": "kubernetes",
    "k8s": "kubernetes",
    "az-batch": "azure-batch",
    "gcp-batch": "cloud-batch",
}


def no_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The check of ``local``, which takes no settings."""
    if settings:
        faults = Faults()
        for key in settings:
            faults.add(
                fault("unknown-key", f"unknown key '{key}': local takes no settings", on_key=True), key
            )
        faults.raise_any()
    return {}


#: The backends of this version. ``load`` takes another map when more are installed.
LOCAL_ONLY: Mapping[str, BackendCheck] = {"local": no_settings}


class RunsOn(Model):
    """Where a job runs: a backend and its settings."""

    noun = "runs-on"
    habits: ClassVar[Mapping[str, str]] = {
        "args": "write with",
        "image": "write with: {image: ...}",
        "config": "write with",
    }

    type: FilledText = Field(description="the backend")
    with_: Data | None = Field(None, alias="with", description="settings of the backend")
    emulate: Flag | None = Field(
        None, description="run what would be sent to the backend as a process on the worker"
    )

    @model_validator(mode="after")
    def _backend_exists(self, info: ValidationInfo) -> RunsOn:
        backends = _installed(info)
        faults = Faults()
        self.type = faults.check(lambda value: backend_type(value, backends), self.type, "type") or self.type
        check = None if backends is None else backends.get(self.type)
        if check is not None:
            settings = faults.check(check, self.with_ or {}, "with")
            self.with_ = settings or None
        if self.emulate and self.type == "local":
            faults.add(
                fault("bad-combination", "runs-on: local runs on the worker, there is nothing to emulate"),
                "emulate",
            )
        faults.raise_any()
        return self


class OnLocal(RunsOn):
    """``runs-on: local``: on an Airflow worker."""

    type: FilledText = "local"


def backend_type(value: Any, backends: Mapping[str, BackendCheck] | None) -> str:
    """The canonical name of a backend; ``-`` and ``_`` are the same, aliases are resolved.

    :param backends: those that there are; ``None`` where that is not known yet
    """
    text = text_value(value)
    if has_expression(text):
        raise fault("wrong-type", "runs-on must be known when the document is loaded, found an expression")
    name = text.strip().lower().replace("_", "-")
    name = BACKEND_ALIASES.get(name, name)
    if backends is None or name in backends:
        return name
    if name in BACKEND_TYPES:
        raise fault(
            "not-available", f"runs-on: {name} is not available in this version", "write runs-on: local"
        )
    if name.startswith(("ubuntu-", "windows-", "macos-")):
        raise fault(
            "unknown-backend",
            f"unknown backend '{text[:60]}'",
            "GitHub's machines do not exist here, write runs-on: local",
        )
    known = list(dict.fromkeys([*backends, *BACKEND_TYPES]))
    hint = did_you_mean(name, [*known, *BACKEND_ALIASES], f"known are {', '.join(known)}")
    raise fault("unknown-backend", f"unknown backend '{text[:60]}'", hint)


def installed(runs_on: RunsOn, backends: Mapping[str, BackendCheck] | None) -> RunsOn:
    """What was made in Python, where nobody knows what is installed, with all that a document is checked for.

    :param backends: canonical name -> the check of its ``with``; only ``local`` if absent
    :raises ValidationError: there is no such backend, or its settings do not fit
    """
    written = {"type": runs_on.type, "with": runs_on.with_, "emulate": runs_on.emulate}
    known = {key: value for key, value in written.items() if value is not None}
    return RunsOn.model_validate(known, context={"backends": backends})


def _installed(info: ValidationInfo) -> Mapping[str, BackendCheck] | None:
    """The backends that the caller of ``load`` gave; ``None`` for what is made in Python, see ``installed``.

    Not asked for their number: that would look them up.
    """
    if not isinstance(info.context, dict):
        return None
    backends: Mapping[str, BackendCheck] | None = info.context.get("backends")
    return LOCAL_ONLY if backends is None else backends


def runs_on_value(value: Any, info: ValidationInfo) -> RunsOn:
    """The name of a backend, or the map."""
    if isinstance(value, RunsOn):
        return value
    if isinstance(value, str):
        backends = _installed(info)
        name = backend_type(value, backends)
        return RunsOn.model_validate({"type": name}, context=info.context)
    if isinstance(value, list):
        raise fault(
            "wrong-type",
            "expected the name of a backend, or a map, found a list",
            "labels belong to a runner: write runs-on: {type: self-hosted, with: {conn: ID, labels: [...]}}",
        )
    return RunsOn.model_validate(value, context=info.context)
