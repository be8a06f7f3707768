"""Writes docs/reference.md and docs/workflow.schema.json, with the settings of the backends of this package.

    python -m airflow_stagecoach.importer.reference [FOLDER]

writes both into the folder (``docs`` if absent). A test holds that the committed files are what this gives.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow_stagecoach.backends.listing import built_in_schemas
from airflow_stagecoach.document.json_schema import json_schema
from airflow_stagecoach.document.reference import reference


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    backends = built_in_schemas()
    (folder / "reference.md").write_text(reference(backends), encoding="utf-8")
    text = json.dumps(json_schema(backends), indent=2, ensure_ascii=False) + "\n"
    (folder / "workflow.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
