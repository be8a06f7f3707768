"""How a stage writes its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach.operators import _log
from airflow_stagecoach.operators._log import StageLog, json_line, log_path, merged
from airflow_stagecoach.operators._record import Place

from ..factory.plans import job, stage, workflow
from .fakes import attempt

PLACE = Place(
    dag_id="wf",
    run_id="manual__2026-01-01T00:00:00+00:00",
    task_id="a.s",
    try_number=2,
    map_index=3,
    job="a",
    stage="s",
    matrix={"x": 1},
)


def written(plan: Any, *lines: tuple[str, str], folder: str = "") -> list[tuple[str, str]]:
    """What reaches the task log."""
    found: list[tuple[str, str]] = []
    log = StageLog(plan, PLACE, lambda text, level: found.append((text, level)), folder)
    for text, level in lines:
        log.line(text, level)
    log.close()
    return found


LINES = [(level, level) for level in ("debug", "info", "warning", "error")]


@pytest.mark.parametrize(
    ("plan", "shown"),
    [
        ({}, ["debug", "info", "warning", "error"]),
        ({"level": "debug"}, ["debug", "info", "warning", "error"]),
        ({"level": "info"}, ["info", "warning", "error"]),
        ({"level": "warning"}, ["warning", "error"]),
        ({"level": "critical"}, []),
    ],
)
def test_levels(plan: Any, shown: list[str]) -> None:
    assert [text for text, _ in written(plan, *LINES)] == shown


def test_folds_stay_whatever_the_level() -> None:
    lines = [("::group::Part", "info"), ("hi", "info"), ("::endgroup::", "info")]
    assert [text for text, _ in written({"level": "error", "format": "json"}, *lines)] == [
        "::group::Part",
        "::endgroup::",
    ]


class TestJson:
    def test_every_line_is_an_object(self) -> None:
        ((text, level),) = written({"format": "json"}, ("it's\ttime ☕", "warning"))
        line = json.loads(text)
        assert level == "warning"
        assert "\n" not in text
        assert line.pop("ts").startswith("20")
        assert line == {
            "level": "warning",
            "event": "it's\ttime ☕",
            "dag_id": "wf",
            "run_id": PLACE.run_id,
            "task": "a.s",
            "map_index": 3,
            "try": 2,
            "job": "a",
            "stage": "s",
            "matrix": {"x": 1},
        }

    @pytest.mark.parametrize(
        ("text", "event"),
        [('{"event": "loaded", "rows": 3}', "loaded"), ('{"rows": 3, "msg": 7}', "7"), ('  {"rows": 3}', "")],
    )
    def test_a_line_that_is_an_object_stands_under_data(self, text: str, event: str) -> None:
        line = json.loads(json_line(text, "info", PLACE))
        assert line["event"] == event
        assert line["data"]["rows"] == 3

    @pytest.mark.parametrize("text", ["{no json}", "[1]", "3", "", "{" * 5000, '{"a": 1} and more'])
    def test_any_other_line_is_text(self, text: str) -> None:
        line = json.loads(json_line(text, "info", PLACE))
        assert line["event"] == text
        assert "data" not in line


class TestFile:
    def path(self, folder: Path) -> Path:
        return Path(log_path({}, PLACE, str(folder)))

    def test_it_holds_what_the_stage_wrote(self, tmp_path: Path) -> None:
        written(
            {"file": {}}, ("one", "info"), ("::group::x", "info"), ("zwei ☕", "error"), folder=str(tmp_path)
        )
        assert self.path(tmp_path).read_text() == "one\nzwei ☕\n"

    def test_its_place(self) -> None:
        path = log_path({}, PLACE, "/logs")
        assert path.startswith("/logs/wf/manual__2026-01-01T00_00_00_00_00-")
        assert path.endswith("/a.s/3/2.log")

    @pytest.mark.parametrize(("own", "start"), [("/mine", "/mine/wf/"), ("mine", "/logs/mine/wf/")])
    def test_the_document_may_name_a_folder(self, own: str, start: str) -> None:
        assert log_path({"path": own}, PLACE, "/logs").startswith(start)

    def test_no_name_leaves_the_folder(self) -> None:
        place = Place(dag_id="..", run_id="../../etc", task_id="a/../b", try_number=1)
        assert ".." not in log_path({}, place, "/logs").split("/")

    def test_it_rotates(self, tmp_path: Path) -> None:
        lines = [("x" * 99, "info")] * 3000
        written({"file": {"max_bytes": 100_000, "backups": 2}}, *lines, folder=str(tmp_path))
        files = sorted(self.path(tmp_path).parent.iterdir())
        assert [file.name for file in files] == ["2.log", "2.log.1", "2.log.2"]
        assert all(0 < file.stat().st_size <= 100_000 for file in files)

    def test_without_a_size_it_does_not(self, tmp_path: Path) -> None:
        written({"file": {}}, *[("x" * 99, "info")] * 100, folder=str(tmp_path))
        assert self.path(tmp_path).stat().st_size == 10_000

    def test_secrets_are_hidden(self, tmp_path: Path) -> None:
        log = StageLog(
            {"file": {}}, PLACE, lambda *_: None, str(tmp_path), lambda text: text.replace("key", "***")
        )
        log.line("the key")
        log.close()
        assert self.path(tmp_path).read_text() == "the ***\n"

    def test_one_that_cannot_be_written_is_one_warning(self, tmp_path: Path) -> None:
        (tmp_path / "wf").write_text("in the way")
        lines = written({"file": {}}, ("one", "info"), ("two", "info"), folder=str(tmp_path))
        warnings = [text for text, level in lines if level == "warning"]
        assert len(warnings) == 1
        assert [text for text, level in lines if level == "info"] == ["one", "two"]

    def test_a_disk_that_fills_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(_log._File, "emit", lambda self, record: full())
        lines = written({"file": {}}, ("one", "info"), ("two", "info"), folder=str(tmp_path))
        assert len([text for text, level in lines if level == "warning"]) == 1


@pytest.mark.parametrize(
    ("plans", "one"),
    [
        ([], {}),
        ([{}, {}], {}),
        ([{"level": "warning"}, {"level": "info"}], {"level": "info"}),
        ([{"format": "text"}, {"format": "json"}], {"format": "json"}),
        ([{"file": {"path": "/a"}}, {"file": {"path": "/b"}}], {"file": {"path": "/a"}}),
    ],
)
def test_stages_that_share_a_task(plans: Any, one: Any) -> None:
    assert merged(plans) == one


class TestInAStage:
    def plan(self, logging: Any, **spec: Any) -> Any:
        return workflow(job("a", {**stage("s", **spec), "logging": logging}))

    def test_the_level_reaches_what_it_starts(self) -> None:
        tried = attempt(self.plan({"level": "warning"}, bash="echo $LOG_LEVEL"))
        assert tried.outputs["stdout"] == "WARNING"

    @pytest.mark.parametrize(
        ("level", "shown"), [("warning", ["loud"]), ("debug", ["quiet", "loud"]), ("info", ["loud"])]
    )
    def test_the_level_holds_for_pythons_logger(
        self, level: str, shown: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines: list[str] = []

        class Logger:
            def log(self, number: int, form: str, text: str) -> None:
                lines.append(text)

        monkeypatch.setattr("airflow_stagecoach.operators.stage.logger_of", lambda *_: Logger())
        run = "logger.debug('quiet')\nlogger.warning('loud')"
        assert attempt(self.plan({"level": level}, kind="python", run=run)).error is None
        assert lines == shown

    def test_airflows_own_level_does_not_hide_debug(self) -> None:
        from structlog.testing import capture_logs

        operator: Any = type("Operator", (), {"log": None})()
        with capture_logs() as lines:
            _log.logger_of(operator, {"level": "debug"}).debug("quiet")
        assert [line["event"] for line in lines] == ["quiet"]
        assert lines[0]["logger"] == f"{__name__}.Operator"

    def test_json_and_a_file(self, tmp_path: Path) -> None:
        logging = {"format": "json", "file": {"path": str(tmp_path)}}
        attempt(self.plan(logging, bash="""echo one; echo '{"rows": 2}'"""))
        (file,) = tmp_path.rglob("1.log")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(line["event"], line.get("data")) for line in lines] == [("one", None), ("", {"rows": 2})]
        assert {line["stage"] for line in lines} == {"s"}
