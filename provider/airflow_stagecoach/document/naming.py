"""Ids that the document leaves to us: of stages without one, and of tasks."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_stagecoach.document.stage import Stage

_EXPRESSION = re.compile(r"\$?\$\{\{.*?\}\}|\{\{.*?\}\}", re.DOTALL)

#: Airflow keeps task ids in 250 characters, the job's id and a dot in front.
MAX_SLUG = 100


def slug(name: str) -> str:
    """A name as an id: letters, digits, ``-`` and ``_``; expressions are left out. May be empty."""
    plain = unicodedata.normalize("NFKD", _EXPRESSION.sub(" ", name))
    text = (
        re.sub(r"[^A-Za-z0-9_]+", "-", plain.encode("ascii", "ignore").decode())
        .strip("-_")[:MAX_SLUG]
        .strip("-_")
    )
    if text[:1].isdigit():
        text = f"_{text}"
    return text.lower()


def stage_ids(stages: Sequence[Stage]) -> list[str]:
    """The id of each stage of a list: its own, else the slug of its name, else ``stage-N`` (N from 1).

    An own id may hold expressions over ``matrix``.
    """
    return [stage.id or slug(stage.name or "") or f"stage-{number}" for number, stage in enumerate(stages, 1)]


def task_ids(stages: Sequence[Stage]) -> list[str]:
    """The task id of each stage: its id where that is static, else its name as a slug; unique in the job."""
    ids = stage_ids(stages)
    taken = {name for name in ids if "${{" not in name}
    result = []
    for number, (stage, own) in enumerate(zip(stages, ids, strict=True), 1):
        if "${{" not in own:
            result.append(own)
            continue
        wanted = slug(stage.name or "") or slug(own) or f"stage-{number}"
        task, count = wanted, 2
        while task in taken:
            task, count = f"{wanted}-{count}", count + 1
        taken.add(task)
        result.append(task)
    return result
