"""The view that guards read, and its swap.

One published tuple, replaced by a single attribute store: a reader takes one local reference and
never sees half of a change, with or without a GIL. Exactly one thread may write, and it is checked
on every write: two writers that read, modify and swap lost half of the events in a trial.

Ownership: the writer owns `View`'s fields; the table inside is immutable and nobody's. The calls
that passed are the guards' to write and the subscriber's to read. Unsigned lists lie beside what is
joined, in a field of their own that their keeper writes: nobody who reads the table meets them.
"""

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from rescind_guard import native, unsigned
from rescind_guard.errors import TwoWriters
from rescind_guard.inflight import InFlight
from rescind_guard.metrics import Counter
from rescind_guard.passed import PassedCalls
from rescind_guard.unsigned import UnsignedList
from rescind_protocol.table import Table

_THREAD = "thread"


class Published(NamedTuple):
    """What a reader gets. A head moves the times only; a change of the table the generation."""

    generation: int
    table: Table
    as_of_wall: float
    """Unix seconds at which every required publisher is proven covered; -inf: never."""
    as_of_boot: float
    """The same instant on this host's CLOCK_BOOTTIME, by receipt; -inf: never."""

    def age_s(self, wall: float, boot: float) -> float:
        """Age of the proof: the greater by either clock, so that no jump makes it younger."""
        return max(wall - self.as_of_wall, boot - self.as_of_boot)


class View:
    """Holds the published tuple. Built empty and never synced, which is stale."""

    __slots__ = ("_claimed", "counters", "inflight", "lists", "passed", "published")

    def __init__(self) -> None:
        self.published = Published(0, Table(), -inf, -inf)
        self.lists = unsigned.Published()
        """What unsigned lists say; a class of its own, that denies and does nothing else."""
        self.passed = PassedCalls()
        """What the guards of this view allowed last."""
        self.inflight = InFlight()
        """What was admitted and is not done yet."""
        self.counters: list[Counter] = []
        """What the guards of this view have decided so far."""
        self._claimed: dict[str, int] = {}

    def __repr__(self) -> str:
        at = self.published
        return f"<View generation {at.generation}, {len(at.table)} targets>"

    def has_judged(self) -> bool:
        """Whether a guard has decided on anything by this view."""
        return any(each.read() for each in self.counters)

    @property
    def _writer(self) -> int | None:
        """The writer's thread; None while nobody has claimed the view."""
        return self._claimed.get(_THREAD)

    def claim(self) -> None:
        """Make the calling thread the one writer, for good or until `release`."""
        thread = native.get_ident()
        # One atomic step: of two threads that claim at once, one is told of the other.
        if self._claimed.setdefault(_THREAD, thread) != thread:
            raise TwoWriters("this view has a writer already; one subscriber per view")

    def release(self) -> None:
        """Give the writer's place up; also the first act in the child after a fork."""
        self._claimed = {}

    def swap(self, table: Table) -> None:
        """Publish a changed table."""
        self._check_writer()
        at = self.published
        self.published = Published(at.generation + 1, table, at.as_of_wall, at.as_of_boot)
        self.inflight.changed()

    def freshen(self, as_of_wall: float, as_of_boot: float) -> None:
        """Publish a newer proof of freshness; decisions cached under it stay good."""
        self._check_writer()
        at = self.published
        self.published = Published(at.generation, at.table, as_of_wall, as_of_boot)

    def distrust(self) -> None:
        """Make the view stale at once; what is known to be killed stays killed (I3, I10)."""
        self._check_writer()
        at = self.published
        self.published = Published(at.generation + 1, at.table, -inf, -inf)

    def show_lists(
        self, lists: Iterable[UnsignedList], after: unsigned.Published
    ) -> unsigned.Published:
        """Publish these unsigned lists in place of all before, and return what is published.

        `after`: what the caller published last; raises `TwoWriters` where another one did since.
        """
        if self.lists is not after:
            raise TwoWriters("another keeper writes this view's unsigned lists: one per view")
        self.lists = now = unsigned.publish(after, lists)
        self.inflight.changed()
        return now

    def _check_writer(self) -> None:
        if self._writer != native.get_ident():
            raise TwoWriters("only the thread that claimed this view may write to it")
