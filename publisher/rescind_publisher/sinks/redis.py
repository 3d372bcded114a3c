"""`RedisSink`: events into one Redis stream a log, by compare and append.

- Nothing is stored behind a gap, and "it is there" is success only for equal bytes: see
  `append.lua`. One writer a log sends in order, several under way at once on one connection.
- A stream with a hole can never be filled again (ids only grow): the log moves to a new key, and
  all of it is sent there. So it does where bytes lie at our number that our key has not signed; a
  true fork of the log stays an error (`rescind_publisher.forks` tells them apart).
- The server's settings are checked on each new connection: it must not evict, and must keep an
  append-only file. What is known of its fsync is said as a caveat.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

from rescind_protocol import subjects
from rescind_protocol.errors import RescindError
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_publisher.errors import (
    SinkForked,
    SinkLost,
    SinkMoved,
    SinkRefused,
    SinkUnavailable,
)
from rescind_publisher.redis_check import Persistence, check, fsync_of
from rescind_publisher.sinks import contents
from rescind_publisher.sinks.base import Record, Stored
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.redis_address import RedisOptions, parse
from rescind_subscriber.redis_connect import open_wire
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.redis_shelf import FIELD, RedisShelf
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources.base import Listed

_TEXT = resources.files(__package__).joinpath("append.lua").read_text("ascii")
SCRIPT = "\n".join(line for line in _TEXT.splitlines() if line and not line.startswith("--"))
"""Sent with each event (EVAL): there is no loaded script that a failover could lose."""

_POSITION = re.compile(r"[A-Za-z0-9_-]{1,64}/\d{1,4}/\d{1,10}", re.ASCII)
T = TypeVar("T")


class RedisSink:
    """The streams of one fabric on one Redis; runs on the loop that calls `start`.

    `options` are the publisher's; `system`, if given, a user who may ask when the server fsyncs.
    """

    pipelined = True
    """Events arrive in the order they are sent in; several may be under way."""

    def __init__(
        self,
        fabric: str,
        options: RedisOptions,
        *,
        system: RedisOptions | None = None,
        name: str = "redis",
    ) -> None:
        self.name = name
        self.persistence = Persistence("unverified")
        self._fabric = subjects.check_fabric(fabric)
        self._index = subjects.redis_logs(fabric)
        self._system = system
        self._moves: dict[str, int] = {}
        self._tops: dict[str, int] = {}
        self._listed: set[str] = set()
        self._why_down = ""
        self._started = False
        self._link = RedisLink(
            options,
            slot_key=self._index,
            on_up=self._up,
            on_down=self._down,
            on_push=lambda _channel, _message: None,
        )
        self._shelf = RedisShelf(self._link, fabric)
        self.on_linked: Callable[[], None] | None = None

    def __repr__(self) -> str:
        state = "ready" if self._link.connected else self._why_down or "not connected"
        fsync = self.persistence.fsync
        return f"<RedisSink {self.name} {self._link.place.shown}: {state}, fsync {fsync}>"

    @property
    def shown(self) -> str:
        """The address without its secrets."""
        return self._link.place.shown

    @property
    def caveat(self) -> str | None:
        """What an operator should know about this store's acknowledgements."""
        caveat = self.persistence.caveat
        return f"{self.name}: {caveat}" if caveat else None

    async def start(self) -> None:
        """Connect and check the server's settings; see `Sink.start`."""
        if not self._started:
            await _mapped(self._link.start())
            self._started = True
        await _mapped(self._link.request("PING"))

    async def stop(self) -> None:
        """Close."""
        self._started = False
        await self._link.stop()

    async def check(self) -> None:
        """Look at the server's settings again; see `Checkable`."""
        await _mapped(check(self._link))

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Store one event; see `Sink.append`. A repair is no other: the store compares bytes."""
        del repair
        if len(record.raw) > MAX_EVENT_BYTES:
            raise SinkRefused(f"{self.name}: an event of {len(record.raw)} bytes is too large")
        moves = self._moves.get(record.log, 0)
        key = subjects.redis_log(self._fabric, record.log, moves)
        channel = subjects.redis_live(self._fabric)
        call = ("EVAL", SCRIPT, 2, key, self._index, record.log, moves, channel, record.seq)
        commands = [*self._listing(record.log, moves), (*call, record.raw)]
        answer = (await _mapped(self._link.outcomes(*commands)))[-1]
        if isinstance(answer, RescindError):
            raise _sinks(answer)
        verdict, detail, *found = answer
        position = f"{record.log}/{moves}/{record.seq}"
        if verdict in (b"ok", b"had"):
            self._tops[record.log] = max(record.seq, self._tops.get(record.log, 0))
            return Stored(position, duplicate=verdict == b"had")
        if verdict == b"type":
            raise SinkRefused(f"{self.name}: {detail.decode()}: remove it; nothing was overwritten")
        if verdict == b"fork":
            raise self._fork(record, bytes(found[0]), position)
        if verdict in (b"gap", b"unlisted"):
            if verdict == b"unlisted":  # flushed, or never there
                self._listed.discard(record.log)
            raise self._gap(record, int(detail))
        raise self._moved(record.log, moves, verdict, detail)

    def _listing(self, log: str, moves: int) -> list[tuple[str | int, ...]]:
        """Return the command that enters a log into the index, if that is to be done first.

        A log that we have not moved may have been moved by a run before this one: HSETNX.
        """
        if log in self._listed:
            return []
        self._listed.add(log)
        return [("HSET" if moves else "HSETNX", self._index, log, moves)]

    def _gap(self, record: Record, top: int) -> SinkUnavailable:
        """Tell an event that came too early from a store that lost its newest ones."""
        had, self._tops[record.log] = self._tops.get(record.log, 0), top
        where = f"{self.name}: log {record.log} ends at {top}"
        if had > top:
            return SinkLost(f"{where} and ended at {had}")
        return SinkUnavailable(f"{where}: event {record.seq} has to wait")

    def _fork(self, record: Record, found: bytes, position: str) -> SinkForked:
        return SinkForked(
            f"{self.name}: other bytes lie at event {record.seq} of log {record.log}: a fork, if "
            "our key has signed them: was this spool copied? Nothing was overwritten",
            found=found,
            position=position,
        )

    def _moved(
        self, log: str, moves: int, verdict: bytes, detail: Any
    ) -> SinkUnavailable | SinkRefused:
        """Go on at the log's next key, or at the one that a run before this one moved it to."""
        if verdict == b"hole":
            return self.leave(f"{log}/{moves}/0", f"has a hole ({detail.decode()})")
        if self._moves.get(log, 0) == moves:
            self._moves[log] = int(detail)
        return SinkMoved(f"{self.name}: log {log} lies at its key number {int(detail)}")

    def leave(self, position: str, why: str) -> SinkUnavailable | SinkRefused:
        """Go on at the log's next key; see `Movable.leave`."""
        log, at, _ = position.split("/")
        moves, where = int(at), f"{self.name}: log {log}"
        if self._moves.get(log, 0) != moves:  # it was under way beside the one that found out
            return SinkMoved(f"{where} has moved meanwhile")
        if moves >= subjects.MAX_MOVES:
            return SinkRefused(f"{where} {why}, and was damaged {moves} times before: by whom?")
        self._moves[log] = moves + 1
        self._listed.discard(log)
        self._tops.pop(log, None)
        return SinkLost(f"{where} {why} and moves to a new key")

    async def read_back(self, stored: Stored) -> bytes | None:
        """Return the stored bytes; see `Sink.read_back`."""
        if not _POSITION.fullmatch(stored.position):
            return None  # a mark that was damaged: nothing lies there
        log, moves, seq = stored.position.split("/")
        if int(moves) < self._moves.get(log, 0):
            return None  # left behind: what lies there is no longer the log
        self._moves[log] = int(moves)
        key = subjects.redis_log(self._fabric, log, int(moves))
        entries = await _mapped(self._link.request("XRANGE", key, f"{seq}-0", f"{seq}-0"))
        return bytes(entries[0][1][1]) if entries else None

    async def contents(self, log: str) -> AsyncIterator[list[Record]]:
        """Yield what the log's present key holds; see `Inspectable.contents`."""
        listed = await _mapped(self._link.request("HGET", self._index, log))
        moves = int(listed) if listed is not None and listed.isdigit() else 0
        key = subjects.redis_log(self._fabric, log, max(moves, self._moves.get(log, 0)))
        held = contents.of_key(self._link, key, log)
        while (batch := await _mapped(anext(held, None))) is not None:
            yield batch

    async def list_snapshots(self) -> list[Listed]:
        """Return the snapshots' statements; see `SnapshotStore`."""
        return await _mapped(self._shelf.list_snapshots())

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return a snapshot's parts; see `SnapshotStore`."""
        return await _mapped(self._shelf.read_snapshot(place, size))

    async def write_snapshot(self, place: str, parts: Sequence[bytes], manifest: bytes) -> None:
        """Store a snapshot, the manifest last; see `SnapshotSink.write_snapshot`."""
        for number, part in enumerate(parts):
            key = subjects.redis_part(self._fabric, place, number)
            await _mapped(self._link.request("HSET", key, FIELD, part))
        index = subjects.redis_snapshots(self._fabric)
        await _mapped(self._link.request("HSET", index, place, manifest))

    async def announce(self, publisher: str, head: bytes) -> None:
        """Send a head; see `Sink.announce`."""
        del publisher
        channel = subjects.redis_heads(self._fabric)
        await _mapped(self._link.request("PUBLISH", channel, head))

    async def _up(self, wire: Wire) -> None:
        await check(wire)
        self.persistence = Persistence(await self._fsync(wire))
        self._why_down = ""
        if self.on_linked is not None:
            self.on_linked()

    async def _fsync(self, wire: Wire) -> Any:
        if self._system is None:
            return await fsync_of(wire)
        system = await open_wire(parse(self._system.url), slot_key=self._index)
        try:
            return await fsync_of(system)
        finally:
            await system.close()

    def _down(self, why: str) -> None:
        self._why_down = why


async def _mapped(call: Awaitable[T]) -> T:
    """Await, a link's errors mapped to a sink's."""
    try:
        return await call
    except (SourceRefused, SourceUnavailable) as error:
        raise _sinks(error) from error


def _sinks(error: RescindError) -> SinkRefused | SinkUnavailable:
    kind = SinkRefused if isinstance(error, SourceRefused) else SinkUnavailable
    return kind(str(error))
