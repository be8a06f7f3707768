"""``run:`` stages: Python in this process."""

from __future__ import annotations

import itertools
import sys
import types
from typing import TYPE_CHECKING, Any, Dict, Mapping

from airflow_stagecoach.engine.capture import metric
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.frame import render
from airflow_stagecoach.engine.python_source import Prepared, prepare
from airflow_stagecoach.engine.user_code import Outputs, make_logger, running, seen_contexts

if TYPE_CHECKING:
    from airflow_stagecoach.engine.frame import Work

#: Values of these types are the code's own tools, not results.
_TOOLS = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
)

_numbers = itertools.count(1)


def run_python(work: Work) -> Dict[str, Any]:
    """Run Python code in a module of its own.

    :return: what it put into ``result.outputs``, else the names that it assigned (not modules,
        functions, classes, ``_names``, nor names that it was given)
    :raises StageError: it is no Python, or left with an exit code
    :raises Exception: what it raised
    """
    import linecache

    source = str(work.spec["run"])
    filename = f"<stage {work.id}>"
    result = Outputs()
    given: Dict[str, Any] = {
        **seen_contexts(work),
        "result": result,
        "logger": make_logger(work),
        "metric": metric,
    }
    given.update(render(work.spec.get("vars") or {}, work.contexts))
    prepared = prepare(source, filename, lambda expression: render(expression, work.contexts))

    # A real module: dataclasses, pickle and type hints look up sys.modules[cls.__module__].
    module = types.ModuleType(f"stagecoach_stage_{next(_numbers)}")
    module.__file__ = filename
    namespace = vars(module)
    namespace.update(given)
    namespace.update(prepared.values)
    kept = linecache.cache.get(filename)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[module.__name__] = module
    try:
        with running(work):
            exec(prepared.code, namespace)  # noqa: S102 - running the document's code is the purpose
        return _outputs(namespace, given, prepared, result)
    finally:
        sys.modules.pop(module.__name__, None)
        linecache.cache.pop(filename, None)
        if kept is not None:  # The same id in another branch that runs at this time.
            linecache.cache[filename] = kept


def _outputs(
    namespace: Mapping[str, Any], given: Mapping[str, Any], prepared: Prepared, result: Outputs
) -> Dict[str, Any]:
    if namespace.get("result") is result and result.were_set():
        if not isinstance(result.outputs, Mapping):
            raise StageError(
                f"result.outputs needs a map of name to value, not {type(result.outputs).__name__}",
                type="TypeError",
            )
        return dict(result.outputs)
    outputs = {}
    for name, value in list(namespace.items()):
        if name.startswith("_") or isinstance(value, _TOOLS):
            continue
        if name in prepared.assigned:
            if value is result:
                continue
        elif name in prepared.imported or (name in given and value is given[name]):
            continue
        outputs[name] = value
    return outputs
