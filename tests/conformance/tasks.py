"""The functions that the conformance documents call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_stagecoach import tag

if TYPE_CHECKING:
    from pathlib import Path


@tag("demo", alias="simple-task")
def simple_task(source: str, sink: str) -> dict[str, int]:
    return {"records": 1}


@tag("demo", alias="simple-csv-task")
def simple_csv_task(source: str, sink: str) -> dict[str, int]:
    return {"records": 1}


@tag("demo", alias="private-args-task")
def private_args_task(_exec: str, params: dict[str, Any], result: Any, extras: Any) -> dict[str, Any]:
    return {"exec": _exec, "params": params}


@tag("demo", alias="get-items")
def get_items() -> dict[str, list[int]]:
    return {"items": [1, 2, 3, 4]}


@tag("raise", alias="return-type-not-valid")
def return_type_not_valid() -> Any:
    return True


@dataclass
class Model:
    name: str
    data: dict[str, Any]


@tag("demo", alias="gen-type")
def gen_type(args1: str, args2: Path, args3: Model) -> Model:
    return Model("foo", {"key": "value"})
