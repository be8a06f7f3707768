from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_stagecoach.engine.thread_environment import own_environment

from .harness import named, python, run

ENVIRON = os.environ


def _lasting() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.fixture(autouse=True)
def _put_back() -> Any:
    before = _lasting()
    yield
    assert _lasting() == before
    assert os.environ is ENVIRON
    assert type(os.environ).__name__ == "_Environ"


def test_every_way_of_reading() -> None:
    with own_environment({"A": "1", "B": "\u00e9"}):
        assert os.environ["A"] == os.getenv("A") == os.environ.get("A") == "1"
        assert dict(os.environ) == os.environ.copy() == {"A": "1", "B": "\u00e9"}
        assert list(os.environ) == ["A", "B"]
        assert len(os.environ) == 2
        assert "PATH" not in os.environ
        assert os.getenvb(b"B") == "\u00e9".encode()
        assert os.path.expandvars("$A/$NONE") == "1/$NONE"
        assert os.environ | {"C": "3"} == {"A": "1", "B": "\u00e9", "C": "3"}
        assert "'A': '1'" in repr(os.environ)


def test_every_way_of_writing_stays_inside() -> None:
    with own_environment({"A": "1"}):
        os.environ["B"] = "2"
        os.environ.update(C="3")
        assert os.environ.setdefault("D", "4") == "4"
        assert os.environ.pop("A") == "1"
        os.environb[b"E"] = b"5"
        assert dict(os.environ) == {"B": "2", "C": "3", "D": "4", "E": "5"}
        with pytest.raises(KeyError, match="NONE"):
            del os.environ["NONE"]
        with pytest.raises(TypeError, match="str expected"):
            os.environ["N"] = 1  # type: ignore[assignment]  # what user code gets wrong
        os.environ.clear()
        assert not os.environ


def test_other_threads_and_processes_see_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAL", "yes")
    seen: list[Any] = []

    def look() -> None:
        seen.append((os.getenv("REAL"), os.getenv("A")))
        os.environ["REAL"] = "changed"

    with own_environment({"A": "1", "PATH": os.environ["PATH"]}):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert os.getenv("REAL") is None
        bare = subprocess.run(["sh", "-c", "echo $REAL$A"], capture_output=True, text=True, check=True)
        given = subprocess.run(
            ["sh", "-c", "echo $REAL$A"], capture_output=True, text=True, check=True, env=os.environ.copy()
        )
    assert seen == [("yes", None)]
    assert (bare.stdout, given.stdout) == ("changed\n", "1\n")
    assert os.environ["REAL"] == "changed"
    monkeypatch.undo()


def test_asyncio_code_sees_it() -> None:
    async def look() -> list[str | None]:
        return [os.getenv("A"), await asyncio.to_thread(os.getenv, "A")]

    with own_environment({"A": "1"}):
        assert asyncio.run(look()) == ["1", "1"]


def test_it_ends_with_an_exception_and_may_be_nested() -> None:
    with own_environment({"A": "1"}):
        with pytest.raises(KeyError, match="B"), own_environment({"A": "2"}):
            assert os.environ["B"] == os.environ["A"]
        assert os.environ["A"] == "1"


def test_many_threads_come_and_go() -> None:
    def work(number: int) -> bool:
        good = True
        for _ in range(200):
            with own_environment({"N": str(number)}):
                os.environ["M"] = os.environ["N"]
                good = good and dict(os.environ) == {"N": str(number), "M": str(number)}
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_nested_concurrency_in_the_engine() -> None:
    source = "import os, time\ntime.sleep(0.02)\nx = os.environ['OUTER'] + os.environ['INNER']"
    inner = {
        "kind": "foreach",
        "id": "in",
        "foreach": [1, 2, 3],
        "concurrent": 3,
        "env": {"OUTER": "${{ branch }}"},
        "stages": named(
            [python(source, env={"INNER": "${{ item }}"}), python("1/0", continue_on_error=True)]
        ),
    }
    outputs = run({"kind": "parallel", "parallel": {"a": [inner], "b": [inner]}}).outputs
    for branch in "ab":
        items = outputs["parallel"][branch]["stages"]["in"]["outputs"]["foreach"]
        assert [items[key]["stages"]["s1"]["outputs"]["x"] for key in "123"] == [
            f"{branch}{item}" for item in (1, 2, 3)
        ]


def test_called_functions_see_it_too(tmp_path: Any) -> None:
    (tmp_path / "tasks.py").write_text(
        "import os\nfrom airflow_stagecoach import tag\n\n\n"
        "@tag('v1')\ndef look():\n    return {'x': [os.environ['ITEM'], os.getenv('WORKFLOW_DIR')]}\n"
    )
    stage = {"kind": "call", "id": "c", "uses": "tasks/look@v1", "env": {"ITEM": "${{ item }}"}}
    spec = {"kind": "foreach", "foreach": ["a", "b"], "concurrent": 2, "stages": [stage]}
    items = run(spec, document_dir=str(tmp_path)).outputs["foreach"]
    for name in "ab":
        assert items[name]["stages"]["c"]["outputs"]["x"] == [name, str(tmp_path)]
