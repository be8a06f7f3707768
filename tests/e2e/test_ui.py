"""What a person sees in the Airflow UI, in headless Chromium.

The pictures go to a temporary folder. With ``STAGECOACH_PICTURES`` set to a
folder they go there: ``STAGECOACH_PICTURES=docs/images pytest tests/e2e/test_ui.py``
makes those of the documentation again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from e2e_client import Run

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e_client import Client
    from playwright.sync_api import Browser, Locator, Page

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
WIDTH, HEIGHT = 1400, 900
#: Milliseconds. The first page takes 5 s, on a busy machine much longer.
PATIENCE = 60_000

BROKEN = """\
# Two mistakes, and Airflow shows where they are.
night-shift:
  type: Workflow
  on: "@daily"
  jobs:
    load:
      stages:
        - name: Load
          bash: echo loading
    report:
      need: load
      stages:
        - name: Report
          echo: done
          timeot: 5m
"""


def chromium() -> str | None:
    """Give the path of a Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium fonts-dejavu-core")
    with playwright.sync_playwright() as driver:
        # Chromium has no sandbox for root, which tests in containers are.
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, airflow: LocalAirflow) -> Iterator[Page]:
    """A page of the UI, in English, which fails the test when a script on it fails."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        locale="en-US",
        timezone_id="UTC",
        base_url=airflow.url,
    )
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def examples(client: Client) -> None:
    """Some of the examples, with what stands beside them, in a folder below the dags folder."""
    folder = client.dags_folder / "ui"
    folder.mkdir()
    shutil.copytree(EXAMPLES / "data", folder / "data")
    for name in ("tasks.py", "02_params.yaml", "04_fan_out.yaml", "05_matrix.yaml"):
        shutil.copy(EXAMPLES / name, folder / name)
    for dag_id in ("invoice", "sales-report", "forecast-grid"):
        client.wait_for_dag(dag_id)


@pytest.fixture(scope="module")
def fan_out(examples: None, client: Client) -> Run:
    """A finished run of the example with a matrix that is known only at run time."""
    run = client.run("sales-report")
    assert run.state == "success"
    return run


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Page, str], None]:
    """Give a function that keeps a picture of a page."""
    folder = Path(os.environ.get("STAGECOACH_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)  # animations, and lines that are drawn late
        page.screenshot(path=folder / f"{name}.png", animations="disabled")
        assert (folder / f"{name}.png").stat().st_size > 10_000

    return shoot


def of_run(run: Run, *parts: str) -> str:
    """The address of a page of a run."""
    return "/".join((f"/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}", *parts))


def visible(page: Page | Locator, *texts: str) -> None:
    """Wait until every text is shown, each as a whole."""
    for text in texts:
        page.get_by_text(text, exact=True).first.wait_for(state="visible")


def test_graph(fan_out: Run, page: Page, keep: Callable[[Page, str], None]) -> None:
    page.goto(of_run(fan_out))
    page.get_by_label("Show Graph").click()
    graph = page.locator(".react-flow")
    visible(graph, "Find the files", "Add up a region", "Write the report")
    page.get_by_test_id("expand-all-button").click()
    visible(graph, "List the folder", "matrix: region", "Put the regions together")
    nodes = {text.split("\n")[0] for text in graph.locator(".react-flow__node").all_inner_texts()}
    assert any(node.startswith("Add up {region}") for node in nodes), nodes
    page.get_by_label("Collapse Details Panel").click()
    page.set_viewport_size({"width": WIDTH, "height": 640})
    page.wait_for_timeout(1000)
    page.get_by_label("Fit View").click()
    keep(page, "graph")


def test_grid_shows_the_names_of_jobs_and_stages(fan_out: Run, page: Page) -> None:
    page.goto(of_run(fan_out))
    visible(page, "Find the files", "Add up a region", "Write the report")
    page.get_by_test_id("expand-all-button").click()
    visible(page, "List the folder", "Put the regions together")


def test_legs_have_names(examples: None, client: Client, page: Page) -> None:
    run = client.run("forecast-grid")
    assert run.state == "success"
    page.goto(of_run(run, "tasks", "try.forecast", "mapped"))
    visible(page, "0.2 / false / slow", "0.5 / false", "0.5 / true", "1.0 / true / same day last week")


def test_log_and_rendered_templates_of_a_leg(fan_out: Run, page: Page) -> None:
    page.goto(of_run(fan_out, "tasks", "add-up.sum", "mapped", "0"))
    visible(page, "Add up {region} [north]")
    page.get_by_text("pieces=240").wait_for()
    page.get_by_role("link", name="Rendered Templates").click()
    page.get_by_text('"Add up north"').wait_for()


def test_trigger_form(examples: None, client: Client, page: Page, keep: Callable[[Page, str], None]) -> None:
    page.goto("/dags/invoice")
    page.get_by_test_id("trigger-dag-button").click()
    form = page.get_by_role("dialog")
    field = form.locator("#element_customer")
    field.wait_for()
    assert field.input_value() == "Hansen & Sons"
    visible(form, "Who gets the invoice")
    price = form.locator("input#element_unit-price")
    express = "input[type=checkbox][name=element_express]"
    due = form.locator("input[type=date][name=element_due]")
    notes = form.locator("textarea[name=element_notes]")
    assert price.input_value() == "19.90"
    assert not form.locator(express).is_checked()
    assert due.input_value() == "2026-03-31"
    assert notes.input_value() == "Thank you for your order"
    form.locator(".monaco-editor").get_by_text("12 Harbour Road").wait_for()

    field.fill("Ada & Co")
    price.fill("7.10")
    notes.fill("first line\nsecond line")
    form.locator(f"label:has({express})").click()
    form.get_by_role("combobox").filter(visible=True).last.click()
    assert page.get_by_role("option").all_inner_texts() == ["EUR", "USD", "THB"]
    page.get_by_role("option", name="THB").click()
    keep(page, "trigger-form")
    page.get_by_test_id("trigger-dag-submit").click()
    form.wait_for(state="hidden")

    found = client.get("/dags/invoice/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
    conf = found["conf"]
    assert conf["customer"] == "Ada & Co"
    assert conf["unit-price"] == "7.10"
    assert conf["express"] is True
    assert conf["currency"] == "THB"
    assert conf["quantity"] == 3
    assert conf["address"] == {"street": "12 Harbour Road", "city": "Aarhus"}
    assert conf["notes"] == ["first line", "second line"]
    run = client.wait_for_run(Run("invoice", found["dag_run_id"], found["state"]))
    assert run.state == "success"
    page.goto(of_run(run, "tasks", "invoice.print-it"))
    page.get_by_text("Ada & Co, 12 Harbour Road, Aarhus").wait_for()


def test_code(examples: None, page: Page, keep: Callable[[Page, str], None]) -> None:
    page.goto("/dags/sales-report/code")
    editor = page.locator(".monaco-editor")
    editor.get_by_text("sales-report:").first.wait_for()
    text = editor.inner_text().replace("\xa0", " ")
    assert "type: Workflow" in text
    assert "FOLDER: ${{ params.folder }}" in text
    visible(page, "ui/04_fan_out.yaml")
    keep(page, "code")


def test_import_error(client: Client, page: Page, keep: Callable[[Page, str], None]) -> None:
    client.drop("night_shift.yaml", BROKEN)
    client.wait_for_import_error("night_shift.yaml")
    try:
        page.goto("/")
        page.get_by_text("Dag Import Error").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("night_shift.yaml").first.click()
        line = dialog.get_by_text("night_shift.yaml:11:7: unknown key 'need' in a job")
        line.wait_for(state="visible")
        text = dialog.inner_text()
        for part in (
            "11 |       need: load\n   |       ^~~~\nhint: did you mean 'needs'?",
            "night_shift.yaml:15:11: unknown key 'timeot'",
            "hint: did you mean 'timeout'?",
        ):
            assert part in text, text
        keep(page, "import-error")
    finally:
        client.remove("night_shift.yaml")
