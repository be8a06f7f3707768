"""The size of a matrix, and axes to exclude that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import did_you_mean
from airflow_stagecoach.document.fields import has_expression
from airflow_stagecoach.document.matrix import MatrixError, expand

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.strategy import Strategy

    #: Takes code, message, path and hint of a fault, and whether it is the key that is wrong.
    Add = Callable[..., None]


def check_matrix(strategy: Strategy, path: Path, max_legs: int, add: Add) -> None:
    """Note what is wrong with the combinations of a strategy that stands at ``path``.

    :param max_legs: Airflow's ``[core] max_map_length``
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    axes, include, exclude = strategy.axes(), strategy.entries("include"), strategy.entries("exclude")
    places = {
        key: ("matrix", key) if isinstance(strategy.matrix, dict) and key in strategy.matrix else (key,)
        for key in ("include", "exclude")
    }
    if any(has_expression(part) for part in (axes, include, exclude)):
        if isinstance(axes, dict) and isinstance(exclude, list):
            _excluded_axes(axes, exclude, (*path, *places["exclude"]), add)
        return
    if exclude and not axes:
        message = "there is nothing to exclude without a matrix"
        add("bad-matrix", message, (*path, *places["exclude"]), on_key=True)
        return
    try:
        expand(axes, include, exclude, limit=max_legs)
    except MatrixError as error:
        place = (*places.get(str(error.path[0]), (error.path[0],)), *error.path[1:]) if error.path else ()
        code, hint = "bad-matrix", error.hint
        if len(error.path) == 1:
            code = "too-many-legs"
            hint = "the limit is Airflow's [core] max_map_length; make several jobs of it"
        elif error.path[0] == "exclude":
            hint = did_you_mean(str(error.path[-1]), axes or (), f"the axes are {', '.join(axes or ())}")
        add(code, str(error), (*path, *place), hint, on_key=True)


def _excluded_axes(axes: dict[str, Any], exclude: list[Any], path: Path, add: Add) -> None:
    for index, entry in enumerate(exclude):
        for axis in entry if isinstance(entry, dict) else ():
            if axis not in axes:
                hint = did_you_mean(axis, axes, f"the axes are {', '.join(axes)}")
                message = f"the matrix has no axis '{axis}' to exclude"
                add("bad-matrix", message, (*path, index, axis), hint, on_key=True)
