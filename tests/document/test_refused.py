"""Documents that are refused, with what their author reads."""

# Documents and messages stay on one line:

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]


def one(problems: Find, text: str) -> Diagnostic:
    found = problems(text)
    assert len(found) == 1, "\n\n".join(diagnostic.render() for diagnostic in found)
    return found[0]


#: A key of the workflow -> code, message, hint.
WORKFLOW = [
    ("type: Workfow", "bad-type", "expected type: Workflow, found 'Workfow'", "write type: Workflow"),
    ("descr: x", "unknown-key", "unknown key 'descr' in a workflow", "did you mean 'desc'?"),
    ("schedule: '@daily'", "unknown-key", "unknown key 'schedule' in a workflow", "write on"),
    (
        "default_args: {}",
        "unknown-key",
        "unknown key 'default_args' in a workflow",
        "write defaults: {retry: ..., timeout: ...}",
    ),
    (
        "extras: {}",
        "unknown-key",
        "unknown key 'extras' in a workflow",
        "settings of the older engine do not exist here",
    ),
    (
        "stages: []",
        "unknown-key",
        "unknown key 'stages' in a workflow",
        "a workflow has jobs, and a job has stages: jobs: {main: {stages: [...]}}",
    ),
    (
        "params: [1, 2, 3]",
        "wrong-type",
        "expected a map of params, found a list",
        "write params: {name: type}",
    ),
    ("params: {a: strin}", "bad-word", "unknown type of a param, found 'strin'", "did you mean 'str'?"),
    ("params: {a: string}", "bad-word", "unknown type of a param, found 'string'", "did you mean 'str'?"),
    ("params: {a: list}", "bad-word", "unknown type of a param, found 'list'", "did you mean 'array'?"),
    (
        "params: {1a: int}",
        "bad-name",
        "'1a' is no name for a param",
        "use letters, digits, - and _, beginning with a letter or _",
    ),
    ("params: {a: {type: choice}}", "missing-key", "a choice needs 'options'", "write options: [a, b]"),
    ("params: {a: {type: choice, options: [x, x]}}", "duplicate-value", "option 'x' stands twice", None),
    (
        "params: {a: {type: choice, options: [true]}}",
        "wrong-type",
        "an option is text or a number, found true",
        None,
    ),
    (
        "params: {a: {type: choice, options: [x], default: y}}",
        "bad-default",
        "bad default: expected x, found 'y'",
        None,
    ),
    (
        "params: {a: {type: int, default: x}}",
        "bad-default",
        "bad default: expected a whole number, found 'x'",
        None,
    ),
    (
        "params: {a: {type: int, default: 1.0}}",
        "bad-default",
        "bad default: expected a whole number, found the number 1.0",
        None,
    ),
    (
        "params: {a: {type: str, default: '${{ run.id }}'}}",
        "bad-default",
        "a default cannot hold an expression",
        None,
    ),
    (
        "params: {a: {type: int, precision: 2}}",
        "bad-combination",
        "'precision' belongs to type: float or decimal",
        None,
    ),
    ("params: {a: {type: int, options: [1]}}", "bad-combination", "'options' belongs to type: choice", None),
    ("params: {a: {desc: x}}", "missing-key", "a param needs 'type'", "write type: str, or another type"),
    (
        "env: {A-B: x}",
        "bad-name",
        "'A-B' is no name for an environment variable",
        "use letters, digits and _, not beginning with a digit",
    ),
    (
        "env: {A: [1]}",
        "wrong-type",
        "an environment variable is text, found a list",
        "write it as text, or as ${{ toJson(...) }}",
    ),
    ("env: [A]", "wrong-type", "expected a map of names and values, found a list", None),
    ("env:", "null-value", "'env' has no value", "give it a value, or remove the key"),
    ("tags: 5", "wrong-type", "expected a list of tags, found the number 5", None),
    ("tags: ['']", "empty-value", "expected text, found an empty one", None),
    (
        "defaults: {env: {}}",
        "unknown-key",
        "unknown key 'env' in defaults",
        "write env: on the workflow itself",
    ),
    (
        "defaults: {timeout: true}",
        "bad-duration",
        "expected a number of seconds or a duration such as 10m, found true",
        None,
    ),
    ("start-date: 2024-13-01", "bad-date", "the moment 2024-13-01 does not exist, found '2024-13-01'", None),
    ("catchup: yes", "wrong-type", "expected true or false, found 'yes'", "write true, without quotes"),
    ("catchup: true", "bad-combination", "catchup needs a start-date", "write start-date: 2024-01-01"),
    ("max-active-runs: 0", "out-of-range", "expected a whole number from 1 to 1000, found 0", None),
    (
        "max-active-runs: '3'",
        "wrong-type",
        "expected a whole number from 1 to 1000, found '3'",
        "write 3, without quotes",
    ),
    (
        "timeout: 10x",
        "bad-duration",
        "expected a number of seconds or a duration such as 10m, found '10x'",
        None,
    ),
    (
        "max_active_runs: 1\nmax-active-runs: 1",
        "duplicate-key",
        "'max-active-runs' and 'max_active_runs' are the same key",
        "remove one of the two",
    ),
]


@pytest.mark.parametrize(("line", "code", "message", "hint"), WORKFLOW)
def test_workflow(problems: Find, line: str, code: str, message: str, hint: str | None) -> None:
    found = one(problems, f"name: w\njobs: {{}}\n{line}\n")
    assert (found.code, found.message, found.hint) == (code, message, hint)
    assert found.line >= 3


#: Keys of a job next to its stages -> code, message, hint.
JOB = [
    ("needs: [b]", "unknown-need", "job 'j' needs 'b', which does not exist", "the jobs are j"),
    ("needs: j", "needs-cycle", "job 'j' needs itself", None),
    ("needs: {j: 1}", "wrong-type", "expected a job or a list of jobs, found a map", None),
    ("steps: []", "unknown-key", "unknown key 'steps' in a job", "write stages"),
    ("run-on: local", "unknown-key", "unknown key 'run-on' in a job", "write runs-on"),
    ("matrix: {}", "unknown-key", "unknown key 'matrix' in a job", "write strategy: {matrix: ...}"),
    ("timeout-minutes: 5", "unknown-key", "unknown key 'timeout-minutes' in a job", "write timeout: 5m"),
    ("timeout_minutes: '2.5'", "unknown-key", "unknown key 'timeout_minutes' in a job", "write timeout: 2.5m"),
    ("timeout-minutes: true", "unknown-key", "unknown key 'timeout-minutes' in a job", "write timeout: 10m"),
    ("strategy: {matrix: {a: [1]}, max-parallel: 0}", "out-of-range", "expected a whole number from 1 to 10000, found 0", "remove it for no limit"),
    ("depends_on: [a]", "unknown-key", "unknown key 'depends_on' in a job", "write needs"),
    ("id: k", "bad-id", "the id of this job is its key, 'j'", "remove `id`, or write the same"),
    ("runs-on: docker", "not-available", "runs-on: docker is not available in this version", "write runs-on: local"),
    ("runs-on: local_container", "not-available", "runs-on: docker is not available in this version", "write runs-on: local"),
    ("runs-on: {type: az_batch}", "not-available", "runs-on: azure-batch is not available in this version", "write runs-on: local"),
    ("runs-on: dcker", "unknown-backend", "unknown backend 'dcker'", "did you mean 'docker'?"),
    ("runs-on: ubuntu-latest", "unknown-backend", "unknown backend 'ubuntu-latest'", "GitHub's machines do not exist here, write runs-on: local"),
    ("runs-on: {type: local, with: {image: x}}", "unknown-key", "unknown key 'image': local takes no settings", None),
    ("runs-on: '${{ params.x }}'", "wrong-type", "runs-on must be known when the document is loaded, found an expression", None),
    ("trigger-rule: all_don", "bad-word", "unknown trigger rule 'all_don'", "did you mean 'all_done'?"),
    ("if: 5", "wrong-type", "expected a condition (an expression, true or false), found the number 5", None),
    ("if: ''", "empty-value", "expected a condition, found an empty text", None),
    ("{if: always(), trigger-rule: all_done}", "bad-combination", "an `if` with status functions replaces the trigger rule, so both cannot stand together", "remove trigger-rule, or write the `if` without success(), failure() and the like"),
    ("granularity: leg", "bad-word", "expected stage or job, found 'leg'", None),
    ("retry: 101", "out-of-range", "expected a whole number from 0 to 100, found 101", None),
    ("retry: {max: 1, factor: 2}", "bad-combination", "'factor' belongs to backoff: exponential", "write backoff: exponential, or remove 'factor'"),
    ("retry: {max: 1, backoff: custom}", "missing-key", "backoff: custom needs 'delays' or 'policy'", "write delays: [10s, 1m, 5m]"),
    ("retry: {max: 1, backoff: exponental}", "bad-word", "expected fixed, linear, exponential or custom, found 'exponental'", "did you mean 'exponential'?"),
    ("retry: {delay: 1}", "missing-key", "a retry needs 'max'", "write max: 3"),
    ("retry: {max: 1, on: [300]}", "out-of-range", "an exit code is from 0 to 255, found 300", "write http:300"),
    ("strategy: {matrix: {a: 1}}", "bad-matrix", "expected a list of values, found the number 1", "write [1]"),
    ("strategy: {matrix: {a b: [1]}}", "bad-name", "'a b' is no name for a matrix axis", "use letters, digits, - and _, beginning with a letter or _"),
    ("strategy: {matrix: [1]}", "wrong-type", "expected a map of axes or an expression, found a list", "write matrix: {name: [...]}"),
    ("strategy: {matrix: {a: [1]}, exclude: [{b: 1}]}", "bad-matrix", "the matrix has no axis 'b' to exclude", "the axes are a"),
    ("strategy: {matrix: {a: [1], exclude: [{b: 1}]}}", "bad-matrix", "the matrix has no axis 'b' to exclude", "the axes are a"),
    ("strategy: {matrix: {a: ['${{ params.x }}']}, exclude: [{b: 1}]}", "bad-matrix", "the matrix has no axis 'b' to exclude", "the axes are a"),
    ("strategy: {matrix: {a: [1], include: []}, include: []}", "bad-combination", "'include' stands in the matrix and beside it", "keep one of them"),
    ("strategy: {exclude: [{a: 1}]}", "bad-matrix", "there is nothing to exclude without a matrix", None),
    ("strategy: {matrix: {a: [1]}, include: {b: 1}}", "bad-matrix", "expected a list of maps, found a map", "begin each entry with `- `"),
    ("strategy: {matrix: {a: [1]}, include: [{}]}", "bad-matrix", "this entry is empty", "name at least one axis and its value"),
    ("strategy: {matrix: {a: [1]}, max-parallel: '{{ params.v }}'}", "wrong-type", "expected a whole number from 1 to 10000 or an expression, found '{{ params.v }}'", "an expression is written ${{ params.v }}"),
    ("strategy: {os: [a]}", "unknown-key", "unknown key 'os' in a strategy", "an axis stands below matrix: {os: [...]}"),
    ("strategy: {matrix: {a: [" + ", ".join(map(str, range(1025))) + "]}}", "too-many-legs", "the matrix has 1025 legs, the limit is 1024", "the limit is Airflow's [core] max_map_length; make several jobs of it"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message", "hint"), JOB)
def test_job(problems: Find, line: str, code: str, message: str, hint: str | None) -> None:
    lines = [part.strip() for part in line.strip("{}").split(", ")] if line.startswith("{") else [line]
    body = "".join(f"    {part}\n" for part in lines)
    found = one(problems, f"name: w\njobs:\n  j:\n    stages: [{{bash: x}}]\n{body}")
    assert (found.code, found.message, found.hint) == (code, message, hint)
    assert found.line >= 5


@pytest.mark.parametrize(
    ("jobs", "code", "message"),
    [
        ("[]", "wrong-type", "expected a map of jobs, found a list"),
        ("{a: }", "wrong-type", "expected a job (a map with `stages`), found null"),
        (
            "{a: [x]}",
            "wrong-type",
            "expected a job (a map with keys such as 'id', 'name', 'desc' or 'runs-on'), found a list",
        ),
        ("{a: {}}", "missing-key", "a job needs 'stages'"),
        ("{a: {stages: []}}", "empty-value", "this job has no stages"),
        ("{a: {stages: {}}}", "wrong-type", "expected a list of stages, found a map"),
        ("{a b: {stages: [{bash: x}]}}", "bad-id", "'a b' is no id for a job"),
        ("{__a: {stages: [{bash: x}]}}", "bad-id", "the id of a job may not begin with two underscores"),
        ("{1a: {stages: [{bash: x}]}}", "bad-id", "'1a' is no id for a job"),
        ("{'': {stages: [{bash: x}]}}", "bad-id", "'' is no id for a job"),
    ],
)
def test_jobs(problems: Find, jobs: str, code: str, message: str) -> None:
    found = one(problems, f"name: w\ntype: Workflow\njobs: {jobs}\n")
    assert (found.code, found.message) == (code, message)


KINDS = (
    "a stage has one of the keys echo, sleep, bash, run, uses, operator, image, trigger, parallel, foreach, until, case, "
    "raise, approval"
)
NO_HINT = ""

#: One stage -> code, message, hint.
STAGE = [
    ("{}", "stage-kind", "this stage says neither what it does nor its name", None),
    ("bash x", "wrong-type", "expected a stage (a map), found 'bash x'", "write `- bash: bash x`"),
    ("{bash: a, run: b}", "stage-kind", "this stage has 'bash' and 'run', but a stage is of one kind", "make two stages of it, or remove one of the keys"),
    ("{echo: a, bash: b}", "stage-kind", "this stage has 'echo' and 'bash', but a stage is of one kind", "make two stages of it, or remove one of the keys"),
    ("{name: a, bahs: x}", "unknown-key", "unknown key 'bahs' in an empty stage", "did you mean 'bash'?"),
    ("{name: a, script: x}", "unknown-key", "unknown key 'script' in an empty stage", "write bash: for a shell script, run: for Python"),
    ("{name: a, stages: []}", "unknown-key", "unknown key 'stages' in an empty stage", "'stages' belongs to a foreach stage or an until stage"),
    ("{run: x=1, shell: sh}", "unknown-key", "unknown key 'shell' in a Python stage", "'shell' belongs to a bash stage"),
    ("{bash: x, timeout-minutes: 3}", "unknown-key", "unknown key 'timeout-minutes' in a bash stage", "write timeout: 3m"),
    ("{fail: x}", "unknown-key", "unknown key 'fail' in an empty stage", "write raise"),
    ("{name: a, stratagy: {}}", "unknown-key", "unknown key 'stratagy' in an empty stage", KINDS),
    ("{zzz: {}}", "unknown-key", "unknown key 'zzz' in an empty stage", KINDS),
    ("{echo: a, zzz: {}}", "unknown-key", "unknown key 'zzz' in an empty stage", "the keys of an empty stage are name, id, desc, if, env, retry, timeout, outputs, continue-on-error, teardown, pool, pool-slots, priority, logging, resources, notify, echo, sleep"),
    ("{name: a, message: x}", "unknown-key", "unknown key 'message' in an empty stage", "write raise"),
    ("{bash: 123}", "wrong-type", "expected text, found the number 123", 'put it in quotes: "123"'),
    ("{bash: }", "null-value", "'bash' has no value", "give it a value, or remove the key"),
    ("{bash: ' '}", "empty-value", "expected a script, found an empty text", None),
    ("{name: 5, bash: x}", "wrong-type", "expected text, found the number 5", 'put it in quotes: "5"'),
    ("{name: '', bash: x}", "empty-value", "expected text, found an empty one", None),
    ("{id: __a, bash: x}", "bad-id", "the id of a stage may not begin with two underscores", None),
    ("{id: a.b, bash: x}", "bad-id", "'a.b' is no id for a stage", "use letters, digits, - and _, beginning with a letter or _: a-b"),
    ("{id: 's-${{ params.x }}', bash: x}", "bad-id", "'params' is not available here: the id of a stage may hold expressions over `matrix` only", None),
    ("{bash: x, env: {A: {b: c}}}", "wrong-type", "an environment variable is text, found a map", "write it as text, or as ${{ toJson(...) }}"),
    ("{bash: x, retry: true}", "wrong-type", "expected a whole number from 0 to 100, found true", None),
    ("{bash: x, timeout: '${{ params.t }}'}", "wrong-type", "a duration must be known when the document is loaded, found an expression", None),
    ("{bash: x, timeout: 0}", "out-of-range", "a timeout must be longer than zero", "write none for no timeout"),
    ("{bash: x, continue-on-error: 'true'}", "wrong-type", "expected true or false, found 'true'", "write true, without quotes"),
    ("{bash: x, outputs: [a]}", "wrong-type", "expected a map of names and values, found a list", None),
    ("{name: n, sleep: -1}", "bad-duration", "expected a number of seconds or a duration such as 10m, not below zero, found the number -1", None),
    ("{name: n, sleep: 2 hours and 5 minutes}", "bad-duration", "expected a number of seconds or a duration such as 10m, found '2 hours and 5 minutes'", "write 2h5m"),
    ("{name: n, sleep: 3 secs}", "bad-duration", "expected a number of seconds or a duration such as 10m, found '3 secs'", "write 3s"),
    ("{name: n, sleep: 2 months}", "bad-duration", "expected a number of seconds or a duration such as 10m, found '2 months'", None),
    ("{run: 'echo hi; make test'}", "bad-python", "this is not Python: invalid syntax", "`run` is Python; a shell script is written bash: ..."),
    ("{run: 'echo = 1 +'}", "bad-python", "this is not Python: invalid syntax", None),
    ("{run: 'if x'}", "bad-python", "this is not Python: expected ':'", None),
    ("{run: 'x = ${{ params.a }} +'}", "bad-python", "this is not Python: invalid syntax", None),
    ("{run: x=1, vars: {a-b: 1}}", "bad-name", "'a-b' is no name for a Python variable", "write a_b"),
    ("{run: x=1, vars: {class: 1}}", "bad-name", "'class' is no name for a Python variable", None),
    ("{run: x=1, version: 3.10}", "wrong-type", "expected a Python version in quotes, found the number 3.1", 'put it in quotes, YAML reads 3.10 as 3.1: "3.1"'),
    ("{name: a, deps: [x]}", "unknown-key", "unknown key 'deps' in an empty stage", "'deps' belongs to a virtual Python stage"),
    ("{uses: tasks-foo-bar}", "bad-uses", "expected path/func@tag, found 'tasks-foo-bar'", "for instance `uses: tasks/load-table@latest` for a function with @tag('latest') in tasks.py"),
    ("{uses: actions/checkout@v4}", "bad-uses", "GitHub actions such as 'actions/checkout@v4' cannot run here", "call a Python function of yours, path/func@tag, or run a command with `bash:`"),
    ("{operator: BashOperator}", "bad-operator", "expected the dotted path of an operator class, found 'BashOperator'", "for instance airflow.providers.standard.operators.bash.BashOperator"),
    ("{operator: a.B, with: {task_id: x}}", "bad-value", "'task_id' is set by the workflow", "remove 'task_id'"),
    ("{image: Python}", "bad-image", "expected the name of an image such as python:3.12-slim, found 'Python'", "names of images have small letters: python"),
    ("{image: x, bash: y}", "stage-kind", "this stage has 'image' and 'bash', but a stage is of one kind", "write runs-on: {type: docker, with: {image: ...}} at the job, or image and command"),
    ("{trigger: w}", "triggers-itself", "workflow 'w' triggers itself, without end", "trigger another workflow"),
    ("{parallel: {}}", "empty-value", "expected at least one branch", None),
    ("{parallel: [a]}", "wrong-type", "expected a map of branches, found a list", "write parallel: {branch: [stages]}"),
    ("{parallel: {a: [{bash: x}]}, max-workers: 0}", "out-of-range", "expected a whole number from 1 to 1000, found 0", "write 1 for one after the other"),
    ("{parallel: {a: [{operator: a.B}]}}", "not-nested", "operator stages cannot stand inside another stage", "make it a stage of the job"),
    ("{parallel: {a: [{image: x}]}}", "not-nested", "image stages cannot stand inside another stage", "make it a stage of the job"),
    ("{parallel: {a: [{approval: ok}]}}", "not-nested", "approval stages cannot stand inside another stage", "make it a stage of the job"),
    ("{parallel: {a: [{id: x, bash: x}, {id: x, bash: x}]}}", "duplicate-id", "two stages have the id 'x', the other is stage 1 of this list", "give one of them another id"),
    ("{foreach: '1, 2, 3', stages: [{bash: x}]}", "bad-foreach", "expected a list or an expression, found '1, 2, 3'", "write a list: [1, 2, 3]"),
    ("{foreach: {a: 1}, stages: [{bash: x}]}", "bad-foreach", "expected a list or an expression, found a map", None),
    ("{foreach: 5, stages: [{bash: x}]}", "bad-foreach", "expected a list or an expression, found the number 5", "write [5]"),
    ("{foreach: [1, 1], stages: [{bash: x}]}", "bad-foreach", "item the number 1 stands twice, first at index 0", "write use-index-as-key: true"),
    ("{foreach: [1, '1'], stages: [{bash: x}]}", "bad-foreach", "item '1' stands twice, first at index 0", "write use-index-as-key: true"),
    ("{foreach: [{a: 1}], stages: [{bash: x}]}", "bad-foreach", "a map cannot be the key of an item's outputs", "write use-index-as-key: true"),
    ("{foreach: [1]}", "missing-key", "a foreach stage needs 'stages'", None),
    ("{foreach: [1], stages: []}", "empty-value", "expected at least one stage", "for a stage that does nothing write [{name: nothing}]"),
    ("{foreach: [1], stages: [{bash: x}], concurrent: 0}", "out-of-range", "expected a whole number from 1 to 1000, found 0", "write 1 for one after the other"),
    ("{foreach: [1], stages: [{bash: x}], concurrent: 2000}", "out-of-range", "expected a whole number from 1 to 1000, found 2000", NO_HINT),
    ("{until: \"'demo'\", stages: [{bash: x}]}", "bad-expression", "the condition gives a text, not true or false", "compare it, as in: 'demo' == 'yes'"),
    ("{until: 'loop > 2', stages: [{bash: x}], max-loop: 0}", "out-of-range", "expected a whole number from 1 to 1000, found 0", None),
    ("{case: a}", "missing-key", "a case stage needs 'match'", None),
    ("{case: a, match: []}", "empty-value", "expected at least one match entry", None),
    ("{case: a, match: [{case: x}]}", "missing-key", "a match entry needs 'stages'", None),
    ("{case: a, match: [{else: [{bash: x}], case: b}]}", "bad-combination", "'else' stands alone, without 'case' and 'stages'", None),
    ("{case: a, match: [{else: [{bash: x}]}, {case: _, stages: [{bash: x}]}]}", "duplicate-case", "a second entry for everything else: `else` and `case: _` are the same", "keep one of them"),
    ("{case: a, match: [{case: x, stages: [{bash: x}]}, {case: x, stages: [{bash: x}]}]}", "duplicate-case", "case 'x' stands twice", None),
    ("{raise: ''}", "empty-value", "expected text, found an empty one", None),
    ("{approval: {body: x}}", "missing-key", "an approval needs 'subject'", None),
    ("{approval: {subject: x, default: yes}}", "bad-word", "expected approve or reject, found 'yes'", None),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "code", "message", "hint"), STAGE)
def test_stage(problems: Find, stage: str, code: str, message: str, hint: str | None) -> None:
    found = one(problems, f"name: w\njobs:\n  j:\n    stages:\n      - {stage}\n")
    assert (found.code, found.message) == (code, message)
    if hint is not None:
        assert (found.hint or NO_HINT) == hint
    assert found.line == 5


def test_stages_without_ids_get_them_from_their_names(problems: Find) -> None:
    text = "name: w\njobs:\n  j:\n    stages:\n      - {name: Load it, bash: x}\n      - {name: load-it, bash: x}\n"
    found = one(problems, text)
    assert found.message == "two stages have the id 'load-it', the other is stage 1 of this list"
    assert found.hint == "give it an id of its own: id: load-it-2"
    assert (found.line, found.column) == (6, 16)


def test_a_cycle_is_shown_once(problems: Find) -> None:
    job = "stages: [{bash: x}]"
    text = f"name: w\njobs:\n  a: {{needs: c, {job}}}\n  b: {{needs: a, {job}}}\n  c: {{needs: [b], {job}}}\n"
    found = one(problems, text)
    assert found.message == "these jobs wait for each other: a -> c -> b -> a"
    assert (found.line, found.column) == (3, 14)


def test_a_required_param_of_a_scheduled_workflow(problems: Find) -> None:
    text = "name: w\non: '@daily'\nparams: {a: {type: int, required: true}}\njobs: {}\n"
    found = one(problems, text)
    assert found.message == "param 'a' is required, but a scheduled run cannot give it"
    assert (found.line, found.column, found.end_column) == (3, 10, 11)


def test_no_fault_hides_another(problems: Find) -> None:
    text = """\
name: w
type: Workflow
on: "@dayly"
env: {X: "${{ needs.a }}"}
params: {a: strin, b: int}
jobs:
  one:
    needs: [two, thre]
    steps: []
    stages:
      - {id: bad, bahs: x}
      - {id: work, bash: "echo ${{ params.c }} ${{ stages.later.outputs.x }}", timeout: 10x}
      - {id: later, run: "if x"}
  two:
    if: params.b == 'x'
    stages:
      - {bash: x, run: x}
      - {bash: "${{ params.a }} ${{ matrix.x }}"}
"""
    assert [(found.line, found.message) for found in problems(text)] == [
        (3, "bad cron '@dayly': unknown schedule '@dayly'"),
        (4, "'needs' is not available here: this is the same for every job"),
        (5, "unknown type of a param, found 'strin'"),
        (8, "job 'one' needs 'thre', which does not exist"),
        (9, "unknown key 'steps' in a job"),
        (11, "unknown key 'bahs' in an empty stage"),
        (12, "unknown param 'c'"),
        (12, "stage 'later' is not available here: it runs later"),
        (12, "expected a number of seconds or a duration such as 10m, found '10x'"),
        (13, "this is not Python: expected ':'"),
        (15, "a number is never equal to a text"),
        (17, "this stage has 'bash' and 'run', but a stage is of one kind"),
        (18, "unknown matrix axis 'x'"),
    ]
