"""What a sink of events is: the types between the spool's drain and a transport.

An ack is a broker's word, and can be false: only bytes that were read back are durable (I1).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_subscriber.sources.base import SnapshotStore


class Record(msgspec.Struct, frozen=True):
    """One signed event as it lies in the spool."""

    log: str
    seq: int
    raw: bytes


class Stored(msgspec.Struct, frozen=True):
    """Where a broker says it has stored an event."""

    position: str
    """The sink's own notation: "1834" is a NATS stream sequence."""
    duplicate: bool
    """The broker took it for one it had: read back, for it compared an id and not the bytes."""


class Sink(Protocol):
    """One store that events are appended to and heads announced through.

    It may say more by attributes: `any_order` (it keeps every event, whatever their order),
    `pipelined` (events arrive in the order of the calls, several may be under way), `caveat` (a
    sentence: what to know about its acknowledgements while all is well, or None).
    """

    name: str

    async def start(self) -> None:
        """Connect, and create the store or check it; may be called again after `SinkUnavailable`.

        Raises `SinkRefused` naming the setting, `SinkUnavailable`.
        """

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Store one event and return when the broker says so.

        `repair` is for an event that was stored and has vanished. Raises `SinkUnavailable` (it may
        or may not be stored) or `SinkRefused` (it is not).
        """
        ...

    async def read_back(self, stored: Stored) -> bytes | None:
        """Return the bytes at that position, None if nothing lies there."""
        ...

    async def announce(self, publisher: str, head: bytes) -> None:
        """Send a head to whoever listens now; it is not stored."""

    async def stop(self) -> None:
        """Send what was accepted and close."""


@runtime_checkable
class Linked(Protocol):
    """A sink that tells of each new connection, so that nothing waits out its pause then."""

    on_linked: Callable[[], None] | None
    """Called on the loop, as soon as events can be sent."""


@runtime_checkable
class Prompt(Protocol):
    """A sink that can send at once: to wake its loop, or a turn of it, is a part of a kill."""

    on_answer: Callable[[], None] | None
    """Called on the loop when the answer to what `send` has sent is there."""

    def arm(self, log: str) -> None:
        """Make ready, on the loop, what the next event of this log is sent with."""

    def send(self, record: Record) -> bool:
        """Send the event now if that is possible, on any thread, without waiting for anything.

        The `append` that follows, on the loop, awaits its ack; or sends it, if this did not.
        """
        ...

    def was_sent(self, record: Record) -> bool:
        """Whether `send` has sent it, and `append` did not follow yet."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A sink whose store has settings that somebody may change while it is used."""

    async def check(self) -> None:
        """Look at them again; raises `SinkRefused` naming the one that would lose kills."""


@runtime_checkable
class Inspectable(Protocol):
    """A sink that can show what it holds."""

    name: str

    def contents(self, log: str) -> AsyncIterator[list[Record]]:
        """Yield what is stored as that log, up to where it ended when the reading began.

        In small batches, in any order. `seq` is where an event lies, or claims to: 0 if neither is
        known. Nothing is verified. Raises `SinkUnavailable`, `SinkRefused`.
        """
        ...


@runtime_checkable
class Movable(Protocol):
    """A sink that can leave a log where it lies and go on with it elsewhere."""

    def leave(self, position: str, why: str) -> SinkUnavailable | SinkRefused:
        """Go on with that log at a new place, all of it; return what to tell the log's lane."""
        ...


@runtime_checkable
class SnapshotSink(SnapshotStore, Protocol):
    """What a sink can be besides: a store of snapshots that are written and read back. Optional."""

    name: str

    async def write_snapshot(self, place: str, parts: Sequence[bytes], manifest: bytes) -> None:
        """Store a snapshot at a place "<writer>.<slot>", in the stead of what lies there.

        The parts first, each acknowledged; the manifest last, for it is what makes them a
        snapshot. Raises `SinkUnavailable` (what lies there now is broken) or `SinkRefused`.
        `list_snapshots` and `read_snapshot` raise these too.
        """
        ...
