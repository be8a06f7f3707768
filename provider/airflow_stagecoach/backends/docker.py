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
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends import _docker_image_stage
from airflow_stagecoach.backends._docker_connection import connect, host_of
from airflow_stagecoach.backends._docker_errors import (
    explain,
    failed_login,
    failed_pull,
    foreign_image,
    missing_image,
)
from airflow_stagecoach.backends._docker_files import read_file
from airflow_stagecoach.backends._docker_folders import fetch_folder, put_folder
from airflow_stagecoach.backends._docker_networks import remove_network
from airflow_stagecoach.backends._docker_output import Output
from airflow_stagecoach.backends._docker_services import (
    ServiceGroup,
    handle_services,
    remove_orphans,
    remove_services,
    service_logs,
)
from airflow_stagecoach.backends._docker_settings import DockerConfig
from airflow_stagecoach.backends._endings import LONGEST_RESULT
from airflow_stagecoach.backends._services import SERVICE
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.ownership import KEEP, LEG, OWNER, Leftover, owner, owner_labels
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import COMMAND, FOLDER, pack_image_stage, pack_unit
from airflow_stagecoach.backends.work import Handle, Lines, Status, is_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import APIClient

    from airflow_stagecoach.backends._image_stage import Ended
    from airflow_stagecoach.backends.work import Work
    from airflow_stagecoach.engine.contract import Container, Error, Leg

#: Other names of architectures, and what images say.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386"}

#: What is put behind the name of a container whose result was taken, when it is kept.
_DONE = "-done"


class DockerBackend(RemoteBackend):
    """Runs work in a container of its own."""

    type: ClassVar[str] = "docker"
    capabilities: ClassVar[frozenset[str]] = frozenset({"gpu", "image", "memory", "services", "volumes"})
    Config: ClassVar[Any] = DockerConfig
    needed_without_image: ClassVar[tuple[tuple[str, ...], ...]] = (("image",),)

    settings: DockerConfig

    #: What an ``image:`` stage wants to run, once it is to be started.
    _container: Container | None = None

    @cached_property
    def client(self) -> APIClient:
        """The daemon's API, through the hook of Airflow's docker provider."""
        return connect(self.settings.host, self.settings.tls)

    @cached_property
    def _output(self) -> Output:
        return Output()

    def explain(self, error: Exception) -> Error:
        own = self._container
        if own is None:
            return self.explain_of(error, self.settings.image or "")
        return _docker_image_stage.explain(error, own) or self.explain_of(error, own["image"])

    def explain_of(self, error: Exception, image: str) -> Error:
        """What an exception means where it is about a container of an image."""
        host, tls = host_of(self.settings.host), self.settings.tls
        return explain(error, host, image, tls) or super().explain(error)

    # -- the contract -----------------------------------------------------------------------

    def render(self, work: Work) -> Mapping[str, Any]:
        from airflow_stagecoach.engine.secrets import Hider

        request = self._request(work)
        if services := ServiceGroup(self, work).requests():
            request["services"] = services
        shown: dict[str, Any] = Hider(work.unit.get("contexts") or {}).value(request)
        return shown

    def _request(self, work: Work) -> dict[str, Any]:
        """What the daemon is asked to create."""
        settings = self.settings
        resources: Any = work.unit.get("resources") or {}
        limits = _limits(resources, settings)
        leg = self._volume_of(work)
        shared = [f"{_volume(leg['key'])}:{self.workdir}"] if leg is not None else []
        services = ServiceGroup(self, work)
        host_config: dict[str, Any] = {
            "binds": [*settings.volumes, *shared] or None,
            "network_mode": services.network.mode,
            "extra_hosts": services.hosts or None,
            "shm_size": settings.shm_size,
            "privileged": settings.privileged,
            "cap_add": settings.cap_add or None,
            "cap_drop": settings.cap_drop or None,
            **limits,
        }
        container = work.unit.get("container")
        return {
            "image": settings.image,
            "command": COMMAND,
            "entrypoint": settings.entrypoint,
            "user": settings.user,
            "environment": settings.env,
            "labels": work.labels() | owner_labels(work.identity) | services.labels,
            "name": work.name,
            "platform": settings.platform,
            "host_config": {key: value for key, value in host_config.items() if value is not None},
            **(_docker_image_stage.requested(container, settings.env) if container is not None else {}),
        }

    def start(self, work: Work) -> Handle:
        request = self._request(work)
        self._container = work.unit.get("container")
        if request["image"] is None:
            message = "runs-on: docker needs 'image' for every stage but `image:` stages"
            raise BackendFailure(message, category="configuration", reason="invalid-document")
        self.pull(request["image"])
        request["host_config"] = self.client.create_host_config(**_sdk(request["host_config"]))
        if self._container is None:
            # Else an image's own entrypoint would get our command as its arguments.
            request["entrypoint"] = request["entrypoint"] or []
        else:
            request["labels"] |= {_docker_image_stage.LABEL: ""}
        self._make_volume(work)
        services, container = ServiceGroup(self, work), None
        try:
            services.start()
            container = self.client.create_container(**request)["Id"]
            services.join(container)
            self._put(container, self.pack(work), shared=self._volume_of(work) is not None)
            if "files" in work.unit:
                put_folder(self.client, container, work.unit["files"], self.workdir)
            services.wait()
            self.client.start(container)
        except BaseException:
            if container is not None:
                with contextlib.suppress(Exception):
                    self.client.remove_container(container, force=True, v=True)
            services.remove()
            raise
        return _handle(container, work.name, request["labels"])

    def pack(self, work: Work) -> bytes:
        """What is put into the container before it starts; see :func:`~.shipment.pack_unit`."""
        if is_image(work.unit):
            return pack_image_stage(work.unit, ship=self.settings.ship)
        settings = self.settings
        return pack_unit(work.unit, workdir=settings.working_dir, ship=settings.ship, compiled=True)

    def find(self, work: Work) -> Handle | None:
        filters = {"label": f"stagecoach.key={work.key}"}
        services = []
        for found in self.client.containers(all=True, filters=filters):
            name = found["Names"][0].lstrip("/")
            if SERVICE in found["Labels"]:
                services.append(found["Id"])
                continue
            if name.endswith(_DONE):
                continue
            if found["State"] == "created":
                # Whoever made it died before it was started.
                self.client.remove_container(found["Id"], force=True, v=True)
                continue
            return _handle(found["Id"], name, found["Labels"])
        if services:
            remove_orphans(self.client, services, work.key)
        return None

    def poll(self, handle: Handle) -> Status:
        from docker.errors import NotFound

        try:
            found = self.client.inspect_container(handle["id"])
        except NotFound:
            return Status("lost", reason="Removed", message=f"container {handle['name']} was removed")
        state = found["State"]
        if state["Status"] in ("exited", "dead"):
            if found["Name"].endswith(_docker_image_stage.STOPPED):
                return Status("lost", reason="Removed", message=f"container {handle['name']} was stopped")
            if state.get("OOMKilled"):
                return Status("ended", state["ExitCode"], "OOMKilled", "the container ran out of memory")
            foreign = foreign_image(self.client, found)
            if foreign is not None and _docker_image_stage.LABEL not in found["Config"]["Labels"]:
                return Status("ended", state["ExitCode"], "StartError", foreign)
            return Status("ended", state["ExitCode"], message=state.get("Error") or None)
        return Status("running")

    def pause(self, handle: Handle, seconds: float) -> None:
        until = time.monotonic() + seconds
        client: Any = self.client  # Its stubs want whole seconds.
        try:
            # The daemon answers when the container ends.
            client.wait(handle["id"], timeout=seconds)
        except Exception:  # Mostly that it has not. What else is wrong the next look tells.
            super().pause(handle, until - time.monotonic())

    def logs(self, handle: Handle, position: Any) -> Lines:
        from docker.errors import NotFound

        try:
            return self._output.read(self.client, handle["id"], position)
        except NotFound:
            return Lines([], position)  # It was removed; poll() tells of it.

    def result(self, handle: Handle) -> bytes | None:
        return read_file(self.client, handle["id"], f"{FOLDER}/result.json", LONGEST_RESULT + 1)

    def fetch_files(self, handle: Handle, folder: str) -> None:
        fetch_folder(self.client, handle["id"], self.workdir, folder)

    def ended(self, handle: Handle) -> Ended:
        return _docker_image_stage.ended(self.client, handle["id"])

    def stop(self, handle: Handle) -> None:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            found = self.client.inspect_container(handle["id"])
            name, stopped = found["Name"].lstrip("/"), _docker_image_stage.STOPPED
            if _docker_image_stage.LABEL in found["Config"]["Labels"] and not name.endswith(stopped):
                self.client.rename(handle["id"], name + stopped)
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
        if "services" in handle:
            remove_services(self.client, handle["name"])

    def service_logs(self, handle: Handle) -> Mapping[str, list[str]]:
        return service_logs(self.client, handle["name"]) if "services" in handle else {}

    def clean_leg(self, key: str) -> None:
        self._remove_volume(_volume(key))

    def leg_name(self, key: str) -> str:
        return f"volume {_volume(key)}"

    def leftovers(self) -> Iterator[Leftover]:
        filters = {"label": OWNER}
        for found in self.client.containers(all=True, filters=filters):
            name, identity = found["Names"][0].lstrip("/"), owner(found["Labels"])
            if identity is not None and (not name.endswith(_DONE) or SERVICE in found["Labels"]):
                yield Leftover("container", found["Id"][:12], name, identity, shared=False)
        for found in self.client.networks(filters=filters):
            if (identity := owner(found["Labels"])) is not None:
                yield Leftover("network", found["Id"][:12], found["Name"], identity, shared=False)
        for found in self.client.volumes(filters=filters)["Volumes"] or ():
            name, identity = found["Name"], owner(found["Labels"])
            if identity is not None and KEEP not in found["Labels"]:
                yield Leftover("volume", name, name, identity, shared=True)

    def discard(self, leftover: Leftover) -> None:
        from docker.errors import NotFound

        if leftover.kind == "volume":
            self._remove_volume(leftover.id)
        elif leftover.kind == "network":
            remove_network(self.client, leftover.id)
        else:
            with contextlib.suppress(NotFound):
                self.client.remove_container(leftover.id, force=True, v=True)

    def reach(self) -> dict[str, Any]:
        names = ("image", "host", "tls", "auto-remove", "auto_remove")
        return {name: value for name, value in self.config.items() if name in names}

    def check(self) -> str:
        return f"Docker {self.client.version()['Version']}"

    # ---------------------------------------------------------------------------------------

    @property
    def workdir(self) -> str:
        return self.settings.working_dir or f"{FOLDER}/work"

    def _volume_of(self, work: Work) -> Leg | None:
        """The leg whose stages share a volume; ``None`` where the author mounts one of their own."""
        leg = work.unit.get("leg")
        taken = [volume.split(":")[1] for volume in self.settings.volumes if ":" in volume]
        here = os.path.normpath(self.workdir)
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

    def pull(self, image: str, conn: str | None = None) -> None:
        """See to it that the daemon has an image, as the setting ``pull`` says.

        :param conn: Airflow connection of its registry, that of the settings if absent
        :raises BackendFailure: it cannot be had
        """
        from docker.errors import APIError, ImageNotFound

        policy, platform = self.settings.pull, self.settings.platform
        if policy != "always":
            try:
                found = self.client.inspect_image(image)  # type: ignore[no-untyped-call]  # the SDK's own gap
                if policy == "never" or _is_for(found, platform):
                    return
            except ImageNotFound:
                if policy == "never":
                    raise missing_image(image) from None
        conn = conn or self.settings.conn
        try:
            # The login is for this alone: whoever follows the work needs no registry.
            client = connect(self.settings.host, self.settings.tls, conn) if conn else self.client
        except APIError as error:
            raise failed_login(image, str(conn), str(error.explanation or error)) from error
        try:
            for line in client.pull(image, platform=platform, stream=True, decode=True):
                if "error" in line:
                    raise failed_pull(image, str(line["error"]))
        except APIError as error:
            raise failed_pull(image, str(error.explanation or error)) from error

    def _put(self, container: str, archive: bytes, *, shared: bool) -> None:
        # All at once: for each archive the daemon starts a program, as slow as the start of a container.
        everything = io.BytesIO()
        with (
            tarfile.open(fileobj=everything, mode="w") as outer,
            tarfile.open(fileobj=io.BytesIO(archive)) as inner,
        ):
            # Any user of the image may write there: also into a new volume, which is root's.
            for folder in (FOLDER, self.workdir) if shared else (FOLDER,):
                info = tarfile.TarInfo(folder.strip("/"))
                info.type = tarfile.DIRTYPE
                info.mode = 0o1777
                outer.addfile(info)
            for member in inner:
                file = inner.extractfile(member)
                member.name = f"{FOLDER.strip('/')}/{member.name}"
                outer.addfile(member, file)
        self.client.put_archive(container, "/", everything.getvalue())


def _handle(container: str, name: str, labels: Mapping[str, str]) -> Handle:
    """The handle of a container, by its id and labels."""
    handle: Handle = {"id": container[:12], "name": name}
    if services := handle_services(labels):
        handle["services"] = services
    return handle


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


def _is_for(image: Mapping[str, Any], platform: str | None) -> bool:
    """Whether an image that is there fits ``platform``; its variant is left to the daemon."""
    wanted = [_ARCHITECTURES.get(part, part) for part in (platform or "").lower().split("/")[:2]]
    return all(part in ("", image.get("Os"), image.get("Architecture")) for part in wanted)
