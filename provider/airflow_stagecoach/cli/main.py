"""The console script ``stagecoach``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from airflow_stagecoach import __version__
from airflow_stagecoach.cli.commands import COMMANDS, load_command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: what follows the program's name, else ``sys.argv``
    :return: the exit code: 0 good, 1 bad, 2 wrongly called (argparse exits with it by itself)
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, name = _build_parser(given)
    args = parser.parse_args(given)
    if name is None:
        parser.print_help()
        return 2
    try:
        code = load_command(name).run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _build_parser(given: list[str]) -> tuple[argparse.ArgumentParser, str | None]:
    """Give the parser, with the arguments of the one command that was named, and its name."""
    parser = argparse.ArgumentParser(
        prog="stagecoach", description="Jobs, stages and a strategy in YAML become real Airflow DAGs."
    )
    parser.add_argument("--version", action="version", version=f"stagecoach {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # The first word that is no option is the command; argparse says so when it is none of ours.
    name = next((word for word in given if not word.startswith("-")), None)
    for command, help_line in COMMANDS.items():
        subparser = commands.add_parser(command, help=help_line, description=_sentence(help_line))
        if command == name:
            load_command(command).add_arguments(subparser)
    return parser, name


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main())
