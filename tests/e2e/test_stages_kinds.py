"""Every kind of stage that the engine runs, as tasks of one run: states, outputs and logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

TASKS = """
from airflow_stagecoach import tag


@tag("v1", alias="split-name")
def split(name: str, times: int = 1) -> dict:
    print("splitting", name)
    return {"parts": name.split() * times}


@tag("v1")
def answer() -> int:
    return 42
"""

DOCUMENT = r"""
kinds:
  type: Workflow
  env: {LEVEL: workflow, BOTH: "${{ env.LEVEL }}+"}
  jobs:
    empty:
      stages:
        - {name: Nothing, id: nothing}
        - {name: Say, id: say, echo: "said in ${{ run.dag_id }}", sleep: 0.1}
    bash:
      env: {LEVEL: job}
      stages:
        - name: Write
          id: write
          bash: |
            echo "one $LEVEL $BOTH"; echo "two" >&2; printf 'last, no newline'
            echo "count=3" >> "$STAGE_OUTPUT"
            { echo "text<<EOF"; echo "line 1"; echo "line 2"; echo EOF; } >> "$STAGE_OUTPUT"
          outputs: {number: "${{ int(outputs.count) + 1 }}"}
        - name: Read
          id: read
          env: {TEXT: "${{ stages.write.outputs.text }}"}
          bash: echo "$TEXT" | wc -l; test -d "$WORKFLOW_DIR" && env | grep -c ^AIRFLOW__ || true
        - {name: Posix, id: posix, shell: sh, working-directory: /tmp, bash: 'pwd; echo $0'}
    code:
      stages:
        - {name: Exit, id: exit, bash: 'echo partial; echo "no such thing" >&2; exit 7'}
        - {name: Never, id: never, echo: never}
    signal:
      stages: [{name: Kill, id: kill, bash: kill -SEGV $$}]
    python:
      stages:
        - name: Give
          id: give
          run: |
            import os
            number: int = 6 * 7
            when = ${{ run.run_after }}.year > 2000
            label = "is ${{ run.dag_id }}"
            _hidden = 1
            print("printed")
            logger.warning("logged %d", number)
            def double():
                return number * 2
            twice = double()
        - name: Take
          id: take
          vars: {given: "${{ stages.give.outputs.number }}"}
          run: |
            result.outputs = {"sum": given + ${{ stages.give.outputs.twice }}, "try": context.attempt}
        - {name: Leave early, id: leave, run: "x = 1\nimport sys\nsys.exit(0)\nx = 2"}
        - {name: Keep, id: keep, run: "import io\nstream = io.StringIO()\nwhole = [1]"}
        - {name: After, id: after, run: "seen = stages.leave.outputs.x"}
    leaves:
      stages: [{name: Leave, id: leave, run: "import sys\nsys.exit(3)"}]
    broken:
      stages:
        - name: Break
          id: break
          run: |
            def inner():
                raise KeyError("lost")
            inner()
    uses:
      stages:
        - {name: Call, id: call, uses: kinds_tasks/split-name@v1, with: {name: Ada Byron, times: 2}}
        - {name: Count, id: count, run: "found = len(${{ stages.call.outputs.parts }})"}
    bad-result:
      stages: [{name: Call, id: call, uses: kinds_tasks/answer@v1}]
    bad-argument:
      stages: [{name: Call, id: call, uses: kinds_tasks/split-name@v1, with: {name: x, times: "${{ run.dag_id }}"}}]
    virtual:
      stages:
        - name: Own environment
          id: own
          deps: []
          version: "${PYTHON}"
          vars: {base: "${{ 40 }}"}
          run: |
            import sys
            total = base + ${{ 2 }}
            own = sys.prefix != sys.base_prefix
            print("in a virtual environment")
    nested:
      stages:
        - name: Side by side
          id: side
          parallel:
            left: [{name: L, id: l, run: "side = branch"}]
            right: [{name: R, id: r, bash: 'echo "from the right"'}]
        - name: Each
          id: each
          foreach: [a, b]
          concurrent: 2
          stages: [{name: Item, id: item, run: "up = ${{ item }}.upper()"}]
        - name: Until
          id: until
          until: "${{ item >= 3 }}"
          item: 1
          stages: [{name: More, id: more, run: "item = item + 1"}]
        - name: Case
          id: case
          case: "${{ stages.each.outputs.foreach.a.stages.item.outputs.up }}"
          match:
            - {case: B, stages: [{name: B, id: b, echo: b}]}
            - {case: A, stages: [{name: A, id: a, run: "hit = case"}]}
            - else: [{name: E, id: e, echo: e}]
        - {name: No case, id: no-case, case: x, skip-not-match: true, match: [{case: y, stages: [{name: Y, id: y, echo: y}]}]}
        - {name: After, id: after, run: "left = ${{ stages.side.outputs.parallel.left.stages.l.outputs.side }}"}
    nested-failure:
      stages:
        - name: Each
          id: each
          foreach: [1, 2]
          stages:
            - {name: First, id: first, echo: "${{ item }}"}
            - {name: Two fails, id: two, if: "${{ item == 2 }}", raise: "no ${{ item }}"}
    raises:
      stages: [{name: Raise, id: raise, raise: "stopped in ${{ run.dag_id }}"}]
    goes-on:
      stages:
        - {name: Break, id: break, raise: tolerated, continue-on-error: true}
        - {name: Look, id: look, run: "seen = ${{ stages.break.outcome }} + '/' + ${{ stages.break.result }}"}
    status:
      stages:
        - {name: Skip, id: skip, if: "1 == 2", echo: never}
        - {name: Only good, id: good, if: "success()", echo: good}
        - {name: Break, id: break, raise: broken}
        - {name: Plain, id: plain, if: "1 == 1", echo: never}
        - {name: Bad, id: bad, if: "failure()", run: "which = ${{ stages.break.result }}"}
        - {name: Good, id: still-good, if: "success()", echo: never}
        - {name: Always, id: always, if: "always()", echo: always}
        - {name: Last, id: last, echo: never}
"""


@pytest.fixture(scope="module")
def run(client: Client) -> Run:
    """One run of everything."""
    client.drop("kinds_tasks.py", TASKS)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    client.drop("kinds.yaml", DOCUMENT.replace("${PYTHON}", version))
    client.wait_for_dag("kinds")
    return client.run("kinds", timeout=400)


STATES = {
    "empty": {"nothing": "success", "say": "success"},
    "bash": {"write": "success", "read": "success", "posix": "success"},
    "code": {"exit": "failed", "never": "upstream_failed"},
    "signal": {"kill": "failed"},
    "python": {
        "give": "success",
        "take": "success",
        "leave": "success",
        "keep": "success",
        "after": "success",
    },
    "leaves": {"leave": "failed"},
    "broken": {"break": "failed"},
    "uses": {"call": "success", "count": "success"},
    "bad-result": {"call": "failed"},
    "bad-argument": {"call": "failed"},
    "virtual": {"own": "success"},
    "nested": {
        "side": "success",
        "each": "success",
        "until": "success",
        "case": "success",
        "no-case": "skipped",
        "after": "success",
    },
    "nested-failure": {"each": "failed"},
    "raises": {"raise": "failed"},
    "goes-on": {"break": "success", "look": "success"},
    "status": {
        "skip": "skipped",
        "good": "success",
        "break": "failed",
        "plain": "upstream_failed",
        "bad": "success",
        "still-good": "skipped",
        "always": "success",
        "last": "upstream_failed",
    },
}


@pytest.mark.parametrize("job", STATES)
def test_states(run: Run, client: Client, job: str) -> None:
    states = client.states(run)
    assert {stage: states[f"{job}.{stage}"] for stage in STATES[job]} == STATES[job]


def test_the_run_failed(run: Run) -> None:
    assert run.state == "failed"


OUTPUTS: dict[str, dict[str, Any]] = {
    "bash.write": {
        "return_code": 0,
        "stdout": "one job workflow+\nlast, no newline",
        "stderr": "two",
        "count": "3",
        "text": "line 1\nline 2",
        "number": 4,
    },
    "bash.read": {"return_code": 0, "stdout": "2\n0", "stderr": None},
    "python.give": {"number": 42, "when": True, "label": "is kinds", "twice": 84},
    "python.take": {"sum": 126, "try": 1},
    "python.leave": {"x": 1},
    "python.keep": {"whole": [1]},
    "python.after": {"seen": 1},
    "uses.call": {"parts": ["Ada", "Byron", "Ada", "Byron"]},
    "uses.count": {"found": 4},
    "virtual.own": {"total": 42, "own": True},
    "nested.after": {"left": "left"},
    "goes-on.break": {"outcome": "failure"},
    "goes-on.look": {"seen": "failure/success"},
    "status.bad": {"which": "failure"},
}


@pytest.mark.parametrize("task_id", OUTPUTS)
def test_outputs(run: Run, client: Client, task_id: str) -> None:
    assert client.xcom(run, task_id) == OUTPUTS[task_id]


def test_outputs_of_nested_stages(run: Run, client: Client) -> None:
    side = client.xcom(run, "nested.side")["parallel"]
    assert side["left"]["stages"]["l"]["outputs"] == {"side": "left"}
    assert side["right"]["stages"]["r"]["outputs"]["stdout"] == "from the right"
    each = client.xcom(run, "nested.each")
    assert each["items"] == ["a", "b"]
    assert {key: value["stages"]["item"]["outputs"]["up"] for key, value in each["foreach"].items()} == {
        "a": "A",
        "b": "B",
    }
    until = client.xcom(run, "nested.until")["until"]
    assert sorted(until) == ["1", "2"]
    case = client.xcom(run, "nested.case")
    assert case["case"] == "A"
    assert case["stages"]["a"]["outputs"] == {"hit": "A"}
    failed = client.xcom(run, "nested-failure.each")["foreach"]
    assert failed["1"]["stages"]["two"]["state"] == "skipped"
    assert failed["2"]["state"] == "failed"


LOGS: dict[str, list[str]] = {
    "empty.say": ["said in kinds"],
    "bash.write": ["one job workflow+", "two", "last, no newline"],
    "code.exit": ["partial", "no such thing", "7"],
    "signal.kill": ["SIGSEGV"],
    "python.give": ["printed", "logged 42"],
    "leaves.leave": ["sys.exit(3)"],
    "broken.break": ["KeyError: 'lost'", 'raise KeyError("lost")'],
    "uses.call": ["splitting Ada Byron"],
    "bad-result.call": ["int"],
    "bad-argument.call": ["times", "kinds"],
    "virtual.own": ["in a virtual environment"],
    "nested.side": ["from the right"],
    "nested-failure.each": ["no 2"],
    "raises.raise": ["stopped in kinds"],
    "goes-on.break": ["tolerated", "continue-on-error"],
    "python.keep": ["stream"],
}


@pytest.mark.parametrize("task_id", LOGS)
def test_logs(run: Run, client: Client, task_id: str) -> None:
    log = client.log(run, task_id)
    assert [part for part in LOGS[task_id] if part not in log] == [], log


def test_the_traceback_starts_in_the_code_of_the_user(run: Run, client: Client) -> None:
    log = client.log(run, "broken.break")
    start = log.index("Traceback (most recent call last)")
    first, second = log[start:].splitlines()[1:3]
    assert '<stage break>", line 3' in first, log
    assert second.strip() == "inner()"
    assert "site-packages" not in log, "lines of Airflow say nothing to who wrote the stage"


def test_folds_of_nested_stages(run: Run, client: Client) -> None:
    log = client.log(run, "nested.each")
    assert log.count("::group::") >= 2
    assert log.count("::group::") == log.count("::endgroup::")


def test_names_and_rendered_fields(run: Run, client: Client) -> None:
    task = client.tasks(run)["empty.say", -1]
    assert task.raw["task_display_name"] == "Say"
    assert task.raw["operator_name"] == "empty"
    assert client.rendered(run, "empty.say")["stage"]["echo"] == "said in kinds"
    assert client.rendered(run, "bash.read")["stage"]["env"] == {"TEXT": "line 1\nline 2"}
