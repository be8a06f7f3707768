"""What a runner is started with, and what it refuses to be started with."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

#: Where a runner listens unless told otherwise.
HOST, PORT = "127.0.0.1", 8470

#: Holds the token, or several between blanks, where no file is named.
TOKEN_VARIABLE = "STAGECOACH_RUNNER_TOKEN"  # noqa: S105  # the name of a variable

#: A request is at most this long, in bytes: the files of ``ship`` (50 MiB), the engine and the unit.
LARGEST_REQUEST = 60 * 1000 * 1000

_SHORTEST_TOKEN = 16


class RunnerError(Exception):
    """The runner cannot be started, or does not answer; the text is for the person who asked."""


@dataclass(frozen=True)
class Containers:
    """How jobs run in containers of this machine's Docker daemon, in place of processes.

    ``image`` is for jobs that name none; ``allowed`` are patterns of the images that jobs may name, as in a
    shell. ``volumes`` and ``network`` are Docker's words; without them a job sees nothing of this machine.
    """

    image: str | None = None
    allowed: tuple[str, ...] = ()
    host: str | None = None  # of the daemon; DOCKER_HOST or the local socket if absent
    network: str | None = None
    volumes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image is None and not self.allowed:
            raise RunnerError(
                "--isolation docker needs an image: say --image NAME, or --allow-image PATTERN for "
                "those that jobs may name"
            )
        for volume in self.volumes:
            if volume.count(":") not in (1, 2) or not all(volume.split(":")):
                raise RunnerError(f"--volume {volume} must be PATH:PATH or PATH:PATH:ro")

    def objection(self, image: str | None) -> str | None:
        """Why a job is not taken in; ``None`` when it is.

        :param image: that the job names
        """
        images = ", ".join(dict.fromkeys(filter(None, (self.image, *self.allowed))))
        if image is None:
            missing = "this runner has no image of its own, and the job names none in image"
            return None if self.image is not None else f"{missing}; allowed: {images}"
        if image == self.image or any(fnmatchcase(image, pattern) for pattern in self.allowed):
            return None
        return f"this runner does not allow image {image!r}; allowed: {images}"


@dataclass(frozen=True)
class Settings:
    """Of one runner.

    ``folder`` holds its database and the folders of jobs. Seconds and bytes where nothing else is said.
    """

    folder: str
    tokens: tuple[str, ...] = field(repr=False)
    jobs: int = 2  # that run at the same time
    queue: int = 100  # that wait
    labels: frozenset[str] = frozenset()
    longest_run: float = 24 * 3600.0
    keep: float = 24 * 3600.0  # an ended job whose result nobody takes
    grace: float = 5.0  # between asking a job to stop and killing it
    linger: float = 60.0  # a draining runner waits so long for results to be taken
    largest_request: int = LARGEST_REQUEST
    containers: Containers | None = None  # jobs are processes without it

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise RunnerError("--jobs must be 1 or more")
        if self.queue < 0:
            raise RunnerError("--queue must be 0 or more")
        if self.longest_run <= 0:
            raise RunnerError("--max-minutes must be more than 0")
        if self.keep < 0:
            raise RunnerError("--keep-hours must be 0 or more")

    @property
    def isolation(self) -> str:
        """What is around each job: ``process`` or ``docker``."""
        return "process" if self.containers is None else "docker"


def read_tokens(file: str | None) -> tuple[str, ...]:
    """The tokens that are accepted: the old and the new one while it is changed.

    :param file: one token per line; the variable :data:`TOKEN_VARIABLE` if absent
    :raises RunnerError: there is none, or one is short
    """
    if file is not None:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise RunnerError(f"--token-file {file} cannot be read: {error}") from None
        where = f"--token-file {file}"
    else:
        text = os.environ.get(TOKEN_VARIABLE, "")
        where = TOKEN_VARIABLE
        if not text.strip():
            raise RunnerError(
                f"a runner needs a token: name a file with --token-file, or set {TOKEN_VARIABLE}; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
    tokens = tuple(text.split())
    if not tokens:
        raise RunnerError(f"{where} holds no token")
    for token in tokens:
        if len(token) < _SHORTEST_TOKEN or not token.isascii():
            raise RunnerError(
                f"a token in {where} is too weak: it needs {_SHORTEST_TOKEN} or more ASCII characters"
            )
    return tokens


def require_safe_listening(host: str, certificate: str | None, key: str | None, allow_plain: bool) -> None:
    """Refuse to send tokens and secrets over a network in the clear.

    :raises RunnerError: plain HTTP on more than this machine's own address, or half a certificate
    """
    if (certificate is None) != (key is None):
        raise RunnerError("--certificate and --key belong together")
    for option, path in (("--certificate", certificate), ("--key", key)):
        if path is not None and not os.access(path, os.R_OK):
            raise RunnerError(f"{option} {path} cannot be read")
    if certificate is None and not allow_plain and not is_loopback(host):
        raise RunnerError(
            f"plain HTTP on {host} would show tokens and secrets to the network: give --certificate and "
            "--key, listen on 127.0.0.1, or say --allow-plain-http where something else encrypts"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is only reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
