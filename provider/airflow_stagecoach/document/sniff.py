"""Which YAML files are ours, told from the bytes alone: the dags folder holds much other YAML."""

from __future__ import annotations

import re

_TYPE = re.compile(rb"""(?:^|[\s{,])["']?type["']?[ \t]*:[ \t]*["']?Workflow\b""", re.MULTILINE)
_JOBS = re.compile(rb"""(?:^|[\s{,])["']?jobs["']?[ \t]*:(?=[\s{]|$)""", re.MULTILINE)
_STAGES = re.compile(rb"""(?:^|[\s{,])["']?stages["']?[ \t]*:(?=[\s\[&*]|$)""", re.MULTILINE)


def is_ours(data: bytes) -> bool:
    """Whether a file may hold a workflow: a cheap look at its bytes, no YAML parse.

    True when a key ``type: Workflow`` stands in it, or both keys ``jobs:`` and ``stages:``. A file that
    passes may still turn out to be someone else's (``Loaded.ours`` is False then); a file that does not
    pass never holds a workflow that could be loaded from a folder.
    """
    if _TYPE.search(data) is not None:
        return True
    return (
        b"jobs" in data
        and b"stages" in data
        and _JOBS.search(data) is not None
        and _STAGES.search(data) is not None
    )
