"""``runs-on: kubernetes``: the unit runs in a pod, of its own or of a job.

What travels lies in secrets that are mounted into the pod; the result comes back as the last message
of the container, or is fetched from it while it waits. Everything carries the labels of its work.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends import _kubernetes_removal
from airflow_stagecoach.backends._endings import LONGEST_RESULT
from airflow_stagecoach.backends._kubernetes_api import Api
from airflow_stagecoach.backends._kubernetes_errors import FORBIDDEN, explain
from airflow_stagecoach.backends._kubernetes_image_stage import (
    LARGEST_OUTPUT,
    ended,
    is_image_stage,
    written,
)
from airflow_stagecoach.backends._kubernetes_log import lines_of
from airflow_stagecoach.backends._kubernetes_pod import (
    DONE,
    KEY,
    SECRETS,
    Cargo,
    cargo_of,
    job_of,
    pod_of,
    registries,
    secrets_of,
)
from airflow_stagecoach.backends._kubernetes_removal import pod_handle
from airflow_stagecoach.backends._kubernetes_script import Waiting, waiting, without_mark
from airflow_stagecoach.backends._kubernetes_services import (
    READY,
    described,
    login,
    service_containers,
    waits_for,
)
from airflow_stagecoach.backends._kubernetes_settings import STAGE, KubernetesConfig
from airflow_stagecoach.backends._kubernetes_start import start_job, start_pod
from airflow_stagecoach.backends._kubernetes_status import (
    container_status,
    is_over,
    message_of,
    removal,
    status_of,
)
from airflow_stagecoach.backends._kubernetes_template import merged
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import FOLDER
from airflow_stagecoach.backends.work import Handle, Lines, Status, failed, is_image
from airflow_stagecoach.engine.log_levels import marked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.backends._image_stage import Ended
    from airflow_stagecoach.backends.ownership import Leftover
    from airflow_stagecoach.backends.work import Work
    from airflow_stagecoach.engine.contract import Error, Result, Unit

#: Output of one look, in lines: a longer one is read in several.
_LINES = 5000

#: What was told of a log that is lost.
_NO_LOG = "no log"

#: In so many of the last lines of a log the mark of a waiting result is looked for.
_TAIL = 20


@dataclass
class _Seen:
    """What this object has seen of the work that it looks at.

    :ivar waiting: the result that waits in the pod
    :ivar listened: whether the log was read since the last look
    """

    id: str
    pod: dict[str, Any] | None = None
    status: Status | None = None
    waiting: Waiting | None = None
    listened: bool = False


class KubernetesBackend(RemoteBackend):
    """Runs work in a pod."""

    type: ClassVar[str] = "kubernetes"
    capabilities: ClassVar[frozenset[str]] = frozenset({"gpu", "image", "memory", "services", "volumes"})
    Config: ClassVar[Any] = KubernetesConfig
    needed_without_image: ClassVar[tuple[tuple[str, ...], ...]] = (("image", "pod", "jobSpec", "job_spec"),)

    settings: KubernetesConfig

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(config)
        self._seen = _Seen("")

    @cached_property
    def api(self) -> Api:
        """The cluster, through the hook of Airflow's kubernetes provider."""
        return Api(self.settings)

    def explain(self, error: Exception) -> Error:
        namespace = self.settings.namespace or self.api.__dict__.get("namespace", "default")
        return explain(error, namespace) or super().explain(error)

    # -- the contract -----------------------------------------------------------------------

    def render(self, work: Work) -> Mapping[str, Any]:
        from airflow_stagecoach.engine.secrets import Hider

        pod = self._pod_of(work, cargo_of(work, self.settings))
        is_job = self._is_job(work)
        found = {
            "secrets": [
                f"{work.name}-{number}" for number in range(int(pod["metadata"]["annotations"][SECRETS]))
            ],
            "job" if is_job else "pod": job_of(work, self.settings, pod) if is_job else pod,
        }
        shown: dict[str, Any] = Hider(work.unit.get("contexts") or {}).value(found)
        return shown

    def start(self, work: Work) -> Handle:
        if not self.settings.main_image and "container" not in work.unit:
            message = "runs-on: kubernetes needs 'image' for every stage but `image:` stages"
            raise BackendFailure(message, category="configuration", reason="invalid-document")
        cargo, logins = cargo_of(work, self.settings), self._logins(work)
        pod = self._pod_of(work, cargo)
        secrets = len(cargo.secrets) + len(logins)
        if not self._is_job(work):
            start_pod(self.api, pod, secrets_of(work, cargo, logins))
            return pod_handle(work.name, work.name, "pod", secrets)
        chosen = start_job(
            self.api,
            job_of(work, self.settings, pod),
            lambda pod, owners: secrets_of(work, cargo, logins, pod=pod, owners=owners),
            is_cancelled=self._stopped.is_set,
        )
        if chosen is not None:
            return pod_handle(chosen, work.name, "job", secrets)
        found = self.find(work)
        if found is None:
            message = f"job {work.name} was there, and was never started: it is removed now"
            raise BackendFailure(message, category="system", reason="Conflict")
        return found

    def find(self, work: Work) -> Handle | None:
        selector = f"{KEY}={work.key},!{DONE}"
        for pod in self.api.select("pod", labels=selector):
            if pod["metadata"].get("deletionTimestamp"):
                # No try starts while an earlier one still works.
                _kubernetes_removal.await_removal(self.api, pod["metadata"]["name"], self.grace)
                continue
            handle = _kubernetes_removal.handle_of(self.api, pod)
            if handle is not None:
                return handle
        if self.settings.is_job:
            # Whoever made them died before they were started, or their pod was removed.
            for job in self.api.select("job", labels=selector):
                self.api.delete("job", job["metadata"]["name"])
        return None

    def poll(self, handle: Handle) -> Status:
        seen = self._of(handle)
        pod = self.api.get("pod", handle["id"])
        if pod is None:
            seen.status = removal(seen.pod)
            return seen.status
        seen.pod = pod
        running = "running" in (container_status(pod).get("state") or {}) and not is_over(pod)
        if running and seen.waiting is None and not seen.listened and not is_image_stage(pod):
            seen.waiting = self._mark(handle)
        seen.listened = False
        if running and seen.waiting is not None:
            seen.status = Status("ended", seen.waiting.exit_code, "OOMKilled" if seen.waiting.oom else None)
        else:
            seen.status = (self._begin(handle, pod) if running else None) or status_of(
                pod,
                start_timeout=self.settings.start_timeout,
                events=lambda: self._events(pod),
                now=self.api.now,
            )
        return seen.status

    def logs(self, handle: Handle, position: Any) -> Lines:
        from kubernetes.client.exceptions import ApiException

        last, count, told = position or ["", 0, ""]
        seen = self._of(handle)
        status = seen.status or self.poll(handle)
        if status.state == "pending":
            topic = status.reason or status.message
            if status.message is None or topic == told:
                return Lines([], [last, count, told])
            line = marked(f"The pod waits: {status.message}", "warning" if status.reason else "info")
            return Lines([line], [last, count, topic])
        seen.listened = True
        foreign = seen.pod is not None and is_image_stage(seen.pod)
        since = f"{last[:19]}Z" if last else None
        lines: list[str] = []
        repeated = 0
        try:
            for stamp, text in self._lines(handle, since=since):
                if stamp < last:
                    continue
                if stamp == last:
                    repeated += 1
                    if repeated <= count:
                        continue
                    count += 1
                else:
                    last, count, repeated = stamp, 1, 1
                if not foreign:
                    seen.waiting = seen.waiting or waiting(text, handle["name"])
                shown = text if foreign else without_mark(text)
                if shown is not None:
                    lines.append(shown)
                if len(lines) >= _LINES:
                    break
        except ApiException as error:
            # What has ended, or never began, may have no log any more; poll() tells of it.
            if error.status not in (400, 404):
                if status.state == "running":
                    raise
                if told != _NO_LOG:
                    message = f"The log of the pod cannot be read: {self.explain(error)['message']}"
                    lines, told = [*lines, marked(message, "warning")], _NO_LOG
        return Lines(lines, [last, count, told])

    def result(self, handle: Handle) -> bytes | None:
        pod = self.api.get("pod", handle["id"])
        if pod is None:
            return None
        if is_over(pod):
            return message_of(pod)
        found = self._of(handle).waiting or self._mark(handle)
        return None if found is None else self._fetch(handle, found)

    def ended(self, handle: Handle) -> Ended:
        from kubernetes.client.exceptions import ApiException

        def lines() -> Iterator[str]:
            try:
                for _, text in self._lines(handle):
                    yield text
            except ApiException as error:
                if error.status not in (400, 404):  # Of what never ran there is no log.
                    raise

        return ended(self.api.get("pod", handle["id"]) or {}, lines())

    @property
    def workdir(self) -> str:
        return self.settings.workdir

    def stop(self, handle: Handle) -> None:
        # Kubernetes stops a pod by removing it.
        _kubernetes_removal.remove(self.api, handle, grace=self.grace)
        _kubernetes_removal.await_removal(self.api, handle["id"], self.grace)

    def clean(self, handle: Handle) -> None:
        pod = self.api.get("pod", handle["id"])
        if pod is not None and self._keep(handle, pod):
            _kubernetes_removal.retire(self.api, handle, pod)
        else:
            # The processes of a pod that is not over have nothing to do any more.
            idle = pod is not None and _kubernetes_removal.is_idle(pod)
            _kubernetes_removal.remove(self.api, handle, grace=0 if idle else 1)
        _kubernetes_removal.remove_secrets(self.api, handle)

    def service_logs(self, handle: Handle) -> Mapping[str, list[str]]:
        from airflow_stagecoach.backends._services import TOLD_LINES, last_lines

        pod = self.api.get("pod", handle["id"])
        found = {}
        for container, title in described(pod or {}):
            lines = [text for _, text in self._lines(handle, container, tail=TOLD_LINES)]
            found[title] = last_lines("\n".join(lines))
        return found

    def leftovers(self) -> Iterator[Leftover]:
        return _kubernetes_removal.leftovers(self.api, jobs=self.settings.is_job)

    def discard(self, leftover: Leftover) -> None:
        _kubernetes_removal.discard(self.api, leftover)

    def reach(self) -> dict[str, Any]:
        settings = self.settings
        found = {
            "image": settings.main_image or None,
            "kind": "job" if settings.is_job else "pod",
            "namespace": self.api.namespace,
            "conn": settings.conn,
            "in-cluster": settings.in_cluster,
            "config-file": settings.config_file,
            "context": settings.context,
            "start-timeout": settings.start_timeout,
            "auto-remove": settings.auto_remove,
        }
        return {name: value for name, value in found.items() if value is not None}

    def check(self) -> str:
        return f"Kubernetes {self.api.version()}"

    # ---------------------------------------------------------------------------------------

    def _of(self, handle: Handle) -> _Seen:
        """What was seen of this work, nothing of any other."""
        if self._seen.id != handle["id"]:
            self._seen = _Seen(handle["id"])
        return self._seen

    def _is_job(self, work: Work) -> bool:
        """Whether the work is a job. An ``image:`` stage is none: it cannot refuse to run in a second pod."""
        return self.settings.is_job and "container" not in work.unit

    def _pod_of(self, work: Work, cargo: Cargo) -> dict[str, Any]:
        return merged(self.settings, pod_of(work, self.settings, cargo, grace=self.grace))

    def _ended(self, handle: Handle, unit: Unit, status: Status) -> Result | None:
        if status.state == "ended" and status.exit_code is None and status.reason is not None:
            # It never began: nothing of it tells more than the cluster.
            from airflow_stagecoach.engine.classification import classified

            message = status.message or f"the pod of {handle['name']} could not run: {status.reason}"
            error: Error = {"type": status.reason, "message": message, "reason": status.reason}
            if status.reason == FORBIDDEN:
                error["category"] = "configuration"
            return failed(unit, classified(error))
        if status.state == "ended" and is_image(unit) and not status.exit_code:
            size = len(written(self._of(handle).pod or {}))
            if size >= LARGEST_OUTPUT:
                from airflow_stagecoach.engine.classification import classified

                message = (
                    f"STAGE_OUTPUT: {LARGEST_OUTPUT} bytes or more, which Kubernetes does not keep of an "
                    "image stage; write a file in a volume and hand on its name"
                )
                return failed(unit, classified({"type": "OutputFile", "message": message}))
        try:
            return super()._ended(handle, unit, status)
        except Exception as error_found:
            explained = self.explain(error_found)
            if explained.get("reason") != FORBIDDEN:
                raise
            # It will be forbidden in a minute, too.
            return failed(unit, explained)

    def _logins(self, work: Work) -> list[bytes]:
        """Logins of the registries of services."""
        found = []
        for conn in registries(work):
            from airflow.sdk import BaseHook

            found.append(login(BaseHook.get_connection(conn)))
        return found

    def _begin(self, handle: Handle, pod: Mapping[str, Any]) -> Status | None:
        """Let our container begin when its services are ready.

        :return: why it has to wait, or never will; ``None`` when it has begun
        """
        told = pod["metadata"].get("annotations") or {}
        if READY in told or not service_containers(pod):
            return None
        found = waits_for(pod, lambda: self._events(pod), self.api.now)
        if found is None:
            try:
                self.api.run(handle["id"], STAGE, ["/bin/sh", "-c", f": >{FOLDER}/ready"])
            except Exception as error:
                explained = self.explain(error)
                if explained.get("reason") != FORBIDDEN:
                    raise
                return Status("ended", None, FORBIDDEN, explained["message"])
            self.api.patch("pod", handle["id"], {"metadata": {"annotations": {READY: "true"}}})
        return found

    def _events(self, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.api.events(f"involvedObject.uid={pod['metadata']['uid']}")

    def _lines(
        self, handle: Handle, container: str = STAGE, *, since: str | None = None, tail: int | None = None
    ) -> Iterator[tuple[str, str]]:
        response = self.api.log(handle["id"], container, since=since, tail=tail)
        try:
            yield from lines_of(response.stream(64 * 1024))
        finally:
            response.close()

    def _mark(self, handle: Handle) -> Waiting | None:
        """What the container has said last of a result that waits."""
        found = [waiting(text, handle["name"]) for _, text in self._lines(handle, tail=_TAIL)]
        return next((one for one in reversed(found) if one is not None), None)

    def _fetch(self, handle: Handle, told: Waiting) -> bytes:
        """The result that waits in the container.

        :raises OSError: it did not come whole
        """
        file = f"{FOLDER}/result.json"
        if told.size > LONGEST_RESULT:  # Too long, however much more comes.
            return self.api.run(handle["id"], STAGE, ["head", "-c", str(LONGEST_RESULT + 1), file])
        for _ in range(3):
            found = self.api.run(handle["id"], STAGE, ["cat", file])
            if len(found) == told.size and told.sha256 in ("-", hashlib.sha256(found).hexdigest()):
                return found
        raise OSError(f"the result came with {len(found)} of {told.size} bytes, or damaged")

    def _keep(self, handle: Handle, pod: Mapping[str, Any]) -> bool:
        policy = self.settings.auto_remove
        if policy == "on-success":
            state = container_status(pod).get("state") or {}
            code = (state.get("terminated") or {}).get("exitCode")
            waits = self._of(handle).waiting
            return bool(code if waits is None else waits.exit_code)
        return policy == "never"
