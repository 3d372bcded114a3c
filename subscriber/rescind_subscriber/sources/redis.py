"""`RedisSource`: live by Pub/Sub, stored by XRANGE over every log's stream.

1. On each new connection: subscribe to events and heads, wait for both, then say `linked`.
2. A catch-up reads the index of logs, then each stream from its cursor to where it ended when its
   turn came, on a connection of its own: a large answer keeps no live event waiting.
3. A cursor is the id of the last entry read of each stream, and one digest over the entries that
   lie there. A resume reads them all again first: other bytes, or none, and the store was flushed,
   evicted, trimmed or restored from an old copy, and the reader starts over.
4. That the end of a stream is the true end is for the heads to prove.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from rescind_protocol import subjects
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.faults import Fault
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.redis_shelf import RedisShelf
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources.base import Batch, Cursor, Feed, Listed

ENTRIES = 64
"""Entries asked for at a time of one stream: 16 MiB at most, of events at their limit."""
STREAMS = 16
"""Streams asked at once."""
MAX_LOGS = 100_000
"""Logs in the index; each start of a publisher makes one."""
MAX_PROBLEMS = 3

_LOG = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_ID = re.compile(r"\d{1,20}-\d{1,20}")

Place = dict[str, tuple[str, bytes]]
"""Key of a stream to the id and the SHA-256 of the last entry read."""
T = TypeVar("T")


class RedisSource:
    """Events of one fabric from one Redis; runs on the loop that calls `start`."""

    def __init__(self, fabric: str, options: RedisOptions, *, name: str = "redis") -> None:
        self.name = name
        self._fabric = subjects.check_fabric(fabric)
        self._live = subjects.redis_live(fabric).encode()
        self._heads = subjects.redis_heads(fabric).encode()
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._link = RedisLink(
            options,
            slot_key=subjects.redis_logs(fabric),
            on_up=self._up,
            on_down=self._down,
            on_push=self._pushed,
            spread_s=self._spread_s,
        )
        self._shelf = RedisShelf(self._link, fabric)

    def __repr__(self) -> str:
        state = self._told or "linked" if self._feed else "not started"
        return f"<RedisSource {self.name} {self._link.place.shown}: {state}>"

    async def start(self, feed: Feed) -> None:
        """Connect and subscribe; see `Source.start`."""
        self._feed, self._told = feed, ""
        await self._link.start()

    async def stop(self) -> None:
        """Close; the feed hears no more."""
        self._feed = None
        await self._link.stop()

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Send one report; see `Reporter.report`."""
        del subscriber  # the report says it, and one channel has them all
        try:
            await self._link.request("PUBLISH", subjects.redis_reports(self._fabric), raw)
        except SourceRefused as error:
            raise SourceUnavailable(str(error)) from error

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the stored events behind the cursor; see `Source.read`."""
        try:
            wire = await self._link.fresh_wire()
        except SourceRefused as error:
            raise SourceUnavailable(str(error)) from error
        try:
            place = await self._resume(wire, after) if after is not None else {}
            keys = sorted({*await self._keys(wire), *place})
            problems: list[str] = []
            for group in _slices(keys, STREAMS):
                async for batch in self._read_group(wire, group, place, problems):
                    yield batch
        except SourceRefused as error:
            raise SourceUnavailable(str(error)) from error
        finally:
            await wire.close()
        if problems:  # said only now: one bad key hides no other log
            raise SourceUnavailable("; ".join(problems[:MAX_PROBLEMS]))

    async def list_snapshots(self) -> list[Listed]:
        """Return the snapshots' statements; see `SnapshotStore`."""
        return await self._shelf.list_snapshots()

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return a snapshot's parts; see `SnapshotStore`."""
        return await self._shelf.read_snapshot(place, size)

    async def _keys(self, wire: Wire) -> Iterator[str]:
        """Return the keys of all streams, those that a log has left too: a join wants them all."""
        index: dict[bytes, bytes] = await wire.request("HGETALL", subjects.redis_logs(self._fabric))
        if len(index) > MAX_LOGS:
            raise SourceRefused(f"{self.name}: more than {MAX_LOGS} logs are listed")
        return (
            subjects.redis_log(self._fabric, log.decode(), n)
            for log, moves in index.items()
            if _LOG.fullmatch(log) and moves.isdigit()
            for n in range(min(int(moves), subjects.MAX_MOVES) + 1)
        )

    async def _resume(self, wire: Wire, after: Cursor) -> Place:
        """Return where the cursor stands, proven by what lies there."""
        ids = self._parse(after.position)
        place: Place = {}
        for group in _slices(sorted(ids), ENTRIES):
            found = await wire.requests(*(("XRANGE", key, ids[key], ids[key]) for key in group))
            for key, entries in zip(group, found, strict=True):
                if not entries:
                    raise await self._gone(wire, key, ids[key])
                place[key] = (ids[key], sha256(_event(entries[0])).digest())
        if _digest(place) != after.digest:
            raise Rewound(
                f"{self.name}: other bytes than those read before lie at the cursor",
                Fault.STREAM_REPLACED,
            )
        return place

    async def _gone(self, wire: Wire, key: str, at: str) -> Rewound:
        """Return what became of a stream that has nothing at the cursor."""
        first: list[Any] = await wire.request("XRANGE", key, "-", "+", "COUNT", 1)
        trimmed = bool(first) and _order(first[0][0]) > _order(at.encode())
        return Rewound(
            f"{self.name}: nothing lies at {at} of {key} any more",
            Fault.STREAM_TRIMMED if trimmed else Fault.STREAM_REWOUND,
        )

    def _parse(self, position: str) -> dict[str, str]:
        pairs = [part.rpartition("=") for part in position.split(" ") if part]
        ids = {key: at for key, _, at in pairs}
        if not all(key and _ID.fullmatch(at) for key, at in ids.items()):
            raise Rewound(f"{self.name}: {position[:80]!r} is not a position in Redis")
        return ids

    async def _read_group(
        self, wire: Wire, keys: Sequence[str], place: Place, problems: list[str]
    ) -> AsyncIterator[Batch]:
        """Read some streams to where they end now, moving `place` along."""
        # What comes later is heard live: without a mark, a reader that is slower than the writers
        # would never come to an end.
        marks = await _marks(wire, keys)
        unread = list(marks)
        while unread:
            asked = [
                ("XRANGE", key, _behind(place, key), marks[key], "COUNT", ENTRIES) for key in unread
            ]
            answers = dict(zip(unread, await wire.outcomes(*asked), strict=True))
            problems += [f"{key}: {e}" for key, e in answers.items() if isinstance(e, Exception)]
            found = {key: got for key, got in answers.items() if isinstance(got, list) and got}
            events = [_event(entry) for entries in found.values() for entry in entries]
            for key, entries in found.items():
                place[key] = (entries[-1][0].decode(), sha256(_event(entries[-1])).digest())
            if events:
                yield Batch(events, _cursor(place))
            unread = [key for key, entries in found.items() if len(entries) == ENTRIES]

    async def _up(self, wire: Wire) -> None:
        await wire.subscribe(self._live.decode(), self._heads.decode())
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _spread_s(self) -> float:
        return self._feed.spread_s() if self._feed is not None else 0.0

    def _down(self, why: str) -> None:
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)

    def _pushed(self, channel: bytes, message: bytes) -> None:
        if self._feed is None:
            return
        if channel == self._live:
            self._feed.heard(self.name, message)
        elif channel == self._heads:
            self._feed.heard_head(self.name, message)


async def _marks(wire: Wire, keys: Sequence[str]) -> dict[str, str]:
    """Return the id of the newest entry of each stream that has any.

    It is "+", the moving end, where none is told: a user of an older configuration may not ask.
    """
    asked = (("XREVRANGE", key, "+", "-", "COUNT", 1) for key in keys)
    newest = zip(keys, await wire.outcomes(*asked), strict=True)
    return {key: _id(found) for key, found in newest if found}


def _id(newest: Any) -> str:
    return newest[0][0].decode() if isinstance(newest, list) else "+"


def _event(entry: Any) -> bytes:
    """Return the event of an entry `[id, [field, event]]`; nothing of one that is none of ours."""
    fields = entry[1]
    return bytes(fields[1]) if fields and len(fields) > 1 else b""


def _order(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))


def _behind(place: Place, key: str) -> str:
    return f"({place[key][0]}" if key in place else "-"


def _cursor(place: Place) -> Cursor:
    position = " ".join(f"{key}={at}" for key, (at, _) in sorted(place.items()))
    return Cursor(position, _digest(place))


def _digest(place: Place) -> bytes:
    """Return the SHA-256 over the digests at the cursor of each stream, in the keys' order."""
    return sha256(b"".join(digest for _, (_, digest) in sorted(place.items()))).digest()


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
