"""``stagecoach demo``: a real Airflow on this machine, with a folder of documents."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from types import FrameType
    from typing import TextIO

PORT = 8080

#: Held while an Airflow runs in its folder; says where that is.
LOCK = "demo.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``demo``."""
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="the dags folder; else dags_examples of the checkout"
    )
    parser.add_argument(
        "--home", default=".demo", help="where Airflow keeps its database and logs (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, help=f"of the UI; else {PORT}, or a free one when that is taken")


def run(args: argparse.Namespace) -> int:
    """Start Airflow and say where it is; stop it on Ctrl-C or SIGTERM."""
    from airflow_stagecoach.cli.local_airflow import (
        AirflowStartError,
        LocalAirflow,
        end_with_parent,
        free_port,
        is_free,
    )

    folder = Path(args.folder) if args.folder else find_examples()
    if folder is None or not folder.is_dir():
        wanted = f"there is no folder {folder}" if folder else "there is no dags_examples folder here"
        print(f"{wanted}; name the folder with your documents: stagecoach demo FOLDER", file=sys.stderr)
        return 2
    if args.port and not is_free(args.port):
        print(f"port {args.port} is taken; leave --port away to have a free one", file=sys.stderr)
        return 2
    port = args.port or (PORT if is_free(PORT) else free_port())
    airflow = LocalAirflow(Path(args.home), folder, port=port)
    lock = _lock(airflow.home, airflow.url)
    if lock is None:
        where = (airflow.home / LOCK).read_text().strip()
        print(
            f"an Airflow runs in {airflow.home} already, at {where}; "
            "stop it, or give this one a folder of its own: --home FOLDER",
            file=sys.stderr,
        )
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, _interrupt)
    if "TOX_ENV_NAME" in os.environ:
        # tox ends at once when it is told to, and leaves its command behind.
        end_with_parent()
    try:
        print(f"Starting Airflow in {airflow.home}; this takes a minute the first time.", flush=True)
        airflow.start()
        print(
            f"\nAirflow is at {airflow.url} (no login).\n"
            f"Its dags folder is {airflow.dags_folder}; a saved document shows within seconds.\n"
            f"Logs are in {airflow.log_file('scheduler').parent}. Ctrl-C stops everything.",
            flush=True,
        )
        airflow.wait()
    except AirflowStartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        airflow.stop()
        lock.close()
    return 0


def find_examples() -> Path | None:
    """Give ``dags_examples`` of this folder or one above it, or of the checkout that this code stands in."""
    for start in (Path(os.getcwd()), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "dags_examples").is_dir():
                return folder / "dags_examples"
    return None


def _lock(home: Path, url: str) -> TextIO | None:
    """Keep the folder for this process, until the file is closed; ``None`` when another one has it.

    Two Airflows in one folder would share a database, and their schedulers each other's tasks.
    """
    import fcntl

    home.mkdir(parents=True, exist_ok=True)
    file = (home / LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{url}\n")
    file.flush()
    return file


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
