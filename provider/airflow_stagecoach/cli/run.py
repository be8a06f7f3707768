"""``stagecoach run``: run a document on this machine, without any server."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_stagecoach.document.plan import WorkflowPlan

#: Exit codes.
SUCCESS, FAILED, REFUSED = 0, 1, 2


class Refused(Exception):
    """The document or the parameters cannot be run; carries all the reasons."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument("file", metavar="FILE", help="the document")
    parser.add_argument("--workflow", metavar="NAME", help="which workflow, when the document has several")
    parser.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a param; may be repeated"
    )
    parser.add_argument("--params-file", metavar="FILE", help="params as a YAML or JSON map; -p wins")
    parser.add_argument(
        "--approve",
        action="append",
        default=[],
        metavar="STAGE=yes|no",
        help="answer an approval stage beforehand (STAGE or JOB.STAGE); may be repeated",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, progress on stderr"
    )


def run(args: argparse.Namespace) -> int:
    """Run a workflow; 0 when it succeeded or was skipped, 1 when it failed, 2 when it was refused."""
    name = args.workflow or Path(args.file).stem
    outcome: dict[str, Any] = {"workflow": name, "state": "failed", "errors": [], "params": {}, "jobs": {}}
    with _stdout_for_outcome(args.json) as stdout:
        try:
            plans = _load(args.file)
            plan = _choose(plans, args.workflow, args.file)
            outcome["workflow"] = plan["dag_id"]
            outcome["params"] = params = _params(plan, args.params_file, args.param)
            answers = _answers(plan, args.approve)
            from airflow_stagecoach.cli.run_local import run_plan

            outcome |= run_plan(plan, plans, Path(args.file).resolve(), params, answers)
            code = FAILED if outcome["state"] == "failed" else SUCCESS
        except Refused as refused:
            outcome["errors"] = refused.errors
            code = REFUSED
        except Exception as error:
            outcome["errors"] = [f"{type(error).__name__}: {error}"]
            code = FAILED
        if args.json:
            _place_records(outcome)
            json.dump(outcome, stdout, default=_json_value, ensure_ascii=False)
            stdout.write("\n")
        else:
            _print_summary(outcome, stdout)
        stdout.flush()
    return code


@contextlib.contextmanager
def _stdout_for_outcome(quiet: bool) -> Iterator[TextIO]:
    """Give stdout to the outcome alone: with ``--json`` whatever else is printed goes to stderr.

    File descriptor 1 itself is turned over, because user code and its child
    processes write to it too.
    """
    if not quiet:
        yield sys.stdout
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)
        try:
            yield stdout
        finally:
            sys.stdout.flush()
            stdout.flush()
            os.dup2(stdout.fileno(), 1)


def _load(file: str) -> list[WorkflowPlan]:
    from airflow_stagecoach.cli.documents import load_document

    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise Refused([f"{file}: cannot be read: {error.strerror or error}"]) from None
    loaded = load_document(data, file, explicit=True)
    if loaded.diagnostics:
        raise Refused([diagnostic.render() for diagnostic in loaded.diagnostics])
    return list(loaded.plans)


def _choose(plans: list[WorkflowPlan], name: str | None, file: str) -> WorkflowPlan:
    names = [plan["dag_id"] for plan in plans]
    if not plans:
        raise Refused(
            [f"{file}: holds no workflow; a workflow has `jobs:` and is marked by `type: Workflow`"]
        )
    if name is None:
        if len(plans) > 1:
            raise Refused([f"{file}: holds several workflows, choose one: --workflow {' | '.join(names)}"])
        return plans[0]
    for plan in plans:
        if name in (plan["dag_id"], plan.get("name")):
            return plan
    raise Refused([f"{file}: holds no workflow {name!r}; there is: {', '.join(names)}"])


def _params(plan: WorkflowPlan, file: str | None, pairs: list[str]) -> dict[str, Any]:
    """Params of the run: from the file, then from ``-p``, typed as the workflow declares them.

    :raises Refused: unknown, missing or of a wrong type
    """
    from airflow_stagecoach.document.params import ParamError, coerce

    given: dict[str, Any] = {}
    errors: list[str] = []
    if file is not None:
        given |= _params_file(file)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            errors.append(f"-p {pair}: write NAME=VALUE")
        given[name] = value
    declared = plan.get("params")
    if declared is None:
        if errors:
            raise Refused(errors)
        return given
    values: dict[str, Any] = {}
    for name in given.keys() - declared.keys():
        from difflib import get_close_matches

        near = get_close_matches(name, declared, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there is: {', '.join(declared) or 'none'}"
        errors.append(f"param {name!r}: the workflow has no such param{hint}")
    for name, param in declared.items():
        if name not in given and "default" not in param:
            if param.get("required"):
                errors.append(f"param {name!r} is required: pass -p {name}=VALUE")
            values[name] = None
            continue
        try:
            values[name] = coerce(param, given.get(name, param.get("default")))
        except ParamError as error:
            errors.append(f"param {name!r}: {error}")
    if errors:
        raise Refused(sorted(errors))
    return values


def _params_file(file: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused([f"{file}: cannot be read: {error.strerror or error}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused([f"{file}: is neither YAML nor JSON: {error}"]) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Refused([f"{file}: must hold a map of param names to values"])
    return {str(name): value for name, value in values.items()}


def _answers(plan: WorkflowPlan, given: list[str]) -> dict[str, bool]:
    """Answers to approval stages, by ``STAGE`` and ``JOB.STAGE``."""
    words = {"yes": True, "no": False}
    stages = {
        name
        for job in plan["jobs"]
        for stage in job["stages"]
        if stage["spec"]["kind"] == "approval"
        for name in (stage["spec"]["id"], f"{job['id']}.{stage['spec']['id']}")
    }
    answers: dict[str, bool] = {}
    errors: list[str] = []
    for pair in given:
        name, _, word = pair.rpartition("=")
        if word.lower() not in words or not name:
            errors.append(f"--approve {pair}: write STAGE=yes or STAGE=no")
        elif name not in stages:
            there = ", ".join(sorted(stages)) or "none"
            errors.append(f"--approve {pair}: there is no approval stage {name!r}; there is: {there}")
        else:
            answers[name] = words[word.lower()]
    if errors:
        raise Refused(errors)
    return answers


def _print_summary(outcome: dict[str, Any], stdout: TextIO) -> None:
    for error in outcome["errors"]:
        print(error, file=sys.stderr)
    if outcome["errors"] and not outcome["jobs"]:
        return
    print(file=stdout)
    width = max(map(len, outcome["jobs"]), default=0)
    for job_id, job in outcome["jobs"].items():
        why = " (degraded: its fallback succeeded)" if job.get("degraded") else ""
        print(f"  {job_id:<{width}}  {job['result']}{why}", file=stdout)
        for name, value in job["outputs"].items():
            text = json.dumps(value, default=_json_value, ensure_ascii=False)
            print(
                f"  {'':<{width}}    {name} = {text if len(text) <= 200 else text[:197] + '...'}", file=stdout
            )
    for line in _record_lines(outcome):
        print(line, file=stdout)
    degraded = any(job.get("degraded") for job in outcome["jobs"].values())
    print(f"{outcome['workflow']}: {outcome['state']}{', degraded' if degraded else ''}", file=stdout)


def _record_lines(outcome: dict[str, Any]) -> Iterator[str]:
    """Why stages failed, and what was measured."""
    if "record" not in outcome:
        return
    from airflow_stagecoach.cli.runs_summary import failures, head, resources

    failed, more = failures(outcome["record"])
    for where, sort, message in failed:
        yield f"  {where}: {sort}" + (f": {message.splitlines()[0][:200]}" if message else "")
    if more:
        yield f"  and {more} more failures: --json has all"
    yield f"  {head(outcome['record'])}"
    for name, value in resources(outcome["record"]):
        yield f"  {name}: {value}"


def _place_records(outcome: dict[str, Any]) -> None:
    """Put the record of every stage beside its outputs; what is summed over stages stays in ``record``."""
    for job_id, job in outcome.get("record", {}).pop("jobs", {}).items():
        there = outcome["jobs"][job_id]
        for told, part in zip([job, *job.get("legs", ())], [there, *there.get("legs", ())], strict=False):
            for stage_id, record in told.get("stages", {}).items():
                part["stages"][stage_id]["record"] = record


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
