"""Functions that the documents of this folder call."""

from __future__ import annotations

import os
from typing import Any

from airflow_stagecoach import tag


@tag("suite", alias="join")
def join(words: list[str], sep: str = "-") -> dict[str, Any]:
    print(f"joining {len(words)} words")
    return {"text": sep.join(words), "count": len(words)}


@tag("suite", alias="place")
def place(name: str) -> dict[str, Any]:
    """What the code sees of its surroundings."""
    folder = os.environ["WORKFLOW_DIR"]
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return {"text": file.read().strip(), "beside": os.path.isfile(os.path.join(folder, "tasks.py"))}


@tag("suite", alias="fail")
def fail(kind: str) -> dict[str, Any]:
    raise {"value": ValueError, "connection": ConnectionError}[kind](f"a {kind} that is bad")
