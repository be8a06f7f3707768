"""The log of one unit, folded per stage with ``::group::name`` and ``::endgroup::``.

Groups of stages that run at the same time must not interleave. So one lane at
a time is shown; another one's lines wait until the shown lane pauses or had its
turn, then it is shown, its group opened again. No line waits for long.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, List, Tuple

if TYPE_CHECKING:
    from typing import Iterator

    from airflow_stagecoach.engine.hooks import Hooks

#: A lane that was silent for so long gives way, in seconds.
_PAUSE = 0.2

#: A lane that talks for so long gives way.
_TURN = 2.0

#: More lines never wait.
_WAITING = 500


class LogGroups:
    """What the lanes of one unit share."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._lock = threading.RLock()
        self._shown: Lane | None = None
        self._lanes: List[Lane] = []
        self._last_line = self._turn_start = 0.0

    def lane(self) -> Lane:
        """A new sequence of stages: the unit itself, a branch, an item."""
        return Lane(self)

    def write(self, lane: Lane, text: str, level: str) -> None:
        """A line of a lane: shown now, or kept until its turn."""
        with self._lock:
            now = time.monotonic()
            if (
                self._shown in (None, lane)
                or now - self._last_line > _PAUSE
                or now - self._turn_start > _TURN
                or len(lane.waiting) >= _WAITING
            ):
                self._show(lane, now)
                self._hooks.log(text, level)
                self._last_line = now
            else:
                if lane not in self._lanes:
                    self._lanes.append(lane)
                lane.waiting.append((text, level))

    def open(self, lane: Lane, title: str) -> None:
        """A stage of this lane begins."""
        with self._lock:
            lane.title, lane.opened = title, False
            if self._shown in (None, lane):
                self._show(lane, time.monotonic())

    def close(self, lane: Lane) -> None:
        """The stage ended: all its lines are shown, then the longest waiting lane is."""
        with self._lock:
            if self._shown is not lane and (lane.waiting or not lane.opened):
                self._show(lane, time.monotonic())
            if self._shown is lane:
                self._fold()
                self._shown = None
            lane.title = None
            if self._lanes:
                self._show(self._lanes[0], time.monotonic())

    def _show(self, lane: Lane, now: float) -> None:
        if self._shown is not lane:
            self._fold()
            self._shown, self._turn_start = lane, now
        if lane.title is not None and not lane.folded_open:
            again = " (continued)" if lane.opened else ""
            self._hooks.log(f"::group::{lane.title}{again}", "info")
            lane.opened = lane.folded_open = True
        if lane in self._lanes:
            self._lanes.remove(lane)
        waiting, lane.waiting = lane.waiting, []
        for text, level in waiting:
            self._hooks.log(text, level)

    def _fold(self) -> None:
        if self._shown is not None and self._shown.folded_open:
            self._shown.folded_open = False
            self._hooks.log("::endgroup::", "info")


class Lane:
    """The log of stages that run one after another."""

    def __init__(self, groups: LogGroups) -> None:
        self._groups = groups
        self.title: str | None = None
        self.opened = False  # its group was shown before
        self.folded_open = False  # its group is the one that is open now
        self.waiting: List[Tuple[str, str]] = []

    def log(self, text: str, level: str = "info") -> None:
        """Write text, line by line."""
        if "\n" not in text:
            self._groups.write(self, text, level)
            return
        for line in text.split("\n"):
            self._groups.write(self, line, level)

    def other(self) -> Lane:
        """A lane beside this one, for what runs at the same time."""
        return self._groups.lane()

    @contextlib.contextmanager
    def group(self, title: str | None) -> Iterator[None]:
        """Fold what is logged meanwhile; None folds nothing."""
        if title is None:
            yield
            return
        self._groups.open(self, title)
        try:
            yield
        finally:
            self._groups.close(self)
