"""What a process imports once, so that the children it forks need not.

Airflow parses each file and runs each task in a forked child. A child inherits
what its parent has imported. Importing this module imports what building a
cached document takes: neither pydantic models, nor YAML, nor an SDK.
"""

from __future__ import annotations

import airflow_stagecoach.factory
import airflow_stagecoach.importer.build
import airflow_stagecoach.operators

__all__ = ["airflow_stagecoach"]
