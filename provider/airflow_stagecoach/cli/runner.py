"""``stagecoach runner``: run jobs of ``runs-on: self-hosted`` on this machine.

``serve`` is the runner itself, ``status`` and ``drain`` ask one that runs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.runner.settings import (
    HOST,
    PORT,
    TOKEN_VARIABLE,
    Containers,
    RunnerError,
    Settings,
    read_tokens,
)

if TYPE_CHECKING:
    import argparse

    from airflow_stagecoach.backends.self_hosted import SelfHostedBackend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the three commands."""
    commands = parser.add_subparsers(dest="runner_command", metavar="COMMAND", required=True)
    serve = commands.add_parser(
        "serve", help="be a runner until stopped; jobs go on when it is started again"
    )
    serve.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    serve.add_argument("--dir", help="database and jobs (default: ~/.local/state/stagecoach-runner)")
    serve.add_argument("--token-file", help=f"one accepted token a line (default: {TOKEN_VARIABLE})")
    serve.add_argument("--certificate", help="PEM file; then it serves HTTPS")
    serve.add_argument("--key", help="PEM file, the key of the certificate")
    serve.add_argument(
        "--allow-plain-http", action="store_true", help="without a certificate on any address, too"
    )
    serve.add_argument(
        "--label", action="append", default=[], metavar="LABEL", help="jobs may ask for it; repeat"
    )
    serve.add_argument("--jobs", type=int, default=2, help="that run at a time (default: %(default)s)")
    serve.add_argument("--queue", type=int, default=100, help="jobs that may wait (default: %(default)s)")
    serve.add_argument(
        "--max-minutes", type=float, default=24 * 60, help="longest run of a job (default: %(default)s)"
    )
    serve.add_argument(
        "--keep-hours", type=float, default=24, help="results that nobody takes (default: %(default)s)"
    )
    serve.add_argument(
        "--isolation",
        choices=("process", "docker"),
        default="process",
        help="what is around each job: a process group, or a container (default: %(default)s)",
    )
    inside = serve.add_argument_group("with --isolation docker")
    inside.add_argument("--image", help="of jobs that name none; with Python 3.8 or newer")
    inside.add_argument(
        "--allow-image",
        action="append",
        default=[],
        metavar="PATTERN",
        help="images that jobs may name, such as 'python:*'; repeat",
    )
    inside.add_argument("--docker-host", help="of the daemon (default: DOCKER_HOST, or the local socket)")
    inside.add_argument("--network", help="of the containers, as for docker run")
    inside.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="PATH:PATH[:ro]",
        help="that every container sees; repeat",
    )
    status = commands.add_parser("status", help="tell what a runner does")
    drain = commands.add_parser("drain", help="let a runner take no new jobs, and end after its last")
    for command in (status, drain):
        command.add_argument("--url", default=f"http://{HOST}:{PORT}", help="default: %(default)s")
        command.add_argument("--token-file", help=f"default: {TOKEN_VARIABLE}")
        command.add_argument("--ca", help="certificate to trust, a PEM file")
    status.add_argument("--json", action="store_true", help="as JSON")
    drain.add_argument("--wait", action="store_true", help="until the runner has ended")


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    try:
        return {"serve": _serve, "status": _status, "drain": _drain}[args.runner_command](args)
    except RunnerError as error:
        print(f"stagecoach runner: {error}", file=sys.stderr)
        return 2 if args.runner_command == "serve" else 1


def _serve(args: argparse.Namespace) -> int:
    from airflow_stagecoach.runner.serve import serve

    settings = Settings(
        folder=os.path.abspath(args.dir or os.path.expanduser("~/.local/state/stagecoach-runner")),
        tokens=read_tokens(args.token_file),
        jobs=args.jobs,
        queue=args.queue,
        labels=frozenset(args.label),
        longest_run=args.max_minutes * 60,
        keep=args.keep_hours * 3600,
        containers=_containers(args),
    )
    serve(
        settings,
        args.host,
        args.port,
        certificate=args.certificate,
        key=args.key,
        allow_plain=args.allow_plain_http,
    )
    return 0


def _containers(args: argparse.Namespace) -> Containers | None:
    """How jobs run in containers, if they do."""
    if args.isolation == "docker":
        return Containers(
            image=args.image,
            allowed=tuple(args.allow_image),
            host=args.docker_host,
            network=args.network,
            volumes=tuple(args.volume),
        )
    for option in ("image", "allow_image", "docker_host", "network", "volume"):
        if getattr(args, option):
            raise RunnerError(f"--{option.replace('_', '-')} is for --isolation docker")
    return None


def _status(args: argparse.Namespace) -> int:
    backend = _backend(args)
    runner = _ask(backend, "GET", "/runner")
    jobs = _ask(backend, "GET", "/jobs")["jobs"]
    if args.json:
        print(json.dumps({"runner": runner, "jobs": jobs}))
        return 0
    running = sum(job["state"] == "running" for job in jobs)
    waiting = sum(job["state"] == "queued" for job in jobs)
    print(f"{args.url}: Stagecoach runner {runner['version']}{', draining' if runner['draining'] else ''}")
    print(f"labels: {', '.join(runner['labels']) or 'none'}")
    if runner["isolation"] == "docker":
        print(f"jobs run in containers: {runner['engine']}")
        allowed = ", ".join(runner["allowed_images"]) or "none"
        print(f"image: {runner['image'] or 'none'}, jobs may name: {allowed}")
    print(f"{running} of {runner['jobs']} run, {waiting} of {runner['queue']} wait")
    for job in jobs:
        minutes = (runner["now"] - (job["ended"] or job["started"] or job["queued"])) / 60
        state = "stopping" if job["stopping"] else job["state"]
        print(f"  {job['name']:<53}  {state:<8}  {minutes:.0f} min")
    return 0


def _drain(args: argparse.Namespace) -> int:
    backend = _backend(args)
    _ask(backend, "POST", "/drain")
    print(f"{args.url} takes no new jobs and ends after its last")
    while args.wait:
        time.sleep(0.5)
        try:
            _ask(backend, "GET", "/health")
        except RunnerError:
            print("it has ended")
            break
    return 0


def _backend(args: argparse.Namespace) -> SelfHostedBackend:
    from airflow_stagecoach.backends.self_hosted import SelfHostedBackend

    token = read_tokens(args.token_file)[0]
    return SelfHostedBackend({"host": args.url, "token": token, "verify": args.ca or True})


def _ask(backend: SelfHostedBackend, method: str, path: str) -> Any:
    import httpx

    from airflow_stagecoach.backends.self_hosted import SelfHostedError

    try:
        return backend.call(method, path).json()
    except SelfHostedError as error:
        raise RunnerError(str(error)) from None
    except (httpx.HTTPError, ValueError) as error:
        raise RunnerError(f"no runner answers at {backend.settings.host}: {error}") from None
