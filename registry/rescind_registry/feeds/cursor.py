"""How far a reader is, and the cursor that says it: the same at every node, for it names logs.

    v1~q0fK2mSdYx1A.41~xT-4bb0_a9Qe.7.9-10

reads: of one log all events up to 41; of another all up to 7, and 9 and 10 as well. A log is named
by its *tag*, the first 72 bits of SHA-256 over its id: a third of the length, and nobody can find
another publisher's log a second one of the same tag.

A cursor has a bounded length, since browsers send it in a header. What does not fit is left out of
it: those events come a second time after a resume, which the join (I2) does not mind. None is ever
left out of the stream.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Self

from rescind_protocol.encoding import b64url_encode
from rescind_registry.feeds.errors import BadCursor

VERSION = "v1"
TAG_CHARS = 12
MAX_CURSOR_CHARS = 6 * 1024
"""What fits, with all else, into the 8 KiB that common HTTP servers allow a header: 350 logs."""
MAX_ABOVE = 1024
"""Events above gaps that a cursor names; each costs memory while its reader is connected."""
MAX_RANGES = 32
"""Runs of such events of one log."""
MAX_SEQ = 2**53

_TAG = rf"[A-Za-z0-9_-]{{{TAG_CHARS}}}"
_NUMBER = r"(?:0|[1-9][0-9]{0,15})"
_LOG = re.compile(rf"({_TAG})\.({_NUMBER})((?:\.{_NUMBER}(?:-{_NUMBER})?)*)")


def tag_of(log: str) -> str:
    """Return the tag of a log id."""
    return b64url_encode(sha256(log.encode()).digest()[: TAG_CHARS * 6 // 8])


class Position:
    """Which events a reader has: by tag, all up to a number, and single ones above a gap."""

    __slots__ = ("_above", "_upto")

    def __init__(
        self,
        upto: Mapping[str, int] | None = None,
        above: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        self._upto = dict(upto or {})
        self._above = {tag: set(numbers) for tag, numbers in (above or {}).items() if numbers}
        for tag in list(self._above):
            self._close(tag)

    def __repr__(self) -> str:
        return f"<Position {encode(self)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Position):
            return NotImplemented
        return self.covers(other) and other.covers(self)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __bool__(self) -> bool:
        return bool(self._upto or self._above)

    @property
    def tags(self) -> list[str]:
        """The logs of which anything is there, in the canonical order."""
        return sorted({*self._upto, *self._above})

    def upto(self, tag: str) -> int:
        """Return the number up to which all events of the log are there."""
        return self._upto.get(tag, 0)

    def above(self, tag: str) -> list[int]:
        """Return the numbers that are there above a gap, in order."""
        return sorted(self._above.get(tag, ()))

    def has(self, tag: str, seq: int) -> bool:
        """Whether the event is there."""
        return seq <= self._upto.get(tag, 0) or seq in self._above.get(tag, ())

    def add(self, tag: str, seq: int) -> None:
        """Take one event in."""
        if seq == self.upto(tag) + 1 and tag not in self._above:
            self._upto[tag] = seq
        elif not self.has(tag, seq):
            self._above.setdefault(tag, set()).add(seq)
            self._close(tag)

    def reach(self, tag: str, seq: int) -> None:
        """Take all events of a log up to `seq` in."""
        if seq > self.upto(tag):
            self._upto[tag] = seq
            self._close(tag)

    def _close(self, tag: str) -> None:
        """Move what has no gap below it any more."""
        above, upto = self._above.get(tag, set()), self._upto.get(tag, 0)
        while upto + 1 in above:
            upto += 1
        if upto:
            self._upto[tag] = upto
        left = {seq for seq in above if seq > upto}
        if left:
            self._above[tag] = left
        else:
            self._above.pop(tag, None)

    def copy(self) -> Self:
        """Return another one that has the same."""
        return type(self)(self._upto, self._above)

    def missing(self, tag: str, whole: "Position") -> Iterator[int]:
        """Yield the numbers of a log that `whole` has and this has not, in order."""
        ours = self._above.get(tag, ())
        for seq in range(self.upto(tag) + 1, whole.upto(tag) + 1):
            if seq not in ours:
                yield seq
        yield from (seq for seq in whole.above(tag) if not self.has(tag, seq))

    def covers(self, other: "Position") -> bool:
        """Whether all that `other` has is here."""
        return all(next(self.missing(tag, other), None) is None for tag in other.tags)


def encode(position: Position) -> str:
    """Return the cursor of a position; of too many logs, those with the most events."""
    logs, single = {}, MAX_ABOVE
    for tag in position.tags:
        ranges = _ranges(islice(position.above(tag), single))[:MAX_RANGES]
        single -= sum(last - first + 1 for first, last in ranges)
        logs[tag] = "".join((f"~{tag}.{position.upto(tag)}", *map(_shown, ranges)))
    room = MAX_CURSOR_CHARS - len(VERSION)
    if sum(map(len, logs.values())) > room:
        logs = _fitting(logs, position, room)
    return VERSION + "".join(logs.values())


def _fitting(logs: dict[str, str], position: Position, room: int) -> dict[str, str]:
    """Leave out what costs least to hear again: the logs with the fewest events."""
    kept = set()
    for tag in sorted(logs, key=lambda tag: (-position.upto(tag), tag)):
        if len(logs[tag]) <= room:
            room -= len(logs[tag])
            kept.add(tag)
    return {tag: text for tag, text in logs.items() if tag in kept}


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _shown(numbers: tuple[int, int]) -> str:
    first, last = numbers
    return f".{first}" if first == last else f".{first}-{last}"


def decode(text: str) -> Position:
    """Return the position a cursor names; raises `BadCursor` for any text that is no cursor."""
    head, *parts = text.split("~") if len(text) <= MAX_CURSOR_CHARS else ("",)
    logs = [_LOG.fullmatch(part) for part in parts]
    if head != VERSION or not all(logs):
        raise BadCursor("this is no cursor of this feed")
    room, upto, above = MAX_ABOVE, {}, {}
    for each in filter(None, logs):
        upto[each[1]] = _number(each[2])
        above[each[1]] = numbers = _numbers(each[3], room)
        room -= len(numbers)
    position = Position({tag: seq for tag, seq in upto.items() if seq}, above)
    if encode(position) != text:
        raise BadCursor("this cursor is not written as this feed writes them")
    return position


def _numbers(text: str, most: int) -> list[int]:
    found: list[int] = []
    for part in filter(None, text.split(".")):
        first, _, last = part.partition("-")
        low, high = _number(first), _number(last or first)
        if high - low >= most - len(found):
            raise BadCursor(f"a cursor names {MAX_ABOVE} single events at most")
        found.extend(range(low, high + 1))
    return found


def _number(text: str) -> int:
    number = int(text)
    if number >= MAX_SEQ:
        raise BadCursor("a number in this cursor is beyond any event's")
    return number
