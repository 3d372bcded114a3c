"""Reports of subscribers that follow through this node: checked, and handed on to the publishers.

A report is a claim, decides nothing, and may be lost (ADR 12). So there is an allowance, and beyond
it reports are dropped: the stream that brings them is not.
"""

import time
from collections import Counter
from collections.abc import Callable

from rescind_protocol import reports
from rescind_protocol.errors import Malformed, Unreadable
from rescind_protocol.limits import MAX_FLEET

ALLOWED_PER_S = 5000
"""What a whole fleet sends at most (ADR 12)."""
OF_ONE_PER_S = 50
"""Of one stream, or by one name from one address: a subscriber leaves 50 ms between two reports."""

HandOn = Callable[[str, bytes], None]
"""Takes a subscriber's name and its report; must not block."""


class Allowance:
    """How many may come in within one second."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._second, self._spent = 0, 0

    def take(self) -> bool:
        """Take one; False: it is too much."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._spent = second, 0
        self._spent += 1
        return self._spent <= self._per_s


class Senders:
    """How many each may bring within one second, of a whole fleet at most."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._second = 0
        self._spent: Counter[tuple[str, str]] = Counter()

    def take(self, sender: tuple[str, str]) -> bool:
        """Take one; False: it is too much of this one."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._spent.clear()
        if len(self._spent) >= MAX_FLEET and sender not in self._spent:
            return False
        self._spent[sender] += 1
        return self._spent[sender] <= self._per_s


class Reports:
    """Of one node; `stream` gives the side of one connection."""

    def __init__(self, hand_on: HandOn, clock: Callable[[], float] = time.monotonic) -> None:
        self.taken = self.dropped = 0
        self._hand_on = hand_on
        self._allowed = Allowance(ALLOWED_PER_S, clock)
        self._senders = Senders(OF_ONE_PER_S, clock)

    def stream(self) -> Callable[[bytes], None]:
        """Return what takes the reports of one connection; raises `Malformed` for what is none."""
        own = Allowance(OF_ONE_PER_S)

        def take(raw: bytes) -> None:
            if own.take():
                self.take(raw)
            else:
                self.dropped += 1

        return take

    def take(self, raw: bytes, address: str | None = None) -> None:
        """Take one, of a stream, or alone from an address; raises `Malformed` for what is none."""
        own = address is None or self._senders.take((address, _name(raw)))
        if own and self._allowed.take():
            self._hand_on(_name(raw), raw)
            self.taken += 1
        else:
            self.dropped += 1


def _name(raw: bytes) -> str:
    try:
        return reports.read(raw).name
    except Unreadable as error:
        raise Malformed(str(error)) from error
