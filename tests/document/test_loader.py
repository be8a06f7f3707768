# Documents and messages stay on one line:

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_stagecoach.document import Diagnostic, Loaded, load, render_diagnostics
from airflow_stagecoach.document.model import fault

JOB = "{j: {stages: [{bash: x}]}}"


def names(loaded: Loaded) -> list[str]:
    return [plan["dag_id"] for plan in loaded.plans]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"name: a\ntype: Workflow\njobs: {JOB}", ["a"]),
        (f"name: a\njobs: {JOB}", ["a"]),
        (f"name: My Report\njobs: {JOB}", ["My-Report"]),
        (f"a: {{type: Workflow, jobs: {JOB}}}\nb: {{type: Workflow, jobs: {{}}}}", ["a", "b"]),
        (f"a: {{jobs: {JOB}}}", ["a"]),
        (f"name: a\njobs: {JOB}\n---\nname: b\njobs: {JOB}\n---\nc: {{jobs: {JOB}}}", ["a", "b", "c"]),
        (f"x-common: &c {{A: 1}}\n.hidden: 1\na: {{type: Workflow, env: *c, jobs: {JOB}}}", ["a"]),
        (f"x-common: &c {{A: 1}}\nname: a\ntype: Workflow\nenv: *c\njobs: {JOB}", ["a"]),
        (f"\ufeffname: a\r\njobs: {JOB}\r\n", ["a"]),
        ("name: a\ntype: Workflow\njobs: {}", ["a"]),
    ],
)
def test_layouts(text: str, ids: list[str]) -> None:
    loaded = load(text, "f.yml")
    assert (names(loaded), loaded.diagnostics, loaded.ours) == (ids, [], True)
    assert names(load(text.encode(), "f.yml")) == ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "just text",
        "[1, 2]",
        "a: 1",
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: x}]",
        "stages:\n  - stage: a\n    jobs:\n      - job: b\n        steps: []",
        "kind: Workflow\nspec: {}",
        "a: [",
        "jobs: {}",
        "key: *undefined",
    ],
)
def test_other_yaml_is_left_alone(text: str) -> None:
    assert load(text, "f.yml") == Loaded(ours=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this file holds no workflow"),
        ("[1, 2]", "expected a map with name, type and jobs, found a list"),
        ("a: 1", "'a' is no workflow"),
        ("jobs: {}", "a workflow needs 'name'"),
        ("name: [", "this is not YAML: while parsing a flow node: did not find expected node content"),
    ],
)
def test_a_file_that_a_person_named_is_ours(text: str, message: str) -> None:
    loaded = load(text, "f.yml", explicit=True)
    assert loaded.ours
    assert [found.message for found in loaded.diagnostics] == [message]


def test_a_misspelt_type_is_an_error() -> None:
    loaded = load(f"name: a\ntype: Workfow\njobs: {JOB}", "f.yml")
    assert [found.message for found in loaded.diagnostics] == ["expected type: Workflow, found 'Workfow'"]


def test_a_bad_workflow_hides_no_good_one() -> None:
    text = f"good: {{jobs: {JOB}}}\nbad: {{jobs: {{j: {{stages: [{{bahs: x}}]}}}}}}\nfine: {{jobs: {JOB}}}\n"
    loaded = load(text, "f.yml")
    assert names(loaded) == ["good", "fine"]
    assert [found.line for found in loaded.diagnostics] == [2]


def test_a_fault_of_the_yaml_spoils_only_its_workflow() -> None:
    text = f"good:\n  jobs: {JOB}\nbad:\n  jobs: {JOB}\n  desc: a\n  desc: b\nfine:\n  jobs: {JOB}\n"
    loaded = load(text, "f.yml")
    assert names(loaded) == ["good", "fine"]
    assert [found.code for found in loaded.diagnostics] == ["duplicate-key"]


def test_a_broken_document_hides_no_other() -> None:
    text = f"name: a\njobs: {JOB}\n---\nname: [\njobs: 1\n---\nname: c\njobs: {JOB}\n"
    loaded = load(text, "f.yml")
    assert names(loaded) == ["a", "c"]
    assert [found.code for found in loaded.diagnostics] == ["yaml-syntax"]
    assert [plan["line"] for plan in loaded.plans] == [1, 7]


def test_an_entry_that_is_no_workflow() -> None:
    loaded = load(f"a: {{jobs: {JOB}}}\nanchors: {{x: 1}}\n", "f.yml")
    assert names(loaded) == ["a"]
    (found,) = loaded.diagnostics
    assert (found.message, found.line, found.column) == ("'anchors' is no workflow", 2, 1)


def test_two_workflows_with_one_id() -> None:
    loaded = load(f"my report: {{jobs: {JOB}}}\nmy-report: {{jobs: {JOB}}}\n", "f.yml")
    assert names(loaded) == ["my-report"]
    (found,) = loaded.diagnostics
    assert found.message == "two workflows of this file have the DAG id 'my-report', the other is in line 1"
    assert found.line == 2


def test_the_name_of_a_workflow_in_a_map_is_its_key() -> None:
    loaded = load(f"a: {{name: b, jobs: {JOB}}}\n", "f.yml")
    assert [found.message for found in loaded.diagnostics] == ["the name of this workflow is its key, 'a'"]
    assert loaded.plans == []


@pytest.mark.parametrize(
    "name", ["'${{ params.x }}'", "'{{ ds }}'", "''", "' '", "'---'", "5", "[a]", "''' '''"]
)
def test_bad_names(name: str) -> None:
    loaded = load(f"name: {name}\ntype: Workflow\njobs: {{}}", "f.yml")
    assert len(loaded.diagnostics) == 1
    assert loaded.plans == []


def test_other_backends_plug_in() -> None:
    def docker(settings: dict[str, object]) -> dict[str, object]:
        if "image" not in settings:
            raise fault("missing-key", "docker needs 'image'")
        return {**settings, "pull": "missing"}

    text = "name: a\njobs: {j: {runs-on: {type: container, with: {image: x}}, stages: [{bash: x}]}}"
    (plan,) = load(text, "f.yml", backends={"docker": docker}).plans
    assert plan["jobs"][0]["runs_on"] == {"type": "docker", "with_": {"image": "x", "pull": "missing"}}
    loaded = load(
        "name: a\njobs: {j: {runs-on: docker, stages: [{bash: x}]}}", "f.yml", backends={"docker": docker}
    )
    assert [found.message for found in loaded.diagnostics] == ["docker needs 'image'"]


def test_the_limit_of_legs_is_an_argument() -> None:
    text = "name: a\njobs: {j: {strategy: {matrix: {a: [1, 2, 3]}}, stages: [{bash: x}]}}"
    assert names(load(text, "f.yml", max_legs=3)) == ["a"]
    (found,) = load(text, "f.yml", max_legs=2).diagnostics
    assert found.message == "the matrix has 3 legs, the limit is 2"


def test_a_file_that_is_too_large() -> None:
    loaded = load("type: Workflow\n" + "# x\n" * 100, "f.yml", max_bytes=100)
    assert [found.code for found in loaded.diagnostics] == ["too-large"]


def test_rendering() -> None:
    text = "name: a\njobs:\n  j:\n    stags: []\n"
    assert render_diagnostics(load(text, "dir/f.yml", explicit=True).diagnostics) == (
        "dir/f.yml:4:5: unknown key 'stags' in a job [unknown-key]\n"
        "  |\n"
        "4 |     stags: []\n"
        "  |     ^~~~~\n"
        "hint: did you mean 'stages'?"
    )


def test_json_and_back() -> None:
    (found,) = load("name: a\njobs: {j: {stags: []}}", "f.yml", explicit=True).diagnostics
    assert Diagnostic.from_json(found.to_json()) == found
    assert found.path == ("jobs", "j", "stags")


def test_a_long_line_is_cut_around_its_fault() -> None:
    text = (
        "name: a\njobs: {j: {stages: [{bash: x}], desc: '"
        + "x" * 3000
        + "', stags: 1, desc2: '"
        + "y" * 3000
        + "'}}"
    )
    for found in load(text, "f.yml").diagnostics:
        shown = found.render().splitlines()
        assert max(map(len, shown)) < 400
        assert shown[2][shown[3].index("^") :].startswith(("stags", "desc2"))


def test_a_flood_of_faults_is_quick_and_cut() -> None:
    jobs = "".join(f"  j{n}: {{stags: [{{bash: x}}]}}\n" for n in range(900))
    start = time.process_time()
    loaded = load(f"name: a\ntype: Workflow\njobs:\n{jobs}", "f.yml")
    assert time.process_time() - start < 2
    assert len(loaded.diagnostics) == 200


@given(st.text() | st.binary())
def test_never_raises(data: str | bytes) -> None:
    for explicit in (False, True):
        loaded = load(data, "f.yml", explicit=explicit)
        render_diagnostics(loaded.diagnostics)


_WORDS = st.sampled_from(
    [
        "name",
        "type",
        "Workflow",
        "jobs",
        "stages",
        "bash",
        "run",
        "foreach",
        "parallel",
        "until",
        "case",
        "match",
        "else",
        "if",
        "needs",
        "strategy",
        "matrix",
        "include",
        "exclude",
        "params",
        "env",
        "on",
        "retry",
        "max",
        "timeout",
        "id",
        "j",
        "a",
        "b",
        "${{",
        "params.x",
        "}}",
        "always()",
        "1",
        "0",
        "-1",
        "true",
        "null",
        "x",
        "with",
        "uses",
        "operator",
        "a/b@c",
        "item",
        "case",
        "trigger",
        "raise",
        "approval",
        "outputs",
        "defaults",
        "tags",
        "runs-on",
        "local",
        "desc",
        "on",
        "never",
        "rules",
        "policy",
        "backoff",
        "custom",
        "exit:5",
        "message:/(/",
        "network",
        "concurrency",
        "group",
        "on-conflict",
        "queue",
        "notify",
        "failure",
        "deadline",
        "webhook",
        "notifier",
        "https://x.y/${{ matrix.a }}",
        "headers",
        "logging",
        "level",
        "file",
        "debug",
        "resources",
        "limits",
        "cpu",
        "memory",
        "gpu",
        "500m",
        "1Gi",
        "enforce",
        "best-effort",
        "teardown",
        "granularity",
        "job",
        "pool",
        "pool-slots",
        "priority",
        "cleanup",
        "none",
    ]
)
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.floats(allow_nan=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_JUNK, _JUNK, st.dictionaries(_WORDS, _JUNK, max_size=3))
def test_junk_of_our_words_never_raises(job: object, stage: object, more: dict[str, object]) -> None:
    import json

    document = {"name": "w", "type": "Workflow", "jobs": {"j": job, "k": {"stages": [stage], **more}}, **more}
    loaded = load(json.dumps(document), "f.yml", explicit=True)
    for found in loaded.diagnostics:
        assert found.line == 1
        assert "Input should" not in found.message
        found.render()
    json.dumps(loaded.plans)


WHOLE = """
name: w
type: Workflow
on: [{cron: "0 3 * * *", timezone: Asia/Bangkok}]
params: {a: {type: choice, options: [x, y], default: x}, b: int}
defaults: {retry: {max: 2, backoff: linear, increment: 5}, timeout: 30m, pool: p, cleanup: always}
concurrency: {group: "g-${{ params.a }}", on-conflict: cancel-running}
deadline: 1h
notify: {failure: {webhook: "https://x.y", secret: "${{ secrets.k }}"}, deadline: [{conn: pager}]}
logging: {level: info, file: {path: /logs, max-bytes: 10M}}
jobs:
  one:
    resources: {cpu: 500m, memory: 512Mi, limits: {memory: 1Gi}}
    stages:
      - {id: s, name: "S ${{ params.b }}", bash: "echo ${{ params.a }}", env: {A: "${{ secrets.x }}"}}
      - id: py
        run: |
          x = "${{ stages.s.outputs.stdout }}"
    outputs: {o: "${{ stages.py.outputs.x }}"}
  two:
    needs: one
    if: always() && needs.one.result == 'success'
    strategy: {matrix: {m: [1, 2], n: "${{ needs.one.outputs.o }}"}, include: [{m: 3}], max-parallel: 2}
    notify: {retry: "https://x.y/${{ matrix.m }}"}
    stages:
      - {run: x = 1, retry: {max: 3, on: [network, "exit:1-5"], rules: [{match: "message:/a b/", delay: 1m}]}}
      - foreach: "${{ fromJson('[1]') }}"
        stages:
          - {case: "${{ item }}", match: [{case: 1, stages: [{raise: "${{ case }}"}]}, {else: [{echo: x}]}]}
      - {until: "loop > 2", stages: [{parallel: {b: [{uses: a/b@c, with: {x: "${{ branch }}"}}]}}]}
      - {bash: rm, teardown: true, timeout: none, priority: 5}
"""


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(
    st.integers(0, len(WHOLE)),
    st.integers(0, 30),
    st.sampled_from(
        ["", "x", ": ", "- ", "${{", "}}", "[", "{", "'", '"', "\n", "null", "&a ", "*a", "1", "|", "#", "("]
    ),
)
def test_a_changed_document_never_raises(start: int, length: int, put: str) -> None:
    loaded = load(WHOLE[:start] + put + WHOLE[start + length :], "f.yml", explicit=True)
    assert bool(loaded.plans) or bool(loaded.diagnostics)
    for found in loaded.diagnostics:
        assert found.code != "bad-value"
        found.render()


def test_the_whole_document_is_good() -> None:
    assert load(WHOLE, "f.yml").diagnostics == []


@given(
    st.text(alphabet="${}()[]|&!=<>'\".*?: \nabns01-+,%", max_size=60),
    st.sampled_from(["if", "bash", "name", "id", "run"]),
)
def test_any_expression_never_raises(text: str, key: str) -> None:
    import json

    stage = {"bash": "x", key: "${{ " + text} if key != "run" else {"run": "x = ${{ " + text + " }}"}
    load(json.dumps({"name": "w", "jobs": {"j": {"if": text or "x", "stages": [stage]}}}), "f.yml")
