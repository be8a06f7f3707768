"""``uses: path/func@tag`` stages: calling a Python function that is marked with ``tag``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.arguments import ArgumentError, convert, hints_of, nearest
from airflow_stagecoach.engine.call_modules import own_imports
from airflow_stagecoach.engine.capture import captured
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.tag import LATEST, MARK, same_name
from airflow_stagecoach.engine.user_code import Outputs, make_logger, running, seen_contexts

if TYPE_CHECKING:
    import inspect
    from types import ModuleType
    from typing import Callable

    from airflow_stagecoach.engine.frame import Work

_USES = re.compile(r"(?P<path>[^@\s]+)/(?P<name>[^/@\s]+)(?:@(?P<tag>[^@\s]+))?")

#: Parameters that are filled in when a function has them and the document gives no argument of that name.
_INJECTED = ("result", "context", "extras", "logger")


def run_call(work: Work) -> Dict[str, Any]:
    """Call the function with the arguments of ``with``.

    :return: the map or model that it returned; what it put into ``result.outputs`` when it returned nothing
    :raises StageError: there is no such function, an argument does not fit, or it returned something else
    :raises Exception: what the function raised
    """
    uses = expressions.to_text(work.render("uses"))
    found = _USES.fullmatch(uses)
    if found is None:
        raise StageError(f"uses: write path/function@tag, not {uses!r}", type="InvalidValue")
    path, name, tag = found.group("path"), found.group("name"), found.group("tag") or LATEST
    given = work.render("with") or {}
    result = Outputs()
    try:
        with captured(work):  # What a module prints when it is imported.
            modules = work.frame.place.modules.find(path)
    except StageError:
        raise
    except Exception as error:
        work.log_traceback(error)
        raise
    function, folder = find_function(modules, path, name, tag)
    extra = {**seen_contexts(work), "result": result, "extras": dict(work.frame.place.extras)}
    extra["logger"] = make_logger(work)
    positional, named = bind(function, given, {key: extra[key] for key in _INJECTED}, uses)
    returned: Any = None
    with running(work):
        if folder is None or work.frame.concurrent:
            returned = _call(function, positional, named)
        else:  # Imports inside the function find the files beside it too.
            with own_imports(folder):
                returned = _call(function, positional, named)
    return _outputs(returned, result, uses)


def find_function(
    modules: List[Tuple[ModuleType, str | None]], path: str, name: str, tag: str
) -> Tuple[Callable[..., Any], str | None]:
    """The function with this name (or alias) and tag.

    :raises StageError: there is none, or more than one
    """
    marked: Dict[str, Dict[str, List[Tuple[Any, str | None]]]] = {}
    for module, folder in modules:
        for function in _marked(module):
            for own_name, own_tag in dict.fromkeys(getattr(function, MARK)):
                marked.setdefault(own_name, {}).setdefault(own_tag, []).append((function, folder))
    by_tag = marked.get(same_name(name))
    if by_tag is None:
        raise StageError(
            f"uses: {path} has no function {name!r} marked with @tag{nearest(same_name(name), marked)}",
            type="FunctionNotFound",
        )
    functions = by_tag.get(tag)
    if functions is None:
        raise StageError(
            f"uses: {path}/{name} has no tag {tag!r}{nearest(tag, by_tag)}", type="FunctionNotFound"
        )
    if len(functions) > 1:
        places = ", ".join(
            f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}" for function, _ in functions
        )
        raise StageError(
            f"uses: {path}/{name}@{tag} is there more than once: {places}", type="DuplicateFunction"
        )
    return functions[0]


def _marked(module: ModuleType) -> List[Any]:
    seen: Dict[int, Any] = {}
    for value in vars(module).values():
        if callable(value) and isinstance(getattr(value, MARK, None), tuple):
            seen.setdefault(id(value), value)
    return list(seen.values())


def bind(
    function: Callable[..., Any], given: Mapping[str, Any], injected: Mapping[str, Any], uses: str
) -> Tuple[List[Any], Dict[str, Any]]:
    """Arguments for a call, checked and converted against the function's type hints.

    A leading ``_`` of a parameter's name is dropped: ``_exec`` is fed by ``exec``.

    :return: positional and named arguments
    :raises StageError: unknown arguments, missing ones, and ones that do not fit, all in one message
    """
    import inspect

    parameters = inspect.signature(function).parameters
    hints = hints_of(function)
    left = dict(given)
    positional: List[Any] = []
    named: Dict[str, Any] = {}
    missing: List[str] = []
    faults: List[str] = []

    def converted(key: str, hint: Any) -> Any:
        try:
            return convert(left.pop(key), hint, repr(key))
        except ArgumentError as error:
            faults.append(str(error))

    for name, parameter in parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update({key: converted(key, hint) for key in list(left)})
            continue
        key = _argument_name(name, left)
        if key is not None:
            value = converted(key, hint)
        elif name in injected:
            value = injected[name]
        elif parameter.default is not parameter.empty:
            if parameter.kind is not parameter.POSITIONAL_ONLY:
                continue
            value = parameter.default
        else:
            missing.append(name.lstrip("_"))
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[name] = value
    names = _argument_names(parameters)
    faults += [f"there is no argument {unknown!r}{nearest(unknown, names)}" for unknown in left]
    if missing:
        faults.append(f"it needs {', '.join(map(repr, missing))}")
    if faults:
        text = ". ".join(faults).replace("?. ", "? ")
        raise StageError(f"with: {uses}: {text}", type="InvalidArgument")
    return positional, named


def _argument_name(parameter: str, given: Mapping[str, Any]) -> str | None:
    if parameter in given:
        return parameter
    short = parameter[1:]
    return short if parameter.startswith("_") and short in given else None


def _argument_names(parameters: Mapping[str, inspect.Parameter]) -> List[str]:
    return [
        name[1:] if name.startswith("_") else name
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL and name not in _INJECTED
    ]


def _call(function: Callable[..., Any], positional: List[Any], named: Dict[str, Any]) -> Any:
    returned = function(*positional, **named)
    if hasattr(returned, "__await__"):
        import asyncio

        async def wait() -> Any:
            return await returned

        return asyncio.run(wait())
    return returned


def _outputs(returned: Any, result: Outputs, uses: str) -> Dict[str, Any]:
    import dataclasses

    if returned is None:
        returned = result.outputs if result.were_set() else {}
    if hasattr(returned, "model_dump") and not isinstance(returned, type):
        returned = returned.model_dump(by_alias=True)
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        returned = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    if not isinstance(returned, Mapping):
        raise StageError(
            f"uses: {uses} returned {type(returned).__name__}; return a map, a model or nothing",
            type="InvalidReturn",
        )
    return dict(returned)
