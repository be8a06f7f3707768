"""Metrics, CPU time and memory of stages."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.usage import MetricError, Usage, parse_metric
from tests.engine.harness import bash, empty, python, run

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("::metric name=rows value=10", ("rows", 10)),
        ("::metric name=rows value=-1.5", ("rows", -1.5)),
        ("::metric name=a.b-c_d value=1e3", ("a.b-c_d", 1000.0)),
        ("::metric  name=rows\tvalue=.5  ", ("rows", 0.5)),
        ("::metric name=rows value=+7", ("rows", 7)),
        ("a ::metric name=rows value=10", None),
        (" ::metric name=rows value=10", None),
        ("::metrics name=rows value=10", None),
        ("::group::metric", None),
        ("", None),
    ],
)
def test_parsing(line: str, expected: Any) -> None:
    found = parse_metric(line)
    assert found == expected
    if found is not None:
        assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize(
    "line",
    [
        "::metric",
        "::metric ",
        "::metric rows=10",
        "::metric name=rows",
        "::metric name=rows value=",
        "::metric name=rows value=ten",
        "::metric name=rows value=1 unit=s",
        "::metric value=1 name=rows",
        "::metric name=2rows value=1",
        "::metric name=a b value=1",
        "::metric name=" + "a" * 65 + " value=1",
        "::metric name=rows value=nan",
        "::metric name=rows value=inf",
        "::metric name=rows value=1e9999",
        "::metric name=rows value=0x10",
        "::metric name=rows value=1_000",
        "::metric name=${x} value=1",
        "::metric name=rows value=١",
    ],
)
def test_what_is_no_metric_is_a_warning_and_never_a_failure(line: str) -> None:
    ran = run(python(f"print({line!r})"))
    assert ran.state == "success"
    assert ran.texts[0] == line
    assert [level for level, _ in ran.lines] == ["info", "warning"]
    assert "not counted" in ran.texts[1]
    assert "metrics" not in ran.only


@settings(deadline=None)
@given(st.text())
def test_no_line_raises_anything_else(text: str) -> None:
    for line in (text, "::metric " + text, "::metric name=" + text, "::metric name=x value=" + text):
        with contextlib.suppress(MetricError):
            found = parse_metric(line)
            assert found is None or isinstance(found[1], (int, float))


LINES = (
    "echo '::metric name=rows value=10'; echo '::metric name=rows value=5'; echo '::metric name=s value=.5'"
)


@pytest.mark.parametrize(
    "stage",
    [
        bash(LINES),
        bash(f"{{ {LINES}; }} >&2"),
        python("print('::metric name=rows value=15')\nprint('::metric name=s value=0.5')"),
        python("metric('rows', 10)\nmetric('rows', 5)\nmetric('s', 0.5)"),
        python("from airflow_stagecoach.engine import metric as m\nm('rows', 15)\nm('s', .5)"),
        python(
            "import threading\nt = threading.Thread(target=metric, args=('rows', 15)); t.start(); t.join()\n"
            "metric('s', .5)"
        ),
        {
            "kind": "virtual_python",
            "deps": [],
            "run": "metric('rows', 10)\nprint('::metric name=rows value=5')\nmetric('s', .5)",
        },
        {"kind": "foreach", "foreach": [1, 2], "stages": [bash("echo '::metric name=rows value=7'", id="i")]},
    ],
    ids=lambda stage: stage["kind"],
)
def test_several_of_a_name_add_up(stage: Any) -> None:
    only = run(stage).only
    assert only["state"] == "success", only
    wanted = {"rows": 14} if stage["kind"] == "foreach" else {"rows": 15, "s": 0.5}
    assert only["metrics"] == wanted
    assert "metric" not in only["outputs"]
    if stage["kind"] == "foreach":
        inner = only["outputs"]["foreach"]["1"]["stages"]["i"]
        assert not {"metrics", "cpu_seconds", "peak_memory"} & set(inner)


def test_the_default_value_is_one_and_failed_stages_keep_theirs() -> None:
    ran = run(python("metric('tries')\n1/0", retry={"max": 1, "delay": 0}), enforce_retries=True)
    assert ran.only["state"] == "failed"
    assert ran.only["metrics"] == {"tries": 2}
    assert ran.only["tries"] == 2


@pytest.mark.parametrize(
    "call", ["metric('a b', 1)", "metric('a', 'x')", "metric('a', True)", "metric(1, 1)"]
)
def test_a_wrong_call_is_a_warning(call: str) -> None:
    ran = run(python(call))
    assert ran.state == "success"
    assert [level for level, _ in ran.lines] == ["warning"]


def test_names_made_of_data_are_bounded() -> None:
    ran = run(python("for n in range(150): metric(f'n{n}', 1)"))
    assert len(ran.only["metrics"]) == 100
    assert len(ran.texts) == 50


def test_the_sum_stays_finite() -> None:
    usage = Usage()
    usage.count("a", 9e299)
    with pytest.raises(MetricError):
        usage.count("a", 9e299)
    assert usage.metrics == {"a": 9e299}


def test_counting_from_many_threads_loses_nothing() -> None:
    outer = Usage()
    inner = [Usage(outer), Usage(outer)]
    threads = [
        threading.Thread(target=lambda at=at: [inner[at % 2].count("n", 1) for _ in range(500)])
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outer.metrics == {"n": 4000}
    assert inner[0].metrics["n"] + inner[1].metrics["n"] == 4000


BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


@pytest.mark.parametrize(
    "stage",
    [
        python(BURN),
        python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}], check=True)"),
        bash(f'python3 -c "{BURN}"'),
        {"kind": "foreach", "foreach": [1, 2], "stages": [python(BURN.replace("0.3", "0.15"), id="i")]},
        {
            "kind": "parallel",
            "parallel": {
                name: [python(BURN.replace("process_time", "thread_time").replace("0.3", "0.15"), id="i")]
                for name in "ab"
            },
        },
    ],
    ids=["python", "its child", "bash", "foreach", "parallel"],
)
def test_cpu_seconds(stage: Any) -> None:
    only = run(stage).only
    assert only["state"] == "success", only
    assert 0.28 < only["cpu_seconds"] < 1.5


def test_waiting_costs_no_cpu_and_who_never_started_has_used_nothing() -> None:
    ran = run(empty(sleep=0.3), empty(**{"if": "false"}), bash("exit 1"), bash("true"))
    stages = list(ran.stages.values())
    assert stages[0]["cpu_seconds"] < 0.2
    assert [stage.get("cpu_seconds") for stage in stages[1::2]] == [0.0, None]


@pytest.mark.parametrize(
    "stage",
    [
        python("held = bytearray(200 * 1024 * 1024)\ndel held"),
        # As large as the process of the tests may be, it is told from that by looking while it lives.
        bash('python3 -c "import time; x = bytearray(200 * 1024 * 1024); time.sleep(0.8)"'),
        bash('python3 -c "import time; x = bytearray(200 * 1024 * 1024); time.sleep(0.8)" & wait'),
    ],
    ids=["python", "bash", "background"],
)
def test_peak_memory(stage: Any) -> None:
    ran = run(stage)
    assert 200 * MIB < ran.only["peak_memory"] < 700 * MIB
    assert ran.result["peak_memory"] >= ran.only["peak_memory"]


def test_a_small_process_is_not_told_to_be_as_large_as_this_one() -> None:
    held = bytearray(200 * MIB)
    ran = run(bash("sleep 0.1"), python("x = 1"))
    assert 0 < ran.stages["s1"]["peak_memory"] < 50 * MIB
    del held


def test_a_stage_is_not_charged_for_what_the_process_held_before() -> None:
    first, second = run(python("x = bytearray(200 * 1024 * 1024)\ndel x"), python("y = 1")).stages.values()
    assert second["peak_memory"] < first["peak_memory"] - 100 * MIB
