"""``runs-on: self-hosted``: the unit runs on a machine where somebody started ``stagecoach runner serve``.

With ``queue`` it is no work of this backend: the factory then sends the stages to that queue of
Airflow's own workers, where they run as local ones.
"""

from __future__ import annotations

import json
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from airflow_stagecoach.backends._endings import LONGEST_RESULT
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import ShipmentError, pack_unit
from airflow_stagecoach.backends.work import Handle, Lines, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from airflow_stagecoach.backends.ownership import Leftover
    from airflow_stagecoach.backends.work import Work
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Error, Result, Unit

#: A runner that is being started again is waited for, and one that is full, before a try fails; in seconds.
PATIENCE, PATIENCE_WHEN_FULL = 15.0, 60.0

#: A request of a runner is at most this long, in bytes.
LARGEST = 60 * 1000 * 1000

#: State of a job at the runner -> state of work.
_STATES = {"queued": "pending", "running": "running", "ended": "ended", "lost": "lost"}


class SelfHostedConfig(BaseModel):
    """Settings under ``runs-on: {type: self-hosted, with: ...}``.

    A runner by ``conn``, or by ``host`` and ``token``; or a ``queue``.
    """

    model_config = ConfigDict(extra="forbid")

    queue: str | None = Field(
        None, min_length=1, max_length=256, description="of Airflow's own workers, in place of a runner"
    )
    executor: str | None = Field(
        None,
        min_length=1,
        description="of Airflow that serves the queue; found by itself where one of several knows queues",
    )
    conn: str | None = Field(
        None,
        min_length=1,
        description="Airflow connection: host, port, schema (https), password is the token",
    )
    host: str | None = Field(
        None, min_length=1, validate_default=True, description="of the runner: https://name:port"
    )
    token: str | None = Field(
        None, min_length=1, validate_default=True, description="of the runner: ${{ secrets.NAME }}"
    )
    labels: list[str] = Field(default_factory=list, description="that the runner must have")
    image: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="of the job's container, at a runner with `--isolation docker` that allows it",
    )
    verify: bool | str = Field(
        True, description="check the runner's certificate; or the path of the certificate to trust"
    )
    env: dict[str, str] = Field(default_factory=dict, description="environment of the stages")
    ship: list[str] = Field(default_factory=list, description="patterns of files beside the document")

    @field_validator("executor")
    @classmethod
    def _of_a_queue(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "queue" in info.data and info.data["queue"] is None:
            raise PydanticCustomError("no_queue", "belongs to a queue: name that, too")
        return value

    @field_validator("conn", "host", "token", "labels", "image", "verify", "env", "ship")
    @classmethod
    def _one_way(cls, value: Any, info: ValidationInfo) -> Any:
        others = info.data
        name = info.field_name
        if others.get("queue") is not None:
            if value is not None:
                raise PydanticCustomError(
                    "two_ways", "belongs to a runner, and queue names Airflow's workers"
                )
        elif name in ("host", "token") and others.get("conn") is not None:
            if value is not None:
                raise PydanticCustomError("two_ways", "stands in the connection that conn names")
        elif name in ("host", "token") and value is None and {"queue", "conn"} <= others.keys():
            raise PydanticCustomError("missing", "is missing")
        return value


#: HTTP status of a refusal -> category, reason, what to do.
_REFUSALS = {
    401: ("configuration", "Unauthorized", "compare the token with the one that the runner was started with"),
    404: ("configuration", "NotFound", "that is no runner"),
    413: ("configuration", "TooLarge", "put large files where the runner is"),
    422: ("configuration", "Refused", ""),
    429: ("resource", "QueueFull", "start it with more --jobs or a longer --queue, or start another runner"),
    503: ("system", "Draining", ""),
}


class SelfHostedError(BackendFailure):
    """A runner refuses something.

    ``retry_after`` is how many seconds later it may be asked again, if it says so.
    """

    def __init__(self, message: str, response: httpx.Response | None = None) -> None:
        status = 422 if response is None else response.status_code
        other = ("network" if status >= 500 else "configuration", f"http-{status}", "")
        category, reason, hint = _REFUSALS.get(status, other)
        super().__init__(f"{message}; {hint}" if hint else message, category=category, reason=reason)
        pause = "" if response is None else response.headers.get("Retry-After", "")
        self.retry_after = int(pause) if pause.isdigit() else None


class SelfHostedBackend(RemoteBackend):
    """Runs work as a process of a runner."""

    type: ClassVar[str] = "self-hosted"
    capabilities: ClassVar[frozenset[str]] = frozenset({"memory", "memory-of-stages"})
    Config: ClassVar[Any] = SelfHostedConfig
    known_at_load: ClassVar[tuple[str, ...]] = ("queue", "executor")
    instead_of: ClassVar[Mapping[str, str]] = {
        "host": "write with: {conn: ID}, an Airflow connection; or host and token; or queue",
        "token": "write with: {conn: ID} in place of host and token",
    }

    settings: SelfHostedConfig

    @cached_property
    def client(self) -> httpx.Client:
        """The runner's API."""
        import ssl

        import httpx

        url, token = self._place()
        verify = self.settings.verify
        try:
            context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        except OSError as error:
            raise SelfHostedError(f"verify: the certificate cannot be read: {error}") from None
        return httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
            timeout=httpx.Timeout(60, connect=10),
        )

    def call(self, method: str, path: str, *, patience: float = 0, **request: Any) -> httpx.Response:
        """Ask the runner.

        :param patience: seconds in which a runner that cannot be reached is asked again
        :raises SelfHostedError: it refuses. 404 is an answer like others.
        :raises httpx.TransportError: it cannot be reached
        """
        import httpx

        until = time.monotonic() + patience
        while True:
            try:
                response = self.client.request(method, path, **request)
                break
            except httpx.TransportError as error:
                hopeless = _is_untrusted(error) or _speaks_no_tls(error) or self._stopped.is_set()
                if hopeless or time.monotonic() >= until:
                    raise
                self._stopped.wait(0.5)
        if response.is_success or response.status_code == 404:
            return response
        raise SelfHostedError(f"{self._url} answers {response.status_code}: {_detail(response)}", response)

    @property
    def _url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def explain(self, error: Exception) -> Error:
        import httpx

        if not isinstance(error, httpx.TransportError):
            return super().explain(error)
        found = super().explain(error)
        if _is_untrusted(error):
            found["category"], found["reason"] = "configuration", "certificate"
            found["message"] = (
                f"{self._url} has a certificate that is not trusted: {error}; name it in verify"
            )
        elif _speaks_no_tls(error):
            found["category"], found["reason"] = "configuration", "no-tls"
            found["message"] = (
                f"{self._url} speaks no TLS: write http, or start the runner with a certificate"
            )
        else:
            found["message"] = f"no runner answers at {self._url}: {error or type(error).__name__}"
        return found

    # -- the contract -----------------------------------------------------------------------

    def run(self, unit: Unit, hooks: Hooks, *, wait: float | None = None) -> Result:
        # What a trigger needs is stored in Airflow's database: a token must not be among it.
        return super().run(unit, hooks, wait=None if self.settings.conn is None else wait)

    def render(self, work: Work) -> Mapping[str, Any]:
        """What the runner is asked for."""
        settings = self.settings
        return {
            "runner": settings.host or f"connection {settings.conn}",
            "method": "PUT",
            "path": f"/jobs/{work.name}",
            "key": work.key,
            "labels": settings.labels,
            "image": settings.image,
            "ship": settings.ship,
        }

    def start(self, work: Work) -> Handle:
        archive = pack_unit(work.unit, ship=self.settings.ship)
        if len(archive) > LARGEST:
            raise ShipmentError(
                f"the stage and its files take {len(archive) / 1e6:.0f} MB, more than the "
                f"{LARGEST / 1e6:.0f} MB that a runner takes; put them where the runner is"
            )
        leg = work.unit.get("leg")
        order = {"key": work.key, "labels": self.settings.labels, "owner": work.identity, "leg": leg}
        header = json.dumps({**order, "image": self.settings.image})
        until = time.monotonic() + PATIENCE_WHEN_FULL
        while not self._stopped.is_set():
            try:
                self.call(
                    "PUT",
                    f"/jobs/{work.name}",
                    patience=PATIENCE,
                    content=archive,
                    headers={"Stagecoach-Job": header, "Content-Type": "application/x-tar"},
                )
                break
            except SelfHostedError as error:
                pause = error.retry_after
                if pause is None or time.monotonic() + pause > until:
                    raise
                self._stopped.wait(pause)
        return _handle(work.name)

    def find(self, work: Work) -> Handle | None:
        for job in self.call("GET", "/jobs", patience=PATIENCE, params={"key": work.key}).json()["jobs"]:
            # Nobody waits for what was stopped, and of what is lost there is no more to come.
            if job["state"] == "lost" or job["stopping"] or job["reason"] == "Stopped":
                self.clean(_handle(job["name"]))
                continue
            return _handle(job["name"])
        return None

    def poll(self, handle: Handle) -> Status:
        response = self.call("GET", f"/jobs/{handle['name']}")
        if response.status_code == 404:
            return Status(
                "lost", reason="Removed", message=f"the runner has no job {handle['name']} any more"
            )
        job = response.json()
        state = _STATES[job["state"]]
        if state == "lost":
            return Status(state, message=f"{handle['name']} is lost: {job['message']}")
        # Stopped by a person at the runner; who stops it through this object does not look any more.
        reason = "terminated" if job["reason"] == "Stopped" else job["reason"]
        return Status(state, job["exit_code"], reason, job["message"])

    def logs(self, handle: Handle, position: Any) -> Lines:
        response = self.call("GET", f"/jobs/{handle['name']}/log", params={"from": int(position or 0)})
        if response.status_code == 404:
            return Lines([], position)
        lines = response.content.decode("utf-8", "replace").splitlines()
        return Lines(lines, int(response.headers["Stagecoach-Position"]))

    def result(self, handle: Handle) -> bytes | None:
        found = b""
        with self.client.stream("GET", f"/jobs/{handle['name']}/result") as response:
            if response.status_code == 404:
                return None
            response.raise_for_status()
            for chunk in response.iter_bytes():
                found += chunk
                if len(found) > LONGEST_RESULT:
                    break  # Too long, however much more comes.
        return found

    def stop(self, handle: Handle) -> None:
        if self.call("POST", f"/jobs/{handle['name']}/stop").status_code == 404:
            return
        until = time.monotonic() + self.grace
        while time.monotonic() < until:
            if self.poll(handle).state not in ("pending", "running"):
                return
            time.sleep(0.1)

    def clean(self, handle: Handle) -> None:
        self.call("DELETE", f"/jobs/{handle['name']}")

    def clean_leg(self, key: str) -> None:
        self.call("DELETE", f"/legs/{key}")

    def leg_name(self, key: str) -> str:
        return f"folder {key} of the runner's legs"

    def leftovers(self) -> Iterator[Leftover]:
        from airflow_stagecoach.backends.ownership import OWNER, Leftover, owner

        for kind, path, name in (("job", "jobs", "name"), ("folder", "legs", "key")):
            for found in self.call("GET", f"/{path}").json()[path]:
                identity = owner({OWNER: json.dumps(found["owner"])})
                if identity is not None and not found.get("keep"):
                    yield Leftover(kind, found[name], found[name], identity, kind == "folder")

    def discard(self, leftover: Leftover) -> None:
        if leftover.shared:
            self.clean_leg(leftover.id)
        else:
            self.clean(_handle(leftover.id))

    def reach(self) -> dict[str, Any]:
        return {name: value for name, value in self.config.items() if name in ("conn", "host", "verify")}

    def check(self) -> str:
        runner = self.call("GET", "/runner").json()
        labels = ", ".join(runner["labels"]) or "none"
        answer = f"Stagecoach runner {runner['version']}, {runner['jobs']} jobs at a time, labels: {labels}"
        if runner["isolation"] == "docker":
            answer += f"; in containers of {runner['engine']}, image {runner['image'] or 'as jobs name it'}"
        return answer

    # ---------------------------------------------------------------------------------------

    def _place(self) -> tuple[str, str]:
        """URL and token."""
        settings = self.settings
        if settings.queue is not None:
            raise SelfHostedError(
                f"queue {settings.queue!r} is served by Airflow's own workers; "
                "in a handwritten DAG give queue= to the operator, and no runs_on"
            )
        if settings.conn is None:
            assert settings.host is not None
            assert settings.token is not None
            return _url(settings.host, "https", None), settings.token
        from airflow.sdk import BaseHook

        connection = BaseHook.get_connection(settings.conn)
        if not connection.host or not connection.password:
            missing = "host" if not connection.host else "password, which is the runner's token"
            raise SelfHostedError(f"connection {settings.conn} has no {missing}")
        url = _url(connection.host, connection.schema or "https", connection.port)
        return url, connection.password


def _url(host: str, scheme: str, port: int | None) -> str:
    url = host.rstrip("/") if "://" in host else f"{scheme}://{host.rstrip('/')}"
    if not url.startswith(("https://", "http://")):
        raise SelfHostedError(f"a runner is reached by https or http, not {url.partition('://')[0]}")
    return url if port is None else f"{url}:{port}"


def _is_untrusted(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _speaks_no_tls(error: Exception) -> bool:
    return "WRONG_VERSION_NUMBER" in str(error)


def _handle(name: str) -> Handle:
    return {"id": name, "name": name}


def _detail(response: httpx.Response) -> str:
    """What a runner says; anything else that answers there is not shown whole."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.reason_phrase or 'no runner answers there'}"
