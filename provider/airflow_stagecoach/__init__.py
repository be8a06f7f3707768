"""Jobs, stages and a strategy in YAML become real Airflow DAGs.

A document in the dags folder needs none of this: it is found by itself. Here
stands what Python code uses::

    from airflow_stagecoach import BashStage, Job, Workflow, build_dag

    dag = build_dag(Workflow(name="hello", jobs={"say": Job(stages=[BashStage(name="Hi", bash="echo hi")])}))

Everything is imported when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.document import (
        ApprovalStage,
        BashStage,
        CallStage,
        CaseStage,
        DocumentError,
        EmptyStage,
        ForEachStage,
        ImageStage,
        Job,
        OnLocal,
        OperatorStage,
        ParallelStage,
        Param,
        PyStage,
        RaiseStage,
        Rule,
        RunsOn,
        Strategy,
        TriggerStage,
        UntilStage,
        VirtualPyStage,
        Workflow,
    )
    from airflow_stagecoach.engine.tag import tag
    from airflow_stagecoach.expressions import register_filter
    from airflow_stagecoach.importer import load_workflows
    from airflow_stagecoach.importer.python import build_dag
    from airflow_stagecoach.operators.stage import StageOperator
    from airflow_stagecoach.operators.trigger import TriggerStageOperator
    from airflow_stagecoach.operators.wrapped import ApprovalStageOperator, OperatorStageOperator

__version__ = "0.1.0"

#: Where each public name lives.
_HOMES = {
    "airflow_stagecoach.document": (
        "ApprovalStage",
        "BashStage",
        "CallStage",
        "CaseStage",
        "DocumentError",
        "EmptyStage",
        "ForEachStage",
        "ImageStage",
        "Job",
        "OnLocal",
        "OperatorStage",
        "ParallelStage",
        "Param",
        "PyStage",
        "RaiseStage",
        "Rule",
        "RunsOn",
        "Strategy",
        "TriggerStage",
        "UntilStage",
        "VirtualPyStage",
        "Workflow",
    ),
    "airflow_stagecoach.engine.tag": ("tag",),
    "airflow_stagecoach.expressions": ("register_filter",),
    "airflow_stagecoach.importer": ("load_workflows",),
    "airflow_stagecoach.importer.python": ("build_dag",),
    "airflow_stagecoach.operators.stage": ("StageOperator",),
    "airflow_stagecoach.operators.trigger": ("TriggerStageOperator",),
    "airflow_stagecoach.operators.wrapped": ("ApprovalStageOperator", "OperatorStageOperator"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ApprovalStage",
    "ApprovalStageOperator",
    "BashStage",
    "CallStage",
    "CaseStage",
    "DocumentError",
    "EmptyStage",
    "ForEachStage",
    "ImageStage",
    "Job",
    "OnLocal",
    "OperatorStage",
    "OperatorStageOperator",
    "ParallelStage",
    "Param",
    "PyStage",
    "RaiseStage",
    "Rule",
    "RunsOn",
    "StageOperator",
    "Strategy",
    "TriggerStage",
    "TriggerStageOperator",
    "UntilStage",
    "VirtualPyStage",
    "Workflow",
    "build_dag",
    "load_workflows",
    "register_filter",
    "tag",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
