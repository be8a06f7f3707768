"""The commands as ``airflow stagecoach COMMAND`` (named in ``get_provider_info``)."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from airflow_stagecoach.cli.commands import COMMANDS, load_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


#: Commands that need an Airflow of their own: this process has the user's.
_OWN_PROCESS = frozenset({"run"})


class CommandArguments(Arg):
    """All arguments of a command as one of Airflow's ``Arg``: the command's module adds them itself.

    Airflow builds the parsers of all commands for each of them, ``airflow scheduler`` included. So the
    modules of commands import little, and one that is broken only loses its own arguments.
    """

    def __init__(self, command: str) -> None:
        self.flags = (command,)  # Airflow sorts arguments by their flags
        self.kwargs: dict[str, object] = {}
        self.command = command

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments to its parser."""
        try:
            load_command(self.command).add_arguments(parser)
        except Exception as error:
            logging.getLogger(__name__).warning(
                "airflow stagecoach %s is not available: %s: %s", self.command, type(error).__name__, error
            )


def get_commands() -> list[GroupCommand]:
    """Give the group ``stagecoach`` to Airflow's command line."""
    return [
        GroupCommand(
            name="stagecoach",
            help="Jobs and stages in YAML",
            subcommands=[
                ActionCommand(name=name, help=help_line, func=_action(name), args=(CommandArguments(name),))
                for name, help_line in COMMANDS.items()
            ],
        )
    ]


def _action(name: str) -> Callable[[argparse.Namespace], None]:
    def action(args: argparse.Namespace) -> None:
        if name in _OWN_PROCESS:
            words = sys.argv[sys.argv.index(name) :]
            os.execv(sys.executable, [sys.executable, "-m", "airflow_stagecoach.cli.main", *words])  # noqa: S606  # our own command
        # Airflow ignores what an action returns.
        sys.exit(load_command(name).run(args))

    return action
