"""``runs-on: docker``: the unit runs in a container.

Everything travels over the API of the daemon, so that it may be on another
machine: files go in as an archive, the result comes out as one. A container
carries the labels of its work; that is how the next try finds it.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends._docker_errors import explain, failed_pull, missing_image
from airflow_stagecoach.backends._docker_settings import DockerConfig
from airflow_stagecoach.backends.ownership import KEEP, LEG, OWNER, Leftover, owner, owner_labels
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import COMMAND, FOLDER, pack_unit
from airflow_stagecoach.backends.work import Handle, Lines, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import APIClient

    from airflow_stagecoach.backends.work import Work
    from airflow_stagecoach.engine.contract import Error, Leg

#: Output of one look, in lines: a longer one is read in several.
_LINES = 5000

#: What is put behind the name of a container whose result was taken, when it is kept.
_DONE = "-done"


class DockerBackend(RemoteBackend):
    """Runs work in a container of its own."""

    type: ClassVar[str] = "docker"
    capabilities: ClassVar[frozenset[str]] = frozenset({"gpu", "volumes"})
    Config: ClassVar[Any] = DockerConfig

    settings: DockerConfig

    @cached_property
    def client(self) -> APIClient:
        """The daemon's API, through the hook of Airflow's docker provider."""
        from airflow.providers.docker.hooks.docker import DockerHook

        tls = self.settings.tls
        config = None
        if tls is not None:
            config = DockerHook.construct_tls_config(
                ca_cert=tls.ca_cert,
                client_cert=tls.client_cert,
                client_key=tls.client_key,
                verify=tls.verify,
            )
        hook = DockerHook(docker_conn_id=self.settings.conn, base_url=self._host, version="auto", tls=config)
        client: APIClient = hook.api_client
        return client

    @property
    def _host(self) -> str:
        return self.settings.host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    def explain(self, error: Exception) -> Error:
        return explain(error, self._host, self.settings.image) or super().explain(error)

    # -- the contract -----------------------------------------------------------------------

    def render(self, work: Work) -> Mapping[str, Any]:
        from airflow_stagecoach.engine.secrets import Hider

        shown: dict[str, Any] = Hider(work.unit.get("contexts") or {}).value(self._request(work))
        return shown

    def _request(self, work: Work) -> dict[str, Any]:
        """What the daemon is asked to create."""
        settings = self.settings
        resources: Any = work.unit.get("resources") or {}
        limits = _limits(resources, settings)
        leg = self._volume_of(work)
        shared = [f"{_volume(leg['key'])}:{self._workdir}"] if leg is not None else []
        host_config: dict[str, Any] = {
            "binds": [*settings.volumes, *shared] or None,
            "network_mode": settings.network,
            "extra_hosts": settings.extra_hosts or None,
            "shm_size": settings.shm_size,
            "privileged": settings.privileged,
            "cap_add": settings.cap_add or None,
            "cap_drop": settings.cap_drop or None,
            **limits,
        }
        return {
            "image": settings.image,
            "command": COMMAND,
            "entrypoint": settings.entrypoint,
            "user": settings.user,
            "environment": settings.env,
            "labels": work.labels() | owner_labels(work.identity),
            "name": work.name,
            "platform": settings.platform,
            "host_config": {key: value for key, value in host_config.items() if value is not None},
        }

    def start(self, work: Work) -> Handle:
        request = self._request(work)
        self._pull()
        request["host_config"] = self.client.create_host_config(**_sdk(request["host_config"]))
        # Else an image's own entrypoint would get our command as its arguments.
        request["entrypoint"] = request["entrypoint"] or []
        self._make_volume(work)
        container = self.client.create_container(**request)["Id"]
        try:
            self._put(container, self.pack(work), shared=self._volume_of(work) is not None)
            self.client.start(container)
        except BaseException:
            with contextlib.suppress(Exception):
                self.client.remove_container(container, force=True, v=True)
            raise
        return {"id": container[:12], "name": work.name}

    def pack(self, work: Work) -> bytes:
        """What is put into the container before it starts; see :func:`~.shipment.pack_unit`."""
        return pack_unit(work.unit, workdir=self.settings.working_dir, ship=self.settings.ship)

    def find(self, work: Work) -> Handle | None:
        filters = {"label": f"stagecoach.key={work.key}"}
        for found in self.client.containers(all=True, filters=filters):
            name = found["Names"][0].lstrip("/")
            if name.endswith(_DONE):
                continue
            if found["State"] == "created":
                # Whoever made it died before it was started.
                self.client.remove_container(found["Id"], force=True, v=True)
                continue
            return {"id": found["Id"][:12], "name": name}
        return None

    def poll(self, handle: Handle) -> Status:
        from docker.errors import NotFound

        try:
            state = self.client.inspect_container(handle["id"])["State"]
        except NotFound:
            return Status("lost", reason="Removed", message=f"container {handle['name']} was removed")
        if state["Status"] in ("exited", "dead"):
            if state.get("OOMKilled"):
                return Status("ended", state["ExitCode"], "OOMKilled", "the container ran out of memory")
            return Status("ended", state["ExitCode"], message=state.get("Error") or None)
        return Status("running")

    def logs(self, handle: Handle, position: Any) -> Lines:
        from docker.errors import NotFound

        # Seconds are all that the daemon selects by; within the second, lines are counted.
        last, seen = position or ["", 0]
        since = _seconds(last)
        lines: list[str] = []
        repeated = 0
        # A container that was removed has no lines; poll() tells of it.
        with contextlib.suppress(NotFound):
            for stamp, text in self._lines(handle, since):
                if stamp < last:
                    continue
                if stamp == last:
                    repeated += 1
                    if repeated <= seen:
                        continue
                    seen += 1
                else:
                    last, seen, repeated = stamp, 1, 1
                lines.append(text)
                if len(lines) >= _LINES:
                    break
        return Lines(lines, [last, seen])

    def result(self, handle: Handle) -> bytes | None:
        from docker.errors import NotFound

        try:
            stream, _ = self.client.get_archive(handle["id"], f"{FOLDER}/result.json")
        except NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    return file.read()
        return None

    def stop(self, handle: Handle) -> None:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            self.client.stop(handle["id"], timeout=int(self.grace))

    def clean(self, handle: Handle) -> None:
        from docker.errors import APIError, NotFound

        try:
            if self._keep(handle):
                self.client.rename(handle["id"], handle["name"] + _DONE)
            else:
                self.client.remove_container(handle["id"], force=True, v=True)
        except NotFound:
            pass
        except APIError as error:
            if error.status_code != 409:  # Its removal is on the way already.
                raise

    def clean_leg(self, key: str) -> None:
        self._remove_volume(_volume(key))

    def leftovers(self) -> Iterator[Leftover]:
        filters = {"label": OWNER}
        for found in self.client.containers(all=True, filters=filters):
            name, identity = found["Names"][0].lstrip("/"), owner(found["Labels"])
            if identity is not None and not name.endswith(_DONE):
                yield Leftover("container", found["Id"][:12], name, identity, shared=False)
        for found in self.client.volumes(filters=filters)["Volumes"] or ():
            name, identity = found["Name"], owner(found["Labels"])
            if identity is not None and KEEP not in found["Labels"]:
                yield Leftover("volume", name, name, identity, shared=True)

    def discard(self, leftover: Leftover) -> None:
        from docker.errors import NotFound

        if leftover.kind == "volume":
            self._remove_volume(leftover.id)
        else:
            with contextlib.suppress(NotFound):
                self.client.remove_container(leftover.id, force=True, v=True)

    def reach(self) -> dict[str, Any]:
        names = ("image", "host", "tls", "conn", "auto-remove", "auto_remove")
        return {name: value for name, value in self.config.items() if name in names}

    def check(self) -> str:
        return f"Docker {self.client.version()['Version']}"

    # ---------------------------------------------------------------------------------------

    @property
    def _workdir(self) -> str:
        return self.settings.working_dir or f"{FOLDER}/work"

    def _volume_of(self, work: Work) -> Leg | None:
        """The leg whose stages share a volume; ``None`` where the author mounts one of their own."""
        leg = work.unit.get("leg")
        taken = [volume.split(":")[1] for volume in self.settings.volumes if ":" in volume]
        here = os.path.normpath(self._workdir)
        if here == "/" or any(
            os.path.commonpath((here, place)) == os.path.normpath(place) for place in taken
        ):
            return None
        return leg

    def _make_volume(self, work: Work) -> None:
        leg = self._volume_of(work)
        if leg is not None:
            labels = {LEG: leg["key"], **owner_labels(work.identity), **({KEEP: ""} if leg["keep"] else {})}
            self.client.create_volume(_volume(leg["key"]), labels=labels)

    def _remove_volume(self, name: str) -> None:
        from docker.errors import APIError, NotFound

        try:
            self.client.remove_volume(name)
        except NotFound:
            pass
        except APIError as error:
            if error.status_code != 409:  # A container that the document keeps has it: it stays too.
                raise

    def _keep(self, handle: Handle) -> bool:
        policy = self.settings.auto_remove
        if policy == "on-success":
            return bool(self.client.inspect_container(handle["id"])["State"]["ExitCode"])
        return policy == "never"

    def _pull(self) -> None:
        from docker.errors import APIError, ImageNotFound

        policy, image = self.settings.pull, self.settings.image
        if policy != "always":
            try:
                self.client.inspect_image(image)  # type: ignore[no-untyped-call]  # the SDK's own gap
                return
            except ImageNotFound:
                if policy == "never":
                    raise missing_image(image) from None
        try:
            for line in self.client.pull(image, platform=self.settings.platform, stream=True, decode=True):
                if "error" in line:
                    raise failed_pull(image, str(line["error"]))
        except APIError as error:
            raise failed_pull(image, str(error.explanation or error)) from error

    def _put(self, container: str, archive: bytes, *, shared: bool) -> None:
        folders = io.BytesIO()
        with tarfile.open(fileobj=folders, mode="w") as outer:
            # Any user of the image may write there: also into a new volume, which is root's.
            for folder in (FOLDER, self._workdir) if shared else (FOLDER,):
                info = tarfile.TarInfo(folder.strip("/"))
                info.type = tarfile.DIRTYPE
                info.mode = 0o1777
                outer.addfile(info)
        self.client.put_archive(container, "/", folders.getvalue())
        self.client.put_archive(container, FOLDER, archive)

    def _lines(self, handle: Handle, since: int | None) -> Iterator[tuple[str, str]]:
        """Time stamp and text of each whole line of output, oldest first."""
        stream = self.client.logs(handle["id"], timestamps=True, stream=True, follow=False, since=since)
        rest = b""
        for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                stamp, _, text = line.partition(b" ")
                yield stamp.decode("ascii", "replace"), text.decode("utf-8", "replace").rstrip("\r")
        if rest:
            stamp, _, text = rest.partition(b" ")
            yield stamp.decode("ascii", "replace"), text.decode("utf-8", "replace")


def _volume(key: str) -> str:
    """Name of the volume of a leg."""
    return f"stagecoach-{key}"


def _limits(resources: Mapping[str, Any], settings: DockerConfig) -> dict[str, Any]:
    """``resources`` in the daemon's words; a limit stands before a request."""
    limits = resources.get("limits") or {}
    memory = limits.get("memory", resources.get("memory"))
    cpu = limits.get("cpu", resources.get("cpu"))
    found: dict[str, Any] = {"mem_limit": memory}
    if memory is not None:
        found["memswap_limit"] = memory  # No swap: it would only make running out of memory slow.
    if cpu is not None:
        found["nano_cpus"] = int(cpu * 1e9)
    gpus = settings.gpus if settings.gpus is not None else resources.get("gpu")
    if gpus:
        found["gpus"] = gpus
    return found


def _sdk(host_config: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the words of the SDK."""
    arguments = dict(host_config)
    gpus = arguments.pop("gpus", None)
    if gpus:
        from docker.types import DeviceRequest

        count = -1 if gpus == "all" else gpus
        arguments["device_requests"] = [DeviceRequest(count=count, capabilities=[["gpu"]])]
    return arguments


def _seconds(stamp: str) -> int | None:
    """The whole seconds of ``2026-01-31T00:00:00.123456789Z``."""
    from datetime import datetime, timezone

    if not stamp:
        return None
    return int(datetime.fromisoformat(stamp[:19]).replace(tzinfo=timezone.utc).timestamp())
