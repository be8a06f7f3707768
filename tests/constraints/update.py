"""Resolve the constraints files of this folder anew: one for each Airflow and Python.

``tox run -e constraints`` runs this. A file pins everything that the package, its extras and
its dependency groups could install, so that an environment of any subset of them agrees with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PYPROJECT = HERE.parent.parent / "pyproject.toml"

#: Airflow's minor version -> exact versions of its three distributions.
AIRFLOW = {
    "33": {
        "apache-airflow": "3.3.2",
        "apache-airflow-core": "3.3.2",
        "apache-airflow-task-sdk": "1.3.2",
    },
    "34": {
        "apache-airflow": "3.4.0b2",
        "apache-airflow-core": "3.4.0b2",
        "apache-airflow-task-sdk": "1.4.0b2",
    },
}

#: Airflow's minor version -> the Python versions that both it and we support.
PYTHON = {"33": ["3.10", "3.11", "3.12", "3.13"], "34": ["3.11", "3.12", "3.13"]}

#: Where a resolver left alone goes back to a release that knows no Airflow 3.
LOWER_BOUNDS = ["apache-airflow-providers-google>=20", "apache-airflow-providers-amazon>=9.20"]


def resolve(airflow: str, python: str) -> list[str]:
    """Give the sorted ``name==version`` lines for one Airflow and Python.

    :raises subprocess.CalledProcessError: there is no solution, or the package index does not answer
    """
    with tempfile.TemporaryDirectory() as folder:
        # Direct requirements, not constraints: only those may be pre-releases.
        wanted = [f"{name}=={version}" for name, version in AIRFLOW[airflow].items()]
        requirements = Path(folder, "requirements.in")
        requirements.write_text("\n".join(wanted + (HERE / "packages.in").read_text().splitlines()))
        bounds = Path(folder, "bounds.txt")
        bounds.write_text("\n".join(LOWER_BOUNDS))
        command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--all-extras"]
        command += ["--python-version", python, "--constraints", str(bounds)]
        command += ["--no-emit-index-url", "--no-emit-find-links", str(PYPROJECT), str(requirements)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    strange = [line for line in lines if not _is_pin(line)]
    if strange:
        raise ValueError(f"only name==version is wanted in a constraints file, not: {strange}")
    return sorted(lines)


def _is_pin(line: str) -> bool:
    name, _, version = line.partition("==")
    return bool(name and version) and not set(line) & set(" @;[/")


def main() -> None:
    """Write every file, or those whose names (without suffix) are given as arguments."""
    for airflow, pythons in PYTHON.items():
        for python in pythons:
            name = f"airflow{airflow}-py{python}"
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            lines = resolve(airflow, python)
            (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")
            print(f"{name}.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
