"""docs/reference.md, made from the models; :mod:`airflow_stagecoach.importer.reference` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.cron import INTERVALS, PRESETS
from airflow_stagecoach.document.defaults import Defaults
from airflow_stagecoach.document.group import Concurrency
from airflow_stagecoach.document.health import HEALTH_FLAGS, Health
from airflow_stagecoach.document.jobs import MAX_JOBS, Job
from airflow_stagecoach.document.json_schema import schema_of, settings_schema
from airflow_stagecoach.document.loader import MAX_LEGS
from airflow_stagecoach.document.logs import LogFile, Logging
from airflow_stagecoach.document.model import article
from airflow_stagecoach.document.nested_stages import Match
from airflow_stagecoach.document.notify import Notify, StageNotify, Target
from airflow_stagecoach.document.on_oom import OnOom
from airflow_stagecoach.document.param_model import Param
from airflow_stagecoach.document.params import DEFAULT_PRECISION
from airflow_stagecoach.document.resources import Limits, Resources
from airflow_stagecoach.document.retry import DEFAULT_DELAY, Retry, RetryRule
from airflow_stagecoach.document.retry_matches import CATEGORIES
from airflow_stagecoach.document.runs_on import BACKEND_ALIASES, BACKEND_TYPES, LOCAL_ONLY, RunsOn
from airflow_stagecoach.document.schema_words import schema_words
from airflow_stagecoach.document.scopes import JOB_FIELDS, RUN_FIELDS, STAGE_FIELDS, STRATEGY_FIELDS
from airflow_stagecoach.document.services import MAX_SERVICES, Credentials, Service
from airflow_stagecoach.document.simple_stages import Approval
from airflow_stagecoach.document.source import MAX_BYTES, MAX_DOCUMENTS
from airflow_stagecoach.document.stage import MAX_STAGES, Stage
from airflow_stagecoach.document.stages import NOT_NESTED, STAGE_MODELS
from airflow_stagecoach.document.strategy import Strategy
from airflow_stagecoach.document.workflow import Workflow
from airflow_stagecoach.document.yaml_values import MAX_DEPTH, MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_stagecoach.document.model import Model


def reference(backends: Mapping[str, Mapping[str, Any]]) -> str:
    """The reference of every key, as markdown.

    :param backends: type -> JSON Schema of its settings, as pydantic gives it
    """
    parts = [_INTRO, _table(Workflow, "Workflow"), _schedules(), _table(Param, "Params"), _PARAMS]
    parts += [
        _table(Concurrency, "Concurrency"),
        _CONCURRENCY,
        _table(Defaults, "Defaults"),
        _DEFAULTS,
        _table(Job, "Job"),
        _JOBS,
        _table(Strategy, "Strategy"),
        _STRATEGY,
    ]
    parts += [_table(RunsOn, "runs-on"), _runs_on(backends)]
    parts += [_settings(type_, schema) for type_, schema in backends.items()]
    parts += [_table(Service, "services"), _table(Health, "health", level=3)]
    parts += [_table(Credentials, "credentials", level=3), _services()]
    parts += [_table(Retry, "retry"), _RETRY]
    parts += [_table(RetryRule, "A rule of a retry", level=3), _matches()]
    parts += [_table(OnOom, "on-oom", level=3), _ON_OOM]
    parts += [_table(Resources, "resources"), _table(Limits, "limits", level=3), _RESOURCES]
    parts += [_table(Logging, "logging"), _table(LogFile, "file as a map", level=3), _LOGGING]
    parts += [_table(Notify, "notify"), _stage_notify(), _table(Target, "A target", level=3), _NOTIFY]
    parts += [_table(Stage, "Stages"), _STAGES]
    common = set(Stage.keys())
    for model in STAGE_MODELS:
        title = f"{article(model.noun).capitalize()}"
        parts.append(_table(model, title, skip=common, level=3))
        if model.__name__ == "CaseStage":
            parts.append(_table(Match, "An entry of match", level=4))
        if model.__name__ == "ApprovalStage":
            parts.append(_table(Approval, "approval as a map", level=4))
    parts += [_contexts(), _limits()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(model: type[Model], title: str, *, skip: set[str] = frozenset(), level: int = 2) -> str:  # type: ignore[assignment] # only read
    """A heading, what the model is, and a table of its keys."""
    lines = [f"{'#' * level} {title}", "", " ".join((model.__doc__ or "").split("\n\n")[0].split()), ""]
    lines += ["| key | type | meaning |", "|---|---|---|"]
    schema = schema_of(model)
    for key, value in schema["properties"].items():
        if key in skip:
            continue
        need = "**required**; " if key in schema.get("required", ()) else ""
        lines.append(
            f"| `{key}` | {schema_words(value)} | {need}{value.get('description', '')} |".replace("\n", " ")
        )
    return "\n".join(lines)


def _code(words: Iterable[str]) -> str:
    """Words as code, a space between."""
    return " ".join(f"`{word}`" for word in words)


def _rows(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    """A table; the cells of ``head`` are parted by ``|``."""
    cells = [part.strip() for part in head.split("|")]
    lines = [f"| {' | '.join(cells)} |", f"|{'---|' * len(cells)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


_INTRO = """# Reference

Every key of a document. This page and `workflow.schema.json` are made from the same models that check
documents.

Keys are kebab-case; snake_case is the same key. An unknown key, a wrong type, a key written twice and a key
without a value are errors. Values are read as YAML 1.2: only `true` and `false` are booleans (`on`, `yes`,
`no` are text), dates stay text, keys are the text as written. Anchors, aliases and `<<` work; top-level keys
that begin with `x-` or `.` may hold anchors and are otherwise left alone.

A file holds one workflow with a `name`, a map of name to workflow, or several documents separated by `---`.
`type: Workflow` marks a document as ours; it may be left out where `jobs` and `stages` say so. A bad workflow
hides no other one of its file.

A first line for editors:

```yaml
# yaml-language-server: $schema=./workflow.schema.json
```

A **duration** is a number of seconds or a text such as `90s`, `10m`, `1h30m`, `2d` or `PT10M`.
"""


def _schedules() -> str:
    rows = [
        ("absent, `manual`", "by hand only"),
        ('`"0 3 * * *"`', "a cron: minute, hour, day of month, month, day of week; UTC"),
        (_code(f'"{name}"' for name in PRESETS), "presets"),
        ('`{cron: "0 3 * * *", timezone: Asia/Bangkok}`', "a cron in a time zone; also `cronjob` and `tz`"),
        ('`{interval: weekly, day: monday, time: "18:05"}`', _code(INTERVALS)),
        ("a list of these", "several times; all in one time zone"),
        ("`{schedule: [...]}`", "the same, an older spelling"),
        ("`{every: 15m}`", "a fixed distance"),
        ("`{at: 2026-01-31T12:00:00Z}`", "once, or at each of a list; UTC without an offset"),
        ("`{assets: [orders, customers]}`", "when all of these assets were updated"),
        (
            "`{assets: {any: [orders, {name: x, uri: s3://b/x}]}}`",
            "when one of them was; `all` and `any` nest",
        ),
        ('`{continuous: true}`, `"@continuous"`', "again as soon as the last run ended"),
    ]
    return f"""## on

{_rows("written | meaning", rows)}

Crons and assets may stand together, other kinds not. A weekly interval takes a weekday as `day`, `monthly`,
`quarterly` and `yearly` take a day of the month.
"""


_PARAMS = f"""`name: int` is short for `name: {{type: int}}`. A `params:` map is closed: an unknown
name is refused; without the key any name may be passed. The default is used when the value is
absent or null; a param with neither default nor `required` is null, an array `[]`, a map `{{}}`. A
required param without a default is an error in a workflow with a schedule.

Values from a command line, a params file or a trigger stage are converted from text first: `'1'` to
an int, `'true'` to a bool, ISO text to a date, JSON text to a map or an array. A datetime without
an offset is UTC. `float` and `decimal` are rounded to {DEFAULT_PRECISION} digits after the point
unless `precision` says so.
"""

_JOBS = f"""Ids of jobs and stages are letters, digits, `-` and `_`, beginning with a letter or `_`,
not with `__`. A job has at least one stage. A workflow has at most {MAX_JOBS} jobs, a list at most
{MAX_STAGES} stages.

`trigger-rule` takes Airflow's names. An `if` that calls a status function (`success()`,
`failure()`, `always()`, `cancelled()`) replaces the rule, so both cannot stand together.
"""


def _services() -> str:
    return f"""`services` maps ids to services, `db: postgres:17` is short for `db: {{image: postgres:17}}`.
An id is a host name: small letters, digits and `-`, beginning with a letter. A job has at most
{MAX_SERVICES}; with services one task runs all its stages. Expressions may stand in every value but
`options`, where they may stand in the values of flags; each leg evaluates them. A command that is a
text is parted into words as a shell does. `options` takes
{_code(HEALTH_FLAGS)}.
"""


_STRATEGY = f"""The legs are the product of the axes, the first axis slowest. `exclude` drops every
combination that has all pairs of an entry. Then `include` extends the combinations of which it
would not change an axis, or adds a combination where there is none. `include` and `exclude` may
stand in `matrix` or beside it. An axis is a list of any values, or an expression that gives a list;
an empty result means that the job is skipped. More legs than Airflow's `max_map_length` ({MAX_LEGS}
by default) are an error.
"""

_CONCURRENCY = """`concurrency: deploy` is short for `concurrency: {group: deploy}`. Runs of workflows that
name the same group, whichever they are, never do work at the same time.
"""

_DEFAULTS = """The innermost of stage, job and defaults counts. `logging` and `resources` are put together key
by key; the notifications of a job and of its stages are sent both; slots are counted in the pool that they
were written for. A job's own `timeout` is of all its stages together and does not replace that of a stage.
"""

_RETRY = f"""`retry: 3` is short for `retry: {{max: 3}}`. The default delay is {DEFAULT_DELAY}
seconds. `rules` are looked at first, then `never`, then `on`. A policy is asked by Airflow, so only stages
that are tasks of their own have one.
"""


_ON_OOM = """Running out of memory is the category `resource`, reason `OOMKilled` or `out-of-memory`. The
stage needs `resources: {memory}`, and a place that limits it by that. With `granularity: job` each stage
needs a limit of its own, which it has on a worker and on a self-hosted runner. `on` need not name it.
"""


def _matches() -> str:
    rows = [
        ("`ValueError`, `requests.ConnectionError`", "an exception, or one derived from it"),
        (_code(CATEGORIES), "a category of failures"),
        ("`75`, `exit:75`, `exit:100-110`", "the exit code of a process"),
        ("`http:429`, `http:500-599`", "the status of an HTTP answer"),
        ("`reason:Evicted`", "the reason that a record gives"),
        ("`message:/no space/`, `message:/no space/i`", "a regular expression that the message holds"),
    ]
    return f"""`on`, `never` and `match` take one of these or a list of them:

{_rows("written | failure", rows)}
"""


_RESOURCES = """Only stages that run something of yours have resources: bash, Python, call, image and nested
ones. A request above its limit is an error, also where the two stand at different levels. `gpu` on a backend
that has none is an error unless `enforce: best-effort` says so.
"""

_LOGGING = """`logging` may stand on the workflow or in its defaults, on a job and on a stage. `file: false`
takes away what an outer level asked for.
"""

_NOTIFY = """A target is a URL, `{webhook: URL}`, `{conn: ID}` or `{notifier: CLASS}`; expressions in it are
evaluated when the notification is sent, so `secrets` and `conn` may be used. `matrix`, `needs` and the
like are known to the notifications of jobs and stages, not to those of the workflow.
"""

_STAGES = f"""A stage is of one kind, told by the key that only this kind has. Without an `id` it has
its name as an id (`Load table` is `load-table`), else `stage-1` and so on; two equal ids in a list are
an error. Inside another stage (parallel, foreach, until, case) stand all kinds but
{", ".join(NOT_NESTED[:-1])} and {NOT_NESTED[-1]}.
"""


def _settings(type_: str, schema: Mapping[str, Any]) -> str:
    """A heading and a table of what may stand under ``with``."""
    clean = settings_schema(schema)
    rows = []
    for name, value in clean["properties"].items():
        need = "**required**; " if name in clean.get("required", ()) else ""
        text = schema_words(value, schema.get("$defs", {}))
        default = f"; `{_yaml(value['default'])}` if absent" if value.get("default") else ""
        rows.append((f"`{name}`", text, f"{need}{value.get('description', '')}{default}".strip("; ")))
    return f"""### with of {type_}

Expressions may stand in every value. An unknown key is an error.

{_rows("key | type | meaning", rows)}
"""


def _yaml(value: Any) -> str:
    """A default as a document spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _runs_on(backends: Mapping[str, Any]) -> str:
    aliases = {
        name: [alias for alias, other in BACKEND_ALIASES.items() if other == name] for name in BACKEND_TYPES
    }
    rows = [
        (f"`{name}`", _code(aliases[name]), "yes" if name in (*LOCAL_ONLY, *backends) else "no")
        for name in BACKEND_TYPES
    ]
    return f"""`runs-on: local` is short for `runs-on: {{type: local}}`; `-` and `_` are the same.

{_rows("type | aliases | in this version", rows)}
"""


def _stage_notify() -> str:
    """The keys that a stage's or job's ``notify`` has of the same."""
    return f"That of a job or a stage has {_code(StageNotify.keys())}, of each stage."


def _contexts() -> str:
    rows = [
        ("`params`", "everywhere", "the declared names"),
        (
            "`env`",
            "everywhere",
            "the worker's environment, then the workflow's, the job's, the stage's; "
            "in stages `env.WORKFLOW_DIR` is the folder of the document",
        ),
        ("`vars`", "everywhere", "Airflow variables"),
        (
            "`secrets`",
            "where nothing is stored: `env`, scripts, `with`, `notify`",
            "Airflow variables, kept secret",
        ),
        ("`conn`", "everywhere, a password as `secrets`", "`conn.ID.host` and so on"),
        ("`run`", "everywhere", _code(RUN_FIELDS)),
        ("`needs`", "in a job", f"its direct needs: {_code(JOB_FIELDS)}"),
        ("`jobs`", "in a job", "all jobs that ended before it, with the same fields"),
        ("`matrix`", "in a leg: stages, `env`, `outputs`", "the axes"),
        ("`strategy`", "in a leg", _code(STRATEGY_FIELDS)),
        ("`stages`", "in stages and job outputs", f"earlier stages: {_code(STAGE_FIELDS)}"),
        (
            "`item` `loop`",
            "inside foreach and until",
            "the item; the count, from 0 in foreach, from 1 in until",
        ),
        ("`branch`", "inside parallel", "the name of the branch"),
        ("`case`", "inside case", "the case that matched"),
        ("`outputs`", "in the `outputs` of a stage", "its raw outputs"),
    ]
    return f"""## Contexts

What expressions may name, and where.

{_rows("context | where | holds", rows)}
"""


def _limits() -> str:
    return f"""## Limits

A file has at most {MAX_BYTES // 1024} KiB, {MAX_DOCUMENTS} documents and {MAX_NODES} values (aliases written
out), nested at most {MAX_DEPTH} levels; whole numbers have 64 bits.
"""
