"""What stands under ``runs-on: {with: ...}``, checked against a backend's model; errors hold no value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.backends.remote import RemoteBackend


class BackendConfigError(ValueError):
    """What stands under ``runs-on: {with: ...}`` does not fit the backend.

    ``problems`` are pairs of a path and what is wrong there; no value is in them.
    """

    def __init__(self, type_: str, problems: list[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems = problems
        texts = (".".join(map(str, (*path, ""))).rstrip(".") + f": {text}" for path, text in problems)
        super().__init__(f"runs-on {type_}: {'; '.join(texts)}")


def check_config(backend: type[RemoteBackend], config: Mapping[str, Any]) -> Any:
    """The settings of a backend from what a document says; ``None`` for one that has none.

    :raises BackendConfigError: they do not fit; the texts hold no value
    """
    from pydantic import ValidationError

    if backend.Config is None:
        if config:
            raise BackendConfigError(
                backend.type, [((key,), "is no setting of this backend") for key in config]
            )
        return None
    try:
        return backend.Config.model_validate(config)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        values = sorted(filter(None, map(str, _leaves(config))), key=len, reverse=True)
        problems = [(tuple(one["loc"]), _in_words(one["type"], one["msg"], values)) for one in found]
        raise BackendConfigError(backend.type, problems) from None


def _in_words(kind: str, message: str, values: list[str]) -> str:
    """What pydantic says, in words for the author of a document, without any value of the document."""
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is no setting of this backend"
    for value in values:
        if len(value) > 2:
            message = message.replace(value, "***")
    return message[:1].lower() + message[1:]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
