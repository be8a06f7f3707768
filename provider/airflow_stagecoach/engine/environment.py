"""The environment of a stage: layers of ``env``, each able to use the ones before.

worker < workflow < job < backend < stage (DESIGN, rule 7).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, Mapping

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from typing import Callable, Iterable

#: Airflow's own settings stay with Airflow. (AIRFLOW_CTX_* are facts of the run and stay.)
_WITHHELD = "AIRFLOW__"

#: Tells the programs of a stage what ``logging: {level}`` says, in capitals, as Python's logging has it.
LOG_LEVEL = "LOG_LEVEL"


def worker_environment(document_dir: str | None = None) -> Dict[str, str]:
    """What a stage inherits from this process, and the folder of its document as ``WORKFLOW_DIR``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
    return {**env, "WORKFLOW_DIR": document_dir} if document_dir else env


def sets_log_level(layers: Iterable[Mapping[str, Any]], own: Mapping[str, Any] | None) -> bool:
    """Whether a layer of the document, or the stage's own, sets ``LOG_LEVEL`` itself."""
    return any(LOG_LEVEL in layer for layer in (*layers, own or {}))


def add_layers(
    env: Mapping[str, str],
    layers: Iterable[Mapping[str, Any]],
    render: Callable[[Any, Dict[str, Any]], Any],
) -> Dict[str, str]:
    """Evaluate layers of ``env`` on top of an environment.

    :param env: what is there already
    :param layers: maps of templates, in order
    :param render: ``render(template, env so far)`` evaluates one
    :return: a new map; every value is text, null is the empty text
    :raises StageError: a name or value that no process can have
    """
    merged = dict(env)
    for layer in layers:
        for name, template in layer.items():
            if not name or "=" in name or "\0" in name:
                raise StageError(f"env: {name!r} is no name of a variable", type="InvalidEnv")
            value = expressions.to_text(render(template, merged))
            if "\0" in value:
                raise StageError(f"env: the value of {name} holds a NUL character", type="InvalidEnv")
            merged[name] = value
    return merged
