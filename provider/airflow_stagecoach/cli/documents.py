"""Checking documents on the command line, with the backends and retry policies that are installed here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Loaded


def load_document(data: bytes, file: str, *, explicit: bool = False) -> Loaded:
    """Check a document; arguments as for :func:`airflow_stagecoach.document.load`.

    The class of a ``retry: policy`` is looked for beside the document too, as in a dags folder.
    """
    from airflow_stagecoach import document
    from airflow_stagecoach.importer.backends import InstalledBackends

    return document.load(
        data, file, explicit=explicit, backends=InstalledBackends(), policies=_policy_check(file)
    )


def _policy_check(file: str) -> Callable[[str, dict[str, Any]], object]:
    """Look for Airflow only when a document names a policy: finding it costs more than all other checks."""

    def check(policy: str, arguments: dict[str, Any]) -> object:
        from airflow_stagecoach.document.retry_policy import policy_check

        found = policy_check((os.path.dirname(os.path.abspath(file)),))
        return None if found is None else found(policy, arguments)

    return check
