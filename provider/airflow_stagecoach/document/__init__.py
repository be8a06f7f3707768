"""YAML text to a checked model to a plan, or diagnostics.

    load(text, file)  ->  Loaded(plans, diagnostics, ours)

The public names are imported when they are first used: neither PyYAML nor
pydantic is loaded by ``import airflow_stagecoach.document``, so a document
whose plan is cached costs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.document.defaults import Defaults
    from airflow_stagecoach.document.diagnostics import (
        Diagnostic,
        DocumentError,
        diagnostics_to_json,
        render_diagnostics,
    )
    from airflow_stagecoach.document.group import Concurrency
    from airflow_stagecoach.document.health import Health
    from airflow_stagecoach.document.image_stage import ImageStage
    from airflow_stagecoach.document.jobs import Job, Rule
    from airflow_stagecoach.document.loader import Loaded, load
    from airflow_stagecoach.document.logs import LogFile, Logging
    from airflow_stagecoach.document.matrix import MatrixError, expand
    from airflow_stagecoach.document.nested_stages import (
        CaseStage,
        ForEachStage,
        Match,
        ParallelStage,
        UntilStage,
    )
    from airflow_stagecoach.document.notify import Notify, StageNotify, Target
    from airflow_stagecoach.document.on_oom import OnOom
    from airflow_stagecoach.document.param_model import Param
    from airflow_stagecoach.document.params import ParamError, coerce, coerce_all, json_schema
    from airflow_stagecoach.document.resources import Limits, Resources
    from airflow_stagecoach.document.retry import Retry, RetryRule
    from airflow_stagecoach.document.retry_policy import policy_check
    from airflow_stagecoach.document.runs_on import OnLocal, RunsOn
    from airflow_stagecoach.document.services import Credentials, Service
    from airflow_stagecoach.document.simple_stages import (
        Approval,
        ApprovalStage,
        BashStage,
        CallStage,
        EmptyStage,
        OperatorStage,
        PyStage,
        RaiseStage,
        TriggerStage,
        VirtualPyStage,
    )
    from airflow_stagecoach.document.sniff import is_ours
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.strategy import Strategy
    from airflow_stagecoach.document.workflow import Workflow

_HOME = {
    "defaults": ("Defaults",),
    "diagnostics": (
        "Diagnostic",
        "DocumentError",
        "diagnostics_to_json",
        "render_diagnostics",
    ),
    "group": ("Concurrency",),
    "health": ("Health",),
    "image_stage": ("ImageStage",),
    "jobs": (
        "Job",
        "Rule",
    ),
    "loader": (
        "Loaded",
        "load",
    ),
    "logs": (
        "LogFile",
        "Logging",
    ),
    "matrix": (
        "MatrixError",
        "expand",
    ),
    "nested_stages": (
        "CaseStage",
        "ForEachStage",
        "Match",
        "ParallelStage",
        "UntilStage",
    ),
    "notify": (
        "Notify",
        "StageNotify",
        "Target",
    ),
    "on_oom": ("OnOom",),
    "param_model": ("Param",),
    "params": (
        "ParamError",
        "coerce",
        "coerce_all",
        "json_schema",
    ),
    "resources": (
        "Limits",
        "Resources",
    ),
    "retry": (
        "Retry",
        "RetryRule",
    ),
    "retry_policy": ("policy_check",),
    "runs_on": (
        "OnLocal",
        "RunsOn",
    ),
    "services": (
        "Credentials",
        "Service",
    ),
    "simple_stages": (
        "Approval",
        "ApprovalStage",
        "BashStage",
        "CallStage",
        "EmptyStage",
        "OperatorStage",
        "PyStage",
        "RaiseStage",
        "TriggerStage",
        "VirtualPyStage",
    ),
    "sniff": ("is_ours",),
    "stage": ("Stage",),
    "strategy": ("Strategy",),
    "workflow": ("Workflow",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Approval",
    "ApprovalStage",
    "BashStage",
    "CallStage",
    "CaseStage",
    "Concurrency",
    "Credentials",
    "Defaults",
    "Diagnostic",
    "DocumentError",
    "EmptyStage",
    "ForEachStage",
    "Health",
    "ImageStage",
    "Job",
    "Limits",
    "Loaded",
    "LogFile",
    "Logging",
    "Match",
    "MatrixError",
    "Notify",
    "OnLocal",
    "OnOom",
    "OperatorStage",
    "ParallelStage",
    "Param",
    "ParamError",
    "PyStage",
    "RaiseStage",
    "Resources",
    "Retry",
    "RetryRule",
    "Rule",
    "RunsOn",
    "Service",
    "Stage",
    "StageNotify",
    "Strategy",
    "Target",
    "TriggerStage",
    "UntilStage",
    "VirtualPyStage",
    "Workflow",
    "coerce",
    "coerce_all",
    "diagnostics_to_json",
    "expand",
    "is_ours",
    "json_schema",
    "load",
    "policy_check",
    "render_diagnostics",
]


def __getattr__(name: str) -> Any:
    """Give the public ``name``, importing its module the first time."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those not imported yet."""
    return sorted({*globals(), *__all__})
