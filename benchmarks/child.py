"""What one fresh process measures: ``python -m benchmarks.child MODE FOLDER OUT ARGUMENTS``.

The figures are one JSON object, written to the file OUT (Airflow logs to stdout). Times are seconds,
memory is KiB. Airflow itself is imported before a measurement starts: what it costs is
the same for every format.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The name of the only bundle in the configuration that ``environment`` gives.
BUNDLE = "benchmark"

#: Distributions that a document must never load.
SDKS = (
    "docker",
    "kubernetes",
    "kubernetes_asyncio",
    "boto3",
    "botocore",
    "azure",
    "google.cloud",
    "aiobotocore",
)


def measure_bag(folder: Path, stride: str = "1") -> dict[str, Any]:
    """Load every file of a folder in this process, as ``airflow dags list`` does."""
    from airflow.dag_processing.dagbag import BundleDagBag

    _import_importers()
    before_modules = set(sys.modules)
    gc.collect()
    before = _resident()
    started, cpu = time.perf_counter(), _cpu()
    bag = BundleDagBag(folder, bundle_path=folder, bundle_name=BUNDLE)
    seconds, cpu = time.perf_counter() - started, _cpu() - cpu
    gc.collect()
    _refuse_errors(bag.import_errors)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "grown": _resident() - before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "dags": len(bag.dags),
        "tasks": sum(len(dag.tasks) for dag in bag.dags.values()),
        **_modules(before_modules),
    }


def measure_processor(folder: Path, stride: str = "1") -> dict[str, Any]:
    """Parse and serialize each file in a forked child, one after the other, with Airflow's own manager.

    :param stride: parse every so many-th file only; times are given per document
    """
    import airflow.cli.commands.dag_processor_command  # noqa: F401  # what the real process has imported
    from airflow.dag_processing.bundles.local import LocalDagBundle
    from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager

    manager: Any = DagFileProcessorManager(max_runs=1)
    manager.prepare_server_process_context()
    manager.prepare_process_context()
    bundle = LocalDagBundle(name=BUNDLE, path=str(folder))
    manager._dag_bundles = [bundle]
    assert manager.client is not None
    gc.freeze()
    started = time.perf_counter()
    found = sorted(
        manager._find_files_in_bundle(bundle), key=lambda item: str(getattr(item, "rel_path", item))
    )
    listing = time.perf_counter() - started
    files = [
        item
        if isinstance(item, DagFileInfo)
        else DagFileInfo(rel_path=item, bundle_name=BUNDLE, bundle_path=folder)
        for item in found
    ]
    chosen = files[:: int(stride)]
    dags = 0
    began, cpu = time.perf_counter(), _cpu()
    each = []
    for file in chosen:
        started = time.perf_counter()
        process = manager._create_process(file)
        while not process.is_ready:
            manager._service_processor_sockets(timeout=0.05)
        result = process.parsing_result
        each.append(time.perf_counter() - started)
        process.close()
        _refuse_errors(result.import_errors if result else {str(file.rel_path): "no answer"})
        dags += len(result.serialized_dags)
    return {
        "seconds": (time.perf_counter() - began) / dags,
        "cpu": (_cpu() - cpu) / dags,
        "first": each[0],
        "listing": listing,
        "files": len(files),
        "parsed": len(chosen),
        "dags": dags,
        "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        "parent": _resident(),
    }


def measure_worker(folder: Path, file: str, dag_id: str) -> dict[str, Any]:
    """Load one DAG in the task process of a worker that runs its first tasks.

    ``seconds`` is the first task's: what the worker does before it forks, the fork, and the DAG in the
    child; ``next`` is the median of the tasks after it. The imports that Airflow does for any task
    come before.
    """
    from airflow.sdk.execution_time import supervisor

    for name in ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner"):
        importlib.import_module(name)
    _import_importers()
    before_modules = set(sys.modules)
    gc.freeze()
    times, cpus = [], []
    child: dict[str, Any] = {}
    for _ in range(6):
        started, cpu = time.perf_counter(), _cpu()
        _enter_supervisor(supervisor, file)
        child = _fork(lambda: _load_one(folder, file, dag_id, before_modules))
        times.append(time.perf_counter() - started)
        cpus.append(_cpu() - cpu)
        _refuse_errors(child["errors"])
    return {
        **child,
        "seconds": times[0],
        "cpu": cpus[0],
        "next": statistics.median(times[1:]),
        "next_cpu": statistics.median(cpus[1:]),
    }


def _enter_supervisor(supervisor: Any, file: str) -> None:
    """Call the function by which every executor starts a task, up to its check of the server's address.

    Stagecoach imports there what its tasks need, before the fork.
    """
    try:
        supervisor.supervise_task(ti=None, bundle_info=None, dag_rel_path=file, token="", server="")
    except ValueError:
        return
    raise AssertionError("a supervisor without a server should have refused")


def _load_one(folder: Path, file: str, dag_id: str, before_modules: set[str]) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

    before = _resident()
    with _airflow_parsing_context_manager(dag_id=dag_id, task_id="prepare.fetch"):
        bag = BundleDagBag(
            str(folder / file), safe_mode=False, load_op_links=False, bundle_path=folder, bundle_name=BUNDLE
        )
    task = bag.dags[dag_id].task_dict["prepare.fetch"] if dag_id in bag.dags else None
    return {
        "errors": {**bag.import_errors, **({} if task else {file: f"no {dag_id}"})},
        "grown": _resident() - before,
        "dags": len(bag.dags),
        **_modules(before_modules),
    }


def _fork(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            text = json.dumps(function())
        except BaseException as error:
            text = json.dumps({"errors": {"child": repr(error)}})
        with os.fdopen(writer, "w") as file:
            file.write(text)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    result: dict[str, Any] = json.loads(text)
    return result


def _import_importers() -> None:
    """Import what Airflow itself imports for the first file of any kind."""
    name = "airflow.dag_processing.importers"  # 3.3
    if importlib.util.find_spec(name) is None:
        name = "airflow.sdk.importers"  # 3.4
    importlib.import_module(name).get_importer_registry()


def _cpu() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def _modules(before: set[str]) -> dict[str, Any]:
    new = set(sys.modules) - before
    return {
        "modules": len(new),
        "own_modules": len([name for name in new if name.startswith("airflow_stagecoach")]),
        "sdks": sorted(name for name in sys.modules if name in SDKS),
    }


def _refuse_errors(errors: dict[str, Any] | None) -> None:
    if errors:
        raise AssertionError(f"the corpus does not load: {errors}")


def environment(
    home: Path, folder: Path, cache: Path | None, extra_path: Path | None = None
) -> dict[str, str]:
    """Give the environment of a measuring process.

    :param home: AIRFLOW_HOME
    :param folder: the dags folder, as one bundle
    :param cache: Stagecoach's cache of plans; None: none is used
    :param extra_path: goes onto PYTHONPATH
    """
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"))
    }
    path = [str(Path(__file__).parent.parent), *([str(extra_path)] if extra_path else [])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONHASHSEED": "0",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "AIRFLOW__STAGECOACH__CACHE_FOLDER": str(cache) if cache else "off",
        "DO_NOT_TRACK": "true",
        "SCARF_NO_ANALYTICS": "true",
    }


MODES: dict[str, Callable[..., dict[str, Any]]] = {
    "bag": measure_bag,
    "processor": measure_processor,
    "worker": measure_worker,
}


def main() -> None:
    """Measure, and write the figures."""
    mode, folder, out, *arguments = sys.argv[1:]
    Path(out).write_text(json.dumps(MODES[mode](Path(folder), *arguments)))
    os._exit(0)  # what Airflow would still wait for is not measured


if __name__ == "__main__":
    main()
