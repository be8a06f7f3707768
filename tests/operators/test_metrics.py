"""Metrics of stages, as they reach StatsD and OpenTelemetry."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from airflow_stagecoach.operators import _metrics
from airflow_stagecoach.operators._record import stage_record

from .test_record import ERROR, PLACE, RESULT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def as_before() -> Iterator[None]:
    """Airflow's metrics are of the whole process."""
    yield
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def sent(monkeypatch: pytest.MonkeyPatch, record: Any, **given: Any) -> list[str]:
    """What a real StatsD server gets."""
    pytest.importorskip("statsd")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        for name, value in {
            "statsd_on": "True",
            "statsd_host": "127.0.0.1",
            "statsd_port": str(server.getsockname()[1]),
            "statsd_prefix": "airflow",
            "statsd_influxdb_enabled": "True",
        }.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name.upper()}", value)
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        _metrics.emit(record, **given)
        lines: list[str] = []
        with contextlib.suppress(TimeoutError):
            while True:
                lines += server.recv(65536).decode().split("\n")
        return lines


TAGS = ",dag_id=wf,job=a,stage=s,backend=local"


@pytest.mark.usefixtures("as_before")
class TestStatsD:
    def test_a_success(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = sent(monkeypatch, stage_record(PLACE, RESULT))
        assert sorted(lines) == sorted(
            [
                f"airflow.stagecoach.stage.duration{TAGS}:2500.000000|ms",
                f"airflow.stagecoach.stage.cpu_seconds{TAGS}:0.5|g",
                f"airflow.stagecoach.stage.peak_memory{TAGS}:1024|g",
                f"airflow.stagecoach.metric.rows{TAGS}:10|g",
            ]
        )

    def test_a_failed_try(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record = stage_record(PLACE, {**RESULT, "state": "failed", "outcome": "failure", "error": ERROR})
        lines = sent(monkeypatch, record, will_retry=True)
        assert f"airflow.stagecoach.stage.failures{TAGS},category=component:1|c" in lines
        assert f"airflow.stagecoach.stage.retries{TAGS}:1|c" in lines

    def test_a_last_try_is_no_retry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record = stage_record(PLACE, {**RESULT, "state": "failed", "outcome": "failure", "error": ERROR})
        assert not any("retries" in line for line in sent(monkeypatch, record))

    def test_a_name_of_the_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record = stage_record(PLACE, {**RESULT, "metrics": {"rows in/out (ü)": 1.5}})
        assert f"airflow.stagecoach.metric.rows_in_out_{TAGS}:1.5|g" in [
            line.replace("out__", "out_") for line in sent(monkeypatch, record)
        ]

    def test_nobody_listens(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        pytest.importorskip("statsd")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "no-such-host.invalid")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        _metrics.emit(stage_record(PLACE, RESULT))  # Airflow itself says that it cannot


@pytest.mark.usefixtures("as_before")
class TestHarmless:
    def test_an_exporter_that_raises_is_one_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError("the exporter is broken")

        stats.initialize(factory=Broken, export_legacy_names=False)  # type: ignore[arg-type]  # it is broken
        _metrics.emit(stage_record(PLACE, {**RESULT, "metrics": {"a": 1, "b": 2}}), will_retry=True)
        (warning,) = [line for line in caplog.records if line.levelname == "WARNING"]
        assert "the exporter is broken" in warning.getMessage()

    def test_the_stage_stays_green(self) -> None:
        from ..factory.plans import job, stage, workflow
        from .fakes import attempt

        class Broken:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError("the exporter is broken")

        stats.initialize(factory=Broken, export_legacy_names=False)  # type: ignore[arg-type]  # it is broken
        assert attempt(workflow(job("a", stage("s", bash="echo hi")))).outputs["stdout"] == "hi"


@pytest.mark.usefixtures("as_before")
def test_opentelemetry_gets_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Airflow's own logger for it, into a reader in memory."""
    pytest.importorskip("opentelemetry.sdk")
    from airflow.sdk._shared.observability.metrics import otel_logger
    from airflow.sdk._shared.observability.metrics.validators import PatternAllowListValidator
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    logger: Any = otel_logger.SafeOtelLogger(provider, "airflow", PatternAllowListValidator())
    stats.initialize(factory=lambda: logger, export_legacy_names=False)
    _metrics.emit(stage_record(PLACE, RESULT))
    data: Any = reader.get_metrics_data()
    found = {
        metric.name: dict(metric.data.data_points[0].attributes)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert set(found) == {
        "airflow.stagecoach.stage.duration",
        "airflow.stagecoach.stage.cpu_seconds",
        "airflow.stagecoach.stage.peak_memory",
        "airflow.stagecoach.metric.rows",
    }
    assert all(
        tags == {"dag_id": "wf", "job": "a", "stage": "s", "backend": "local"} for tags in found.values()
    )
