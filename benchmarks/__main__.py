"""The command line of the measurements."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import loading, machine, report, running
from benchmarks.correspondence import check_correspondence

#: (mode, documents) -> repeats
FULL = {
    ("bag", 1): 3,
    ("bag", 200): 3,
    ("bag", 1000): 2,
    ("processor", 1): 2,
    ("processor", 200): 2,
    ("processor", 1000): 1,
    ("worker", 1): 3,
    ("worker", 200): 3,
    ("worker", 1000): 2,
}
QUICK = {("bag", 20): 2, ("processor", 20): 1, ("worker", 20): 2}

#: What is measured under the second Airflow.
FULL_34 = {("bag", 200): 2, ("processor", 200): 1, ("worker", 200): 2}


#: What is measured of documents that name backends.
BACKENDS = {("bag", 200): 4, ("processor", 200): 2, ("worker", 200): 6}
QUICK_BACKENDS = {("bag", 20): 2, ("worker", 20): 2}


def main() -> int:
    """Measure what the arguments ask for, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few documents and repeats: a check of the tool")
    parser.add_argument(
        "--only",
        choices=["loading", "backends", "running", *running.PARTS],
        help="one part; the report then has only that part. `backends` is in `loading`: documents that name "
        "them. `running` is: " + ", ".join(running.PARTS),
    )
    parser.add_argument("--legs", type=int, help="legs of the matrix (default: 1000, with --quick 20)")
    parser.add_argument(
        "--airflow34", metavar="PYTHON", help="an interpreter with Airflow 3.4, for its own YAML"
    )
    parser.add_argument("--dag-factory", type=Path, metavar="FOLDER", help="a folder with dag-factory in it")
    parser.add_argument("--output", type=Path, help="where the report goes (default: docs/benchmarks.md)")
    arguments = parser.parse_args()
    if arguments.output is None:
        name = "benchmarks-quick.md" if arguments.quick else "benchmarks.md"
        docs = Path(__file__).parent.parent / "docs"
        arguments.output = Path(tempfile.gettempdir(), name) if arguments.quick else docs / name

    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)

    found = report.Report(
        date=datetime.date.today().isoformat(),
        machine=machine.describe_machine(),
        versions={"here": machine.describe_versions(sys.executable)},
        load_before=machine.load_average(),
    )
    here = found.versions["here"]["apache-airflow"]
    with tempfile.TemporaryDirectory(prefix="stagecoach-benchmarks-") as scratch:
        setting = loading.Setting(Path(scratch).resolve(), arguments.dag_factory, say)
        interpreters = {here: sys.executable}
        if arguments.airflow34:
            found.versions["34"] = machine.describe_versions(arguments.airflow34)
            interpreters[found.versions["34"]["apache-airflow"]] = arguments.airflow34
        if arguments.only in (None, "loading"):
            for airflow, python in interpreters.items():
                say(f"correspondence of the formats under Airflow {airflow}")
                found.correspondence += check_correspondence(setting, python, airflow)
            plan = QUICK if arguments.quick else FULL
            for airflow, python in interpreters.items():
                for (mode, count), repeats in plan.items():
                    found.tables.append(loading.compare(setting, python, airflow, mode, count, repeats))
                plan = QUICK if arguments.quick else FULL_34
        if arguments.only in (None, "loading", "backends"):
            for (mode, count), repeats in (QUICK_BACKENDS if arguments.quick else BACKENDS).items():
                found.backend_tables.append(
                    loading.compare_backends(setting, sys.executable, here, mode, count, repeats)
                )
        if arguments.only not in ("loading", "backends"):
            parts = running.PARTS if arguments.only in (None, "running") else (arguments.only,)
            count = arguments.legs or (20 if arguments.quick else 1000)
            found.runs = running.measure(setting, parts, count=count, quick=arguments.quick)
    found.load_after = machine.load_average()
    found.seconds = time.monotonic() - began
    arguments.output.write_text(report.render(found))
    say(f"written: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
