"""Operators, sensors and approvals as stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

DOCUMENT = r"""
operators:
  type: Workflow
  params:
    word: {type: str, default: "from a param"}
    jinja: {type: str, default: "{{ 1 + 1 }}"}
    looks: {type: str, required: true}
  env: {FROM_ENV: from env}
  jobs:
    bash:
      stages:
        - {name: Make, id: make, run: 'dollar = "$" + "{{ 1 + 1 }}"'}
        - name: Bash
          id: bash
          operator: airflow.providers.standard.operators.bash.BashOperator
          with:
            bash_command: echo "$ONE | $TWO | {{ run_id }} | $THREE | $FOUR"
            append_env: true
            env:
              ONE: "${{ params.word }} and ${{ env.FROM_ENV }}"
              TWO: "${{ params.jinja }}"
              THREE: "{{ ti.xcom_pull(task_ids='bash.make')['dollar'] }}"
              FOUR: plain
          outputs: {length: "${{ len(outputs.return_value) }}"}
        - name: Bash again
          id: again
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: "echo {{ dag_run.dag_id }} {{ ti.task_id }}"}
        - {name: Read, id: read, run: "length = ${{ stages.bash.outputs.length }}"}
    skips:
      stages:
        - name: Skip
          id: skip
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: exit 99}
        - {name: After, id: after, echo: after}
    fails:
      stages:
        - name: Fail
          id: fail
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: exit 3}
    retries:
      stages:
        - name: Retry
          id: retry
          retry: {max: 1, delay: 1s}
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: "test {{ ti.try_number }} = 2"}
    tolerated:
      stages:
        - name: Fail
          id: fail
          continue-on-error: true
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: exit 3}
        - {name: After, id: after, run: "seen = ${{ stages.fail.outcome }}"}
    conditional:
      stages:
        - name: Never
          id: never
          if: "${{ params.word == 'other' }}"
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: exit 1}
    defers:
      strategy: {matrix: {seconds: [3, 6]}}
      stages:
        - name: Wait
          id: wait
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "{{ dag_run.start_date + macros.timedelta(seconds=20) }}"}
        - {name: After, id: after, echo: after}
    reschedules:
      stages:
        - name: Look
          id: look
          operator: airflow.providers.standard.sensors.bash.BashSensor
          with:
            mode: reschedule
            poke_interval: 6
            bash_command: echo look >> "${{ params.looks }}"; test $(wc -l < "${{ params.looks }}") -ge 2
    too-late:
      stages:
        - name: Wait
          id: wait
          timeout: 4s
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "{{ dag_run.start_date + macros.timedelta(hours=1) }}"}
    too-often:
      stages:
        - name: Look
          id: look
          timeout: 4s
          operator: airflow.providers.standard.sensors.bash.BashSensor
          with: {mode: reschedule, poke_interval: 3, bash_command: exit 1}
    unknown:
      stages:
        - {name: Unknown, id: unknown, operator: airflow.providers.standard.operators.bash.BashOperatr, with: {bash_command: x}, retry: {max: 2, delay: 1s}}
    no-operator:
      stages: [{name: No operator, id: none, operator: collections.OrderedDict}]
    wrong-argument:
      stages: [{name: Wrong, id: wrong, operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: x, bash_comand: y}}]
    ours:
      stages: [{name: Ours, id: ours, operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: x, retries: 2}}]
    asks:
      stages:
        - name: Sign off
          id: sign-off
          approval:
            subject: "Publish ${{ params.word }}?"
            body: "run {{ run_id }}"
          outputs: {word: "${{ outputs.approved ? 'yes' : 'no' }}"}
        - {name: After, id: after, run: "by = ${{ stages.sign-off.outputs.by }}"}
    rejected:
      stages:
        - {name: Sign off, id: sign-off, approval: "Publish?"}
        - {name: After, id: after, echo: never}
    may-reject:
      stages:
        - {name: Sign off, id: sign-off, approval: {subject: "Publish?", fail-on-reject: false}}
        - {name: After, id: after, if: "${{ !stages.sign-off.outputs.approved }}", echo: rejected}
    nobody:
      stages: [{name: Sign off, id: sign-off, timeout: 8s, approval: {subject: "Publish?", default: approve}}]
    nobody-at-all:
      stages: [{name: Sign off, id: sign-off, timeout: 8s, approval: "Publish?"}]
"""


@pytest.fixture(scope="module")
def questions() -> dict[str, dict[str, Any]]:
    """What was asked, by job."""
    return {}


@pytest.fixture(scope="module")
def run(
    client: Client, questions: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """One run of everything, with answers."""
    client.drop("operators.yaml", DOCUMENT)
    client.wait_for_dag("operators")
    looks = tmp_path_factory.mktemp("looks") / "looks"
    run = client.trigger("operators", {"looks": str(looks)})
    for job, answer in (("asks", "Approve"), ("rejected", "Reject"), ("may-reject", "Reject")):
        questions[job] = client.answer(run, f"{job}.sign-off", answer)
    return client.wait_for_run(run, timeout=300)


STATES: dict[str, dict[str, Any]] = {
    "bash": {"make": "success", "bash": "success", "again": "success", "read": "success"},
    "skips": {"skip": "skipped", "after": "success"},
    "fails": {"fail": "failed"},
    "retries": {"retry": "success"},
    "tolerated": {"fail": "success", "after": "success"},
    "conditional": {"never": "skipped"},
    "defers": {"wait": ["success"] * 2, "after": ["success"] * 2},
    "reschedules": {"look": "success"},
    "too-late": {"wait": "failed"},
    "too-often": {"look": "failed"},
    "unknown": {"unknown": "failed"},
    "no-operator": {"none": "failed"},
    "wrong-argument": {"wrong": "failed"},
    "ours": {"ours": "failed"},
    "asks": {"sign-off": "success", "after": "success"},
    "rejected": {"sign-off": "failed", "after": "upstream_failed"},
    "may-reject": {"sign-off": "success", "after": "success"},
    "nobody": {"sign-off": "success"},
    "nobody-at-all": {"sign-off": "failed"},
}


@pytest.mark.parametrize("job", STATES)
def test_states(run: Run, client: Client, job: str) -> None:
    states = client.states(run)
    assert {stage: states[f"{job}.{stage}"] for stage in STATES[job]} == STATES[job]


def test_expressions_and_jinja_do_not_render_each_other(run: Run, client: Client) -> None:
    expected = f"from a param and from env | {{{{ 1 + 1 }}}} | {run.run_id} | ${{{{ 1 + 1 }}}} | plain"
    outputs = client.xcom(run, "bash.bash")
    assert outputs == {"return_value": expected, "length": len(expected)}
    assert client.xcom(run, "bash.again")["return_value"] == "operators bash.again"
    assert client.xcom(run, "bash.read") == {"length": len(expected)}


def test_rendered_fields(run: Run, client: Client) -> None:
    stage = client.rendered(run, "bash.bash")["stage"]
    assert stage["with"]["env"]["ONE"] == "from a param and from env"
    assert stage["with"]["env"]["TWO"] == "{{ 1 + 1 }}"
    assert client.tasks(run)["bash.bash", -1].raw["operator_name"] == "BashOperator"


def test_deferred_and_rescheduled(run: Run, client: Client) -> None:
    tasks = client.tasks(run)
    assert {index: tasks["defers.wait", index].try_number for index in (0, 1)} == {0: 1, 1: 1}
    for index in (0, 1):
        assert tasks["defers.wait", index].raw["duration"] > 5
    assert "test $(wc" in client.rendered(run, "reschedules.look")["stage"]["with"]["bash_command"]
    assert tasks["retries.retry", -1].try_number == 2


FAULTS = {
    "unknown.unknown": ["cannot import", "BashOperatr"],
    "no-operator.none": ["collections.OrderedDict", "no Airflow operator"],
    "wrong-argument.wrong": ["bash_comand"],
    "ours.ours": ["with.retries", "'retry'"],
    "rejected.sign-off": ["Rejected by"],
    "nobody-at-all.sign-off": ["Nobody answered within 8 s"],
}


@pytest.mark.parametrize("task_id", FAULTS)
def test_faults_are_explained(run: Run, client: Client, task_id: str) -> None:
    assert client.tasks(run)[task_id, -1].try_number == 1, "no other try can help"
    log = client.log(run, task_id)
    assert [part for part in FAULTS[task_id] if part not in log] == [], log


def test_what_a_person_is_asked(run: Run, client: Client, questions: dict[str, dict[str, Any]]) -> None:
    assert questions["asks"]["subject"] == "Publish from a param?"
    assert questions["asks"]["body"] == f"run {run.run_id}"
    assert questions["asks"]["options"] == ["Approve", "Reject"]
    outputs = client.xcom(run, "asks.sign-off")
    assert outputs["approved"] is True
    assert outputs["word"] == "yes"
    assert outputs["by"] == client.xcom(run, "asks.after")["by"]
    assert outputs["by"]
    assert client.xcom(run, "may-reject.sign-off")["approved"] is False
    assert client.xcom(run, "nobody.sign-off")["approved"] is True
    assert client.xcom(run, "nobody.sign-off")["by"] is None
