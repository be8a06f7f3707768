"""The policy module: loaded in every process of Airflow, so tiny, quiet and harmless."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run_python(code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=check, timeout=60
    )


def test_imports_nothing() -> None:
    code = """
        import sys
        import __future__, typing, importlib
        before = set(sys.modules)
        import airflow_stagecoach.policy
        print(sorted(set(sys.modules) - before))
    """
    assert run_python(code).stdout.strip() == "['airflow_stagecoach', 'airflow_stagecoach.policy']"


def test_installs_once() -> None:
    code = """
        import sys
        from airflow_stagecoach import policy
        policy.install()
        policy.install()
        print(sum(finder is policy.AfterImport for finder in sys.meta_path))
    """
    assert run_python(code).stdout.strip() == "1"


FAKE_AIRFLOW = """
    import sys, types, pathlib, tempfile
    root = pathlib.Path(tempfile.mkdtemp())
    (root / "airflow" / "utils").mkdir(parents=True)
    (root / "airflow" / "__init__.py").write_text("")
    (root / "airflow" / "utils" / "__init__.py").write_text("")
    source = "def find_dag_file_paths(directory, safe_mode): return ['a.py']"
    (root / "airflow" / "utils" / "file.py").write_text(source)
    sys.path.insert(0, str(root))
"""


@pytest.mark.parametrize("first", [True, False], ids=["policy-first", "module-first"])
def test_adapts_a_module_whenever_it_is_imported(first: bool) -> None:
    imports = ["import airflow_stagecoach.policy", "import airflow.utils.file"]
    code = f"""{FAKE_AIRFLOW}
    {"; ".join(imports if first else reversed(imports))}
    import inspect, importlib
    from airflow.utils import file
    print(hasattr(file.find_dag_file_paths, "__wrapped__"), "find_dag_file_paths" in inspect.getsource(file))
    importlib.reload(file)
    inner = file.find_dag_file_paths.__wrapped__
    print(True, hasattr(inner, "__wrapped__"))
    """
    assert run_python(code).stdout.split() == ["True", "True", "True", "False"]


def test_failure_is_one_line_and_airflow_goes_on() -> None:
    code = f"""{FAKE_AIRFLOW}
    import logging
    logging.basicConfig(format="%(levelname)s %(message)s")
    import airflow_stagecoach.policy
    sys.modules["airflow_stagecoach.importer.adapters"] = None
    from airflow.utils import file
    print(file.find_dag_file_paths(".", True))
    """
    done = run_python(code)
    assert done.stdout.strip() == "['a.py']"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ERROR Stagecoach cannot adapt airflow.utils.file")


def test_listing_that_fails_keeps_airflows_own_list() -> None:
    code = f"""{FAKE_AIRFLOW}
    import airflow_stagecoach.policy
    from airflow.utils import file
    print(file.find_dag_file_paths(".", True))
    """
    done = run_python(code)  # this airflow has no configuration, so our listing fails
    assert done.stdout.strip() == "['a.py']"
    assert "Stagecoach cannot list the documents" in done.stderr


def test_unknown_modules_are_not_touched() -> None:
    from airflow_stagecoach.policy import AfterImport

    assert AfterImport.find_spec("json") is None
    assert AfterImport.find_spec("airflow.models") is None


def test_a_module_that_airflow_does_not_have_is_an_import_error() -> None:
    code = f"""{FAKE_AIRFLOW}
    import airflow_stagecoach.policy
    import airflow.sdk.importers.base
    """
    assert "ModuleNotFoundError: No module named 'airflow.sdk'" in run_python(code, check=False).stderr


def test_airflow_itself_starts_with_the_policy_and_without_the_importer() -> None:
    code = """
        import sys
        import airflow
        from airflow_stagecoach import policy
        print(policy.AfterImport in sys.meta_path)
        heavy = ("airflow_stagecoach.importer.build", "airflow_stagecoach.factory")
        print([name for name in heavy if name in sys.modules])
    """
    assert run_python(code).stdout.splitlines()[-2:] == ["True", "[]"]
