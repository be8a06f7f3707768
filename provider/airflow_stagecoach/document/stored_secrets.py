"""Expressions that would put a secret where it is stored or shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Fields of a connection that are secret; None is a computed one.
_SECRET_FIELDS = ("password", "extra", None)

#: Contexts of which a value is fetched by its name, which the expression must tell, and what that is.
_FETCHED = {"vars": "variable", "secrets": "variable", "conn": "connection"}


def is_secret(path: tuple[str | None, ...], secret_env: frozenset[str]) -> bool:
    """Whether what a path leads to is secret, or holds something secret."""
    if path[0] == "secrets":
        return True
    if path[0] == "conn":
        return len(path) < 3 or path[2] in _SECRET_FIELDS
    if path[0] == "env":
        return bool(secret_env) and (len(path) < 2 or path[1] is None or path[1] in secret_env)
    return False


def secret_names(
    layers: Iterable[Mapping[str, Any] | None], around: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The environment variables that hold a secret after all layers, the outermost first.

    A later layer hides what an earlier one gave a name, and may use it. ``around`` are those of the place
    around the first layer.
    """
    names = set(around)
    for layer in layers:
        for name, value in (layer or {}).items():
            if _names_secret(value, frozenset(names)):
                names.add(name)
            else:
                names.discard(name)
    return frozenset(names)


def _names_secret(value: Any, secret_env: frozenset[str]) -> bool:
    if not isinstance(value, str) or "${{" not in value:
        return False
    try:
        paths = expressions.references(value)
    except expressions.ExpressionSyntaxError:
        return False
    return any(path and is_secret(path, secret_env) for path in paths)


def stored_secret(
    paths: Iterable[tuple[str | None, ...]], place: str, secret_env: frozenset[str]
) -> str | None:
    """Why paths may not be used in ``place`` ("outputs", "a name"), or None."""
    for path in sorted(paths, key=repr):
        if not path or not is_secret(path, secret_env):
            continue
        if path[0] == "env":
            name = path[1] if len(path) > 1 and path[1] is not None else sorted(secret_env)[0]
            return f"env.{name} holds a secret, which would be stored in {place}"
        if path[0] == "conn":
            return f"the password of a connection would be stored in {place}"
        return f"a secret would be stored in {place}"
    return None


def may_be_fetched(value: Any) -> bool:
    """Whether a value can name a variable or connection at all; asked of every expression, so it is quick."""
    text = value if isinstance(value, str) else repr(value)
    return any(name in text for name in _FETCHED)


def computed_name(paths: Iterable[tuple[str | None, ...]]) -> str | None:
    """Why a variable or connection cannot be fetched: its name is known to nobody before. Or None."""
    for path in sorted(paths, key=repr):
        if path and path[0] in _FETCHED and (len(path) < 2 or path[1] is None):
            return f"name the {_FETCHED[path[0]]}: write {path[0]}.NAME, it cannot be computed"
    return None
