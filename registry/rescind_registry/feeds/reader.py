"""A reader's way through the hub: what it has not had yet, then what comes, without gap or repeat.

Pulled, never pushed: the reader asks when it has sent what it got. Between two questions it costs a
number, and a position only as long as it has something that this node has not (it followed another
node before).
"""

import msgspec

from rescind_registry.feeds.cursor import Position, encode
from rescind_registry.feeds.errors import Ended, GoneCursor, TooSlow
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.window import Said

PAGE_EVENTS = 64
"""Past events read at a time: 16 MiB at most, of events at their limit."""
PAGE_BYTES = 256 * 1024
"""Signed bytes handed over at a time; one event more than that at least."""
MAX_BEHIND = 8192
"""Events that a reader may be behind the newest one; one that is further is cut off."""
MAX_AHEAD = 65_536
"""Events of one log that another node may have and this one has not yet."""


class Taken(msgspec.Struct, frozen=True):
    """What a reader gets at a time: events in order, then heads."""

    events: tuple[Said, ...] = ()
    heads: tuple[bytes, ...] = ()


class Reader:
    """One reader; made on the hub's loop and used by one task."""

    def __init__(self, hub: Hub, position: Position | None, *, partial: bool = False) -> None:
        """`position`: what it has; None: it follows from now on.

        Raises `GoneCursor` if not all that it misses is held; with `partial` it takes what there is
        and learns from heads whether that is all.
        """
        self._hub = hub
        self._at = hub.window.end
        self._heads_at = 0
        self._epoch = hub.epoch
        self._position = position
        self._partial = partial
        """Whether it takes what there is; no longer once it has."""
        if position is not None and partial:
            self._skip_lost(position)
        elif position is not None:
            self._check(position)

    @property
    def cursor(self) -> str:
        """The cursor of what the reader has."""
        return encode(self._position if self._position is not None else self._hub.position)

    def _check(self, position: Position) -> None:
        known = set(self._hub.position.tags)
        if known and position and not known & set(position.tags):
            raise GoneCursor("this cursor is of another fabric, or of logs nobody has here")
        for tag in position.tags:
            newest = max((position.upto(tag), *position.above(tag)))
            if newest > self._hub.position.upto(tag) + MAX_AHEAD and known:
                raise GoneCursor("this cursor names events that nobody has here")
        for tag in self._hub.position.tags:
            if self._lacks_lost(position, tag):
                raise GoneCursor("what lies behind this cursor is not held here any more")

    def _lacks_lost(self, position: Position, tag: str) -> bool:
        seq = next(position.missing(tag, self._hub.position), None)
        return seq is not None and seq <= self._hub.after(tag)

    def _skip_lost(self, position: Position) -> None:
        for tag in self._hub.position.tags:
            if self._lacks_lost(position, tag):
                position.reach(tag, self._hub.after(tag))

    async def stored(self) -> Taken | None:
        """Return some of what is held and was missed; None: nothing is, now.

        Raises `GoneCursor`, `Ended`.
        """
        if self._hub.stopping:
            raise Ended("this node stops: resume at another")
        if self._epoch != self._hub.epoch:
            raise Ended("this node has come to know more than it can say by events: resume")
        position = self._position
        if position is None:
            return None
        for tag in self._hub.position.tags:
            events = await self._page(position, tag)
            if events:
                return Taken(tuple(events))
        self._at, self._partial = self._hub.window.end, False
        if self._hub.position.covers(position):
            self._position = None
        return None

    async def _page(self, position: Position, tag: str) -> list[Said]:
        numbers, size = [], 0
        for seq in position.missing(tag, self._hub.position):
            numbers.append(seq)
            here = self._hub.window.find(tag, seq)
            size += len(here.raw) if here is not None else 0
            if len(numbers) >= PAGE_EVENTS or size > PAGE_BYTES:
                break
        if not numbers:
            return []
        rows = await self._hub.fetch(tag, numbers)
        if rows is None and self._partial:  # only now it is known to be lost: what is behind it?
            self._skip_lost(position)
            return await self._page(position, tag)
        if rows is None:
            raise GoneCursor("what lies behind this cursor is not held here any more")
        said = []
        for row in rows:
            position.add(tag, row.seq)
            said.append(Said(tag, row.seq, row.raw, encode(position)))
        return said

    async def next(self) -> Taken:
        """Return what is new to the reader, as soon as there is anything.

        Raises `TooSlow`, `GoneCursor`, `Ended`.
        """
        while True:
            taken = await self.stored()
            if taken is None:
                taken = self._live()
            if taken is not None:
                return taken
            await self._hub.changed()

    def _live(self) -> Taken | None:
        window = self._hub.window
        if self._at < max(window.first, window.end - MAX_BEHIND):
            raise TooSlow("this reader did not take what came in time: resume from its last cursor")
        events, size = [], 0
        for said in window.since(self._at):
            self._at += 1
            events.append(said)
            size += len(said.raw)
            if size > PAGE_BYTES:
                break
        heads = self._newer_heads() if self._at == window.end else ()
        return Taken(tuple(events), heads) if events or heads else None

    def _newer_heads(self) -> tuple[bytes, ...]:
        newer = sorted(each for each in self._hub.heads.values() if each[0] >= self._heads_at)
        self._heads_at = self._hub.heads_end
        return tuple(raw for _, raw in newer)
