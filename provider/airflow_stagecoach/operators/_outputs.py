"""A stage's ``outputs:`` for kinds that the engine does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import StageSpec


def declared_outputs(spec: StageSpec, raw: dict[str, Any], contexts: dict[str, Any]) -> dict[str, Any]:
    """Raw outputs with those added or overridden that the stage declares."""
    declared = spec.get("outputs")
    if not declared:
        return raw
    return {**raw, **expressions.render(declared, {**contexts, "outputs": raw})}
