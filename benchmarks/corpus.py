"""The same workflow, ten stages in five jobs, in every format that is compared.

    prepare (fetch, split) -> check (rows, types)                -> report (render, publish) -> clean (remove)
                           -> process (load, transform, store)   ->
                              for six partitions

``report`` runs when nothing before it failed, ``clean`` always. Three typed params, tags, a schedule
in a time zone, retries and a timeout. ``correspondence`` checks that the formats agree; where a format
has no word for something (matrix, groups), its corpus does less work than the others.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends import registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTITIONS = ["north", "south", "east", "west", "middle", "sea"]

STAGECOACH = """\
report_NNNN:
  type: Workflow
  desc: |
    Report NNNN: fetch, check, process by partition, publish, clean up.
  on:
    - cronjob: "0 3 * * *"
      timezone: Asia/Bangkok
  start-date: "2026-01-01"
  tags: [report, team-NNNN]
  params:
    region: {type: choice, options: [eu, us], default: eu}
    limit: {type: int, default: 100}
    dry_run: {type: bool, default: false}
  env: {LOG_LEVEL: info, REPORT: "NNNN"}
  defaults:
    retry: {max: 2, delay: 60}
    timeout: 30m
  jobs:
    prepare:
      stages:
        - name: Fetch
          id: fetch
          bash: |
            echo "fetching report $REPORT for $REGION"
            mkdir -p "/tmp/report-$REPORT"
          env: {REGION: "${{ params.region }}"}
        - name: Split
          id: split
          run: |
            limit = params.limit
            rows = [index * NNNN for index in range(limit)]
            total = sum(rows)
    check:
      needs: prepare
      stages:
        - name: Rows
          id: rows
          bash: test "$TOTAL" -ge 0
          env: {TOTAL: "${{ needs.prepare.outputs.total }}"}
        - name: Types
          id: types
          run: |
            total = ${{ needs.prepare.outputs.total }}
            if not isinstance(total, int):
                raise TypeError(f"total is {total!r}")
    process:
      needs: prepare
      strategy:
        matrix:
          partition: [north, south, east, west, middle, sea]
      stages:
        - name: Load
          id: load
          bash: echo "loading $PARTITION at level $LOG_LEVEL"
          env: {PARTITION: "${{ matrix.partition }}"}
        - name: Transform
          id: transform
          run: |
            partition = matrix.partition
            score = sum(ord(letter) for letter in partition) * NNNN
        - name: Store
          id: store
          bash: echo "storing $PARTITION"
          env: {PARTITION: "${{ matrix.partition }}"}
    report:
      needs: [check, process]
      trigger-rule: none_failed
      stages:
        - name: Render
          id: render
          run: |
            lines = [f"report NNNN for {params.region}", f"limit {params.limit}"]
            text = "\\n".join(lines)
        - name: Publish
          id: publish
          bash: echo "publishing $REPORT, dry run $DRY_RUN"
          env: {DRY_RUN: "${{ params.dry_run }}"}
    clean:
      needs: report
      trigger-rule: all_done
      stages:
        - name: Remove
          id: remove
          bash: rm -rf "/tmp/report-$REPORT"
"""

PYTHON = '''\
"""Report NNNN: fetch, check, process by partition, publish, clean up."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, TaskGroup, task_group

ENV = {"LOG_LEVEL": "info", "REPORT": "NNNN"}
TOTAL = "{{ ti.xcom_pull(task_ids='prepare.split')['total'] }}"


def split_rows(limit):
    rows = [index * NNNN for index in range(int(limit))]
    return {"rows": rows, "total": sum(rows)}


def check_types(total):
    if not isinstance(total, str):
        raise TypeError(f"total is {total!r}")


def transform_partition(partition):
    return {"score": sum(ord(letter) for letter in partition) * NNNN}


def render_report(region, limit):
    lines = [f"report NNNN for {region}", f"limit {limit}"]
    return {"text": "\\n".join(lines)}


@task_group(group_id="process")
def process_partition(partition):
    load = BashOperator(
        task_id="load",
        bash_command='echo "loading $PARTITION at level $LOG_LEVEL"',
        env={**ENV, "PARTITION": partition},
        append_env=True,
    )
    transform = PythonOperator(
        task_id="transform", python_callable=transform_partition, op_kwargs={"partition": partition}
    )
    store = BashOperator(
        task_id="store",
        bash_command='echo "storing $PARTITION"',
        env={**ENV, "PARTITION": partition},
        append_env=True,
    )
    load >> transform >> store


with DAG(
    "report_NNNN",
    description="Report NNNN: fetch, check, process by partition, publish, clean up.",
    doc_md="Report NNNN: fetch, check, process by partition, publish, clean up.\\n",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Bangkok"),
    catchup=False,
    tags=["report", "team-NNNN"],
    params={
        "region": Param("eu", type="string", enum=["eu", "us"]),
        "limit": Param(100, type="integer"),
        "dry_run": Param(False, type="boolean"),
    },
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=60),
        "execution_timeout": timedelta(minutes=30),
    },
):
    with TaskGroup("prepare") as prepare:
        fetch = BashOperator(
            task_id="fetch",
            bash_command='echo "fetching report $REPORT for $REGION"\\nmkdir -p "/tmp/report-$REPORT"',
            env={**ENV, "REGION": "{{ params.region }}"},
            append_env=True,
        )
        split = PythonOperator(
            task_id="split", python_callable=split_rows, op_kwargs={"limit": "{{ params.limit }}"}
        )
        fetch >> split

    with TaskGroup("check") as check:
        rows = BashOperator(
            task_id="rows", bash_command='test "$TOTAL" -ge 0', env={**ENV, "TOTAL": TOTAL}, append_env=True
        )
        types = PythonOperator(task_id="types", python_callable=check_types, op_kwargs={"total": TOTAL})
        rows >> types

    process = process_partition.expand(partition=PARTITIONS)

    with TaskGroup("report") as report:
        render = PythonOperator(
            task_id="render",
            python_callable=render_report,
            op_kwargs={"region": "{{ params.region }}", "limit": "{{ params.limit }}"},
            trigger_rule="none_failed",
        )
        publish = BashOperator(
            task_id="publish",
            bash_command='echo "publishing $REPORT, dry run $DRY_RUN"',
            env={**ENV, "DRY_RUN": "{{ params.dry_run }}"},
            append_env=True,
        )
        render >> publish

    with TaskGroup("clean") as clean:
        BashOperator(
            task_id="remove",
            bash_command='rm -rf "/tmp/report-$REPORT"',
            env=ENV,
            append_env=True,
            trigger_rule="all_done",
        )

    prepare >> [check, process] >> report >> clean
'''.replace("=PARTITIONS", f"={PARTITIONS}".replace("'", '"'))

#: dag-factory maps a task, not a group: `process` is a group of three mapped tasks.
DAG_FACTORY = """\
report_NNNN:
  description: "Report NNNN: fetch, check, process by partition, publish, clean up."
  doc_md: |
    Report NNNN: fetch, check, process by partition, publish, clean up.
  schedule: "0 3 * * *"
  catchup: false
  tags: [report, team-NNNN]
  params:
    region: {__type__: airflow.sdk.Param, default: eu, type: string, enum: [eu, us]}
    limit: {__type__: airflow.sdk.Param, default: 100, type: integer}
    dry_run: {__type__: airflow.sdk.Param, default: false, type: boolean}
  default_args:
    start_date: 2026-01-01
    timezone: Asia/Bangkok
    retries: 2
    retry_delay: {__type__: datetime.timedelta, seconds: 60}
    execution_timeout: {__type__: datetime.timedelta, minutes: 30}
  task_groups:
    - group_name: prepare
    - group_name: check
      dependencies: [prepare]
    - group_name: process
      dependencies: [prepare]
    - group_name: report
      dependencies: [check, process]
    - group_name: clean
      dependencies: [report]
  tasks:
    - task_id: fetch
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: |
        echo "fetching report NNNN for $REGION"
        mkdir -p "/tmp/report-NNNN"
      env: {LOG_LEVEL: info, REPORT: "NNNN", REGION: "{{ params.region }}"}
      append_env: true
      task_group_name: prepare
    - task_id: split
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable: report_callables.split_rows
      op_kwargs: {limit: "{{ params.limit }}"}
      task_group_name: prepare
      dependencies: [fetch]
    - task_id: rows
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: test "$TOTAL" -ge 0
      env: {LOG_LEVEL: info, REPORT: "NNNN", TOTAL: "{{ ti.xcom_pull(task_ids='prepare.split')['total'] }}"}
      append_env: true
      task_group_name: check
    - task_id: types
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable: report_callables.check_types
      op_kwargs: {total: "{{ ti.xcom_pull(task_ids='prepare.split')['total'] }}"}
      task_group_name: check
      dependencies: [rows]
    - task_id: load
      operator: airflow.providers.standard.operators.bash.BashOperator
      partial:
        bash_command: echo "loading $PARTITION at level $LOG_LEVEL"
        append_env: true
      expand:
        env: &partitions
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: north}
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: south}
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: east}
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: west}
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: middle}
          - {LOG_LEVEL: info, REPORT: "NNNN", PARTITION: sea}
      task_group_name: process
    - task_id: transform
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable: report_callables.transform_partition
      expand:
        op_kwargs:
          - {partition: north}
          - {partition: south}
          - {partition: east}
          - {partition: west}
          - {partition: middle}
          - {partition: sea}
      task_group_name: process
      dependencies: [load]
    - task_id: store
      operator: airflow.providers.standard.operators.bash.BashOperator
      partial:
        bash_command: echo "storing $PARTITION"
        append_env: true
      expand:
        env: *partitions
      task_group_name: process
      dependencies: [transform]
    - task_id: render
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable: report_callables.render_report
      op_kwargs: {region: "{{ params.region }}", limit: "{{ params.limit }}"}
      trigger_rule: none_failed
      task_group_name: report
    - task_id: publish
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: echo "publishing $REPORT, dry run $DRY_RUN"
      env: {LOG_LEVEL: info, REPORT: "NNNN", DRY_RUN: "{{ params.dry_run }}"}
      append_env: true
      task_group_name: report
      dependencies: [render]
    - task_id: remove
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: rm -rf "/tmp/report-NNNN"
      env: {LOG_LEVEL: info, REPORT: "NNNN"}
      append_env: true
      trigger_rule: all_done
      task_group_name: clean
"""

_DAG_FACTORY_LOADER = '''\
"""Makes an Airflow DAG of each workflow in a YAML file (or of a folder of them)."""

from pathlib import Path

from dagfactory import load_yaml_dags

load_yaml_dags(globals_dict=globals(), ARGUMENT=str(Path(__file__).parent / "NAME"))
'''

#: What dag-factory's PythonOperators call. Without the words by which Airflow knows a file with DAGs.
_CALLABLES = """\
def split_rows(limit):
    rows = list(range(int(limit)))
    return {"rows": rows, "total": sum(rows)}


def check_types(total):
    if not isinstance(total, str):
        raise TypeError(f"total is {total!r}")


def transform_partition(partition):
    return {"score": sum(ord(letter) for letter in partition)}


def render_report(region, limit):
    return {"text": f"report for {region}, limit {limit}"}
"""

#: Airflow's own YAML has neither groups nor mapping, and Python code is not written in it: ten bash tasks.
AIRFLOW_YAML = """\
$schema: https://airflow.apache.org/schemas/dag/SCHEMA.json
dag_id: report_NNNN
description: "Report NNNN: fetch, check, process by partition, publish, clean up."
doc_md: |
  Report NNNN: fetch, check, process by partition, publish, clean up.
schedule: "0 3 * * *"
start_date: 2026-01-01T00:00:00+07:00
catchup: false
tags: [report, team-NNNN]
params: {region: eu, limit: 100, dry_run: false}
templates:
  stage:
    uses: airflow.providers.standard.operators.bash.BashOperator
    retries: 2
    retry_delay: 1m
    execution_timeout: 30m
    with:
      append_env: true
      env: {LOG_LEVEL: info, REPORT: "NNNN"}
tasks:
  - id: prepare.fetch
    extends: stage
    with:
      bash_command: |
        echo "fetching report $REPORT for $REGION"
        mkdir -p "/tmp/report-$REPORT"
      env: {LOG_LEVEL: info, REPORT: "NNNN", REGION: {$t: "{{ params.region }}"}}
  - id: prepare.split
    extends: stage
    needs: [prepare.fetch]
    with: {bash_command: {$t: "seq {{ params.limit }} | awk '{ s += $1 } END { print s }'"}}
  - id: check.rows
    extends: stage
    needs: [prepare.split]
    with:
      bash_command: test "$TOTAL" -ge 0
      env: {LOG_LEVEL: info, REPORT: "NNNN", TOTAL: {$x: prepare.split}}
  - id: check.types
    extends: stage
    needs: [check.rows]
    with:
      bash_command: test -n "$TOTAL"
      env: {LOG_LEVEL: info, REPORT: "NNNN", TOTAL: {$x: prepare.split}}
  - id: process.load
    extends: stage
    needs: [prepare.split]
    with: {bash_command: 'echo "loading at level $LOG_LEVEL"'}
  - id: process.transform
    extends: stage
    needs: [process.load]
    with: {bash_command: "echo $((6 * NNNN))"}
  - id: process.store
    extends: stage
    needs: [process.transform]
    with: {bash_command: echo "storing"}
  - id: report.render
    extends: stage
    needs: [check.types, process.store]
    trigger_rule: none_failed
    with: {bash_command: {$t: 'echo "report NNNN for {{ params.region }}, limit {{ params.limit }}"'}}
  - id: report.publish
    extends: stage
    needs: [report.render]
    with:
      bash_command: echo "publishing $REPORT, dry run $DRY_RUN"
      env: {LOG_LEVEL: info, REPORT: "NNNN", DRY_RUN: {$t: "{{ params.dry_run }}"}}
  - id: clean.remove
    extends: stage
    needs: [report.publish]
    trigger_rule: all_done
    with: {bash_command: 'rm -rf "/tmp/report-$REPORT"'}
"""

#: What stands under ``with`` of a backend that is ours.
SETTINGS: dict[str, dict[str, Any]] = {
    "docker": {"image": "python:3.12-slim", "env": {"REGION": "eu"}, "volumes": ["reports:/reports"]},
    "kubernetes": {"image": "python:3.12-slim", "namespace": "reports"},
    "local": {},
    "self-hosted": {"conn": "runner", "labels": ["big"]},
}


def with_backends(text: str) -> str:
    """Give a document of Stagecoach with a ``runs-on`` in every job, every backend of ours by turns."""
    types = itertools.cycle(sorted(registry.BUILT_IN))

    def name(job: re.Match[str]) -> str:
        type_ = next(types)
        return f"{job[0]}      runs-on: {json.dumps({'type': type_, 'with': SETTINGS[type_]})}\n"

    head, jobs, body = text.partition("  jobs:\n")
    return head + jobs + re.sub(r"^ {4}\w+:\n", name, body, flags=re.MULTILINE)


def fill(template: str, number: int) -> str:
    """Give the text of workflow ``number``. Every file has its own content."""
    return template.replace("NNNN", str(1000 + number))


def _stagecoach(folder: Path, number: int) -> None:
    (folder / f"report_{1000 + number}.yaml").write_text(fill(STAGECOACH, number))


def _stagecoach_backends(folder: Path, number: int) -> None:
    (folder / f"report_{1000 + number}.yaml").write_text(with_backends(fill(STAGECOACH, number)))


def _python(folder: Path, number: int) -> None:
    (folder / f"report_{1000 + number}.py").write_text(fill(PYTHON, number))


def _dag_factory(folder: Path, number: int) -> None:
    name = f"report_{1000 + number}.yml"
    (folder / "workflows").mkdir(exist_ok=True)
    (folder / "workflows" / name).write_text(fill(DAG_FACTORY, number))
    (folder / "report_callables.py").write_text(_CALLABLES)
    loader = _DAG_FACTORY_LOADER.replace("ARGUMENT", "config_filepath").replace("NAME", f"workflows/{name}")
    (folder / f"report_{1000 + number}.py").write_text(loader)


def _dag_factory_folder(folder: Path, number: int) -> None:
    _dag_factory(folder, number)
    (folder / f"report_{1000 + number}.py").unlink()
    loader = _DAG_FACTORY_LOADER.replace("ARGUMENT", "dags_folder").replace("NAME", "workflows")
    (folder / "all_reports.py").write_text(loader)


def _airflow_yaml(folder: Path, number: int) -> None:
    text = fill(AIRFLOW_YAML, number).replace("SCHEMA", "2026-10-30")
    (folder / f"report_{1000 + number}.yaml").write_text(text)


FORMATS: dict[str, Callable[[Path, int], None]] = {
    "stagecoach": _stagecoach,
    "stagecoach-backends": _stagecoach_backends,
    "python": _python,
    "dag-factory": _dag_factory,
    "dag-factory-folder": _dag_factory_folder,
    "airflow-yaml": _airflow_yaml,
}

#: Formats of one file a workflow that Airflow parses as YAML.
_YAML = ("stagecoach", "stagecoach-backends", "airflow-yaml")


def write(format_: str, folder: Path, count: int) -> Path:
    """Write ``count`` workflows in a format into a folder of their own.

    :param format_: a key of ``FORMATS``
    :return: the folder, ``folder/format-count``; one that is there already is used as it is
    """
    target = folder / f"{format_}-{count}"
    if not target.exists():
        target.mkdir(parents=True)
        for number in range(count):
            FORMATS[format_](target, number)
    return target


def file_of(format_: str, number: int) -> str:
    """Name the file, in the corpus's folder, that Airflow parses to get workflow ``number``."""
    if format_ == "dag-factory-folder":
        return "all_reports.py"
    return f"report_{1000 + number}{'.yaml' if format_ in _YAML else '.py'}"


def dag_id_of(number: int) -> str:
    """The DAG id of workflow ``number``, the same in every format."""
    return f"report_{1000 + number}"
