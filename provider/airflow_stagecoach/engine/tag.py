"""The decorator that marks functions for ``uses: path/func@tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Callable, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

#: Where the marks stand on a function: a tuple of (name, tag).
MARK = "__stagecoach_tags__"

#: The tag of ``uses: path/func`` and of ``@tag()``.
LATEST = "latest"


def tag(name: str = LATEST, alias: str | None = None) -> Callable[[F], F]:
    """Mark a function so that a stage may call it.

    ::

        @tag("v1", alias="load-table")
        def load(source: str, limit: int = 10) -> dict: ...

    is called by ``uses: tasks/load-table@v1`` or ``uses: tasks/load@v1`` in a
    document beside ``tasks.py``. Hyphens and underscores of the name are the same.
    A function may carry several marks.

    :param name: the tag
    :param alias: a second name; the function's own name always works
    :raises TypeError: used without parentheses, or on no function
    """
    if not isinstance(name, str) or not (alias is None or isinstance(alias, str)):
        raise TypeError("write @tag('name'), with parentheses and a text")

    def mark(function: F) -> F:
        if not callable(function):
            raise TypeError("@tag stands above a function")
        names = [function.__name__] if alias is None else [function.__name__, alias]
        marks = tuple((same_name(own), name) for own in names)
        setattr(function, MARK, getattr(function, MARK, ()) + marks)
        return function

    return mark


def same_name(name: str) -> str:
    """The spelling under which names of functions are compared: ``a-b`` is ``a_b``."""
    return name.replace("-", "_")
