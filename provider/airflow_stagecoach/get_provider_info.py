"""What Airflow may know about this package (entry point ``apache_airflow_provider``).

Airflow asks for it in every process, so this is a plain dict and no import. Its
shape is Airflow's ``provider_info.schema.json``.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata: operators, triggers, configuration options and commands."""
    return {
        "package-name": "airflow-provider-stagecoach",
        "name": "Stagecoach",
        "description": "Jobs, stages and a strategy in YAML become real Airflow DAGs.",
        "integrations": [
            {
                "integration-name": "Stagecoach",
                "tags": ["software"],
            }
        ],
        "operators": [
            {
                "integration-name": "Stagecoach",
                "python-modules": [
                    "airflow_stagecoach.operators.concurrency",
                    "airflow_stagecoach.operators.gate",
                    "airflow_stagecoach.operators.job",
                    "airflow_stagecoach.operators.slot",
                    "airflow_stagecoach.operators.stage",
                    "airflow_stagecoach.operators.trigger",
                    "airflow_stagecoach.operators.wrapped",
                ],
            },
        ],
        "triggers": [
            {
                "integration-name": "Stagecoach",
                "python-modules": [
                    "airflow_stagecoach.triggers.concurrency",
                    "airflow_stagecoach.triggers.dag_run",
                    "airflow_stagecoach.triggers.fail_fast",
                    "airflow_stagecoach.triggers.slot",
                    "airflow_stagecoach.triggers.work",
                ],
            },
        ],
        "notifications": ["airflow_stagecoach.operators.webhook.WebhookNotifier"],
        "cli": ["airflow_stagecoach.cli.airflow_commands.get_commands"],
        "config": {
            "stagecoach": {
                "description": "Options of the Stagecoach provider: DAGs from YAML documents.",
                "options": {
                    "cache_folder": {
                        "description": (
                            "Where checked documents are kept, so that each version of a document is "
                            "read and checked once. Local to the machine and private to its user. "
                            "Empty: the folder ``cache/stagecoach`` in AIRFLOW_HOME. ``off``: keep none."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "/var/cache/airflow/stagecoach",
                        "default": "",
                    },
                    "default_timeout": {
                        "description": (
                            "How long a try of a stage may take that has no ``timeout``, neither its own nor "
                            "from ``defaults``: seconds or a duration such as ``2h``. A stage with "
                            "``timeout: none`` and an approval are left alone. Empty: no limit."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "6h",
                        "default": "",
                    },
                    "log_folder": {
                        "description": (
                            "Where the additional log files of stages with ``logging: {file: ...}`` lie, on "
                            "the worker. Empty: the folder ``stagecoach`` in ``[logging] base_log_folder``."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "/var/log/stagecoach",
                        "default": "",
                    },
                    "packages": {
                        "description": (
                            "Importable packages in which ``uses:`` looks for functions, besides the folder "
                            "of the document and the dags folder; separated by commas."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "acme.steps,acme.checks",
                        "default": "",
                    },
                    "work_folder": {
                        "description": (
                            "Where the scratch folders of legs lie, on the worker. "
                            "Empty: a folder of the user's own in the system's folder for temporary files."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "/scratch/stagecoach",
                        "default": "",
                    },
                },
            },
        },
    }
