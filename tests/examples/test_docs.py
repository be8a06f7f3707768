"""What the documentation shows is true: documents load, errors are as told, links lead somewhere."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_stagecoach import document
from airflow_stagecoach.cli.commands import COMMANDS, load_command
from airflow_stagecoach.importer.backends import InstalledBackends

ROOT = Path(__file__).resolve().parents[2]
#: Pages that have tests of their own: made from the models, or with every example executed elsewhere.
OTHERS = {"architecture.md", "authors.md", "expressions.md", "importing.md", "reference.md", "benchmarks.md"}
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
OURS = [page for page in PAGES if page.name not in OTHERS]

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
_OTHER_TOOL = re.compile(r"<!-- other: [\w -]+ -->\s*\Z")
_ERROR = re.compile(r"(?P<file>[\w.-]+\.yaml):\d+:\d+: ")
#: Pictures are left out: they are made from a running Airflow.
_LINK = re.compile(r"(?<![\\!])\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")


@dataclass
class Block:
    """A fenced block: where it stands, its text, and the text block behind it if that holds an error."""

    page: Path
    line: int
    language: str
    text: str
    other_tool: bool
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    source = page.read_text()
    blocks: list[Block] = []
    for found in _FENCE.finditer(source):
        text = textwrap.dedent(found["text"])
        if found["language"] == "text" and _ERROR.match(text) and blocks:
            blocks[-1].error = text
        line = source.count("\n", 0, found.start()) + 1
        other = _OTHER_TOOL.search(source[: found.start()]) is not None
        blocks.append(Block(page, line, found["language"], text, other))
    return blocks


BLOCKS = [block for page in OURS for block in blocks_of(page)]
DOCUMENTS = [block for block in BLOCKS if block.language == "yaml" and not block.other_tool]


def whole(text: str) -> str:
    """A fragment (a list of stages, or ``jobs:``) as a whole document; a document as it is."""
    value = yaml.safe_load(text)
    if isinstance(value, list):
        return "doc:\n  type: Workflow\n  jobs:\n    main:\n      stages:\n" + textwrap.indent(text, " " * 8)
    if set(value) == {"jobs"}:
        return "doc:\n  type: Workflow\n" + textwrap.indent(text, "  ")
    return text


def test_there_is_something_to_test() -> None:
    assert len(DOCUMENTS) > 30
    assert sum(block.error is not None for block in DOCUMENTS) > 4


@pytest.mark.parametrize("block", DOCUMENTS, ids=str)
def test_document(block: Block) -> None:
    """A document is good, or has exactly the errors that the next block tells."""
    file = _ERROR.match(block.error)["file"] if block.error else "doc.yaml"  # type: ignore[index]  # it matched before
    loaded = document.load(whole(block.text), file, backends=InstalledBackends())
    assert document.render_diagnostics(loaded.diagnostics).strip() == (block.error or "").strip()
    assert loaded.plans or block.error


def test_every_error_block_follows_a_document() -> None:
    for page in OURS:
        blocks = blocks_of(page)
        for before, block in zip([None, *blocks], blocks, strict=False):
            if block.language == "text":
                assert block.text.strip(), f"{block} is empty"
                if _ERROR.match(block.text):
                    assert before is not None
                    assert before.language == "yaml", f"{block} follows no document"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python(block: Block) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "documentation"})


def commands() -> list[tuple[str, str]]:
    """Every ``stagecoach`` command in the documentation, with its place."""
    found = []
    for block in BLOCKS:
        if block.language == "console":
            for line in block.text.splitlines():
                command = re.search(r"(?:^|\| )(stagecoach [^#>|]*)", line)
                if command:
                    found.append((str(block), command[1].strip()))
    return found


@pytest.mark.parametrize(("place", "command"), commands())
def test_command(place: str, command: str) -> None:
    _, name, *arguments = shlex.split(command)
    assert name in COMMANDS
    parser = argparse.ArgumentParser(exit_on_error=False)
    load_command(name).add_arguments(parser)
    parser.parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every link to a file of the repository leads to one, and its anchor to a heading."""
    text = _FENCE.sub("", page.read_text())
    for found in _LINK.finditer(text):
        target, _, anchor = found["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {found['target']}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {found['target']}"


def anchors(page: Path) -> set[str]:
    """The ids that headings of a page have, on GitHub and in MkDocs alike."""
    text = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "docs/mkdocs.yml").read_text())

    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [
            page for value in (entry.values() if isinstance(entry, dict) else entry) for page in pages(value)
        ]

    there = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    assert there == set(pages(config["nav"]))


# -- the truth tables of docs/semantics.md

SEMANTICS = (ROOT / "docs/semantics.md").read_text()
WORDS = {"success": "run", "skipped": "skip", "upstream_failed": "upf"}


def table(name: str) -> tuple[list[str], dict[str, list[str]]]:
    """A table of the page, named in the comment above it: heads of its columns, rows by their first cell."""
    _, found, after = SEMANTICS.partition(f"<!-- table: {name} -->")
    assert found
    lines = [line for line in after.strip().split("\n\n")[0].splitlines() if not line.startswith("|---")]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    return rows[0][1:], {row[0]: row[1:] for row in rows[1:]}


def code(cell: str) -> str:
    """The first piece of code in a cell."""
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else cell


def results(tmp_path: Path, name: str, lines: list[str]) -> dict[str, Any]:
    """Run a workflow and give its outcome."""
    file = tmp_path / f"{name}.yaml"
    file.write_text("\n".join([f"{name}:", "  type: Workflow", "  jobs:", *lines]) + "\n")
    command = [sys.executable, "-m", "airflow_stagecoach.cli.main", "run", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert outcome["errors"] == [], done.stderr
    return outcome


NEEDS = [
    "    S: {stages: [{name: a, echo: x}, {name: b, if: '1 == 2', echo: x}]}",
    "    F: {stages: [{name: a, raise: asked to}]}",
    "    K: {if: '1 == 2', stages: [{name: a, echo: x}]}",
]


@pytest.mark.runs
def test_trigger_rules_and_conditions_of_jobs(tmp_path: Path) -> None:
    rules, conditions = table("trigger rules"), table("conditions of jobs")
    lines = list(NEEDS)
    cells: dict[str, str] = {}
    for kind, (heads, rows) in (("rule", rules), ("if", conditions)):
        for number, (first, row) in enumerate(rows.items()):
            for needs, cell in zip(heads, row, strict=True):
                job = f"{kind}-{number}-{needs}"
                key = "trigger-rule" if kind == "rule" else "if"
                lines.append(
                    f"    {job}: {{needs: [{', '.join(needs)}], {key}: {code(first)}, stages: [{{echo: x}}]}}"
                )
                cells[job] = cell
    jobs = results(tmp_path, "rules", lines)["jobs"]
    assert {job: WORDS[jobs[job]["result"]] for job in cells} == cells


@pytest.mark.runs
def test_conditions_of_stages(tmp_path: Path) -> None:
    heads, rows = table("conditions of stages")
    before = {
        "after a success": "{name: a, echo: x}",
        "after a skipped stage": "{name: o, echo: x}, {name: a, if: '1 == 2', echo: x}",
        "after a failure": "{name: a, raise: asked to}",
    }
    lines = []
    cells = {}
    for number, (first, row) in enumerate(rows.items()):
        condition = f"if: {code(first)}, " if first != "none" else ""
        for place, (head, cell) in enumerate(zip(heads, row, strict=True)):
            job = f"j-{number}-{place}"
            lines.append(f"    {job}: {{stages: [{before[head]}, {{id: it, {condition}echo: x}}]}}")
            cells[job] = cell
    jobs = results(tmp_path, "conditions", lines)["jobs"]
    assert {job: WORDS[jobs[job]["stages"]["it"]["state"]] for job in cells} == cells


@pytest.mark.runs
@pytest.mark.parametrize("column", [0, 1])
def test_continue_on_error(tmp_path: Path, column: int) -> None:
    heads, rows = table("continue-on-error")
    told = {first: row[column] for first, row in rows.items()}
    extra = "continue-on-error: true, " if "true" in heads[column] else ""
    lines = [
        f"    X: {{{extra}stages: [{{name: a, raise: asked to}}]}}",
        "    read: {needs: X, if: always(), stages: [{name: r, run: "
        '"result, outcome = ${{ needs.X.result }}, ${{ needs.X.outcome }}"}]}',
        "    good: {needs: X, trigger-rule: all_success, stages: [{echo: x}]}",
        "    bad: {needs: X, trigger-rule: all_failed, stages: [{echo: x}]}",
        "    cond: {needs: X, if: failure(), stages: [{echo: x}]}",
    ]
    outcome = results(tmp_path, "tolerate", lines)
    jobs = outcome["jobs"]
    assert {
        "`needs.X.result`": jobs["read"]["outputs"]["result"],
        "`needs.X.outcome`": jobs["read"]["outputs"]["outcome"],
        "follower with `all_success`": WORDS[jobs["good"]["result"]],
        "follower with `all_failed`": WORDS[jobs["bad"]["result"]],
        "follower with `if: failure()`": WORDS[jobs["cond"]["result"]],
        "state of the run": outcome["state"],
    } == told
