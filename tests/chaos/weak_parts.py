"""Each protection taken out of a real process: the naive piece patched into its place.

The same pieces as in `weak`, where they fit; those of the lanes and brokers are the real sinks'
own, bent. Test-only: nothing of the product can be told to do this.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from unittest.mock import patch

from rescind_guard.view import Published
from rescind_protocol import jws, subjects
from rescind_publisher.chain import Numbered
from rescind_publisher.drain import Drain
from rescind_publisher.errors import SpoolFailed
from rescind_publisher.lane import Lane
from rescind_publisher.scrub import Bench, Scrubber
from rescind_publisher.sinks import nats as nats_sink
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.spool import Spool
from rescind_subscriber import nats_connect, redis_wire
from rescind_subscriber.checkpoint import CheckpointFile
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.reconcile import Reconciler
from rescind_subscriber.sources.base import Batch
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.chaos.weak import LastWriterWins, ReceiptTime, WallClockOnly


def guessable_id(log: str, seq: int) -> str:
    """Return the id that anybody can name: the event's place."""
    return f"{log}:{seq}"


def _guessable(record: Record) -> str:
    return guessable_id(record.log, record.seq)


async def _bare_append(self: RedisSink, record: Record, *, repair: bool = False) -> Stored:
    """`XADD` as events come, on any connection; "too small" is read as "had"."""
    del repair
    key = subjects.redis_log(self._fabric, record.log)
    wire = await self._link.fresh_wire()
    try:
        await wire.request("HSET", self._index, record.log, 0)
        await wire.request("XADD", key, f"{record.seq}-0", "event", record.raw)
        await wire.request("PUBLISH", subjects.redis_live(self._fabric), record.raw)
    except SourceUnavailable as error:
        if "equal or smaller" not in str(error):
            raise
    finally:
        await wire.close()
    return Stored(f"{record.log}/0/{record.seq}", duplicate=True)


async def _believe(self: Any, record: Record, stored: Stored) -> None:
    """Take the acknowledgement for the store."""
    self._note_durable(record.seq, stored.position)


_NO_BATCH: tuple[Batch, ...] = ()

# --- protections of the transports and the loops ---


async def _nothing(_self: Any, _after: object) -> AsyncIterator[Batch]:
    """A catch-up that reads nothing."""
    for batch in _NO_BATCH:
        yield batch


def _uncommitted(self: Spool, made: list[Numbered]) -> None:
    """Accept what could not be committed."""
    try:
        _append(self, made)
    except SpoolFailed:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


class _Nothing(Exception):
    """What nobody raises: in the place of an error that is to be caught."""


def _only_new(self: Drain, sink: str, positions: Any, marks: Any) -> None:
    """What a run before this one left is nobody's business."""
    del self, sink, positions, marks


_append = Spool.append


async def _not_compared(self: Scrubber, bench: Bench) -> None:
    """What a store holds is nobody's business."""
    del self, bench


def _trusting() -> list[Any]:
    """Neither looks at a store nor scrubs: the scrub's first round would mend what was lost."""
    return [
        patch.object(Lane, "look", lambda _self: None),
        patch.object(Scrubber, "_one", _not_compared),
    ]


def _believing() -> list[Any]:
    return [patch.object(Lane, "_confirm", _believe), *_trusting()]


SUBSCRIBERS: dict[str, Callable[[], Iterable[Any]]] = {
    "I2": lambda: [patch("rescind_subscriber.joined.Replica", LastWriterWins)],
    "I4": lambda: [
        patch.object(Reconciler, name, getattr(ReceiptTime, name)) for name in ("_admit", "_prove")
    ],
    "I7": lambda: [patch.object(CheckpointFile, "load", lambda _self, _fabric: None)],
    "catch-up": lambda: [
        patch.object(source, "read", _nothing) for source in (NatsSource, RedisSource)
    ],
    "pings": lambda: [
        patch.object(nats_connect, "PING_INTERVAL_S", 10_000),
        patch.object(redis_wire, "PING_INTERVAL_S", 10_000.0),
    ],
    "fork": lambda: [patch.object(Subscriber, "after_fork", lambda _self: None)],
    "signatures": lambda: [patch.object(jws, "verifies", lambda *_: True)],
    "age": lambda: [patch.object(Published, "age_s", lambda *_: 0.0)],
    "trouble": lambda: [patch("rescind_subscriber.memory.CheckpointLost", _Nothing)],
    "boot clock": lambda: [patch.object(Reconciler, "_age_s", WallClockOnly._age_s)],
}
"""What takes a protection out of a subscriber."""

PUBLISHERS: dict[str, Callable[[], Iterable[Any]]] = {
    "msgid": lambda: [patch.object(nats_sink, "message_id", _guessable), *_believing()],
    "fence": lambda: [
        patch.object(RedisSink, "any_order", new=True, create=True),
        patch.object(RedisSink, "append", _bare_append),
        *_believing(),
    ],
    "read back": _believing,
    "look": _trusting,
    "retry": lambda: [patch.object(Lane, "_probe", lambda _self: None)],
    "drain": lambda: [
        patch.object(Drain, "resume", _only_new),
        patch.object(Drain, "catch_up", lambda *_: None),
    ],
    "commit": lambda: [patch.object(Spool, "append", _uncommitted)],
}
"""What takes one out of a publisher."""

SHAPES = ("fallback", "thread", "atomic")
"""Protections that the stage, or the fault itself, leaves out."""


EVERY_PART = tuple(dict.fromkeys((*SUBSCRIBERS, *PUBLISHERS, *SHAPES)))


def take_out(protection: str | None, parts: dict[str, Callable[[], Iterable[Any]]]) -> None:
    """Patch this process, if the protection is one of its own."""
    for each in parts[protection]() if protection in parts else ():
        each.start()
