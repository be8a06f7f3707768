"""Runs many documents in one process: ``stagecoach run --json``, with Airflow imported once.

Reads one JSON list of arguments per line from stdin and writes one outcome per line to stdout.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

from airflow_stagecoach.cli import run, run_local
from airflow_stagecoach.cli.main import main
from airflow_stagecoach.cli.run_home import private_home


def serve() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with private_home() as home:
        # Airflow is configured once per process, so all runs share this home.
        run_local.private_home = lambda: contextlib.nullcontext(home)  # type: ignore[assignment]
        for line in sys.stdin:
            outcome = io.StringIO()
            run._stdout_for_outcome = lambda quiet, out=outcome: contextlib.nullcontext(out)  # type: ignore[assignment]
            code = main(["run", "--json", *json.loads(line)])
            answers.write(json.dumps({"code": code, **json.loads(outcome.getvalue())}) + "\n")
            answers.flush()


if __name__ == "__main__":
    serve()
