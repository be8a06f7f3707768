"""From a plan to an Airflow DAG."""

from __future__ import annotations

from airflow_stagecoach.factory._dag import build_dag

__all__ = ["build_dag"]
