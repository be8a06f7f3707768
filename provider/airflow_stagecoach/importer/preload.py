"""What a process imports once, so that the children it forks need not.

Airflow parses each file and runs each task in a forked child. A child inherits
what its parent has imported. Here stands what building and running a cached
document takes, and in the DAG processor also the models that check a new one
(once for the parent, not for every child). Never an SDK.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from airflow_stagecoach import engine, expressions, operators
from airflow_stagecoach.backends import registry

#: What a child imports to parse a file or to find a task, and to run it.
_TO_PARSE = (
    "airflow.dag_processing.dagbag",
    "airflow_stagecoach.importer.build",
    "airflow_stagecoach.document.diagnostics",
    "airflow_stagecoach.document.durations",
    "airflow_stagecoach.document.params",
    "airflow_stagecoach.document.sniff",
    "airflow_stagecoach.backends.local",
)

#: What a DAG processor's child imports to check a document that is not in the cache.
_TO_CHECK = (
    "airflow_stagecoach.document.loader",
    "airflow_stagecoach.document.checks",
    "airflow_stagecoach.document.workflow",
    "airflow_stagecoach.document.cron",
    "airflow_stagecoach.expressions._check",
    "airflow_stagecoach.importer.backends",
)

#: What Airflow itself imports to serialize any DAG; a DAG processor that only met documents has it not.
_TO_SERIALIZE = (
    "airflow.providers.standard.operators.trigger_dagrun",
    "airflow.providers.standard.sensors.external_task",
    "airflow.timetables.trigger",
)

#: How the names begin of scripts, which run where the engine travelled to, of what reads runs for the
#: command line, and of what checks a document.
_NOT_FOR_IMPORT = ("__main__", "entry", "_records", "_check")


def preload(*, serializing: bool = False) -> None:
    """Import it all. Cheap where it was imported before.

    :param serializing: for the DAG processor, whose children serialize what they parse
    :raises ImportError: a module is broken; the child that needs it will say so where users look
    """
    for name in _TO_PARSE + (_TO_CHECK + _TO_SERIALIZE if serializing else ()):
        import_module(name)
    # The models of what stands under `with`.
    for path in registry.BUILT_IN.values() if serializing else ():
        import_module(path.partition(":")[0])
    for package in (operators, engine, expressions):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.rpartition(".")[2].startswith(_NOT_FOR_IMPORT):
                import_module(module.name)
