"""Who of a concurrency group may work: one rule, over a store that can only write, delete and list names.

Every run that takes part has a *ticket* in its group. A ticket carries marks:
``waiting`` from the moment it takes part, ``claim`` while it tries to enter,
``held`` from when it may work until its run has ended.

Why no two runs ever hold at once (the flag principle, as in the one-bit
algorithm of Burns and Lamport): a run writes its claim, *then* lists the group,
and holds only when the list shows nobody else's claim or hold. Suppose two runs
hold. Both wrote their last claim and have not deleted it since. The one that
wrote it later listed the group after that, when the other's claim was there
already, so it saw it and did not hold. Nothing here depends on time, on the
clocks of machines or on how long a step takes; the store must only show what
was written before the list began.

Why somebody gets in: tickets are ordered. Of two that claim, the one behind
takes its claim back and the one ahead keeps it, so the first of all claimers
meets no other claim in the end. Who is not first does not claim at all.

A step may be repeated or broken off anywhere and leaves nothing that a next
step does not find: what a ticket knows stands in the store only. Tickets whose
run has ended are removed by whoever they stand in the way of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUEUE, REJECT, SKIP, CANCEL_RUNNING = "queue", "reject", "skip", "cancel-running"

#: Marks of a ticket.
WAITING, CLAIM, HELD = "waiting", "claim", "held"

_CLAIM_OR_HELD = frozenset({CLAIM, HELD})

#: Letters stand for the policies in names of tickets.
_LETTERS = {QUEUE: "q", REJECT: "r", SKIP: "s", CANCEL_RUNNING: "c"}
_POLICIES = {letter: policy for policy, letter in _LETTERS.items()}


def digest(*parts: str) -> str:
    """Give a short name that tells texts apart: 16 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Ticket:
    """The part of one run in its group.

    :param start: when the run started, UTC, in a form that sorts as text
    :param on_conflict: what this run does when the group is held: queue, reject, skip, cancel-running
    :param run: digest of the run's DAG id and run id
    """

    start: str
    on_conflict: str
    run: str

    @property
    def name(self) -> str:
        """How the ticket is called in the store."""
        return f"{self.start}.{_LETTERS[self.on_conflict]}.{self.run}"

    @classmethod
    def from_name(cls, name: str) -> Ticket:
        """Read :attr:`name` back."""
        start, letter, run = name.split(".")
        return cls(start, _POLICIES[letter], run)

    @property
    def rank(self) -> tuple[bool, str, str]:
        """Smaller goes first: whoever cancels others does not queue up behind those that wait."""
        return (self.on_conflict != CANCEL_RUNNING, self.start, self.run)


class Store(Protocol):
    """Where the tickets of one group are kept, for all runs of this Airflow."""

    def tickets(self, *, fresh: bool) -> Mapping[Ticket, frozenset[str]]:
        """Give every ticket with its marks.

        :param fresh: must show all that was written before this call; else it may be a second old
        """

    def put(self, ticket: Ticket, mark: str) -> None:
        """Write a mark; it may be there already."""

    def delete(self, ticket: Ticket, marks: Iterable[str]) -> None:
        """Delete marks, in this order; they may be gone already."""

    def is_over(self, ticket: Ticket, *, held: bool) -> bool:
        """Whether the ticket's run has ended or is gone, so that it can do no work any more."""

    def cancel(self, ticket: Ticket) -> None:
        """Ask the ticket's run to stop."""


@dataclass(frozen=True)
class Verdict:
    """How taking part ended.

    :param kind: ``held``: the run may work; ``busy``: it may not, and does not wait; ``cancelled``: a newer
        run took its place
    :param by: whose doing this is
    """

    kind: str
    by: Ticket | None = None


HOLD = Verdict("held")


class Participant:
    """One run that takes part in a group.

    :param store: the group's tickets
    :param ticket: the run's own
    """

    def __init__(self, store: Store, ticket: Ticket) -> None:
        self._store = store
        self.ticket = ticket
        #: Whom this run waited for at the last step.
        self.waits_for: Ticket | None = None

    def step(self) -> Verdict | None:
        """Do what can be done now.

        :return: how it ended; ``None``: ask again in a while
        """
        own = self.ticket
        seen = self._store.tickets(fresh=own.on_conflict != QUEUE)
        if HELD in seen.get(own, ()):
            return HOLD
        if own not in seen:
            self._enter(seen)
            seen = self._store.tickets(fresh=True)
        verdict, first = self._judge(seen)
        if first and own.on_conflict == QUEUE:
            seen = self._store.tickets(fresh=True)
            verdict, first = self._judge(seen)
        if verdict is not None:
            self.withdraw()
            return verdict
        if not first:
            if CLAIM in seen.get(own, ()):
                self._store.delete(own, [CLAIM])
            return None
        return self._claim(seen)

    def withdraw(self) -> None:
        """Take part no more, and leave no trace."""
        self._remove(self.ticket)

    def _enter(self, seen: Mapping[Ticket, frozenset[str]]) -> None:
        """Write the ticket, in place of one that the run had before it was cleared and started again."""
        for ticket in seen:
            if ticket.run == self.ticket.run:
                self._remove(ticket)
        self._store.put(self.ticket, WAITING)

    def _judge(self, seen: Mapping[Ticket, frozenset[str]]) -> tuple[Verdict | None, bool]:
        """What the policy says, and whether this ticket is the one to try."""
        own = self.ticket
        rivals = {ticket: marks for ticket, marks in seen.items() if ticket.run != own.run}
        holders = [one for one in rivals if HELD in rivals[one] and not self._remove_if_over(one, rivals)]
        if own.on_conflict == CANCEL_RUNNING:
            for holder in holders:
                if holder.on_conflict != CANCEL_RUNNING or holder.rank < own.rank:
                    self._store.cancel(holder)
            newer = [one for one in rivals if one.on_conflict == CANCEL_RUNNING and one.rank > own.rank]
            for one in sorted(newer, key=lambda ticket: ticket.rank, reverse=True):
                if not self._remove_if_over(one, rivals):
                    return Verdict("cancelled", one), False
        ahead = (one for one in sorted(rivals, key=lambda ticket: ticket.rank) if one.rank < own.rank)
        first = next((one for one in (*holders, *ahead) if not self._remove_if_over(one, rivals)), None)
        self.waits_for = first
        if first is not None and own.on_conflict in (REJECT, SKIP):
            return Verdict("busy", first), False
        return None, first is None

    def _claim(self, seen: Mapping[Ticket, frozenset[str]]) -> Verdict | None:
        """Try to hold. ``seen`` is fresh."""
        own = self.ticket
        if CLAIM not in seen.get(own, ()):
            self._store.put(own, CLAIM)
            seen = self._store.tickets(fresh=True)
        rivals = {ticket: marks for ticket, marks in seen.items() if ticket.run != own.run}
        conflicts = [
            one
            for one, marks in rivals.items()
            if marks & _CLAIM_OR_HELD and not self._remove_if_over(one, rivals)
        ]
        if not conflicts and CLAIM in seen.get(own, ()):
            self._store.put(own, HELD)
            # It must have stood all the time: a triggerer thought dead may have taken it back.
            if CLAIM in self._store.tickets(fresh=True).get(own, ()):
                return HOLD
            self._store.delete(own, [HELD])
            return None
        if any(HELD in rivals[one] or one.rank < own.rank for one in conflicts):
            self._store.delete(own, [CLAIM])
        return None

    def _remove_if_over(self, ticket: Ticket, rivals: Mapping[Ticket, frozenset[str]]) -> bool:
        over = self._store.is_over(ticket, held=HELD in rivals[ticket])
        if over:
            self._remove(ticket)
        return over

    def _remove(self, ticket: Ticket) -> None:
        # What makes others wait goes first, so that a removal broken off leaves a ticket that can be removed.
        self._store.delete(ticket, [CLAIM, HELD, WAITING])
