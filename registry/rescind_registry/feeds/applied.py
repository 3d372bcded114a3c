"""Reports of subscribers that follow through this node: checked, and handed on to the publishers.

A report is a claim, decides nothing, and may be lost (ADR 12). So there is an allowance, and beyond
it reports are dropped: the stream that brings them is not.
"""

import time
from collections.abc import Callable

from rescind_protocol import reports
from rescind_protocol.errors import Malformed, Unreadable

ALLOWED_PER_S = 5000
"""What a whole fleet sends at most (ADR 12)."""
OF_ONE_PER_S = 50
"""Of one stream: a subscriber leaves 50 ms between two reports."""

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


class Reports:
    """Of one node; `stream` gives the side of one connection."""

    def __init__(self, hand_on: HandOn) -> None:
        self.taken = self.dropped = 0
        self._hand_on = hand_on
        self._allowed = Allowance(ALLOWED_PER_S)

    def stream(self) -> Callable[[bytes], None]:
        """Return what takes the reports of one connection; raises `Malformed` for what is none."""
        own = Allowance(OF_ONE_PER_S)

        def take(raw: bytes) -> None:
            if own.take():
                self.take(raw)
            else:
                self.dropped += 1

        return take

    def take(self, raw: bytes) -> None:
        """Take one that came alone; raises `Malformed` for what is none."""
        if self._allowed.take():
            self.give(raw)
        else:
            self.dropped += 1

    def give(self, raw: bytes) -> None:
        """Hand one on; raises `Malformed`."""
        try:
            report = reports.read(raw)
        except Unreadable as error:
            raise Malformed(str(error)) from error
        self.taken += 1
        self._hand_on(report.name, raw)
