"""The newest events in memory: written once, read by every feed's readers at their own pace.

Readers have no queue of their own. Each remembers the number of the next event it wants; one that
falls out of the window is cut off. So a reader that stops reading costs what it cost before.
"""

from collections import deque
from collections.abc import Callable, Iterator

WINDOW_EVENTS = 16_384
WINDOW_BYTES = 64 * 1024 * 1024
"""Signed bytes; at its limit an event has 256 KiB."""


class Said:
    """An event as it is handed on: its bytes, and the cursor of a reader that has it."""

    __slots__ = ("_encoded", "cursor", "fork", "raw", "seq", "tag")

    def __init__(self, tag: str, seq: int, raw: bytes, cursor: str, *, fork: bool = False) -> None:
        self.tag, self.seq, self.raw, self.cursor, self.fork = tag, seq, raw, cursor, fork
        self._encoded: dict[object, bytes] = {}

    def encoded(self, encode: Callable[[bytes, str], bytes]) -> bytes:
        """Return what a feed makes of bytes and cursor; made once, however many readers."""
        made = self._encoded.get(encode)
        if made is None:
            made = self._encoded[encode] = encode(self.raw, self.cursor)
        return made


class Window:
    """The last events, numbered from 0 in the order in which this node came to know them."""

    def __init__(self, events: int = WINDOW_EVENTS, most_bytes: int = WINDOW_BYTES) -> None:
        self.first = 0
        self._events, self._most_bytes = events, most_bytes
        self._said: deque[Said] = deque()
        self._places: dict[tuple[str, int], Said] = {}
        self._bytes = 0

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self.first + len(self._said)

    def append(self, said: Said) -> None:
        """Take an event in; the oldest goes when there is no room."""
        self._said.append(said)
        self._places[said.tag, said.seq] = said
        self._bytes += len(said.raw)
        while len(self._said) > self._events or self._bytes > self._most_bytes > len(said.raw):
            self._drop()

    def _drop(self) -> None:
        oldest = self._said.popleft()
        self.first += 1
        self._bytes -= len(oldest.raw)
        if self._places.get((oldest.tag, oldest.seq)) is oldest:
            del self._places[oldest.tag, oldest.seq]

    def since(self, number: int) -> Iterator[Said]:
        """Yield the events from a number on; it must not have fallen out."""
        for index in range(number - self.first, len(self._said)):
            yield self._said[index]

    def find(self, tag: str, seq: int) -> Said | None:
        """Return an event by its place in its log, if it is here."""
        return self._places.get((tag, seq))
