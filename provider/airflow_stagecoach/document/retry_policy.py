"""Whether the class of ``retry: {policy: package.module:Class}`` can be used.

Only where Airflow and the author's packages are installed can that be known, so :func:`load` asks for it when
it is told to (``policies=``), and nothing is imported for a document without the key.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    #: Takes the ``policy`` and ``with`` of a retry; raises :class:`PolicyError`.
    PolicyCheck = Callable[[str, dict[str, Any]], object]


class PolicyError(ValueError):
    """The class cannot be used. ``path`` leads from the retry to the fault: ``policy``, or below ``with``."""

    def __init__(self, message: str, hint: str | None = None, *, path: tuple[str, ...] = ("policy",)) -> None:
        super().__init__(message)
        self.hint = hint
        self.path = path


def policy_class(policy: str, arguments: dict[str, Any], roots: Sequence[str | PathLike[str]] = ()) -> Any:
    """The class of a retry policy, which takes ``arguments`` by name.

    :param policy: ``package.module:Class``
    :param arguments: the ``with`` of the retry
    :param roots: folders to import from after ``sys.path``, such as the dags folder: Airflow adds that
        itself, a command line does not
    :raises PolicyError: it cannot be imported, is no ``airflow.sdk.RetryPolicy``, lacks a method that it must
        have, or takes other arguments
    """
    from airflow.sdk import RetryPolicy

    module_name, _, name = policy.partition(":")
    with _importable(roots):
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name or module_name
            hint = "it must be importable from the dags folder or be installed, on workers too"
            if not f"{module_name}.".startswith(f"{missing}."):
                hint = f"{module_name} needs it"
            raise PolicyError(f"there is no module '{missing}'", hint) from None
        except Exception as error:
            raise PolicyError(
                f"module '{module_name}' cannot be imported: {type(error).__name__}: {error}"
            ) from error
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if _is_policy(value, RetryPolicy)]
        otherwise = f"its policies are {', '.join(classes)}" if classes else None
        raise PolicyError(f"module '{module_name}' has no '{name}'", did_you_mean(name, classes, otherwise))
    if not _is_policy(found, RetryPolicy):
        raise PolicyError(
            f"'{name}' is no retry policy", "derive it from airflow.sdk.RetryPolicy and define evaluate()"
        )
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    if abstract:
        raise PolicyError(f"'{name}' does not define {', '.join(abstract)}()")
    names = _parameters(found)
    for argument in arguments:
        if names is not None and argument not in names:
            meant = did_you_mean(argument, names, _takes(names))
            raise PolicyError(f"'{name}' takes no argument '{argument}'", meant, path=("with", argument))
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:
        path = ("with",) if arguments else ("policy",)
        raise PolicyError(
            f"'{name}' needs other arguments: {error}", _takes(names or []), path=path
        ) from None
    return found


def policy_check(roots: Sequence[str | PathLike[str]] = ()) -> PolicyCheck | None:
    """The check to give to :func:`load`; None where Airflow is not installed, and nothing can be known."""
    if find_spec("airflow") is None or find_spec("airflow.sdk") is None:
        return None
    return lambda policy, arguments: policy_class(policy, arguments, roots)


def _is_policy(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value is not base


def _parameters(found: type) -> list[str] | None:
    """The names of what a class takes; None where it takes any."""
    parameters = inspect.signature(found).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def _takes(names: list[str]) -> str:
    return f"it takes {', '.join(names)}: write with: {{...}}" if names else "it takes no arguments"


@contextmanager
def _importable(roots: Sequence[str | PathLike[str]]) -> Iterator[None]:
    """More folders to import from, for a while."""
    added = [str(root) for root in roots if str(root) not in sys.path]
    sys.path += added
    try:
        yield
    finally:
        for root in added:
            sys.path.remove(root)
