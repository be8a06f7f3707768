"""The legs of a matrix: product, then ``exclude``, then ``include``, as GitHub Actions does it.

Pure functions without pydantic: the document room calls them for a matrix known at load time, the factory
for one known only when the run is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

#: Beyond this many comparisons nothing is computed at all.
MAX_WORK = 1_000_000


class MatrixError(ValueError):
    """A matrix that gives no legs: a wrong shape, an unknown axis, or too many legs.

    ``path`` leads to the place below the strategy, for instance ``("exclude", 0, "os")``.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = (), hint: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.hint = hint


def expand(
    matrix: Mapping[str, Iterable[Any]] | None,
    include: Iterable[Mapping[str, Any]] | None = None,
    exclude: Iterable[Mapping[str, Any]] | None = None,
    *,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The legs of a matrix, in order, each a map axis -> value.

    ``matrix`` maps an axis to its values (any iterable but text; values may be scalars, lists or maps). The
    product is made in document order, the first axis slowest. ``exclude`` drops every combination that has
    all pairs of one of its entries. Then each entry of ``include`` extends the combinations of which it
    would not change an axis (pairs added by another ``include`` may be changed), and becomes a leg of its own
    when there is none. Nothing at all (no axis, no include) is one leg without axes, ``[{}]``; an empty
    result after exclusion is ``[]``. Values are equal only when they are of one kind: ``1`` is not ``'1'`` or
    ``true``.

    ``limit`` is the greatest number of legs (Airflow's ``max_map_length``). Raises :class:`MatrixError`.
    """
    axes = {str(axis): _values(axis, values) for axis, values in _mapping(matrix or {}, ("matrix",)).items()}
    excluded = [_mapping(entry, ("exclude", index)) for index, entry in _entries(exclude, "exclude")]
    included = [_mapping(entry, ("include", index)) for index, entry in _entries(include, "include")]
    for index, entry in enumerate(excluded):
        for axis in entry:
            if axis not in axes:
                raise MatrixError(f"the matrix has no axis '{axis}' to exclude", ("exclude", index, axis))
    if not axes and not included:
        return [{}]
    size = 1
    for values in axes.values():
        size *= len(values)
    if size * (1 + len(excluded) + len(included)) > MAX_WORK:
        raise MatrixError(f"the matrix has {size} combinations, more than can be computed", ("matrix",))

    originals: list[dict[str, Any]] = []
    if axes:
        for combination in product(*axes.values()):
            leg = dict(zip(axes, combination, strict=True))
            if not any(all(same(leg[axis], value) for axis, value in entry.items()) for entry in excluded):
                originals.append(leg)
    legs = [dict(leg) for leg in originals]
    for entry in included:
        fits = False
        for original, leg in zip(originals, legs, strict=False):
            if all(same(original[axis], value) for axis, value in entry.items() if axis in original):
                leg.update(entry)
                fits = True
        if not fits:
            legs.append(dict(entry))
    if limit is not None and len(legs) > limit:
        raise MatrixError(f"the matrix has {len(legs)} legs, the limit is {limit}", ("matrix",))
    return legs


def same(left: Any, right: Any) -> bool:
    """Whether two values of a matrix are equal without coercion: a boolean is no number, a number no text."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _values(axis: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise MatrixError(
            f"the values of matrix axis '{axis}' must be a list",
            ("matrix", axis),
            hint="a matrix axis takes a list of values, also for a single one: [value]",
        )
    return list(values)


def _entries(entries: Any, word: str) -> list[tuple[int, Any]]:
    if entries is None:
        return []
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Iterable):
        raise MatrixError(
            f"'{word}' must be a list of maps", (word,), hint=f"write {word}: [{{axis: value}}]"
        )
    return list(enumerate(entries))


def _mapping(value: Any, path: tuple[str | int, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        what = "the matrix" if path == ("matrix",) else f"an entry of '{path[0]}'"
        raise MatrixError(f"{what} must be a map of axes", path)
    if not value and path != ("matrix",):
        raise MatrixError(
            f"an entry of '{path[0]}' is empty", path, hint="name at least one axis and its value"
        )
    return value
