"""The keys of run control: what is refused, with what its author reads."""

# Documents and messages stay on one line:

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]

NO_HINT = ""


def one(problems: Find, text: str) -> Diagnostic:
    found = problems(text)
    assert len(found) == 1, "\n\n".join(diagnostic.render() for diagnostic in found)
    return found[0]


def same(found: Diagnostic, code: str, message: str, hint: str | None) -> None:
    assert (found.code, found.message) == (code, message)
    if hint is not None:
        assert (found.hint or NO_HINT) == hint


#: A key of the workflow -> code, message, hint, what the caret stands below.
WORKFLOW = [
    ("max-active-tasks: 0", "out-of-range", "expected a whole number from 1 to 10000, found 0", None, "0"),
    ("max-tasks: 3", "unknown-key", "unknown key 'max-tasks' in a workflow", "write max-active-tasks", "max-tasks"),
    ("deadline: 0", "out-of-range", "a timeout must be longer than zero", None, "0"),
    ("deadline: none", "bad-duration", "expected a duration such as 10m, found 'none'", "remove it for no timeout", "none"),
    ("timeout: none", "bad-duration", "expected a duration such as 10m, found 'none'", "remove it for no timeout", "none"),
    ("sla: 1h", "unknown-key", "unknown key 'sla' in a workflow", "write deadline", "sla"),
    ("pool: x", "unknown-key", "unknown key 'pool' in a workflow", "write it below defaults", "pool"),
    ("resources: {}", "unknown-key", "unknown key 'resources' in a workflow", "write it below defaults", "resources"),
    ("on_failure_callback: x", "unknown-key", "unknown key 'on_failure_callback' in a workflow", "write notify: {failure: ...}", "on_failure_callback"),
    # concurrency
    ("concurrency: 5", "wrong-type", "expected the name of a group or a map, found the number 5", "write max-active-tasks: 5 for tasks at a time, max-active-runs: 5 for runs", "5"),
    ("concurrency: ''", "empty-value", "expected text, found an empty one", None, "''"),
    ("concurrency: {on-conflict: queue}", "missing-key", "concurrency needs 'group'", "write group: NAME", "concurrency"),
    ("concurrency: {group: a, cancel-in-progress: true}", "unknown-key", "unknown key 'cancel-in-progress' in concurrency", "write on-conflict: cancel-running", "cancel-in-progress"),
    ("concurrency: {group: a, cancel-in-progress: false}", "unknown-key", "unknown key 'cancel-in-progress' in concurrency", "write on-conflict: queue", "cancel-in-progress"),
    ("concurrency: {group: a, on-conflict: cancel}", "bad-word", "expected queue, reject, skip or cancel-running, found 'cancel'", "write cancel-running", "cancel"),
    ("concurrency: {group: a, on-conflict: quee}", "bad-word", "expected queue, reject, skip or cancel-running, found 'quee'", "did you mean 'queue'?", "quee"),
    ("concurrency: {group: a, on-conflict: true}", "wrong-type", "expected text, found true", None, "true"),
    ("concurrency: 'a-${{ matrix.x }}'", "bad-expression", "'matrix' is not available here: the name of a group may hold expressions over params, run and vars", None, "matrix"),
    ("concurrency: {group: '${{ secrets.x }}'}", "bad-expression", "'secrets' is not available here: a secret would be stored in the name of a group, use it in `env`", None, "secrets"),
    ("concurrency: {group: '${{ env.x }}'}", "bad-expression", "'env' is not available here: the name of a group may hold expressions over params, run and vars", None, "env"),
    ("concurrency: '${{ run.try_number }}'", "bad-expression", "field of run 'try_number' is not available here: a run has none", None, ".try_number"),
    # notify
    ("notify: https://example.com", "wrong-type", "expected notify (a map with keys such as 'success', 'failure', 'retry' or 'skip'), found 'https://example.com'", None, "https://example.com"),
    ("notify: {on-failure: https://x.y}", "unknown-key", "unknown key 'on-failure' in notify", "write failure", "on-failure"),
    ("notify: {failure: []}", "empty-value", "expected at least one target", None, "failure"),
    ("notify: {failure: 5}", "wrong-type", "expected a URL, a target or a list of them, found the number 5", None, "5"),
    ("notify: {failure: pager}", "bad-url", "expected the URL of a webhook, found 'pager'", "write {conn: pager} for an Airflow connection", "pager"),
    ("notify: {failure: ops@example.com}", "bad-url", "expected the URL of a webhook, found 'ops@example.com'", "write {notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, with: {to: ...}}", "ops@example.com"),
    ("notify: {failure: a.b.Notifier}", "bad-url", "expected the URL of a webhook, found 'a.b.Notifier'", "write {notifier: a.b.Notifier}", "a.b.Notifier"),
    ("notify: {failure: [https://x.y, ftp://x]}", "bad-url", "expected the URL of a webhook, found 'ftp://x'", "begin it with https://", "ftp://x"),
    ("notify: {failure: {secret: x}}", "missing-key", "a target needs 'webhook', 'conn' or 'notifier'", "for instance {webhook: https://...}", "failure"),
    ("notify: {failure: {webhook: https://x.y, notifier: a.B}}", "bad-combination", "a target has 'webhook' or 'notifier'", "make two targets of it", "notifier"),
    ("notify: {failure: {notifier: a.B, secret: x}}", "bad-combination", "'secret' belongs to a webhook", "remove 'secret', arguments of a notifier stand in `with`", "secret"),
    ("notify: {failure: {webhook: https://x.y, with: {a: 1}}}", "bad-combination", "'with' holds the arguments of a notifier", "write headers for a webhook", "with"),
    ("notify: {failure: {notifier: Slack}}", "bad-notifier", "expected the dotted path of a notifier class, found 'Slack'", None, "Slack"),
    ("notify: {failure: {conn: '${{ params.x }}'}}", "bad-name", "expected the id of an Airflow connection, found '${{ params.x }}'", "for a connection that only the run knows write webhook: and secret:", "'${{ params.x }}'"),
    ("notify: {failure: {url: https://x.y}}", "unknown-key", "unknown key 'url' in a target", "write webhook", "url"),
    ("notify: {failure: {webhook: https://x.y, headers: {'a b': 1}}}", "bad-name", "'a b' is no name for a header", None, "'a b'"),
    ("notify: {failure: {webhook: https://x.y, headers: {Content-Type: x}}}", "bad-value", "the header 'Content-Type' is set by the sender", "remove 'Content-Type'", "Content-Type"),
    ("notify: {failure: {webhook: https://x.y, headers: {A: [1]}}}", "wrong-type", "a header is text, found a list", None, "A"),
    ("notify: {failure: {webhook: https://x.y, headers: [A]}}", "wrong-type", "expected a map of names and values, found a list", None, "headers"),
    ("notify: {deadline: https://x.y}", "missing-key", "there is no deadline to tell about", "write deadline: 30m on the workflow", "deadline"),
    ("notify: {failure: 'https://x.y/${{ matrix.a }}'}", "bad-expression", "'matrix' is not available here: a notification of the workflow knows no job", None, "matrix"),
    ("notify: {failure: {webhook: 'https://x.y/${{ run.ds }}'}}", "bad-expression", "field of run 'ds' is not available here: a notification of the workflow has run.id and run.dag_id", None, ".ds"),
    ("notify: {failure: [{notifier: a.B, with: {text: '${{ nix.a }}'}}]}", "bad-expression", "unknown name 'nix'", None, "nix"),
    # logging
    ("logging: debug", "wrong-type", "expected logging (a map with keys such as 'level', 'format' or 'file'), found 'debug'", None, "debug"),
    ("logging: {level: warn}", "bad-word", "expected debug, info, warning, error or critical, found 'warn'", "did you mean 'warning'?", "warn"),
    ("logging: {level: 10}", "wrong-type", "expected text, found the number 10", None, "10"),
    ("logging: {format: xml}", "bad-word", "expected text or json, found 'xml'", None, "xml"),
    ("logging: {file: /logs}", "wrong-type", "expected true, false or a map, found '/logs'", "write {path: /logs}", "/logs"),
    ("logging: {file: {path: logs}}", "bad-path", "expected the full path of a folder, found 'logs'", "begin it with /", "logs"),
    ("logging: {file: {path: '/${{ run.id }}'}}", "wrong-type", "the folder of a log must be known when the document is loaded, found an expression", "each try has a file of its own below it", "'/${{ run.id }}'"),
    ("logging: {file: {backups: 3}}", "bad-combination", "'backups' needs 'max-bytes'", "write max-bytes: 10M", "backups"),
    ("logging: {file: {max-bytes: 10}}", "bad-quantity", "expected at least 1024 bytes, found the number 10", "write 10Mi", "10"),
    ("logging: {file: {max-bytes: 10x}}", "bad-quantity", "expected an amount such as 512Mi, 1G or a number of bytes, found '10x'", None, "10x"),
    # defaults
    ("defaults: {notify: {}}", "unknown-key", "unknown key 'notify' in defaults", "write notify: on the workflow itself, or on a job", "notify"),
    ("defaults: {priority-weight: 3}", "unknown-key", "unknown key 'priority-weight' in defaults", "write priority", "priority-weight"),
    ("defaults: {cleanup: sometimes}", "bad-word", "expected on-success, always or never, found 'sometimes'", None, "sometimes"),
    ("defaults: {pool: '${{ params.x }}'}", "wrong-type", "a pool must be known when the document is loaded, found an expression", None, "'${{ params.x }}'"),
    ("defaults: {pool-slots: 0}", "out-of-range", "expected a whole number from 1 to 10000, found 0", None, "0"),
    ("defaults: {priority: high}", "wrong-type", "expected a whole number from -2147483647 to 2147483647, found 'high'", None, "high"),
    ("defaults: {timeout: never}", "bad-duration", "expected a duration such as 10m, or none", "write timeout: none", "never"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message", "hint", "below"), WORKFLOW)
def test_workflow(problems: Find, line: str, code: str, message: str, hint: str | None, below: str) -> None:
    found = one(problems, f"name: w\njobs: {{}}\n{line}\n")
    same(found, code, message, hint)
    assert found.line == 3
    assert line[found.column - 1 : found.end_column - 1] == below


def test_logging_in_two_places(problems: Find) -> None:
    found = one(problems, "name: w\nlogging: {level: info}\ndefaults: {logging: {level: info}}\njobs: {}\n")
    assert (found.message, found.line) == ("'logging' stands in defaults and on the workflow", 3)


#: A key of a job or stage -> code, message, hint. In both, the caret stands below the last cell.
BOTH = [
    ("priority_weight: 3", "unknown-key", "unknown key 'priority_weight' in {noun}", "write priority", "priority_weight"),
    ("on-retry-callback: x", "unknown-key", "unknown key 'on-retry-callback' in {noun}", "write notify: {{retry: ...}}", "on-retry-callback"),
    ("memory: 1Gi", "unknown-key", "unknown key 'memory' in {noun}", "write resources: {{memory: ...}}", "memory"),
    ("deadline: 5m", "unknown-key", "unknown key 'deadline' in {noun}", None, "deadline"),
    ("timeout: off", "bad-duration", "expected a duration such as 10m, or none", "write timeout: none", "off"),
    ("pool: ''", "empty-value", "expected text, found an empty one", None, "''"),
    ("pool: 5", "wrong-type", "expected text, found the number 5", None, "5"),
    ("pool-slots: '2'", "wrong-type", "expected a whole number from 1 to 10000, found '2'", "write 2, without quotes", "'2'"),
    ("resources: 1", "wrong-type", "expected resources (a map with keys such as 'cpu', 'memory', 'ephemeral-storage' or 'gpu'), found the number 1", None, "1"),
    ("resources: {{cpu: 0}}", "bad-quantity", "expected between 0.001 and 4096 cores, found the number 0", None, "0"),
    ("resources: {{cpu: 2Gi}}", "bad-quantity", "expected a number of cores such as 0.5 or \"500m\", found '2Gi'", "write 2", "2Gi"),
    ("resources: {{memory: 512}}", "bad-quantity", "expected at least 1Mi, found the number 512", "write 512Mi", "512"),
    ("resources: {{memory: 512m}}", "bad-quantity", "expected an amount such as 512Mi, 1G or a number of bytes, found '512m'", "write 512Mi", "512m"),
    ("resources: {{memory: '${{{{ matrix.m }}}}'}}", "wrong-type", "an amount must be known when the document is loaded, found an expression", None, "'${{{{ matrix.m }}}}'"),
    ("resources: {{gpu: 0.5}}", "wrong-type", "expected a whole number from 0 to 1024, found the number 0.5", None, "0.5"),
    ("resources: {{gpu: 1}}", "bad-combination", "the local backend cannot give GPUs", "run the job on a backend that has them, or write enforce: best-effort beside it", "gpu"),
    ("resources: {{ephemeral-storage: 1Gi}}", "bad-combination", "the local backend cannot limit what a stage writes to the disk", "run the job on a backend that can, or write enforce: best-effort beside it", "ephemeral-storage"),
    ("resources: {{limits: {{ephemeral_storage: 1Gi}}}}", "bad-combination", "the local backend cannot limit what a stage writes to the disk", None, "ephemeral_storage"),
    ("resources: {{memory: 2Gi, limits: {{memory: 1Gi}}}}", "out-of-range", "memory 2Gi is above its limit of 1Gi", "raise limits: {{memory: ...}}, or lower memory", "2Gi"),
    ("resources: {{cpu: 1.5, limits: {{cpu: 500m}}}}", "out-of-range", "cpu 1.5 is above its limit of 0.5", None, "1.5"),
    ("resources: {{ephemeral-storage: 5M, limits: {{ephemeral-storage: 3000000}}}}", "out-of-range", "ephemeral-storage 5M is above its limit of 3M", None, "5M"),
    ("resources: {{requests: {{cpu: 1}}}}", "unknown-key", "unknown key 'requests' in resources", "write cpu and memory here, without requests", "requests"),
    ("resources: {{limits: {{gpu: 1}}}}", "unknown-key", "unknown key 'gpu' in limits", "a GPU is not shared: write gpu beside limits", "gpu"),
    ("resources: {{enforce: maybe}}", "bad-word", "expected strict or best-effort, found 'maybe'", None, "maybe"),
    ("notify: {{deadline: https://x.y}}", "unknown-key", "unknown key 'deadline' in notify", "a deadline is that of a run: it belongs to the notify of the workflow; a stage that is late fails by its timeout", "deadline"),
    ("notify: {{failure: 'https://x.y/${{{{ matrix.b }}}}'}}", "bad-expression", "unknown matrix axis 'b'", None, ".b"),
    ("retry: {{max: 1, on: [netwrok]}}", "bad-word", "'netwrok' is neither a category nor an exception", "did you mean 'network'?", "netwrok"),
    ("retry: {{max: 1, never: '5xx'}}", "wrong-type", None, None, "'5xx'"),
    ("retry: {{max: 1, on: cancelled}}", "bad-combination", "what was cancelled is never retried", "remove 'cancelled'; a person may clear the task", "cancelled"),
    ("retry: {{max: 1, backoff: custom, delays: [1], policy: 'a:B'}}", "bad-combination", "'delays' cannot stand beside a policy, which decides itself", "remove 'delays'", "delays"),
    ("retry: {{max: 1, backoff: custom, policy: 'a:B', max-delay: 5}}", "bad-combination", "'max-delay' cannot stand beside a policy, which decides itself", "remove 'max-delay'", "max-delay"),
    ("retry: {{max: 1, backoff: custom, policy: a.b.C}}", "bad-policy", "expected package.module:Class, found 'a.b.C'", "write a.b:C", "a.b.C"),
    ("retry: {{max: 1, policy: 'a:B'}}", "bad-combination", "'policy' belongs to backoff: custom", "write backoff: custom, or remove 'policy'", "policy"),
    ("retry: {{max: 1, with: {{a: 1}}}}", "bad-combination", "'with' belongs to backoff: custom", None, "with"),
    ("retry: {{max: 1, backoff: custom, delays: [1], with: {{a: 1}}}}", "bad-combination", "'with' holds the arguments of a 'policy'", None, "with"),
    ("retry: {{max: 1, backoff: custom, policy: 'a:B', with: {{a: '${{{{ params.x }}}}'}}}}", "wrong-type", "the arguments of a policy must be known when the document is loaded, found an expression", None, "with"),
    ("retry: {{max: 1, rules: {{match: a}}}}", "wrong-type", "expected a list of rules, found a map", "begin each rule with `- `", "rules"),
    ("retry: {{max: 1, rules: [{{delay: 1}}]}}", "missing-key", "a rule needs 'match'", None, None),
    ("retry: {{max: 1, rules: [{{match: []}}]}}", "empty-value", "expected at least one failure", None, "match"),
    ("retry: {{max: 1, rules: [{{match: network, action: stop}}]}}", "bad-word", "expected retry or fail, found 'stop'", None, "stop"),
    ("retry: {{max: 1, rules: [{{match: network, action: fail, delay: 5}}]}}", "bad-combination", "a rule with action: fail has no 'delay'", "remove 'delay'", "delay"),
    ("retry: {{max: 1, rules: [{{match: network, max: 0}}]}}", "out-of-range", "expected a whole number from 1 to 100, found 0", "write action: fail", "0"),
    ("retry: {{max: 1, rules: [{{match: network, max: 2}}]}}", "out-of-range", "a rule may have at most the 1 retries of all, found 2", "raise max to 2", "2"),
    ("retry: {{max: 1, rules: [{{match: cancelled}}]}}", "bad-combination", "what was cancelled is never retried", None, "cancelled"),
]  # fmt: skip


@pytest.mark.parametrize("noun", ["a job", "a bash stage"])
@pytest.mark.parametrize(("line", "code", "message", "hint", "below"), BOTH)
def test_job_and_stage(
    problems: Find, noun: str, line: str, code: str, message: str | None, hint: str | None, below: str | None
) -> None:
    line, hint = line.format(noun=noun), hint and hint.format(noun=noun)
    place = f"    {line}" if noun == "a job" else f"        {line}"
    parts = [
        "name: w",
        "jobs:",
        "  j:",
        "    strategy: {matrix: {m: [1]}}",
        "    stages:",
        "      - bash: x",
        place,
    ]
    found = one(problems, "\n".join(parts) + "\n")
    same(found, code, found.message if message is None else message.format(noun=noun), hint)
    assert found.line == 7
    if below is not None:
        assert place[found.column - 1 : found.end_column - 1] == below.format()


#: Stages of one job, or a job -> code, message, hint.
PLACES = [
    ("stages: [{bash: x, teardown: true}]", "bad-teardown", "a job has at least one stage that is no teardown", "remove teardown: true, or write the stages that it cleans up after"),
    ("stages: [{bash: x, teardown: true}, {bash: y, teardown: true}]", "bad-teardown", "a job has at least one stage that is no teardown", None),
    ("stages: [{bash: x}, {bash: y, teardown: true}, {bash: z}]", "bad-teardown", "a teardown stands after the other stages, but stage 3 follows it", "move it to the end of the job"),
    ("stages: [{bash: x, teardown: yes}]", "wrong-type", "expected true or false, found 'yes'", "write true, without quotes"),
    ("stages: [{bash: x, as_teardown: true}]", "unknown-key", "unknown key 'as_teardown' in a bash stage", "write teardown: true"),
    ("stages: [{bash: x, cleanup: always}]", "unknown-key", "unknown key 'cleanup' in a bash stage", "`cleanup` belongs to a job; a stage that cleans up has teardown: true"),
    ("{teardown: true, stages: [{bash: x}]}", "unknown-key", "unknown key 'teardown' in a job", "`teardown` belongs to a stage"),
    ("{concurrency: x, stages: [{bash: x}]}", "unknown-key", "unknown key 'concurrency' in a job", "`concurrency` belongs to the workflow; for legs write strategy: {max-parallel: ...}"),
    ("stages: [{bash: x, concurrency: x}]", "unknown-key", "unknown key 'concurrency' in a bash stage", "`concurrency` belongs to the workflow"),
    ("stages: [{bash: x}, {id: t, bash: x, teardown: true}]\n    outputs: {o: '${{ stages.t.outputs.x }}'}", "bad-expression", "stage 't' is not available here: it is a teardown, which nobody waits for", None),
    ("stages: [{echo: x, resources: {cpu: 1}}]", "bad-combination", "an empty stage cannot be given resources", "they are of bash, Python, call, image and nested stages; remove `resources`"),
    ("stages: [{operator: a.B, resources: {cpu: 1}}]", "bad-combination", "an operator stage cannot be given resources", "give them to the operator, in its `with`"),
    ("stages: [{trigger: a, resources: {cpu: 1}}]", "bad-combination", "a trigger stage cannot be given resources", "write them in the workflow that it triggers"),
    ("stages: [{approval: a, resources: {cpu: 1}}]", "bad-combination", "an approval stage cannot be given resources", None),
    ("stages: [{raise: a, resources: {cpu: 1}}]", "bad-combination", "a raise stage cannot be given resources", None),
    ("stages: [{operator: a.B, logging: {format: json}}]", "bad-combination", "an operator stage writes its own log, which has no 'format'", "remove 'format'; `level` holds for the operator's logger"),
    ("stages: [{trigger: a, logging: {file: true}}]", "bad-combination", "a trigger stage writes its own log, which has no 'file'", None),
    ("stages: [{approval: a, logging: {level: info, file: {max-bytes: 1Mi}}}]", "bad-combination", "an approval stage writes its own log, which has no 'file'", None),
    ("{resources: {cpu: 1}, stages: [{echo: x}, {trigger: a}]}", "bad-combination", "no stage of this job can be given resources", None),
    ("{resources: {gpu: 1}, stages: [{bash: x}, {bash: y}]}", "bad-combination", "the local backend cannot give GPUs", None),
    ("{resources: {limits: {memory: 1Gi}}, stages: [{bash: x, resources: {memory: 2Gi}}]}", "out-of-range", "memory 2Gi is above its limit of 1Gi", None),
    ("{resources: {memory: 2Gi}, stages: [{bash: x, resources: {limits: {memory: 1Gi}}}]}", "out-of-range", "memory 2Gi is above its limit of 1Gi", None),
    # inside another stage
    ("stages: [{parallel: {a: [{bash: x, pool: p}]}}]", "not-nested", "'pool' belongs to the stage around this one, which is one task", "move 'pool' to the outermost stage"),
    ("stages: [{foreach: [1], stages: [{bash: x, pool-slots: 2}]}]", "not-nested", "'pool-slots' belongs to the stage around this one, which is one task", None),
    ("stages: [{until: 'loop > 1', stages: [{bash: x, priority: 2}]}]", "not-nested", "'priority' belongs to the stage around this one, which is one task", None),
    ("stages: [{case: a, match: [{else: [{bash: x, resources: {cpu: 1}}]}]}]", "not-nested", "'resources' belongs to the stage around this one, which is one task", None),
    ("stages: [{foreach: [1], stages: [{foreach: [1], stages: [{bash: x, notify: {failure: https://x.y}}]}]}]", "not-nested", "'notify' belongs to the stage around this one, which is one task", None),
    ("stages: [{parallel: {a: [{bash: x}, {bash: x, teardown: true}]}}]", "not-nested", "a teardown is a stage of the job, it cannot stand inside another stage", None),
    ("stages: [{parallel: {a: [{bash: x, logging: {format: json}}]}}]", "bad-combination", "a stage inside another one writes to its log, so 'format' belongs to the outermost stage", None),
    ("stages: [{parallel: {a: [{trigger: b}]}, resources: {cpu: 1}}]", "not-nested", "a trigger cannot run inside a stage with resources, which has a process of its own", None),
    ("stages: [{parallel: {a: [{bash: x, timeout: none}]}}]", "bad-combination", "a stage inside another one has no timeout of its own by default", "remove it"),
    ("stages: [{parallel: {a: [{bash: x, retry: {max: 1, backoff: custom, policy: 'a:B'}}]}}]", "bad-combination", "a stage inside another one is retried inside its task, where no policy is asked", "write delays"),
    # granularity: job
    ("{granularity: job, stages: [{bash: x, pool: p}]}", "bad-combination", "with granularity: job one task runs all stages, so 'pool' belongs to the job", "write pool on the job"),
    ("{granularity: job, stages: [{bash: x, resources: {cpu: 1}}]}", "bad-combination", "with granularity: job one task runs all stages, so 'resources' belongs to the job", None),
    ("{granularity: job, stages: [{bash: x, logging: {file: true}}]}", "bad-combination", "with granularity: job all stages have one log, so 'file' belongs to the job", "write logging: {file: ...} on the job"),
    ("{granularity: job, stages: [{bash: x, notify: {retry: https://x.y}}]}", "bad-combination", "with granularity: job stages are retried inside the task, which nobody is told about", None),
    ("{granularity: job, notify: {retry: https://x.y}, stages: [{bash: x}]}", "bad-combination", "with granularity: job stages are retried inside the task, which nobody is told about", None),
    ("{granularity: job, stages: [{bash: x, retry: {max: 1, backoff: custom, policy: 'a:B'}}]}", "bad-combination", "with granularity: job stages are retried inside the task, where no policy is asked", "write delays"),
    ("{granularity: job, retry: {max: 1, backoff: custom, policy: 'a:B'}, stages: [{bash: x}]}", "bad-combination", "with granularity: job stages are retried inside the task, where no policy is asked", None),
]  # fmt: skip


@pytest.mark.parametrize(("job", "code", "message", "hint"), PLACES)
def test_places(problems: Find, job: str, code: str, message: str, hint: str | None) -> None:
    body = f"\n    {job}" if job.startswith("stages") else f" {job}"
    found = one(problems, f"name: w\njobs:\n  j:{body}\n")
    same(found, code, message, hint)
    assert found.line >= 3


def test_amounts_of_defaults(problems: Find) -> None:
    text = "name: w\ndefaults: {resources: {gpu: 1, memory: 2Gi}}\njobs:\n  a:\n    resources: {limits: {memory: 1Gi}}\n    stages: [{bash: x}, {bash: y}]\n"
    assert [(found.line, found.message) for found in problems(text)] == [
        (2, "the local backend cannot give GPUs"),
        (2, "memory 2Gi is above its limit of 1Gi"),
    ]


def test_a_policy_of_defaults(problems: Find) -> None:
    text = "name: w\ndefaults: {retry: {max: 1, backoff: custom, policy: 'a:B'}}\njobs:\n  a: {granularity: job, stages: [{bash: x}]}\n"
    found = one(problems, text)
    assert (found.line, found.column) == (4, 7)


@pytest.mark.parametrize(
    "text",
    [
        "jobs: {j: {stages: [{bash: x}, {bash: y, teardown: true, if: failure()}, {run: x = 1, teardown: true}]}}",
        "jobs: {j: {granularity: job, pool: p, resources: {cpu: 1}, stages: [{bash: x, logging: {level: debug}, timeout: none}, {bash: y, teardown: true}]}}",
        "jobs: {j: {stages: [{parallel: {a: [{bash: x, logging: {level: debug}}]}, resources: {memory: 1Gi}}]}}",
        "jobs: {j: {logging: {format: json}, stages: [{bash: x}, {operator: a.B, logging: {level: debug, file: false}}]}}",
        "jobs: {j: {resources: {gpu: 1, enforce: best-effort}, stages: [{bash: x}, {echo: x}]}}",
        "jobs: {j: {resources: {gpu: 1}, stages: [{bash: x, resources: {gpu: 0}}]}}",
        "defaults: {resources: {gpu: 1}}\njobs: {j: {stages: [{echo: x}]}}",
        "concurrency: x\njobs: {}",
        "concurrency: 'x-${{ params.a }}-${{ vars.b }}-${{ run.ds }}'\njobs: {}",
        "deadline: 5m\nnotify: {deadline: https://x.y}\njobs: {}",
        "notify: {failure: {webhook: '${{ secrets.url }}', secret: '${{ secrets.key }}', headers: {A: '${{ conn.x.password }}'}}}\njobs: {}",
        "notify: {failure: {notifier: a.B, with: {token: '${{ secrets.x }}', text: '${{ run.id }} {{ stagecoach.event }}'}}}\njobs: {}",
        "jobs: {j: {strategy: {matrix: {m: [1]}}, notify: {skip: 'https://x.y/${{ matrix.m }}'}, stages: [{id: a, bash: x}, {bash: x, notify: {success: 'https://x.y/${{ stages.a.outputs.x }}'}}]}}",
        "Logging: 1\njobs: {}".replace("Logging: 1", "logging: {level: INFO, format: json, file: {path: /logs, max_bytes: 1Mi, backups: 3}}"),
    ],
)  # fmt: skip
def test_allowed(problems: Find, text: str) -> None:
    assert problems(f"name: w\n{text}\n") == []


@pytest.mark.parametrize(
    "key", ["max-active-tasks", "pool-slots", "on-conflict", "max-bytes", "ephemeral-storage"]
)
def test_both_spellings(problems: Find, key: str) -> None:
    text = """
name: w
max-active-tasks: 5
concurrency: {group: g, on-conflict: skip}
logging: {file: {max-bytes: 1Mi}}
jobs: {j: {pool-slots: 2, resources: {ephemeral-storage: 1Gi, enforce: best-effort}, stages: [{bash: x}]}}
"""
    assert problems(text.replace(key, key.replace("-", "_"))) == problems(text) == []
