"""Tests of airflow_stagecoach.document.image_stage and image_checks: one container as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document import DocumentError, ImageStage, load
from airflow_stagecoach.document.container_values import in_words
from airflow_stagecoach.importer.backends import InstalledBackends

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]


def spec_of(stage: str) -> dict[str, Any]:
    """The spec of one stage, written as YAML."""
    loaded = load(f"name: w\njobs: {{j: {{stages: [{stage}]}}}}", "f.yml")
    assert loaded.diagnostics == []
    spec: dict[str, Any] = loaded.plans[0]["jobs"][0]["stages"][0]["spec"]
    return {key: value for key, value in spec.items() if key not in ("kind", "id", "image")}


@pytest.mark.parametrize(
    ("stage", "spec"),
    [
        ("{image: alpine}", {}),
        ("{image: a, command: [echo, 5, 'a b']}", {"command": ["echo", "5", "a b"]}),
        ("{image: a, command: 'convert -x \"a b\" c'}", {"command": ["convert", "-x", "a b", "c"]}),
        ("{image: a, entrypoint: sh -c, command: ['a | b']}", {"entrypoint": ["sh", "-c"], "command": ["a | b"]}),
        ("{image: a, command: 'x ${{ params.f }} y'}", {"command": ["x", "${{ params.f }}", "y"]}),
        ("{image: a, command: 'x --f=${{ params.f || 1 }} {{ ds }}'}", {"command": ["x", "--f=${{ params.f || 1 }}", "{{ ds }}"]}),
        ("{image: a, command: '${{ params.f }}'}", {"command": "${{ params.f }}"}),
        ("{image: a, command: 'echo $${{ x'}", {"command": ["echo", "$${{", "x"]}),
        ("{image: a, command: \"sh -c 'a;\\nb'\"}", {"command": ["sh", "-c", "a;\nb"]}),
        ("{image: a, command: 'echo \"|\" a'}", None),
        ("{image: a, working_directory: /app}", {"working_directory": "/app"}),
        ("{image: a, working-directory: 'x/${{ params.f }}'}", {"working_directory": "x/${{ params.f }}"}),
        ("{image: a, env: {A: 1}, timeout: 5m, continue-on-error: true}", {"env": {"A": 1}, "timeout": 300, "continue_on_error": True}),
    ],
)  # fmt: skip
def test_plan(stage: str, spec: dict[str, Any] | None) -> None:
    if spec is None:
        with pytest.raises(AssertionError):
            spec_of(stage)
    else:
        assert spec_of(stage) == spec


@pytest.mark.parametrize(
    "image",
    [
        "alpine",
        "python:3.12-slim",
        "ghcr.io/acme/convert:1.0_rc.1",
        "localhost:5000/a/b-c/d__e",
        "Registry.Example.com/x",
        "[::1]:5000/x:y",
        "a@sha256:" + "0" * 64,
        "r.io/a:1@sha256:" + "f" * 64,
        "${{ params.image }}",
        "r/a:${{ matrix.v }}",
        "a:{{ ds }}",
    ],
)
def test_images(image: str) -> None:
    assert ImageStage(image=image).image == image


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("docker://alpine:3", "write alpine:3"),
        ("Alpine", "names of images have small letters: alpine"),
        ("a b", None),
        ("a:", None),
        ("a:b:c", None),
        ("a@sha256:12", None),
        ("-a", None),
        ("a//b", None),
    ],
)
def test_no_images(image: str, hint: str | None) -> None:
    with pytest.raises(DocumentError) as caught:
        ImageStage(image=image)
    (found,) = caught.value.diagnostics
    assert (found.code, found.hint) == ("bad-image", hint)


SHELL = "write entrypoint: [sh, -c] and the script as the one item of command"


@pytest.mark.parametrize(
    ("stage", "code", "message", "hint"),
    [
        ("{image: ''}", "empty-value", "expected text, found an empty one", None),
        ("{image: [a]}", "wrong-type", "expected text, found a list", None),
        ("{image: a, command: a | b}", "bad-command", "'|' is meant for a shell, but no shell runs here", f"{SHELL}; to give it to the program write a list"),
        ("{image: a, command: a && b}", "bad-command", "'&&' is meant for a shell, but no shell runs here", f"{SHELL}; to give it to the program write a list"),
        ("{image: a, command: \"a\\nb\"}", "bad-command", "several lines are a script, but no shell runs here", SHELL),
        ("{image: a, command: 'a \"b'}", "bad-value", "a quote has no end, found 'a \"b'", "write it as a list"),
        ("{image: a, command: []}", "empty-value", "expected a program and its arguments, found an empty list", None),
        ("{image: a, command: {b: c}}", "wrong-type", "expected a list of texts, found a map", None),
        ("{image: a, command: [[b]]}", "wrong-type", "expected text, found a list", None),
        ("{image: a, command: 'x ${{ params. }}'}", "bad-expression", None, None),
        ("{image: a, command: [x, '${{ stages.none.outputs.y }}']}", "bad-expression", None, None),
        ("{image: 'a:${{ secrets.x }}'}", "bad-expression", "'secrets' is not available here: a secret would be stored in the name of an image, use it in `env`", None),
        ("{image: a, args: [b]}", "unknown-key", "unknown key 'args' in an image stage", "write command"),
        ("{image: a, command: [sh], args: [b]}", "unknown-key", "unknown key 'args' in an image stage", "the program is `entrypoint` here, as in Docker, and its arguments are `command`"),
        ("{image: a, with: {args: b}}", "unknown-key", "unknown key 'with' in an image stage", "write entrypoint and command on the stage itself"),
        ("{image: a, script: b}", "unknown-key", "unknown key 'script' in an image stage", SHELL),
        ("{image: a, environment: {A: b}}", "unknown-key", "unknown key 'environment' in an image stage", "write env"),
        ("{image: a, volumes: ['x:/y']}", "unknown-key", "unknown key 'volumes' in an image stage", "write it in runs-on: {type: docker, with: {volumes: ...}} of the job"),
        ("{image: a, entrypont: b}", "unknown-key", "unknown key 'entrypont' in an image stage", "did you mean 'entrypoint'?"),
        ("{image: a, timeout-minutes: 5}", "unknown-key", "unknown key 'timeout-minutes' in an image stage", "write timeout: 5m"),
        ("{uses: 'docker://alpine:3'}", "bad-uses", "expected path/func@tag, found the name of an image", "write image: alpine:3, and entrypoint and command beside it"),
        ("{name: a, entrypoint: b}", "unknown-key", "unknown key 'entrypoint' in an empty stage", "'entrypoint' belongs to an image stage"),
    ],
)  # fmt: skip
def test_refused(problems: Find, stage: str, code: str, message: str | None, hint: str | None) -> None:
    (found,) = problems(f"name: w\njobs:\n  j:\n    stages:\n      - {stage}\n")
    assert found.code == code
    if message is not None:
        assert (found.message, found.hint) == (message, hint)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("command: [x, '${{ nope }}']", "nope"),
        ("command: 'x ${{ nope }} y'", "nope"),
        ("entrypoint: '${{ nope }}'", "nope"),
        ("image: 'a:${{ nope }}'", "nope"),
    ],
)
def test_wrong_expressions_are_told_where_they_stand(problems: Find, text: str, place: str) -> None:
    line = f"      - {{name: a, {text}" + ("}" if text.startswith("image") else ", image: b}")
    (found,) = problems(f"name: w\njobs:\n  j:\n    stages:\n{line}\n")
    assert (found.line, found.column) == (5, line.index(place) + 1)


def place(runs_on: str, *stages: str, **more: str) -> list[tuple[str, str, str | None, int]]:
    keys = "".join(f"      {key}: {value}\n" for key, value in more.items())
    lines = "".join(f"        - {stage}\n" for stage in stages)
    text = f"w:\n  type: Workflow\n  jobs:\n    j:\n      runs-on: {runs_on}\n{keys}      stages:\n{lines}"
    found = load(text, "f.yml", backends=InstalledBackends()).diagnostics
    return [(one.code, one.message, one.hint, one.line) for one in found]


@pytest.mark.parametrize(
    "runs_on",
    [
        "local",
        "docker",
        "{type: container, with: {network: none}}",
        "{type: docker, with: {image: python}}",
        "{type: self-hosted, with: {queue: containers}}",
    ],
)
def test_places(runs_on: str) -> None:
    assert place(runs_on, "{image: a}") == []


def test_a_place_without_containers() -> None:
    (found,) = place("{type: self-hosted, with: {host: 'https://h', token: t}}", "{bash: x}", "{image: a}")
    code, message, hint, line = found
    assert (code, message, line) == (
        "bad-combination",
        "a job that runs on self-hosted can have no image stages",
        8,
    )
    assert hint is not None
    assert hint.startswith("make a job of its own of it, which runs on local")
    assert "docker" in hint


def test_an_emulated_place() -> None:
    runs_on = "{type: docker, emulate: true, with: {image: a}}"
    assert place(runs_on, "{bash: x}", "{image: a}") == [
        (
            "bad-combination",
            "an emulated docker starts no container, so it runs no image stages",
            "remove emulate, or write bash",
            8,
        )
    ]


@pytest.mark.parametrize("runs_on", ["docker", "{type: docker, with: {network: none}}"])
@pytest.mark.parametrize("stages", [["{bash: x}"], ["{image: a}", "{run: x = 1}"]])
def test_other_stages_need_an_image(runs_on: str, stages: list[str]) -> None:
    hint = "write runs-on: {type: docker, with: {image: ...}}"
    assert place(runs_on, *stages) == [("missing-key", "runs-on: docker needs 'image'", hint, 5)]


def test_granularity_job() -> None:
    found = place("docker", "{image: a}", granularity="job")
    assert found == [
        (
            "bad-combination",
            "image stages cannot run in a job with granularity: job",
            "make a job of its own of it",
            8,
        )
    ]


def test_resources_of_an_image_stage_are_the_daemons() -> None:
    """A worker can give no GPU; its daemon can."""
    assert place("local", "{image: a, resources: {gpu: 1, ephemeral-storage: 1Gi}}") == []
    assert place("local", "{image: a}", resources="{memory: 1Gi}") == []


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ue000\ue001${}"), min_size=1),
        min_size=1,
    )
)
def test_quoted_words_come_back(words: list[str]) -> None:
    import shlex

    assert in_words(shlex.join(words)) == words
