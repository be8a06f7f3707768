"""What sort of failure an error is: one pure function over tables.

``classify(error)`` gives a category, a reason and what a retry does when the document says nothing
about this failure. The categories are those of docs/architecture.md ("Failures and records").

The tables are asked in this order, the first that knows the error decides: the rules of the caller,
what the error says of itself already, that it was cancelled or timed out, memory, the reason that a
backend gave, the HTTP status, the type of the error and its bases, the signal and the exit code, the
text. What nobody knows is the fault of the stage itself: ``component``.

Reasons are words as the place says them (``OOMKilled``, ``ImagePullBackOff``), or our own with
hyphens (``disk-full``, ``http-429``). :func:`same_reason` compares them without case and punctuation.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, NamedTuple, Sequence, Tuple, Union

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error


class Classification(NamedTuple):
    """What a failure is."""

    category: str
    reason: str
    action: str  # of a retry by default: fail, retry, default


#: A rule of another package: takes the error; gives a category, a whole classification, or None to pass.
Rule = Callable[["Error"], Union[str, Classification, None]]

#: Category -> what a retry does when the document says nothing. All but ``fail`` count against ``max``.
ACTIONS: Dict[str, str] = {
    "configuration": "fail",
    "resource": "default",
    "network": "retry",
    "system": "retry",
    "timeout": "default",
    "component": "default",
    "cancelled": "fail",
}

CATEGORIES: Tuple[str, ...] = tuple(ACTIONS)

#: Failures that no further try can heal, whatever the document says, by the name of their type.
FINAL = frozenset({"AirflowFailException", "StageConfigError"})

#: What is told of a worker that disappeared with its task.
WORKER_LOST = "worker-lost"


def _words(text: str) -> Tuple[str, ...]:
    return tuple(text.split())


def normal(reason: str) -> str:
    """A reason without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", reason.lower())


def same_reason(one: str, other: str) -> bool:
    """Whether two reasons are one word: ``OOMKilled`` is ``oom-killed``."""
    return normal(one) == normal(other)


#: Reasons: of Kubernetes' pods, containers and jobs, of AWS Batch, of ours.
_REASONS: Dict[str, str] = {
    normal(word): category
    for category, words in {
        "configuration": _words(
            "ErrImagePull ImagePullBackOff ErrImageNeverPull InvalidImageName ImageInspectError "
            "CreateContainerConfigError CreateContainerError RunContainerError ContainerCannotRun StartError "
            "CannotPullContainerError CannotStartContainerError CannotCreateContainerError "
            "ResourceInitializationError command-not-found not-executable"
        ),
        "resource": _words(
            "OOMKilled OutOfMemoryError out-of-memory Evicted OutOfcpu OutOfmemory OutOfpods "
            "OutOfephemeral-storage Unschedulable DiskPressure MemoryPressure PIDPressure "
            "QuotaExceeded disk-full too-many-files cpu-limit file-size-limit"
        ),
        "network": _words("RegistryUnavailable connection-failed NetworkNotReady"),
        "system": _words(
            f"NodeLost NodeShutdown Shutdown Terminated Preempting Preempted PreemptionByScheduler "
            f"DeletionByTaintManager DeletionByPodGC DisruptionTarget ContainerStatusUnknown "
            f"UnexpectedAdmissionError pod-deleted killed terminated {WORKER_LOST}"
        ),
        "timeout": _words("DeadlineExceeded timed-out"),
        "cancelled": _words("cancelled"),
    }.items()
    for word in words
}

#: HTTP statuses that say the request itself is wrong, and those that may pass.
_HTTP_CONFIGURATION = frozenset({400, 401, 403, 404, 405, 410, 422})
_HTTP_NETWORK = frozenset({408, 425, 429})

#: Types of errors: a name alone is ours or Airflow's, a dotted one any class of that name, bases included.
_TYPES: Dict[str, Tuple[str, str]] = {
    name: (category, reason)
    for category, reason, names in (
        ("cancelled", "cancelled", "Cancelled AirflowTaskTerminated"),
        (
            "timeout",
            "timed-out",
            "TimedOut AirflowTaskTimeout TaskDeferralTimeout AirflowSensorTimeout subprocess.TimeoutExpired",
        ),
        ("resource", "out-of-memory", "builtins.MemoryError"),
        (
            "configuration",
            "invalid-document",
            "InvalidValue InvalidEnv InvalidArgument UnknownKind DuplicateId DuplicateFunction "
            "FunctionNotFound ModuleNotFound SyntaxError ExpressionError ExpressionSyntaxError NoMatch "
            "TriggerUnavailable InvalidDeps UnresolvedDeps StageConfigError NotStored "
            "NotStorable",
        ),
        ("configuration", "resources-unavailable", "ResourcesUnavailable"),
        (
            "configuration",
            "not-found",
            "FolderNotFound ShellNotFound UvNotFound PythonNotFound AirflowNotFoundException",
        ),
        ("network", "connection-failed", "DepsNotFetched"),
        (
            "configuration",
            "invalid-template",
            "jinja2.exceptions.UndefinedError jinja2.exceptions.TemplateSyntaxError",
        ),
        ("configuration", "invalid-params", "ParamValidationError"),
        ("configuration", "certificate", "ssl.SSLCertVerificationError"),
        (
            "network",
            "connection-failed",
            "builtins.ConnectionError socket.gaierror socket.herror ssl.SSLError urllib.error.URLError "
            "http.client.IncompleteRead http.client.BadStatusLine "
            "requests.exceptions.ConnectionError requests.exceptions.ChunkedEncodingError "
            "urllib3.exceptions.MaxRetryError urllib3.exceptions.NewConnectionError "
            "urllib3.exceptions.ProtocolError httpx.TransportError "
            "aiohttp.client_exceptions.ClientConnectionError aiohttp.client_exceptions.ClientPayloadError "
            "botocore.exceptions.ConnectionError botocore.exceptions.HTTPClientError "
            "azure.core.exceptions.ServiceRequestError azure.core.exceptions.ServiceResponseError "
            "google.api_core.exceptions.RetryError smtplib.SMTPServerDisconnected ftplib.error_temp",
        ),
        (
            "network",
            "connection-timed-out",
            "builtins.TimeoutError socket.timeout asyncio.exceptions.TimeoutError "
            "requests.exceptions.Timeout urllib3.exceptions.TimeoutError httpx.TimeoutException "
            "aiohttp.client_exceptions.ServerTimeoutError",
        ),
    )
    for name in names.split()
}

#: Signals, with which a process ended -> category and reason.
_SIGNALS: Dict[int, Tuple[str, str]] = {
    1: ("system", "hung-up"),
    2: ("system", "interrupted"),
    9: ("system", "killed"),
    15: ("system", "terminated"),
    24: ("resource", "cpu-limit"),
    25: ("resource", "file-size-limit"),
}

#: Exit codes with a meaning: of a shell, of Google Cloud Batch (50001 and more).
_EXITS: Dict[int, Tuple[str, str]] = {
    126: ("configuration", "not-executable"),
    127: ("configuration", "command-not-found"),
    50001: ("system", "Preempted"),
    50002: ("system", "vm-lost"),
    50003: ("system", "vm-rebooted"),
    50004: ("system", "vm-lost"),
    50005: ("timeout", "timed-out"),
    50006: ("system", "vm-recreated"),
}

#: Texts of places that give no reason of their own, and of programs that ran into a limit.
_TEXTS: Tuple[Tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), category, reason)
    for pattern, category, reason in (
        (r"OutOfMemoryError: Container killed|memory limit exceeded", "resource", "OOMKilled"),
        (r"exceeded quota|quota exceeded", "resource", "QuotaExceeded"),
        (r"No space left on device|Disk quota exceeded", "resource", "disk-full"),
        (
            r"Host EC2 .*terminated|Spot (VM|instance).*(preempt|reclaim|interrupt)",
            "system",
            "host-terminated",
        ),
        (r"attempt duration exceeded timeout", "timeout", "timed-out"),
        (r"CannotPullContainerError|pull access denied|manifest unknown", "configuration", "ErrImagePull"),
        (r"Cannot connect to the Docker daemon", "network", "daemon-unreachable"),
    )
)

#: What programs say when they get no memory; only an end by a failure makes it count.
_OUT_OF_MEMORY = re.compile(
    r"\bMemoryError\b|Cannot allocate memory|std::bad_alloc|memory exhausted|out of memory"
    r"|cannot allocate \d+ bytes|java\.lang\.OutOfMemoryError",
    re.IGNORECASE,
)

#: errno -> reason, for an :class:`OSError` (see :func:`reason_of_errno`).
_ERRNO: Dict[int, str] = {
    getattr(errno, name): reason
    for names, reason in (
        ("ENOSPC EDQUOT", "disk-full"),
        ("ENOMEM", "out-of-memory"),
        ("EMFILE ENFILE", "too-many-files"),
        ("EFBIG", "file-size-limit"),
        ("EHOSTUNREACH ENETUNREACH ENETDOWN EHOSTDOWN ENETRESET", "connection-failed"),
    )
    for name in names.split()
    if hasattr(errno, name)
}

#: Errors of these types end with a process.
_ENDED = frozenset({"ExitCode", "Signal"})


def reason_of_errno(number: object) -> str | None:
    """What an ``OSError.errno`` means here, None where it means nothing special."""
    return _ERRNO.get(number) if isinstance(number, int) else None


def classify(error: Error, rules: Iterable[Rule] = ()) -> Classification:
    """Tell what sort of failure an error is.

    :param error: as the engine or a backend gives it; what it has of ``category`` and ``reason`` is kept
    :param rules: asked first, in order. One that raises, or names no category, is passed over.
    :return: classifying the error again with that category and reason gives the same
    """
    said = str(error.get("reason") or "")
    for rule in rules:
        ruled = _ruled(rule, error)
        if ruled is not None:
            return ruled
    category, reason = _found(error)
    made = _made(str(error.get("category") if error.get("category") in ACTIONS else category), said or reason)
    return made._replace(action="fail") if error["type"] in FINAL else made


def classified(error: Error, rules: Iterable[Rule] = ()) -> Error:
    """The error with its ``category`` and ``reason``."""
    found = classify(error, rules)
    return {**error, "category": found.category, "reason": found.reason}


def _made(category: str, reason: str) -> Classification:
    return Classification(category, reason, ACTIONS[category])


def _ruled(rule: Rule, error: Error) -> Classification | None:
    try:
        answer = rule(error)
    except Exception:
        import logging

        logging.getLogger(__name__).warning("A rule that classifies failures failed itself", exc_info=True)
        return None
    if isinstance(answer, str):
        return _made(answer, str(error.get("reason") or _found(error)[1])) if answer in ACTIONS else None
    if isinstance(answer, tuple) and len(answer) == 3 and answer[0] in ACTIONS:
        return Classification(*answer)
    return None


def _found(error: Error) -> Tuple[str, str]:
    """Category and reason by our own tables."""
    for table in (_by_type_alone, _by_memory, _by_reason, _by_http, _by_class, _by_exit, _by_text):
        found = table(error)
        if found is not None:
            return found
    return "component", _reason_of_component(error)


def _by_type_alone(error: Error) -> Tuple[str, str] | None:
    """A cancelled or timed-out stage is that, whatever else is known of its end."""
    found = _TYPES.get(error["type"])
    return found if found is not None and found[0] in ("cancelled", "timeout") else None


def _by_memory(error: Error) -> Tuple[str, str] | None:
    if error.get("oom"):
        return "resource", "OOMKilled"
    if error["type"] in _ENDED and _OUT_OF_MEMORY.search(error.get("stderr") or ""):
        return "resource", "out-of-memory"
    return None


def _by_reason(error: Error) -> Tuple[str, str] | None:
    reason = error.get("reason")
    category = _REASONS.get(normal(reason)) if reason else None
    return None if category is None or reason is None else (category, reason)


def _by_http(error: Error) -> Tuple[str, str] | None:
    status = error.get("http_status")
    if status is None:
        return None
    reason = f"http-{status}"
    if status in _HTTP_CONFIGURATION:
        return "configuration", reason
    if status in _HTTP_NETWORK or status >= 500:
        return "network", reason
    return "component", reason


def _by_class(error: Error) -> Tuple[str, str] | None:
    classes: Sequence[str] = error.get("classes", ())
    for name in classes:  # The class itself before its bases.
        found = _TYPES.get(name) or _airflows(name)
        if found is not None:
            return found
    return None if classes else _TYPES.get(error["type"])


def _airflows(dotted: str) -> Tuple[str, str] | None:
    """Classes of Airflow and of ours by their names: their modules move."""
    root, _, _ = dotted.partition(".")
    return _TYPES.get(dotted.rpartition(".")[2]) if root in ("airflow", "airflow_stagecoach") else None


def _by_exit(error: Error) -> Tuple[str, str] | None:
    code: Any = error.get("exit_code")
    if code is None or error["type"] not in _ENDED:
        return None
    number = -code if code < 0 else code - 128 if 128 < code < 160 else None
    if number is not None:
        return _SIGNALS.get(number)
    return _EXITS.get(code)


def _by_text(error: Error) -> Tuple[str, str] | None:
    text = f"{error['message']}\n{error.get('stderr') or ''}"
    for pattern, category, reason in _TEXTS:
        if pattern.search(text):
            return category, reason
    return None


def _reason_of_component(error: Error) -> str:
    code = error.get("exit_code")
    if error["type"] == "Signal":
        return error.get("signal") or "signal"
    return f"exit-{code}" if code is not None else error["type"]
