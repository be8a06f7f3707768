from __future__ import annotations

import time

from airflow_stagecoach.engine.hooks import Hooks
from airflow_stagecoach.engine.log_groups import Lane, LogGroups


def lanes(count: int) -> tuple[list[str], list[Lane]]:
    lines: list[str] = []
    groups = LogGroups(Hooks(log=lambda text, level: lines.append(text)))
    return lines, [groups.lane() for _ in range(count)]


def test_one_lane() -> None:
    lines, (lane,) = lanes(1)
    lane.log("before")
    with lane.group("a"):
        lane.log("one\ntwo")
    with lane.group(None):
        lane.log("after")
    assert lines == ["before", "::group::a", "one", "two", "::endgroup::", "after"]


def test_a_waiting_lane_follows_when_the_shown_one_ends() -> None:
    lines, (one, two) = lanes(2)
    with one.group("one"):
        one.log("1a")
        with two.group("two"):
            two.log("2a")
            one.log("1b")
        assert lines == ["::group::one", "1a", "1b", "::endgroup::", "::group::two", "2a", "::endgroup::"]
        one.log("1c")
    assert lines[7:] == ["::group::one (continued)", "1c", "::endgroup::"]


def test_a_silent_lane_gives_way() -> None:
    lines, (one, two) = lanes(2)
    with one.group("one"), two.group("two"):
        one.log("1")
        time.sleep(0.3)
        two.log("2")
        assert lines == ["::group::one", "1", "::endgroup::", "::group::two", "2"]


def test_many_lines_do_not_wait() -> None:
    lines, (one, two) = lanes(2)
    with one.group("one"), two.group("two"):
        one.log("1")
        for _ in range(600):
            two.log("2")
        assert lines.count("2") == 600
