"""Jobs, stages and a strategy in YAML become real Airflow DAGs."""

from __future__ import annotations

__version__ = "0.1.0"
