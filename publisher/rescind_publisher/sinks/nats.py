"""`NatsSink`: events into one JetStream stream, each ack awaited and checked.

- `Nats-Msg-Id` is the SHA-256 of the event: with a guessable id, garbage sent earlier would be
  answered `duplicate` for the real kill. A repair carries none: after a purge the window still
  answers `duplicate` for a stream that is empty.
- An answer counts as an ack only if it names our stream; others that reach the inbox are passed
  over, so whoever saw the inbox cannot end the wait.
- The stream is checked on each new connection and after each timeout: with subscribers on the
  subject, a stream that is gone looks like silence, not like an error.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, Literal, TypeVar

import msgspec

from rescind_protocol import subjects
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.sinks import contents
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.stream import (
    refusals,
    snapshot_refusals,
    wanted,
    wanted_for_snapshots,
)
from rescind_publisher.sync import SyncState, storage_sync
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.nats_link import Armed, Link, NatsOptions, Question, Reply
from rescind_subscriber.nats_reader import StreamReader
from rescind_subscriber.nats_shelf import ShelfReader
from rescind_subscriber.sources.base import Listed

log = logging.getLogger("rescind.publisher")

ACK_TIMEOUT_S = 2.0
READ_BACK_ATTEMPTS = 3
READ_BACK_WAIT_S = 0.05
"""A replica that answers the direct get may not have what the leader has acked."""

_STREAM = "Nats-Expected-Stream"
_ID = "Nats-Msg-Id"
_NOT_FOUND = 10059  # stream not found
_NAME_IN_USE = 10058  # somebody else created it at the same moment
_NO_PEERS = 10005  # a cluster that is coming up: too few of its servers are there
_TEMPORARY = 503

T = TypeVar("T")


class _ApiError(msgspec.Struct):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    """PubAck (JetStream API); `error` instead of a sequence if it was not stored."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


class _StreamAnswer(msgspec.Struct):
    config: dict[str, Any] = {}
    error: _ApiError | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode
_decode_answer = msgspec.json.Decoder(_StreamAnswer).decode


class NatsSink:
    """The stream of one fabric on one NATS system; runs on the loop that calls `start`.

    `options` are the publisher's; `system`, if given, a user of the system account, who alone can
    see whether the server fsyncs before it acks. `sync` says what is known about that.
    """

    any_order = True
    """The stream keeps every event whatever their order, so that none waits for another's ack."""

    def __init__(
        self,
        fabric: str,
        options: NatsOptions,
        *,
        system: NatsOptions | None = None,
        replicas: int = 1,
        name: str = "nats",
    ) -> None:
        self.name = name
        self.sync: SyncState | Literal["unverified"] = "unverified"
        self._fabric = subjects.check_fabric(fabric)
        self._stream = subjects.stream(fabric)
        self._replicas = replicas
        self._system = system
        self._checked = False
        self._why_down = ""
        self._problem = ""
        self._link = Link(
            options, on_up=self._up, on_down=self._down, on_problem=self._noticed_problem
        )
        self._started = False
        self._sent: dict[tuple[str, int], Question] = {}
        self._armed: dict[str, Armed] = {}
        """For the next event of each log."""
        self._block = f"NATS/1.0\r\n{_STREAM}: {self._stream}\r\n{_ID}: %b\r\n\r\n".encode()
        self._shelf = ShelfReader(self._link, fabric, name=name)
        small = {"events": contents.NATS_EVENTS, "size": contents.NATS_BYTES}
        self._reader = StreamReader(self._link, self._stream, name=name, **small)
        self._shelf_checked = False
        self.on_linked: Callable[[], None] | None = None
        self.on_answer: Callable[[], None] | None = None

    def __repr__(self) -> str:
        state = "ready" if self._checked else self._why_down or "stream not checked"
        return f"<NatsSink {self.name} {self._link.options.shown}: {state}, sync {self.sync}>"

    async def start(self) -> None:
        """Connect, create or check the stream, ask how it is stored; see `Sink.start`."""
        if not self._started:
            await _mapped(self._link.start())
            self._started = True
        await self._prepare_log()
        if self._system is not None:
            self.sync = await _mapped(storage_sync(self._system))
            if self.sync == "interval":
                raise SinkRefused(
                    f"{self.name}: sync_interval: the server acks before it has written to disk: "
                    "set `sync_interval: always` in its jetstream block"
                )

    async def stop(self) -> None:
        """Send what was accepted and close."""
        self._started = self._checked = False
        await self._link.stop()

    async def check(self) -> None:
        """Look at the stream's settings again, and make it if it is gone; see `Checkable`."""
        await self._prepare_log()

    def arm(self, log: str) -> None:
        """Make ready what the next event of a log is sent with; see `Prompt.arm`."""
        held = self._armed.get(log)
        if held is None or not self._link.is_armed(held):
            armed = self._link.arm(subjects.log(self._fabric, log), self._is_answer)
            if armed is not None:
                self._armed[log] = armed

    def send(self, record: Record) -> bool:
        """Send at once, on any thread; see `Prompt.send`."""
        if not self._checked or len(record.raw) > MAX_EVENT_BYTES:
            return False
        armed = self._armed.pop(record.log, None)  # of two threads, one has it
        if armed is None:
            return False
        if not self._link.fire(armed, self._headers(record), record.raw):
            self._link.close_inbox(armed.question.inbox)
            return False
        self._sent[record.log, record.seq] = armed.question
        return True

    def was_sent(self, record: Record) -> bool:
        """Whether `send` has sent it and its answer was not asked for yet."""
        return (record.log, record.seq) in self._sent

    def _headers(self, record: Record) -> bytes:
        return self._block % message_id(record).encode()

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Store one event; see `Sink.append`."""
        if len(record.raw) > MAX_EVENT_BYTES:
            raise SinkRefused(f"{self.name}: an event of {len(record.raw)} bytes is too large")
        sent = self._sent.pop((record.log, record.seq), None)
        if sent is not None and (repair or not self._checked):
            self._link.close_inbox(sent.inbox)  # asked anew below
            sent = None
        if not self._checked:
            await self._prepare_log()
        subject, headers = self._frame(record, repair=repair)
        try:
            if sent is not None:
                reply = await self._named(subject, self._link.answer(sent, ACK_TIMEOUT_S))
            else:
                how: dict[str, Any] = {"accept": self._is_ack, "timeout_s": ACK_TIMEOUT_S}
                reply = await self._request(subject, record.raw, headers=headers, **how)
        except SinkUnavailable:
            self._checked = False
            raise
        try:
            return self._stored(reply, self._stream)
        except (SinkUnavailable, SinkRefused):
            self._checked = False
            raise

    def _frame(self, record: Record, *, repair: bool) -> tuple[str, dict[str, str]]:
        headers = {_STREAM: self._stream}
        if not repair:
            headers[_ID] = message_id(record)
        return subjects.log(self._fabric, record.log), headers

    async def read_back(self, stored: Stored) -> bytes | None:
        """Return the stored bytes; see `Sink.read_back`."""
        if not (stored.position.isascii() and stored.position.isdigit()):
            return None  # a mark that was damaged: nothing lies there
        wanted_header = f"\r\nNats-Sequence: {int(stored.position)}\r\n".encode()
        request = msgspec.json.encode({"seq": int(stored.position)})
        for attempt in range(READ_BACK_ATTEMPTS):
            await asyncio.sleep(READ_BACK_WAIT_S * attempt)
            reply = await self._request(f"$JS.API.DIRECT.GET.{self._stream}", request)
            if wanted_header in reply.headers:
                return reply.payload
            if reply.status != b"404":
                raise SinkUnavailable(f"{self.name}: {self._stream} cannot be read back from")
        return None

    async def contents(self, log: str) -> AsyncIterator[list[Record]]:
        """Yield what the stream holds of a log; see `Inspectable.contents`."""
        held = contents.of_stream(self._reader, self._fabric, log)
        while (batch := await _mapped(anext(held, None))) is not None:
            yield batch

    async def list_snapshots(self) -> list[Listed]:
        """Return the snapshots' statements; see `SnapshotStore`."""
        return await _mapped(self._shelf.list_snapshots())

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return a snapshot's parts; see `SnapshotStore`."""
        return await _mapped(self._shelf.read_snapshot(place, size))

    async def write_snapshot(self, place: str, parts: Sequence[bytes], manifest: bytes) -> None:
        """Store a snapshot, the manifest last; see `SnapshotSink.write_snapshot`.

        Without an id, for a snapshot is written again after it was damaged (see `Nats-Msg-Id`).
        """
        stream = subjects.snapshot_stream(self._fabric)
        writer, _, slot = place.partition(".")
        if not self._shelf_checked:
            config = wanted_for_snapshots(self._fabric, self._replicas)
            await self._prepare(stream, config, snapshot_refusals)
            self._shelf_checked = True
        for number, part in enumerate(parts):
            await self._store(stream, subjects.part(self._fabric, writer, slot, number), part)
        await self._store(stream, subjects.manifest(self._fabric, writer, slot), manifest)

    async def _store(self, stream: str, subject: str, raw: bytes) -> None:
        headers = {_STREAM: stream}
        try:
            reply = await self._request(
                subject,
                raw,
                headers=headers,
                accept=lambda reply: _is_ack(reply, stream),
                timeout_s=ACK_TIMEOUT_S,
            )
            self._stored(reply, stream)
        except (SinkUnavailable, SinkRefused):
            self._shelf_checked = False
            raise

    async def announce(self, publisher: str, head: bytes) -> None:
        """Send a head; see `Sink.announce`."""
        await _mapped(self._link.publish(subjects.head(self._fabric, publisher), head))

    async def _up(self) -> None:
        self._checked = self._shelf_checked = False
        self._why_down = self._problem = ""
        if self.on_linked is not None:
            self.on_linked()

    def _down(self, why: str) -> None:
        self._checked = False
        self._sent.clear()
        self._armed.clear()
        self._why_down = why

    def _noticed_problem(self, why: str) -> None:
        if why != self._problem:
            log.warning("%s", why)
        self._problem = why

    async def _request(self, subject: str, payload: bytes, **how: Any) -> Reply:
        return await self._named(subject, self._link.request(subject, payload, **how))

    async def _named(self, subject: str, call: Awaitable[Reply]) -> Reply:
        """Await an answer; a permission that is missing is named instead of its silence."""
        try:
            return await _mapped(call)
        except SinkUnavailable as error:
            # nats-py hands the subject over in lower case
            if f'"{subject}"'.lower() in self._problem.lower():
                raise SinkRefused(self._problem) from error
            raise

    async def _prepare_log(self) -> None:
        await self._prepare(self._stream, wanted(self._fabric, self._replicas), refusals)
        self._checked = True

    def _is_ack(self, reply: Reply) -> bool:
        return _is_ack(reply, self._stream)

    def _is_answer(self, reply: Reply) -> bool:
        good = self._is_ack(reply)
        if good and self.on_answer is not None:
            self.on_answer()
        return good

    def _stored(self, reply: Reply, stream: str) -> Stored:
        if reply.status == b"503":
            raise SinkUnavailable(f"{self.name}: the stream {stream} does not answer")
        ack = _decode_ack(reply.payload)
        if ack.error is not None:
            raise self._said(ack.error, "it was not stored")
        return Stored(str(ack.seq), ack.duplicate)

    async def _prepare(
        self, stream: str, wanted: dict[str, Any], refusals: Callable[..., list[str]]
    ) -> None:
        """Create the stream if there is none, and check the one there is."""
        answer = await self._api("INFO", stream)
        if answer.error is not None and answer.error.err_code == _NOT_FOUND:
            answer = await self._api("CREATE", stream, msgspec.json.encode(wanted))
        if answer.error is not None and answer.error.err_code == _NAME_IN_USE:
            answer = await self._api("INFO", stream)
        if answer.error is not None:
            raise self._said(answer.error, f"the stream {stream} cannot be used")
        if found := refusals(answer.config, self._fabric, self._replicas):
            raise SinkRefused(
                f"{self.name}: the stream {stream} would lose kills: {'; '.join(found)}"
            )

    async def _api(self, verb: str, stream: str, payload: bytes = b"") -> _StreamAnswer:
        reply = await self._request(f"$JS.API.STREAM.{verb}.{stream}", payload)
        if reply.status:
            raise SinkUnavailable(f"{self.name}: JetStream does not answer: is it switched on?")
        try:
            return _decode_answer(reply.payload)
        except msgspec.MsgspecError as error:
            raise SinkUnavailable(f"{self.name}: JetStream's answer cannot be read") from error

    def _said(self, error: _ApiError, what: str) -> SinkRefused | SinkUnavailable:
        passes = error.code == _TEMPORARY or error.err_code == _NO_PEERS
        kind = SinkUnavailable if passes else SinkRefused
        return kind(f"{self.name}: {what}: {error.description} ({error.err_code})")


def message_id(record: Record) -> str:
    """Return the id by which the stream knows a message again: nobody can know it beforehand."""
    return b64url_encode(sha256(record.raw).digest())


def _is_ack(reply: Reply, stream: str) -> bool:
    """Whether this is the stream's answer, or the server's word that nobody listens."""
    if reply.status == b"503":
        return True
    try:
        ack = _decode_ack(reply.payload)
    except msgspec.MsgspecError:
        return False
    return ack.error is not None or (ack.stream == stream and ack.seq > 0)


async def _mapped(call: Awaitable[T]) -> T:
    """Await, a link's errors mapped to a sink's."""
    try:
        return await call
    except SourceRefused as error:
        raise SinkRefused(str(error)) from error
    except SourceUnavailable as error:
        raise SinkUnavailable(str(error)) from error
