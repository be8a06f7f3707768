"""The memory of a try: what the document gives, and more after tries without enough (``retry: {on-oom}``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.memory import grown, memory_limit, ran_out_of_memory, shown, told
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators.retry import StageRetryPolicy, classifiers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import OnOomPlan
    from airflow_stagecoach.engine.contract import Error
    from airflow_stagecoach.operators._base import StageBaseOperator


class Memory:
    """What one try of a stage may use, and the next one.

    Stages that share a task are not looked at: there the engine tries again.

    :param operator: runs the stage
    :param context: Airflow's
    """

    def __init__(self, operator: StageBaseOperator, context: Mapping[str, Any]) -> None:
        self._log = operator.log
        self._resources: Mapping[str, Any] | None = operator.spec.get("resources")
        policy = operator.retry_policy
        self._on_oom: OnOomPlan | None = None
        self._ran_out = 0
        if isinstance(policy, StageRetryPolicy) and self._resources:
            ti = context["ti"]
            self._on_oom = policy.plan.get("on_oom")
            self._ran_out = policy.ran_out_before(ti.try_number, ti.max_tries, context)

    @property
    def limit(self) -> int | None:
        """Bytes that this try may use at most."""
        return memory_limit(self._after(self._ran_out))

    def given(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec with the memory of this try; a larger one is told."""
        if not self._ran_out:
            return spec
        first = shown(memory_limit(self._resources))
        self._say(
            f"Memory of this try: {shown(self.limit)}, in place of {first}: {self._ran_out} before it ran out"
        )
        return {**spec, "resources": self._after(self._ran_out)}

    def next_limit(self, error: Error) -> int | None:
        """Bytes that the try after a failure of this one may use at most."""
        return memory_limit(self._after(self._ran_out + ran_out_of_memory(error, classifiers())))

    def tell(self, error: Error) -> None:
        """Say what a further try gets, if this one ran out of memory."""
        if ran_out_of_memory(error, classifiers()):
            self._say(*told(self._on_oom, self._resources, self._ran_out + 1))

    def _say(self, text: str, level: str = "info") -> None:
        if _local.session is not None:
            _local.session.write(text, level)
        (self._log.warning if level == "warning" else self._log.info)("%s", text)

    def _after(self, ran_out: int) -> Mapping[str, Any] | None:
        """The resources after some tries without enough memory."""
        if self._resources is None or self._on_oom is None:
            return self._resources
        return grown(self._resources, self._on_oom, ran_out)
