"""Which of Airflow's executors serves a queue that a job names."""

from __future__ import annotations

#: Class names of executors that look at a task's queue, and of those that do not. Others are not known.
WITH_QUEUES = ("CeleryExecutor", "EdgeExecutor")
_WITHOUT_QUEUES = ("LocalExecutor", "KubernetesExecutor")


def queue_executor(configured: str) -> str | None:
    """The executor for tasks with a queue, by the name that Airflow knows it by.

    Airflow gives every task to the first of its executors unless the task names another one, and an executor
    without queues runs it without a word.

    :param configured: the option ``[core] executor``, such as ``LocalExecutor,CeleryExecutor``
    :return: ``None`` where the first executor knows queues, or none that is known to do
    """
    # Behind a semicolon stand those of teams.
    names = [name.strip() for name in configured.partition(";")[0].split(",")]
    if _class(names[0]) not in _WITHOUT_QUEUES:
        return None
    # Before a colon stands an alias, by which alone the executor is then known.
    return next((name.partition(":")[0] for name in names if _class(name) in WITH_QUEUES), None)


def ignores_queues(configured: str) -> bool:
    """Whether none of the executors looks at a task's queue.

    :param configured: see :func:`queue_executor`
    """
    names = [name.strip() for name in configured.partition(";")[0].split(",")]
    return all(_class(name) in _WITHOUT_QUEUES for name in names)


def _class(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]
