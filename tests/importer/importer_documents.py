"""Texts of documents for the tests of the importer."""

from __future__ import annotations


def workflow(dag_id: str, *, bad: bool = False) -> str:
    """The text of a small workflow; a bad one has an unknown key at line 7, column 11."""
    key = "bsah" if bad else "bash"
    return f"""\
{dag_id}:
  type: Workflow
  jobs:
    greet:
      stages:
        - name: Say
          {key}: echo hello
"""
