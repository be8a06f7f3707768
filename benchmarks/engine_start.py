"""What the engine that travels costs when it starts in a container, over a Python that does nothing."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends.shipment import COMMAND, FOLDER, pack_unit
from airflow_stagecoach.engine import pack
from benchmarks.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Label -> stage, and whether what the worker's Python has compiled is there too.
STAGES: dict[str, tuple[dict[str, Any], bool]] = {
    "a stage that is nothing": ({"kind": "empty"}, True),
    "Python stage `pass`": ({"kind": "python", "run": "pass"}, True),
    "bash stage `true`": ({"kind": "bash", "bash": "true"}, True),
    "Python stage `pass`, as with another version of Python": ({"kind": "python", "run": "pass"}, False),
}

_BASELINE = "python3 -c pass"

#: Runs in the container, so that the way to it is not measured: every command in turn, again and again.
_DRIVER = """\
import json, resource, subprocess, sys, time
commands, repeats = json.loads(sys.argv[1]), int(sys.argv[2])
found = {name: [] for name in commands}
names = list(commands)
for repeat in range(repeats + 1):
    for name in names[repeat % len(names):] + names[:repeat % len(names)]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if repeat:
            found[name].append({"seconds": seconds, "cpu": cpu})
print(json.dumps(found))
"""


@dataclass
class EngineStart:
    """``seconds`` and ``cpu`` of each command; ``over`` and ``over_cpu``: more than Python in the same turn.

    :ivar size: of the zip app, in bytes
    :ivar python: version in the container
    """

    size: int
    python: str
    series: list[Series]


def measure(client: Any, image: str, repeats: int, say: Callable[[str], None]) -> EngineStart:
    """Run all commands in one container, by turns.

    :param client: of a Docker engine
    :param image: with Python and a shell
    """
    say("start of the engine in a container")
    container = client.create_container(image, command=["sleep", "600"])["Id"]
    try:
        client.start(container)
        commands = {_BASELINE: ["python3", "-c", "pass"]}
        for number, (label, (spec, compiled)) in enumerate(STAGES.items()):
            folder = f"{FOLDER}-{number}"
            client.put_archive(container, "/", _folder(folder))
            unit: Any = {"stages": [{"id": "nothing", "name": "Nothing", **spec}], "document_dir": "/tmp"}
            client.put_archive(container, folder, pack_unit(unit, folder=folder, compiled=compiled))
            commands[label] = [part.replace(f"{FOLDER}/", f"{folder}/") for part in COMMAND]
        told = _run(client, container, ["python3", "-c", _DRIVER, json.dumps(commands), str(repeats)])
        python = _run(client, container, ["python3", "-c", "import sys; print(sys.version.split()[0])"])
    finally:
        client.remove_container(container, force=True)
    series = _series(json.loads(told))
    for one in series[1:]:
        more = " and ".join(f"{one.median(name) * 1000:.0f} ms" for name in ("over", "over_cpu"))
        say(f"  {one.label}: {more} of processor time more than {_BASELINE}")
    return EngineStart(len(pack.build()), python.strip(), series)


def _series(commands: dict[str, list[dict[str, float]]]) -> list[Series]:
    """Figures of each command; the first is what the others are compared with."""
    (name, alone), *others = commands.items()
    baseline = Series(name, figures=list(alone))
    found = [baseline]
    for label, values in others:
        figures = [
            {**own, "over": own["seconds"] - other["seconds"], "over_cpu": own["cpu"] - other["cpu"]}
            for own, other in zip(values, alone, strict=True)
        ]
        found.append(Series(label, baseline, figures))
    return found


def _folder(path: str) -> bytes:
    """A tar archive of one empty folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(info)
    return buffer.getvalue()


def _run(client: Any, container: str, command: Sequence[str]) -> str:
    started = client.exec_create(container, list(command))["Id"]
    output: bytes = client.exec_start(started)
    code = client.exec_inspect(started)["ExitCode"]
    assert code == 0, output.decode(errors="replace")
    return output.decode()
