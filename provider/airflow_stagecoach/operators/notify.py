"""``notify:`` as Airflow callbacks: who is told when a stage, or a run, has ended.

A callback runs in the worker after the task's state is settled, or in the DAG
processor when the worker is gone, and for a run always there. Nothing in here
ever raises into Airflow: a notification that fails is one warning in the log.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._run import is_one_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.callback import AsyncCallback

    from airflow_stagecoach.document.plan import JobPlan, NotifyPlan, StagePlan, WorkflowPlan

log = logging.getLogger(__name__)

#: Event of a document -> the argument of an operator that takes its callbacks.
_TASK_ARGUMENTS = {
    "success": "on_success_callback",
    "failure": "on_failure_callback",
    "retry": "on_retry_callback",
    "skip": "on_skipped_callback",
}

#: The same for a DAG.
_RUN_ARGUMENTS = {"success": "on_success_callback", "failure": "on_failure_callback"}

#: Events that a workflow's own ``notify`` has of its stages.
_OF_ANY_STAGE = ("retry", "skip")


def callbacks(
    notify: Sequence[NotifyPlan], workflow: WorkflowPlan, job: JobPlan, stage: StagePlan
) -> dict[str, list[Callable[[Context], None]]]:
    """Callback arguments of a stage's operator.

    :param notify: of the stage and its job: ``stage.get("notify", ())``. What the workflow has for any stage
        is added here.
    :param workflow: the plan that the DAG is built from
    :param job: the job of the stage
    :param stage: the stage; with ``granularity: job`` the one that stands for all. Then the notifications
        of the job's stages are sent when the task ends.
    :return: e.g. ``{"on_failure_callback": [...]}``, empty when nobody is to be told
    """
    general = [plan for plan in workflow.get("notify", ()) if plan["event"] in _OF_ANY_STAGE]
    if is_one_task(job):
        inner = [(each, [*each.get("notify", ()), *general]) for each in job["stages"]]
        if not any(plans for _, plans in inner):
            return {}
        whole: list[Callable[[Context], None]] = [LegNotifications(workflow, job, inner)]
        return {name: whole for event, name in _TASK_ARGUMENTS.items() if event != "retry"}
    arguments: dict[str, list[Callable[[Context], None]]] = {}
    for event, name in _TASK_ARGUMENTS.items():
        plans = [plan for plan in (*notify, *general) if plan["event"] == event]
        if plans:
            arguments[name] = [StageNotifications(event, plans, workflow, job, stage)]
    return arguments


def dag_callbacks(workflow: WorkflowPlan) -> dict[str, list[Callable[[Context], None]]]:
    """Callback arguments of the DAG: ``on_success_callback`` and ``on_failure_callback``."""
    arguments: dict[str, list[Callable[[Context], None]]] = {}
    for event, name in _RUN_ARGUMENTS.items():
        plans = [plan for plan in workflow.get("notify", ()) if plan["event"] == event]
        if plans:
            arguments[name] = [RunNotifications(event, plans, workflow.get("env") or {})]
    return arguments


def deadline_callbacks(workflow: WorkflowPlan) -> list[AsyncCallback]:
    """One callback for each ``notify: deadline`` of a workflow, for a ``DeadlineAlert`` each."""
    from airflow.sdk.definitions.callback import AsyncCallback

    return [
        AsyncCallback(deadline_missed, {"notify": dict(plan), "env": workflow.get("env") or {}})
        for plan in workflow.get("notify", ())
        if plan["event"] == "deadline"
    ]


async def deadline_missed(
    notify: NotifyPlan, env: Mapping[str, Any], context: Mapping[str, Any] | None = None, **_: Any
) -> None:
    """Tell that a run has missed its deadline. Runs in the triggerer.

    :param notify: who is told
    :param env: the workflow's
    :param context: ``{"dag_run": {...}, "deadline": {...}}``
    """
    from asgiref.sync import sync_to_async

    notification = RunNotifications("deadline", [notify], env)
    await sync_to_async(notification.notify)(context or {})


class _Notifications:
    """Callbacks of one event; they differ in where the values of their templates come from."""

    def __call__(self, context: Context) -> None:
        """Airflow's side."""
        self.notify(context)

    def notify(self, context: Mapping[str, Any]) -> None:
        """Send them all; what cannot be sent is a warning."""
        try:
            self._notify(context)
        except Exception as error:
            log.warning("Notifications cannot be sent: %s", error)

    def _notify(self, context: Mapping[str, Any]) -> None:
        raise NotImplementedError


class StageNotifications(_Notifications):
    """Tells of a stage that is a task."""

    def __init__(
        self,
        event: str,
        plans: Sequence[NotifyPlan],
        workflow: WorkflowPlan,
        job: JobPlan,
        stage: StagePlan,
    ) -> None:
        self.event = event
        self.plans = plans
        self.workflow = workflow
        self.job = job
        self.stage = stage

    def _notify(self, context: Mapping[str, Any]) -> None:
        from airflow_stagecoach.operators._events import task_event

        event = task_event(self.event, context)
        contexts = _StageContexts(context, self.workflow, self.job, self.stage)
        _deliver([(plan, event) for plan in self.plans], context, contexts)


class LegNotifications(_Notifications):
    """Tells of every stage of a leg that is one task, when that task has ended."""

    def __init__(
        self,
        workflow: WorkflowPlan,
        job: JobPlan,
        stages: Sequence[tuple[StagePlan, Sequence[NotifyPlan]]],
    ) -> None:
        self.workflow = workflow
        self.job = job
        self.stages = stages

    def _notify(self, context: Mapping[str, Any]) -> None:
        from airflow_stagecoach.operators._events import stage_event, task_event
        from airflow_stagecoach.operators._run import evaluated_id

        task: Any = context["task"]
        records: Mapping[str, Any] = getattr(task, "stage_records", None) or {}
        matrix = (getattr(task, "record", None) or {}).get("matrix") or {}
        for stage, plans in self.stages:
            record = records.get(evaluated_id(stage, matrix)) if records else None
            if record is not None:
                event = stage_event(context, record)
            elif records:
                continue
            else:  # the worker is gone, or nothing began: the job failed
                event = task_event("failure", context)
            wanted = [
                (plan, event) for plan in plans if event is not None and plan["event"] == event["event"]
            ]
            if wanted:
                _deliver(wanted, context, _StageContexts(context, self.workflow, self.job, stage))


class RunNotifications(_Notifications):
    """Tells of a whole run."""

    def __init__(self, event: str, plans: Sequence[NotifyPlan], env: Mapping[str, Any]) -> None:
        self.event = event
        self.plans = plans
        self.env = env

    def _notify(self, context: Mapping[str, Any]) -> None:
        from airflow_stagecoach.operators._events import run_event

        event = run_event(self.event, context)
        _deliver([(plan, event) for plan in self.plans], context, _RunContexts(context, event, self.env))


# -- values of templates ------------------------------------------------------------------------


class _StageContexts:
    """The contexts that a stage's templates see, after its end."""

    def __init__(
        self, context: Mapping[str, Any], workflow: WorkflowPlan, job: JobPlan, stage: StagePlan
    ) -> None:
        self._context = context
        self._workflow = workflow
        self._job = job
        self._stage = stage

    def __call__(self, templates: Any) -> dict[str, Any]:
        """Values of what the templates name."""
        from airflow_stagecoach import expressions
        from airflow_stagecoach.operators._contexts import TaskRunData, environment
        from airflow_stagecoach.operators._run import WorkflowRun

        layers = [
            layer
            for layer in (self._workflow.get("env"), self._job.get("env"), self._stage["spec"].get("env"))
            if layer
        ]
        paths = expressions.references(templates)
        with_env = any(path[0] == "env" for path in paths)
        if with_env:
            paths |= expressions.references(layers)
        index = self._context["ti"].map_index
        matrix = getattr(self._context["task"], "matrix", None)
        ids = [stage["task_id"] for stage in self._job["stages"]]
        position = ids.index(self._stage["task_id"]) + 1 if self._stage["task_id"] in ids else len(ids)
        run = WorkflowRun(self._workflow, TaskRunData(self._context, self._workflow))
        contexts = run.contexts(
            paths,
            self._job["id"],
            None if index is None or index < 0 else index,
            position=position,
            matrix=matrix if isinstance(matrix, dict) else {},
        )
        if with_env:
            contexts["env"] = environment(contexts, layers)
        return contexts


class _RunContexts:
    """The contexts that a workflow's own templates see: no stage, no job."""

    def __init__(self, context: Mapping[str, Any], event: Mapping[str, Any], env: Mapping[str, Any]) -> None:
        self._context = context
        self._event = event
        self._env = env

    def __call__(self, templates: Any) -> dict[str, Any]:
        """Values of what the templates name."""
        from airflow_stagecoach import expressions
        from airflow_stagecoach.operators import _airflow_values as values
        from airflow_stagecoach.operators._contexts import environment
        from airflow_stagecoach.operators._run import second_parts

        paths = expressions.references(templates)
        with_env = any(path[0] == "env" for path in paths)
        if with_env:
            paths |= expressions.references(self._env)
        contexts: dict[str, Any] = {
            "params": self._params(),
            "run": self._run(),
            "vars": values.variables(second_parts(paths, "vars")),
            "secrets": values.secrets(second_parts(paths, "secrets")),
            "conn": values.connections(second_parts(paths, "conn")),
        }
        contexts["env"] = environment(contexts, [self._env] if with_env else [])
        return contexts

    def _run(self) -> dict[str, Any]:
        """Facts of the run; null where the callback was not told."""
        dag_run = self._context.get("dag_run")
        facts: dict[str, Any] = {"id": self._event["run_id"], "dag_id": self._event["dag_id"]}
        for name in ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date"):
            value = dag_run.get(name) if isinstance(dag_run, dict) else getattr(dag_run, name, None)
            facts[name] = datetime.fromisoformat(str(value)) if value else None
        logical_date = facts["logical_date"]
        facts["ds"] = logical_date.strftime("%Y-%m-%d") if logical_date else None
        return facts

    def _params(self) -> dict[str, Any]:
        given = self._context.get("params")
        if given is not None:
            return dict(given)
        dag_run = self._context.get("dag_run")
        conf = dag_run.get("conf") if isinstance(dag_run, dict) else getattr(dag_run, "conf", None)
        return dict(conf or {})


# -- delivery -----------------------------------------------------------------------------------


def _deliver(
    wanted: Sequence[tuple[NotifyPlan, Mapping[str, Any]]],
    context: Mapping[str, Any],
    contexts: Callable[[Any], dict[str, Any]],
) -> None:
    """Evaluate and send. Webhooks go out side by side: Airflow gives a task little time after its end."""
    posts: list[Callable[[], None]] = []
    for plan, event in wanted:
        try:
            if "notifier" in plan:
                _run_notifier(plan, event, context, contexts)
            else:
                posts.append(_post(plan, event, context, contexts))
        except Exception as error:
            log.warning("The notification of %s cannot be sent: %s", event["event"], error)
    if not posts:
        return
    with ThreadPoolExecutor(len(posts), "stagecoach-notify") as pool:
        for answer in [pool.submit(post) for post in posts]:
            try:
                answer.result()
            except Exception as error:
                log.warning("A webhook was not delivered: %s", error)


def _post(
    plan: NotifyPlan,
    event: Mapping[str, Any],
    context: Mapping[str, Any],
    contexts: Callable[[Any], dict[str, Any]],
) -> Callable[[], None]:
    """What sends one webhook, with everything evaluated."""
    from airflow_stagecoach.operators.webhook import connection_target, send

    templates = {key: plan.get(key) for key in ("webhook", "secret", "headers") if plan.get(key)}
    values = _evaluated(templates, context, contexts)
    url, secret = values.get("webhook"), values.get("secret")
    if "conn" in plan:
        from airflow.sdk import Connection
        from airflow.sdk.log import mask_secret

        url, password = connection_target(Connection.get(plan["conn"]))
        mask_secret(password)
        secret = secret or password

    def post() -> None:
        send(str(url), event, secret=secret, headers=values.get("headers"))

    return post


def _run_notifier(
    plan: NotifyPlan,
    event: Mapping[str, Any],
    context: Mapping[str, Any],
    contexts: Callable[[Any], dict[str, Any]],
) -> None:
    """Build an Airflow notifier and call it. Its own Jinja sees ``stagecoach``, the event."""
    from airflow.sdk import BaseNotifier

    class_ = _imported(plan["notifier"])
    if not (isinstance(class_, type) and issubclass(class_, BaseNotifier)):
        raise TypeError(f"{plan['notifier']} is no Airflow notifier")
    given = plan.get("with_") or {}
    final = [name for name, value in given.items() if has_expression(value)]
    evaluated = _evaluated({name: given[name] for name in final}, context, contexts)
    notifier = class_(**{**given, **evaluated})
    # What our expressions gave is final; Jinja must not read it again.
    notifier.template_fields = tuple(name for name in notifier.template_fields if name not in evaluated)
    notifier({**context, "stagecoach": dict(event)})


def _imported(path: str) -> Any:
    from airflow.sdk._shared.module_loading import import_string

    return import_string(path.replace(":", "."))


def _evaluated(
    templates: dict[str, Any], context: Mapping[str, Any], contexts: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    from airflow_stagecoach import expressions

    dag = context.get("dag")
    if dag is not None:
        jinja = dag.get_template_env()
        templates = expressions.render_jinja(
            templates, lambda source: str(jinja.from_string("{{" + source + "}}").render(context))
        )
    values: dict[str, Any] = expressions.render(templates, contexts(templates))
    return values


def has_expression(value: Any) -> bool:
    """Whether an expression stands somewhere in a value."""
    if isinstance(value, dict):
        return any(map(has_expression, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_expression, value))
    return isinstance(value, str) and "${{" in value
