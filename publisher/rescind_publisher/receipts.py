"""The receipt: what is known of one request, and never more than that (I1).

`accepted`: committed in this host's spool. `acked`: the broker says it has it; an ack can lie.
`durable`: read back from the broker, byte for byte.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from rescind_protocol.changes import RevocationId
from rescind_publisher.applied import Applied


class State(StrEnum):
    """How far one sink is with a request, weakest first."""

    ACCEPTED = "accepted"
    ACKED = "acked"
    DURABLE = "durable"


class SinkReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one sink has; times in ms since the request was made."""

    state: State
    acked_ms: float | None = None
    durable_ms: float | None = None
    problem: str | None = None
    """Why it is not further, in the sink's words."""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a request when the call returns."""

    ids: tuple[RevocationId, ...]
    """One for each change, in their order; what another kill covers has the id of that one."""
    targets: tuple[str, ...]
    accepted_at: float
    """Unix seconds, by the publisher's clock."""
    accepted_ms: float
    sinks: dict[str, SinkReceipt]
    ended: tuple[RevocationId, ...] = ()
    """The kills that a reinstatement or retraction names."""
    in_force: tuple[RevocationId, ...] = ()
    """Kills of before that cover what was asked: nothing new was signed for it."""
    new_badges_from: int | None = None
    """After a reinstatement: badges whose `iat` is beyond this pass (unix seconds)."""
    warnings: tuple[str, ...] = ()
    applied: Applied | None = None
    """What subscribers said, where that was waited for."""

    @property
    def durable(self) -> tuple[str, ...]:
        """Sinks that hold it for certain."""
        return tuple(name for name, at in self.sinks.items() if at.state is State.DURABLE)

    @property
    def pending(self) -> tuple[str, ...]:
        """Sinks that have not acknowledged it."""
        return tuple(name for name, at in self.sinks.items() if at.state is State.ACCEPTED)

    def __str__(self) -> str:
        said = [
            _words(name, at) for name, at in self.sinks.items() if at.state is not State.ACCEPTED
        ]
        line = ", ".join(["accepted", *said])
        if self.pending and not said:
            line = f"accepted and PENDING: no broker has it yet; {self._why()}"
        elif self.pending:
            line += f"; PENDING on {' and '.join(self.pending)}; {self._why()}"
        elif not self.sinks:
            line = "accepted and PENDING: no broker is configured"
        if self.in_force:
            line += f"; already in force as {_named(self.in_force)}"
        if self.new_badges_from is not None:
            line += f"; badges issued after {_utc(self.new_badges_from)} pass"
        said_by_subscribers = (
            [self.applied.sentence(ends=bool(self.ended))] if self.applied is not None else []
        )
        return "; ".join([line, *said_by_subscribers, *self.warnings])

    def _why(self) -> str:
        problems = [at.problem for at in self.sinks.values() if at.problem]
        return "; ".join(
            [*problems, "it is kept in the spool and sent as soon as that is possible"]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON types, `pending` and the sentence with it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain["ids"] = [str(each) for each in self.ids]
        plain["ended"] = [str(each) for each in self.ended]
        plain["in_force"] = [str(each) for each in self.in_force]
        if self.applied is not None:
            plain["applied"] |= {
                "complete": self.applied.complete,
                "message": self.applied.sentence(ends=bool(self.ended)),
            }
        return plain | {"pending": list(self.pending), "message": str(self)}


def _named(ids: tuple[RevocationId, ...]) -> str:
    return str(ids[0]) if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"


def merged(receipts: Sequence[Receipt]) -> Receipt:
    """Return one receipt of several requests: each sink as far as with the one it has least of."""
    first, last = receipts[0], receipts[-1]
    return msgspec.structs.replace(
        last,
        ids=tuple(each for receipt in receipts for each in receipt.ids),
        targets=tuple(each for receipt in receipts for each in receipt.targets),
        accepted_at=first.accepted_at,
        accepted_ms=sum(receipt.accepted_ms for receipt in receipts),
        sinks={
            name: min((r.sinks[name] for r in receipts), key=lambda at: _ORDER[at.state])
            for name in first.sinks
        },
        warnings=tuple(dict.fromkeys(each for receipt in receipts for each in receipt.warnings)),
    )


_ORDER = {state: number for number, state in enumerate(State)}


def _words(name: str, at: SinkReceipt) -> str:
    ms = at.durable_ms if at.state is State.DURABLE else at.acked_ms
    return f"{at.state.value} on {name} after {ms:.1f} ms"


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


class _Count:
    __slots__ = ("acked", "acked_ms", "durable", "durable_ms", "problem")

    def __init__(self) -> None:
        self.acked = self.durable = 0
        self.acked_ms = self.durable_ms = 0.0
        self.problem: str | None = None


class Progress:
    """How far the sinks are with one request's events.

    Written by the loop's thread alone; `wait` and `sinks` may be called from any other.
    """

    def __init__(self, sinks: Iterable[str], events: int, started: float) -> None:
        """`started` by `time.perf_counter`."""
        self._counts = {name: _Count() for name in sinks}
        self._events = events
        self._started = started
        self._settled = threading.Event()
        self._waiter: asyncio.Future[None] | None = None

    def wait(self, timeout_s: float) -> bool:
        """Return when each sink holds everything or is known to be failing, or at the timeout.

        Whether it came to that.
        """
        return not self._counts or self._settled.wait(max(0.0, timeout_s))

    async def waited(self, timeout_s: float) -> bool:
        """Wait as `wait` does, on the loop that writes it, for one caller at a time."""
        if not self._counts or self._settled.is_set():
            return True
        self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._waiter], timeout=max(0.0, timeout_s))
        return self._settled.is_set()

    @property
    def complete(self) -> bool:
        """Whether each sink holds everything for certain."""
        return all(count.durable >= self._events for count in self._counts.values())

    def sinks(self) -> dict[str, SinkReceipt]:
        """Return what is known now."""
        return {name: self._receipt(count) for name, count in self._counts.items()}

    def _receipt(self, count: _Count) -> SinkReceipt:
        if count.durable >= self._events:
            return SinkReceipt(State.DURABLE, count.acked_ms, count.durable_ms)
        if count.acked >= self._events:
            return SinkReceipt(State.ACKED, count.acked_ms, problem=count.problem)
        return SinkReceipt(State.ACCEPTED, problem=count.problem)

    # --- told by the drain ---

    def acked(self, sink: str) -> None:
        """A sink acknowledged one more event."""
        count = self._counts[sink]
        count.acked_ms = self._elapsed_ms()
        count.acked += 1

    def durable(self, sink: str) -> None:
        """One more event was read back."""
        count = self._counts[sink]
        count.durable_ms = self._elapsed_ms()
        count.durable += 1
        count.problem = None
        self._settle()

    def failing(self, sink: str, why: str) -> None:
        """An attempt failed; it will be tried again, and nobody should wait for that."""
        self._counts[sink].problem = why
        self._settle()

    def _settle(self) -> None:
        if all(c.durable >= self._events or c.problem for c in self._counts.values()):
            self._settled.set()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000
