"""The rule of concurrency groups, over a store of this test: no database, no clock.

Runs are coroutines that stop before every access to the store. What goes on next is chosen by
hypothesis, so every order in which processes could meet may come up; a process may also be killed
anywhere, and started again from the beginning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it has no types
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.triggers._tickets import (
    CANCEL_RUNNING,
    CLAIM,
    HELD,
    QUEUE,
    REJECT,
    SKIP,
    WAITING,
    Participant,
    Ticket,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POLICIES = (QUEUE, REJECT, SKIP, CANCEL_RUNNING)


@dataclass
class Table:
    """What all processes share."""

    marks: dict[Ticket, set[str]] = field(default_factory=lambda: defaultdict(set))
    over: set[str] = field(default_factory=set)
    cancelled: set[Ticket] = field(default_factory=set)
    old: dict[Ticket, frozenset[str]] = field(default_factory=dict)

    def shown(self) -> dict[Ticket, frozenset[str]]:
        return {ticket: frozenset(marks) for ticket, marks in self.marks.items() if marks}


class StepStore:
    """The store as one process sees it: each access is one step, between which others go on."""

    def __init__(self, table: Table, *, pause: bool = True) -> None:
        self.table = table
        self.pause = pause

    def _turn(self) -> None:
        if self.pause:
            getcurrent().parent.switch()

    def tickets(self, *, fresh: bool) -> Mapping[Ticket, frozenset[str]]:
        self._turn()
        old, self.table.old = self.table.old, self.table.shown()
        return self.table.old if fresh else old  # as somebody else saw it the last time

    def put(self, ticket: Ticket, mark: str) -> None:
        self._turn()
        self.table.marks[ticket].add(mark)

    def delete(self, ticket: Ticket, marks: Iterable[str]) -> None:
        for mark in marks:
            self._turn()
            self.table.marks[ticket].discard(mark)

    def is_over(self, ticket: Ticket, *, held: bool) -> bool:
        self._turn()
        return ticket.run in self.table.over

    def cancel(self, ticket: Ticket) -> None:
        self._turn()
        self.table.cancelled.add(ticket)


class Run:
    """One run: takes part until it is told how it ended, and works when it holds."""

    def __init__(self, table: Table, ticket: Ticket) -> None:
        self.table = table
        self.ticket = ticket
        self.verdict: Verdict | None = None
        self.started = False
        self.start()

    def start(self) -> None:
        """Start its process, from the beginning."""
        self.process = greenlet(self._take_part)

    def _take_part(self) -> None:
        participant = Participant(StepStore(self.table), self.ticket)
        while self.verdict is None:
            self.verdict = participant.step()
            getcurrent().parent.switch()

    @property
    def works(self) -> bool:
        return (
            self.verdict is not None
            and self.verdict.kind == "held"
            and self.ticket.run not in self.table.over
        )

    def turn(self) -> None:
        """Go on to the next access to the store."""
        self.started = True
        if not self.process.dead:
            self.process.switch()

    def end(self) -> None:
        """End the work; whoever is behind cleans up."""
        self.table.over.add(self.ticket.run)


def ticket(start: int, policy: str = QUEUE, run: str | None = None) -> Ticket:
    return Ticket(f"2026-{start:04}", policy, run or f"run{start}")


def finish(runs: list[Run], rounds: int = 300) -> None:
    """Let all go on in turn, work ending at once, until each has its verdict."""
    for _ in range(rounds):
        for run in runs:
            run.turn()
            if run.works:
                check(runs)
                run.end()
        if all(run.verdict is not None for run in runs):
            return
    raise AssertionError(f"not all got in: {[(run.ticket, run.verdict) for run in runs]}")


def check(runs: list[Run]) -> None:
    working = [run.ticket for run in runs if run.works]
    assert len(working) <= 1, working


events = st.lists(
    st.tuples(st.sampled_from(["turn"] * 12 + ["kill", "end", "over"]), st.integers(0, 4)), max_size=250
)


@settings(max_examples=400, deadline=None)
@given(
    policies=st.lists(st.sampled_from(POLICIES), min_size=2, max_size=5),
    starts=st.permutations(range(5)),
    events=events,
)
def test_no_two_runs_work_at_once(policies: list[str], starts: list[int], events: list[Any]) -> None:
    table = Table()
    runs = [Run(table, ticket(start, policy)) for start, policy in zip(starts, policies, strict=False)]
    for what, number in events:
        run = runs[number % len(runs)]
        if what == "turn":
            run.turn()
        elif what == "kill":
            run.start()
        elif what == "end" and run.works:
            run.end()
        elif what == "over" and run.verdict is None:
            run.end()  # somebody marked it failed while it waited; its process is gone at once
            run.verdict = Verdict("cancelled")
            run.start()
        check(runs)
    finish(runs)


@settings(max_examples=300, deadline=None)
@given(order=st.lists(st.integers(0, 5), max_size=300), starts=st.permutations(range(3)))
def test_a_second_process_of_a_run_does_not_let_two_work(order: list[int], starts: list[int]) -> None:
    """A triggerer that was thought dead goes on beside the one that took its place."""
    table = Table()
    tickets = [ticket(start) for start in starts]
    runs = [Run(table, one) for one in (*tickets, *tickets)]
    for number in order:
        run = runs[number]
        run.turn()
        working = {one.ticket for one in runs if one.works}
        assert len(working) <= 1, working


@settings(max_examples=200, deadline=None)
@given(order=st.lists(st.integers(0, 3), max_size=150))
def test_of_runs_that_reject_one_gets_in(order: list[int]) -> None:
    table = Table()
    runs = [Run(table, ticket(start, REJECT)) for start in range(4)]
    for number in order:
        runs[number].turn()
    for _ in range(100):
        for run in runs:
            run.turn()
    kinds = sorted(run.verdict.kind for run in runs if run.verdict)
    assert kinds == ["busy", "busy", "busy", "held"]


class TestPolicies:
    def store(self) -> tuple[Table, StepStore]:
        table = Table()
        return table, StepStore(table, pause=False)

    def test_queue_goes_in_the_order_of_the_starts(self) -> None:
        table, store = self.store()
        waiting = [Participant(store, ticket(start)) for start in (3, 1, 2)]
        holder = Participant(store, ticket(9))
        assert holder.step() == Verdict("held")
        assert [one.step() for one in waiting] == [None] * 3
        assert waiting[0].waits_for == holder.ticket
        entered = []
        table.over.add(holder.ticket.run)
        for _ in range(10):
            for one in waiting:
                if one.ticket.run not in table.over and one.step() == Verdict("held"):
                    entered.append(one.ticket.start)
                    table.over.add(one.ticket.run)
        assert entered == ["2026-0001", "2026-0002", "2026-0003"]

    @pytest.mark.parametrize("policy", [REJECT, SKIP])
    def test_busy_names_the_holder_and_leaves_no_trace(self, policy: str) -> None:
        table, store = self.store()
        assert Participant(store, ticket(1)).step() == Verdict("held")
        assert Participant(store, ticket(2, policy)).step() == Verdict("busy", ticket(1))
        assert list(table.shown()) == [ticket(1)]

    @pytest.mark.parametrize("policy", POLICIES)
    def test_alone_everybody_gets_in(self, policy: str) -> None:
        _, store = self.store()
        one = Participant(store, ticket(1, policy))
        assert one.step() == Verdict("held")
        assert one.step() == Verdict("held")

    def test_cancel_running_waits_until_the_holder_is_gone(self) -> None:
        table, store = self.store()
        holder, newer = Participant(store, ticket(1)), Participant(store, ticket(2, CANCEL_RUNNING))
        assert holder.step() == Verdict("held")
        assert newer.step() is None
        assert table.cancelled == {ticket(1)}
        holder.withdraw()
        assert newer.step() == Verdict("held")

    def test_cancel_running_goes_before_the_queue(self) -> None:
        _, store = self.store()
        holder, queued = Participant(store, ticket(1)), Participant(store, ticket(2))
        newer = Participant(store, ticket(3, CANCEL_RUNNING))
        assert [one.step() for one in (holder, queued, newer)] == [Verdict("held"), None, None]
        holder.withdraw()
        assert [one.step() for one in (queued, newer)] == [None, Verdict("held")]

    def test_the_newest_of_those_that_cancel_remains(self) -> None:
        table, store = self.store()
        holder = Participant(store, ticket(1))
        older, newer = (Participant(store, ticket(start, CANCEL_RUNNING)) for start in (2, 3))
        assert [one.step() for one in (holder, older, newer)] == [Verdict("held"), None, None]
        assert older.step() == Verdict("cancelled", newer.ticket)
        assert set(table.shown()) == {ticket(1), ticket(3, CANCEL_RUNNING)}

    def test_an_older_run_that_comes_late_does_not_cancel_a_newer_one(self) -> None:
        table, store = self.store()
        newer, older = (Participant(store, ticket(start, CANCEL_RUNNING)) for start in (2, 1))
        assert newer.step() == Verdict("held")
        assert older.step() == Verdict("cancelled", newer.ticket)
        assert not table.cancelled

    def test_tickets_of_ended_runs_are_removed(self) -> None:
        table, store = self.store()
        assert Participant(store, ticket(1)).step() == Verdict("held")
        assert Participant(store, ticket(2)).step() is None
        table.over |= {"run1", "run2"}
        assert Participant(store, ticket(3)).step() == Verdict("held")
        assert set(table.shown()) == {ticket(3)}

    def test_a_run_that_starts_anew_queues_up_anew(self) -> None:
        """It ended and was cleared: its old ticket stands no more, its new one is the last."""
        table, store = self.store()
        assert Participant(store, ticket(1, run="a")).step() == Verdict("held")
        waiting = Participant(store, ticket(2, run="b"))
        assert waiting.step() is None
        again = Participant(store, ticket(3, run="a"))
        assert again.step() is None
        assert waiting.step() == Verdict("held")
        assert set(table.shown()) == {ticket(2, run="b"), ticket(3, run="a")}

    def test_a_broken_off_claim_is_gone_on_with(self) -> None:
        table, store = self.store()
        table.marks[ticket(1)] |= {WAITING, CLAIM}
        assert Participant(store, ticket(1)).step() == Verdict("held")
        assert table.marks[ticket(1)] == {WAITING, CLAIM, HELD}


def test_a_name_is_read_back_and_sorts_by_start() -> None:
    one = ticket(7, CANCEL_RUNNING)
    assert Ticket.from_name(one.name) == one
    assert sorted([ticket(10).name, ticket(9).name]) == [ticket(9).name, ticket(10).name]
