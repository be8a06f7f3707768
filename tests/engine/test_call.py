from __future__ import annotations

import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.harness import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

MARKED = "from airflow_stagecoach.engine.tag import tag\n"

TASKS = """
from __future__ import annotations
import asyncio, dataclasses, pathlib
from airflow_stagecoach.engine.tag import tag

@tag("demo", alias="simple-task")
def simple(source: str, sink: str) -> dict:
    return {"records": 1}

@tag("demo")
def private_args_task(_exec: str, params: dict, result, extras: dict):
    return {"exec": _exec, "params": params, "extras": extras}

@tag("demo")
def get_items() -> dict:
    return {"items": [1, 2, 3, 4]}

@tag("raise", alias="return-type-not-valid")
def bad_return():
    return True

@dataclasses.dataclass
class Model:
    name: str
    data: dict

@tag("demo")
def gen_type(args1: str, args2: pathlib.Path, args3: Model):
    assert isinstance(args2, pathlib.Path)
    return Model(name=args3.name, data={**args3.data, "suffix": args2.suffix})

@tag()
def newest(n: int = 5, *args, **more: int):
    return {"n": n, "more": more}

@tag("v1")
def versioned():
    return {"v": 1}

@tag("v2", alias="versioned")
def versioned_two():
    return {"v": 2}

@tag()
async def later(seconds: float):
    await asyncio.sleep(seconds)
    return {"waited": True}

@tag()
def nothing(result):
    result.outputs["x"] = 1

@tag()
def silent():
    pass

@tag()
def sees(context, logger, anything):
    logger.info("seen")
    return {"region": context.params.region, "type": type(anything).__name__, "attempt": context["attempt"]}

@tag()
def breaks():
    raise ValueError("inside")

@tag()
def leaves(code: int):
    raise SystemExit(code)

@tag()
def positional(a: int, b: int = 2, /):
    return {"sum": a + b}

@tag("a")
@tag("b", alias="other-name")
def twice(): return {"ok": True}

def unmarked(): return {}
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    return tmp_path


def call(folder: Path, uses: str, with_: Any = None, **unit: Any) -> Ran:
    spec: dict[str, Any] = {"kind": "call", "uses": uses}
    if with_ is not None:
        spec["with"] = with_
    return run(spec, document_dir=str(folder), **unit)


@pytest.mark.parametrize(
    ("uses", "with_", "outputs"),
    [
        ("tasks/simple-task@demo", {"source": "a", "sink": "b"}, {"records": 1}),
        ("tasks/simple_task@demo", {"source": "a", "sink": "b"}, {"records": 1}),
        ("tasks/simple@demo", {"source": "a", "sink": "b"}, {"records": 1}),
        (
            "tasks/private-args-task@demo",
            {"exec": "e", "params": {"m": "T"}},
            {"exec": "e", "params": {"m": "T"}, "extras": {}},
        ),
        ("tasks/get-items@demo", None, {"items": [1, 2, 3, 4]}),
        (
            "tasks/gen-type@demo",
            {"args1": "x", "args2": "a/b.txt", "args3": {"name": "foo", "data": {"key": "value"}}},
            {"name": "foo", "data": {"key": "value", "suffix": ".txt"}},
        ),
        ("tasks/newest", {"n": "7", "other": "8"}, {"n": 7, "more": {"other": 8}}),
        ("tasks/newest@latest", {}, {"n": 5, "more": {}}),
        ("tasks/versioned@v1", None, {"v": 1}),
        ("tasks/versioned@v2", None, {"v": 2}),
        ("tasks/later", {"seconds": "0.01"}, {"waited": True}),
        ("tasks/nothing", None, {"x": 1}),
        ("tasks/silent", None, {}),
        ("tasks/positional", {"a": "3"}, {"sum": 5}),
        ("tasks/positional", {"a": 3, "b": 4}, {"sum": 7}),
        ("tasks/other-name@b", None, {"ok": True}),
        ("tasks/twice@a", None, {"ok": True}),
        ("${{ params.m }}/get-items@${{ 'demo' }}", None, {"items": [1, 2, 3, 4]}),
    ],
)
def test_calls(tasks: Path, uses: str, with_: Any, outputs: Any) -> None:
    assert call(tasks, uses, with_, contexts={"params": {"m": "tasks"}}).outputs == outputs


def test_typed_values_and_injection(tasks: Path) -> None:
    contexts = {"params": {"region": "eu", "v": [1]}}
    ran = call(tasks, "tasks/sees", {"anything": "${{ params.v }}"}, contexts=contexts, attempt=2)
    assert ran.outputs == {"region": "eu", "type": "list", "attempt": 2}
    assert ("info", "seen") in ran.lines


@pytest.mark.parametrize(
    ("uses", "with_", "type_", "message"),
    [
        ("tasks-foo-bar", None, "InvalidValue", "path/function@tag"),
        ("tasks@demo", None, "InvalidValue", "path/function@tag"),
        ("../tasks/simple@demo", None, "InvalidValue", "no path of a module"),
        ("nowhere/simple@demo", None, "ModuleNotFound", "'nowhere'"),
        ("tasks/get-item@demo", None, "FunctionNotFound", "did you mean 'get_items'?"),
        ("tasks/unmarked", None, "FunctionNotFound", "'unmarked'"),
        ("tasks/versioned@v3", None, "FunctionNotFound", "there is: v1, v2"),
        ("tasks/simple-task", {}, "FunctionNotFound", "no tag 'latest'; there is: demo"),
        (
            "tasks/simple-task@demo",
            {"source": 1, "sink": "x"},
            "InvalidArgument",
            "'source' needs text, not a whole number",
        ),
        ("tasks/simple-task@demo", {"source": "a"}, "InvalidArgument", "needs 'sink'"),
        (
            "tasks/simple-task@demo",
            {"source": "a", "sinc": "b"},
            "InvalidArgument",
            "no argument 'sinc'; did you mean 'sink'?",
        ),
        (
            "tasks/gen-type@demo",
            {"args1": "", "args2": "", "args3": {"name": "n"}},
            "InvalidArgument",
            "'args3' lacks 'data'",
        ),
        ("tasks/newest", {"n": "hidden"}, "InvalidArgument", "'n' needs a whole number, not text"),
        ("tasks/return-type-not-valid@raise", None, "InvalidReturn", "returned bool"),
        ("tasks/breaks", None, "ValueError", "inside"),
        ("tasks/leaves", {"code": 4}, "SystemExit", "sys.exit(4)"),
    ],
)
def test_refusals(tasks: Path, uses: str, with_: Any, type_: str, message: str) -> None:
    error = call(tasks, uses, with_).error
    assert error["type"] == type_
    assert message in error["message"]
    assert "hidden" not in error["message"]


def test_everything_wrong_with_the_arguments_is_told_at_once(tasks: Path) -> None:
    error = call(tasks, "tasks/simple-task@demo", {"sinc": "b", "nothing-like-it": 1, "source": 1}).error
    assert error["message"].startswith(
        "with: tasks/simple-task@demo: 'source' needs text, not a whole number. "
    )
    assert "there is no argument 'sinc'; did you mean 'sink'? " in error["message"]
    assert "there is no argument 'nothing-like-it'; there is: " in error["message"]
    assert error["message"].endswith(". it needs 'sink'")


def test_the_traceback_begins_in_the_users_module(tasks: Path) -> None:
    text = "\n".join(call(tasks, "tasks/breaks").texts)
    assert text.startswith(f'Traceback (most recent call last):\n  File "{tasks}/tasks.py", line ')
    assert "engine/call.py" not in text


def test_one_name_and_tag_twice(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MARKED + "@tag()\ndef a(): pass\n@tag(alias='a')\ndef b(): pass\n")
    error = call(tmp_path, "m/a").error
    assert error["type"] == "DuplicateFunction"
    assert "m.a, m.b" in error["message"]


def test_a_module_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import no_such_module_at_all\n")
    ran = call(tmp_path, "m/a")
    assert ran.error["type"] == "ModuleNotFoundError"
    assert any(f'File "{tmp_path}/m.py", line 1' in text for text in ran.texts)


class TestFinding:
    def test_places_in_order(self, tmp_path: Path) -> None:
        for place in ("doc", "dags"):
            (tmp_path / place).mkdir()
            (tmp_path / place / "m.py").write_text(
                MARKED + f"@tag()\ndef f(): return {{'from': '{place}'}}\n"
            )
        (tmp_path / "dags" / "only.py").write_text(MARKED + "@tag()\ndef f(): return {'from': 'only'}\n")
        modules = {"paths": [str(tmp_path / "dags")]}
        assert call(tmp_path / "doc", "m/f", modules=modules).outputs == {"from": "doc"}
        assert call(tmp_path / "doc", "only/f", modules=modules).outputs == {"from": "only"}

    @pytest.mark.parametrize("uses", ["etl/load/f", "etl.load/f", "etl/load-all/f", "etl/f"])
    def test_packages_and_hyphens(self, tmp_path: Path, uses: str) -> None:
        (tmp_path / "etl").mkdir()
        for name in ("load", "load_all", "__init__"):
            (tmp_path / "etl" / f"{name}.py").write_text(MARKED + "@tag()\ndef f(): return {'ok': 1}\n")
        assert call(tmp_path, uses).outputs == {"ok": 1}

    def test_configured_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tmp_path / "site" / "company_tasks"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "mail.py").write_text(MARKED + "@tag('v1')\ndef send(to: str): return {'to': to}\n")
        (package / "broken.py").write_text("import no_such_module_at_all\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        modules = {"packages": ["company_tasks"]}
        assert call(tmp_path, "mail/send@v1", {"to": "x"}, modules=modules).outputs == {"to": "x"}
        assert call(tmp_path, "broken/send", modules=modules).error["type"] == "ModuleNotFoundError"
        error = call(tmp_path, "males/send", modules=modules).error
        assert error["type"] == "ModuleNotFound"
        assert "package company_tasks" in error["message"]

    def test_an_edit_counts_at_once(self, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            (tmp_path / "m.py").write_text(
                MARKED + f"from helper import n\n@tag()\ndef f(): return {{'n': n, 'm': {number}}}\n"
            )
            (tmp_path / "helper.py").write_text(f"n = {number * 10 if number < 3 else 20}\n")
            assert call(tmp_path, "m/f").outputs == {"n": [10, 20, 20][number - 1], "m": number}
        (tmp_path / "helper.py").write_text("n = 99\n")
        assert call(tmp_path, "m/f").outputs["n"] == 99

    def test_sibling_imports_and_no_mixing_of_documents(self, tmp_path: Path) -> None:
        for place in ("a", "b"):
            folder = tmp_path / place
            (folder / "sub").mkdir(parents=True)
            (folder / "helper.py").write_text(f"name = '{place}'\n")
            (folder / "lazy.py").write_text(f"name = 'lazy {place}'\n")
            (folder / "sub" / "near.py").write_text(f"name = 'near {place}'\n")
            (folder / "sub" / "m.py").write_text(
                MARKED
                + "import helper\nfrom . import near\nfrom .near import name\n"
                + "@tag()\ndef f():\n    import lazy\n"
                + "    return {'x': [helper.name, near.name, name, lazy.name]}\n"
            )
        before = set(sys.modules)
        for place in ("a", "b"):
            assert call(tmp_path / place, "sub/m/f").outputs["x"] == [
                place, f"near {place}", f"near {place}", f"lazy {place}",
            ]  # fmt: skip
        left = {name for name in set(sys.modules) - before if not name.startswith("stagecoach_user_")}
        assert not left & {"helper", "lazy", "near", "sub"}
        assert not list(tmp_path.rglob("__pycache__"))
        assert not [folder for folder in sys.path if folder.startswith(str(tmp_path))]

    def test_a_module_is_loaded_once_per_unit(self, tmp_path: Path) -> None:
        (tmp_path / "m.py").write_text(
            MARKED + "seen = []\n@tag()\ndef f():\n    seen.append(1)\n    return {'n': len(seen)}\n"
        )
        spec = {"kind": "call", "uses": "m/f"}
        ran = run(spec, spec, document_dir=str(tmp_path))
        assert [stage["outputs"]["n"] for stage in ran.stages.values()] == [1, 2]
        assert call(tmp_path, "m/f").outputs == {"n": 1}


def test_calls_in_concurrent_branches(tasks: Path) -> None:
    stage = {"kind": "call", "id": "c", "uses": "tasks/later", "with": {"seconds": 0.2}}
    ran = run(
        {"kind": "parallel", "max_workers": 4, "parallel": {name: [stage] for name in "abcd"}},
        document_dir=str(tasks),
    )
    assert ran.state == "success"
    assert ran.seconds < 1


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_async_function_is_stopped_by_a_timeout(tasks: Path, in_thread: bool) -> None:
    found: list[Ran] = []

    def go() -> None:
        spec = {"kind": "call", "uses": "tasks/later", "with": {"seconds": 1.5}, "timeout": 0.3}
        found.append(run(spec, document_dir=str(tasks), enforce_timeouts=True))

    if in_thread:
        thread = threading.Thread(target=go)
        thread.start()
        thread.join(10)
    else:
        go()
    assert found[0].error["type"] == "TimedOut"
    if not in_thread:
        assert found[0].seconds < 1.3
