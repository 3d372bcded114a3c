"""The hub: what this node has verified, for the readers of every feed.

The node follows the one log as any subscriber does. What was verified and joined is handed to the
hub (`rescind_subscriber.listeners.Relay`) as the bytes that its publisher signed, and the hub hands
those on. It judges nothing, adds nothing and keeps no truth: a window in memory, and a file of past
events for readers who were away longer.

- `position` is what this node has. An event that is above a gap is handed on at once: a kill does
  not wait for the one before it.
- What a merged snapshot brought came without its events. Readers that miss these are told so
  (`GoneCursor`), and take the state as a whole; readers that are connected are ended.
- Heads are not kept: each reader gets the newest of each publisher, after the events it knows of.

All of it runs on the loop of `open`, but for the `Relay` functions, which may be called anywhere.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.subjects import TRUST_LOG
from rescind_registry.feeds.cursor import Position, encode, tag_of
from rescind_registry.feeds.errors import StoreDamaged
from rescind_registry.feeds.store import EventStore, Held, Row
from rescind_registry.feeds.window import Said, Window

log = logging.getLogger("rescind.registry")

MAX_UNWRITTEN_BYTES = 64 * 1024 * 1024
"""Events that wait for a disk that is slower than the log; beyond it they are not kept."""
AT_A_TIME = 256
"""Relayed things taken before readers have a turn: some milliseconds."""
MAX_TAGS = 100_000
"""Logs whose tags are remembered by their ids."""


class Hub:
    """One for each node; `relay` functions are called by its subscriber."""

    def __init__(self, store: EventStore | None = None, *, window: Window | None = None) -> None:
        self.position = Position()
        self.window = window or Window()
        self.heads: dict[str, tuple[int, bytes]] = {}
        """By publisher: a number that grows with each head, and the signed bytes."""
        self.heads_end = 0
        self.versions: dict[int, bytes] = {}
        """Of the trust file, by number from 2 on: all that this node was told of."""
        self.epoch = 0
        """Changes when this node has come to know something other than by events."""
        self.stopping = False
        self._store = store
        self._after: dict[str, int] = {}
        """By tag: up to this number, events are not held."""
        self._stored: dict[str, Held] = {}
        self._unwritten: deque[Row] = deque()
        self._unwritten_bytes = 0
        self._writable = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._inbox: deque[Callable[[], None]] = deque()
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Future[None] | None = None
        self._tags: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Hub {self.window.end} events, at {encode(self.position)}>"

    # --- life ---

    async def open(self) -> None:
        """Read what the file holds, and take what was relayed until now."""
        if self._store is not None:
            try:
                self._stored = await asyncio.to_thread(self._store.open)
            except StoreDamaged as error:
                self._give_up_store(error)
        if self._store is not None:
            self._writer = asyncio.create_task(self._keep_writing(), name="rescind feeds")
        self._loop = asyncio.get_running_loop()
        self._waking = True
        self._take()

    async def close(self) -> None:
        """Write what waits and end; readers are ended."""
        self._loop = None
        self.end_readers()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        if self._store is not None:
            await self._write()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def stop_serving(self) -> None:
        """End every reader and take no more: the node stops. From any thread."""
        self._put(self._stop_serving)

    def _stop_serving(self) -> None:
        self.stopping = True
        self.end_readers()

    def end_readers(self) -> None:
        """End every reader that is connected; they resume where they were, or learn why not."""
        self.epoch += 1
        self._tell()

    # --- the relay: from any thread ---

    def event(self, event: Event, raw: bytes, *, fork: bool) -> None:
        """Take an event that was joined."""
        self._put(lambda: self._said(event.log, event.seq, raw, fork=fork))

    def head(self, head: Head, raw: bytes) -> None:
        """Take a head that was judged valid."""
        self._put(lambda: self._headed(head.publisher, raw))

    def version(self, number: int, raw: bytes) -> None:
        """Take a version of the trust file that is gone by: one more log, from version 2 on."""
        self._put(lambda: self._versioned(number, raw))

    def merged(self, vector: Mapping[str, int], above: Mapping[str, Collection[int]]) -> None:
        """Take note of what the node knows otherwise than by events."""
        self._put(lambda: self._merged(vector, above))

    def _put(self, work: Callable[[], None]) -> None:
        self._inbox.append(work)
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not self._waking:
            # Set back before the inbox is emptied: what is put in meanwhile wakes once more.
            self._waking = True
            try:
                loop.call_soon_threadsafe(self._take)
            except RuntimeError:  # the loop has ended
                self._waking = False

    def _take(self) -> None:
        self._waking = False
        for _ in range(AT_A_TIME):
            if not self._inbox:
                break
            self._inbox.popleft()()
        else:
            self._wake()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    @property
    def behind(self) -> bool:
        """Whether something was relayed that is not taken in yet."""
        return bool(self._inbox)

    async def changed(self) -> None:
        """Return at the next change of any kind."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    # --- on the loop ---

    def _tag(self, log_id: str) -> str:
        tag = self._tags.get(log_id)
        if tag is None:
            if len(self._tags) >= MAX_TAGS:
                self._tags.clear()
            tag = self._tags[log_id] = tag_of(log_id)
        return tag

    def _said(self, log_id: str, seq: int, raw: bytes, *, fork: bool) -> None:
        tag = self._tag(log_id)
        if self.position.has(tag, seq) and not fork:
            return  # handed on before: the subscriber was started again, and has read it again
        self.position.add(tag, seq)
        self.window.append(Said(tag, seq, raw, encode(self.position), fork=fork))
        if self._store is None:
            return
        if self._unwritten_bytes > MAX_UNWRITTEN_BYTES:
            self._lose(tag, seq)
            return
        self._unwritten.append(Row(tag, seq, raw))
        self._unwritten_bytes += len(raw)
        self._writable.set()

    def _versioned(self, number: int, raw: bytes) -> None:
        self.versions[number] = raw
        self._said(TRUST_LOG, number - 1, raw, fork=False)

    def _lose(self, tag: str, seq: int) -> None:
        self._after[tag] = max(seq, self._after.get(tag, 0))

    def _headed(self, publisher: str, raw: bytes) -> None:
        self.heads[publisher] = (self.heads_end, raw)
        self.heads_end += 1

    def _merged(self, vector: Mapping[str, int], above: Mapping[str, Collection[int]]) -> None:
        before = encode(self.position)
        self._take_stored(vector)
        for log_id, seq in vector.items():
            tag = self._tag(log_id)
            if seq > self.position.upto(tag):
                self._lose(tag, seq)
                self.position.reach(tag, seq)
        for log_id, numbers in above.items():
            tag = self._tag(log_id)
            for seq in numbers:
                if not self.position.has(tag, seq):
                    self._lose(tag, seq)
                    self.position.add(tag, seq)
        if encode(self.position) != before:
            self.end_readers()

    def _take_stored(self, vector: Mapping[str, int]) -> None:
        """At the first merge: what the file holds and what the node knows become one position."""
        known = {self._tag(log_id): seq for log_id, seq in vector.items()}
        stored, self._stored = self._stored, {}
        for tag, held in stored.items():
            # Beyond a hole between the two nothing counts as held: it will be said again.
            if held.after <= known.get(tag, 0) <= held.upto:
                self._after[tag] = held.after
                self.position.reach(tag, held.upto)

    # --- what readers ask ---

    def after(self, tag: str) -> int:
        """Return the number up to which events of a log are not held."""
        return self._after.get(tag, 0)

    async def fetch(self, tag: str, numbers: Sequence[int]) -> list[Row] | None:
        """Return these events, from memory or the file; None if one of them is not held."""
        if any(seq <= self.after(tag) for seq in numbers):
            return None
        here = {seq: self.window.find(tag, seq) for seq in numbers}
        rest = [seq for seq, said in here.items() if said is None or said.fork]
        rows = {seq: [Row(tag, seq, said.raw)] for seq, said in here.items() if said is not None}
        if rest:
            rows |= await self._read(tag, rest)
        lost = [seq for seq in numbers if seq not in rows]
        if lost:
            self._lose(tag, lost[-1])  # so that whoever asks again is told at once
            return None
        return [row for seq in numbers for row in rows[seq]]

    async def _read(self, tag: str, numbers: Sequence[int]) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        waiting = [row for row in self._unwritten if row.tag == tag and row.seq in set(numbers)]
        if self._store is not None:
            try:
                rows = await asyncio.to_thread(self._store.read, tag, numbers)
            except StoreDamaged as error:
                self._give_up_store(error)
            else:
                waiting = [*rows, *(row for row in waiting if row not in rows)]
        for row in waiting:
            found.setdefault(row.seq, []).append(row)
        return found

    # --- the file ---

    async def _keep_writing(self) -> None:
        while True:
            await self._writable.wait()
            self._writable.clear()
            await self._write()

    async def _write(self) -> None:
        while self._unwritten and self._store is not None:
            rows = list(self._unwritten)
            try:
                trimmed = await asyncio.to_thread(self._store.add, rows)
            except StoreDamaged as error:
                self._give_up_store(error)
                return
            for row in rows:  # only now: what is under way is found by readers here
                self._unwritten.popleft()
                self._unwritten_bytes -= len(row.raw)
            for tag, held in trimmed.items():
                self._lose(tag, held.after if held is not None else self.position.upto(tag))

    def _give_up_store(self, error: StoreDamaged) -> None:
        """Go on with memory alone: what is not in the window is gone."""
        log.error("%s; past events are served from memory only until a restart", error)
        self._store, self._stored = None, {}
        self._unwritten.clear()
        self._unwritten_bytes = 0
