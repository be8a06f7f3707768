"""Which commands there are. Nothing else stands here, so that listing them costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse

#: Name of the command, which is the name of its module in this package -> one line of help.
COMMANDS = {
    "validate": "check documents and print every error, without Airflow",
    "run": "run a document here and now, without a scheduler",
    "runs": "show runs: what each job, leg and stage did, and why",
    "status": "tell whether Airflow and everything that documents need is up",
    "backends": "list where jobs may run, and reach out to each place",
    "sweep": "remove what dead tasks have left where jobs run: containers, volumes, processes",
    "pools": "list the pools that documents use, and make those that are missing",
    "runner": "run jobs of runs-on: self-hosted on this machine: serve, status, drain",
    "demo": "start a real Airflow on this machine with a folder of documents",
}


class Command(Protocol):
    """What the module of a command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments to its parser."""

    def run(self, args: argparse.Namespace) -> int:
        """Carry out the command; give the exit code: 0 good, 1 bad, 2 wrongly called."""


def load_command(name: str) -> Command:
    """Import the module of a command in ``COMMANDS``."""
    return cast("Command", import_module(f"airflow_stagecoach.cli.{name.replace('-', '_')}"))
