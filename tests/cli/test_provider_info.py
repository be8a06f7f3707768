"""What Airflow is told about the package."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import jsonschema
import pytest
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger

from airflow_stagecoach import operators, triggers
from airflow_stagecoach.get_provider_info import get_provider_info

if TYPE_CHECKING:
    from types import ModuleType


def test_satisfies_airflows_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_everything_named_is_there() -> None:
    info = get_provider_info()
    for group in ("operators", "triggers"):
        for entry in info[group]:
            for module in entry["python-modules"]:
                import_module(module)
    for path in info["cli"] + info.get("extra-links", []):
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize(
    ("group", "package", "base"),
    [("operators", operators, BaseOperator), ("triggers", triggers, BaseTrigger)],
)
def test_every_module_with_an_operator_or_trigger_is_named(
    group: str, package: ModuleType, base: type[Any]
) -> None:
    (entry,) = get_provider_info()[group]
    found = []
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = import_module(info.name)
        defined = [value for value in vars(module).values() if getattr(value, "__module__", "") == info.name]
        public = not info.name.rpartition(".")[2].startswith("_")
        if public and any(isinstance(value, type) and issubclass(value, base) for value in defined):
            found.append(info.name)
    assert entry["python-modules"] == sorted(found)


def test_entry_point() -> None:
    (found,) = [
        point for point in entry_points(group="apache_airflow_provider") if "stagecoach" in point.value
    ]
    assert found.load()() == get_provider_info()


def test_costs_no_imports() -> None:
    code = (
        "import sys, __future__, typing, importlib; before = set(sys.modules); "
        "import airflow_stagecoach.get_provider_info; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['airflow_stagecoach', 'airflow_stagecoach.get_provider_info']"


def test_configuration_option_has_its_default() -> None:
    from airflow.configuration import conf

    assert conf.get("stagecoach", "cache_folder") == ""
