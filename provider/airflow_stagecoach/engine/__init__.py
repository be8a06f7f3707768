"""Runs stages: the part of Stagecoach that also travels into containers.

Standard library only, Python 3.8 or newer, no Airflow. Everything is imported
when it is first used: a container pays for what its unit needs. The decorator
for called functions is ``airflow_stagecoach.engine.tag.tag``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_stagecoach.engine.capture import metric
    from airflow_stagecoach.engine.contract import Error, Result, StageResult, Unit
    from airflow_stagecoach.engine.errors import SkipStage, StageError
    from airflow_stagecoach.engine.hooks import Hooks
    from airflow_stagecoach.engine.runner import Runner

__all__ = ["Error", "Hooks", "Result", "Runner", "SkipStage", "StageError", "StageResult", "Unit", "metric"]

_HOMES = {
    "Error": "contract",
    "Hooks": "hooks",
    "Result": "contract",
    "Runner": "runner",
    "SkipStage": "errors",
    "StageError": "errors",
    "StageResult": "contract",
    "Unit": "contract",
    "metric": "capture",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
