"""The shapes that go into a runner and come out of it. All of it is JSON-able.

The stage spec itself is described in docs/architecture.md ("The stage spec").
"""

from __future__ import annotations

from typing import Any, Dict, List, TypedDict

#: A stage in the shape of docs/architecture.md.
StageSpec = Dict[str, Any]


class Modules(TypedDict, total=False):
    """Where ``uses:`` looks for modules, after the folder of the document."""

    paths: List[str]  # folders, e.g. the dags folder
    packages: List[str]  # dotted names of importable packages


class Identity(TypedDict):
    """Which task a unit belongs to, as Airflow names it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int  # -1 without a matrix
    try_number: int  # from 1


class Leg(TypedDict):
    """What the tasks of a leg share, where the leg has several tasks."""

    key: str
    keep: bool  # the job says `cleanup: never`


class ContainerNeeded(TypedDict):
    """What a container of an ``image:`` stage has, all values evaluated. The engine is not in it."""

    image: str
    env: Dict[str, str]
    folder: str  # where it starts, absolute


class Container(ContainerNeeded, total=False):
    """The same with what stands in place of the image's own."""

    entrypoint: List[str]  # the program
    command: List[str]  # its arguments


class UnitNeeded(TypedDict):
    """What every unit has."""

    stages: List[StageSpec]


class Unit(UnitNeeded, total=False):
    """Work for one runner: a stage, or all stages of a leg."""

    env: List[Dict[str, Any]]  # layers, evaluated in order, below each stage's own env
    contexts: Dict[str, Any]
    status: Dict[str, bool]  # success, failure, cancelled: of the stages before this unit
    attempt: int  # try number, from 1
    document_dir: str | None  # WORKFLOW_DIR, and where `uses:` looks first
    workdir: str | None  # made when missing; None: a new folder that is removed at the end
    modules: Modules
    identity: Identity  # where the unit runs elsewhere: what it is found by
    leg: Leg
    container: Container  # of an `image:` stage: what its place is to run
    files: str  # of one beside a worker: the leg's scratch folder there, copied into it and back
    extras: Dict[str, Any]  # handed to called functions that have a parameter `extras`
    log_level: str  # of the stages' own loggers, where a stage says nothing else
    services: List[Any]  # evaluated, for the place: containers that it starts beside this one
    resources: Dict[str, Any]  # what the place where the unit runs shall give, where that is no worker
    enforce_resources: bool  # `resources` of stages hold by processes of their own; else the place has them
    enforce_timeouts: bool  # default: true for several stages. False: the caller ends the unit in time
    enforce_retries: bool  # default: true for several stages. Nested stages always retry inside


class ErrorNeeded(TypedDict):
    """Why a stage failed or was skipped."""

    type: str  # class name of an exception, or a word of ours such as ExitCode, Signal, TimedOut
    message: str


class Error(ErrorNeeded, total=False):
    """The same with what only some failures have."""

    category: str  # see classification.py; in every error that leaves the engine, as is the reason
    reason: str  # a word: of the place where it ran (OOMKilled), or ours (disk-full)
    http_status: int
    retry_after: float  # seconds from then, as the other side asked for
    oom: bool  # it is known that memory ran out
    began: bool  # false: the place refused, or was not ready, before any stage ran
    exit_code: int  # of a process, or of sys.exit(); negative: minus the signal's number
    signal: str  # e.g. SIGKILL
    stderr: str  # the last 4 KiB
    classes: List[str]  # dotted names of the exception's class and its bases, for `retry: {on, never}`
    line: int  # in the Python code of the stage, from 1


class StageResultNeeded(TypedDict):
    """How one stage ended."""

    state: str  # success failed skipped upstream_failed
    outcome: str  # success failure skipped cancelled; differs from the state with continue-on-error
    outputs: Dict[str, Any]
    error: Error | None
    start: str  # ISO 8601, UTC
    end: str


class StageResult(StageResultNeeded, total=False):
    """The same with what only some stages have."""

    omitted: Dict[str, str]  # outputs that could not be stored -> why
    tries: int  # only when it was tried again inside
    # Of all tries together, inner stages included; absent when the stage never started:
    cpu_seconds: float
    peak_memory: int  # bytes that its largest process held; 0 where it cannot be told
    memory_limit: int  # bytes that its last try could use at most; absent without `resources` for it
    metrics: Dict[str, float]  # what it counted: name -> sum; absent when it counted nothing


class Result(TypedDict):
    """How a unit ended."""

    state: str  # success failed skipped
    outcome: str  # success failure skipped cancelled
    stages: Dict[str, StageResult]  # by evaluated id, in order
    peak_memory: int  # bytes: the larger of this process and its largest child
