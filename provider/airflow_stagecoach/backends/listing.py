"""The installed backends, for people: what each is, which settings it has, whether its place answers."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_stagecoach.backends.registry import BUILT_IN, BackendError, Installed, conflict, find, installed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A place that has not answered after so many seconds is not reachable.
PATIENCE = 60.0


class Setting(TypedDict):
    """One key that may stand under ``with``."""

    name: str
    type: str  # in words
    required: bool
    default: Any  # as in a document; None when there is none
    description: str


class Listed(TypedDict):
    """One registered backend. JSON-able.

    ``error`` tells why no document can use it, ``reachable`` and ``message`` are there once it was checked;
    ``reachable`` is ``None`` then, too, where settings are missing that name the place.
    """

    type: str
    distribution: str
    version: str
    path: str
    error: str | None
    capabilities: list[str]
    settings: list[Setting]
    reachable: bool | None
    message: str | None


def list_backends(names: Sequence[str] = ()) -> list[Listed]:
    """Every registered backend, ours first; a broken one with its error.

    :param names: canonical types; all if empty
    """
    everything = installed()
    return [_listed(one, everything) for one in everything if not names or one.name in names]


def check_backends(listed: Sequence[Listed], settings: Mapping[str, Any]) -> None:
    """Reach out to each backend that is usable, side by side; fills in ``reachable`` and ``message``.

    :param settings: as under ``with``; each backend is given those that it has
    """
    # Its first import sets Airflow up, which two threads cannot do at the same time.
    import_module("airflow")
    threads = []
    for one in listed:
        one["reachable"], one["message"] = False, one["error"]
        if one["error"] is None:
            one["message"] = f"has not answered for {PATIENCE:.0f} s"
            thread = threading.Thread(target=_check, args=(one, settings), daemon=True)
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join(PATIENCE)


def built_in_schemas() -> dict[str, dict[str, Any]]:
    """Type -> JSON Schema of its settings, for the backends of this package that have some."""
    schemas = {}
    for type_ in sorted(BUILT_IN):
        config = getattr(find(type_), "Config", None)
        if config is not None:
            schemas[type_] = config.model_json_schema(by_alias=True)
    return schemas


def settings_of(backend: type[Any]) -> list[Setting]:
    """The settings of a backend's class, in the order of its model."""
    config = getattr(backend, "Config", None)
    if config is None:
        return []
    from airflow_stagecoach.document.json_schema import settings_schema
    from airflow_stagecoach.document.schema_words import schema_words

    schema = config.model_json_schema(by_alias=True)
    properties = settings_schema(schema)["properties"]
    return [
        {
            "name": name,
            "type": schema_words(properties[name], schema.get("$defs", {}))
            .replace("` `", " or ")
            .replace("`", ""),
            "required": name in schema.get("required", ()),
            "default": one.get("default"),
            "description": one.get("description", ""),
        }
        for name, one in schema["properties"].items()
    ]


def _listed(one: Installed, everything: Sequence[Installed]) -> Listed:
    found: Listed = {
        "type": one.name,
        "distribution": one.distribution,
        "version": one.version,
        "path": one.path,
        "error": conflict(one, everything),
        "capabilities": [],
        "settings": [],
        "reachable": None,
        "message": None,
    }
    if found["error"] is None:
        try:
            backend = one.load()
            found["capabilities"] = sorted(getattr(backend, "capabilities", ()))
            found["settings"] = settings_of(backend)
        except BackendError as error:
            found["error"] = str(error)
        except Exception as error:
            found["error"] = (
                f"backend {one.name!r} of {one.distribution} {one.version} is broken: "
                f"its settings cannot be read: {type(error).__name__}: {error}"
            )
    return found


def _check(listed: Listed, settings: Mapping[str, Any]) -> None:
    from airflow_stagecoach.backends.remote import RemoteBackend
    from airflow_stagecoach.backends.settings import BackendConfigError

    backend = Installed(listed["type"], listed["distribution"], listed["version"], listed["path"]).load()
    if not issubclass(backend, RemoteBackend):
        listed["reachable"], listed["message"] = True, "runs on this machine"
        return
    names = {setting["name"] for setting in listed["settings"]}
    given = {name: value for name, value in settings.items() if name in names}
    missing = [one["name"] for one in listed["settings"] if one["required"] and one["name"] not in given]
    try:
        made = _with_gaps(backend, missing)(given)
    except BackendConfigError as error:
        wanted = [".".join(map(str, path)) for path, text in error.problems if text == "is missing"]
        listed["message"] = str(error)
        if len(wanted) == len(error.problems):
            # There is no place of its own to ask.
            listed["reachable"], listed["message"] = None, f"needs {', '.join(wanted)}"
        return
    try:
        listed["message"], listed["reachable"] = made.check(), True
    except Exception as error:
        message = made.explain(error)["message"] or type(error).__name__
        listed["message"] = message + (f" (not given: {', '.join(missing)})" if missing else "")


def _with_gaps(backend: type[Any], missing: Sequence[str]) -> type[Any]:
    """The backend, with settings that are required for work and ``None`` for a check.

    :param missing: names of settings as documents spell them
    """
    if not missing:
        return backend
    from pydantic import Field, create_model

    fields: dict[str, Any] = {
        name: (Any, Field(None, alias=field.alias))
        for name, field in backend.Config.model_fields.items()
        if (field.alias or name) in missing
    }
    config = create_model(backend.Config.__name__, __base__=backend.Config, **fields)
    return type(backend.__name__, (backend,), {"Config": config})
