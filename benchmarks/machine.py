"""Where and with what was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

#: Distributions whose versions a reader wants to know.
DISTRIBUTIONS = (
    "airflow-provider-stagecoach",
    "apache-airflow",
    "apache-airflow-providers-standard",
    "pydantic",
    "PyYAML",
    "SQLAlchemy",
)

_ASK = (
    "import json, sys, platform, importlib.metadata as m; "
    "print(json.dumps({'Python': platform.python_version(), **{n: m.version(n) for n in sys.argv[1:]}}))"
)


def describe_machine() -> dict[str, str]:
    """Name the processor, the memory and the system."""
    processor = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "") if hasattr(os, "uname") else ""
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{system}, Linux {platform.release().partition('-')[0]}",
    }


def describe_versions(python: str) -> dict[str, str]:
    """Ask an interpreter for its own version and those of ``DISTRIBUTIONS``."""
    done = subprocess.run([python, "-c", _ASK, *DISTRIBUTIONS], check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def load_average() -> float:
    """Give the load of the last minute: more than the processes that are measured means other work."""
    return os.getloadavg()[0]
