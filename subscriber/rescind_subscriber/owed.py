"""What a publisher's heads have named lately: all of it is owed before a view counts as fresh.

A publisher's newest head names all of its logs. Where its key is used on two hosts (a virtual
machine that was cloned, a backup that was started beside the original), each names its own, and the
newest one says nothing of the other's kills. So what any head has named within the freshness limit
has to be here, also by one that is older than the newest.

That there are two hosts shows by themselves: a log that one run has closed is never named again,
but here it is named, left out by a later head, and named again.
"""

import msgspec

from rescind_protocol.heads import FIRST_COUNT, Head
from rescind_protocol.limits import MAX_STALENESS_S
from rescind_protocol.positions import Position


class _Named(msgspec.Struct):
    """One log as heads have named it. `first` and `last` are their places in time, see `_place`."""

    at: Position
    boot: float
    """When the newest of these heads was signed, by our boot clock."""
    first: float
    last: float
    without: Head | None = None
    """A head after the first that leaves it out."""


class Two(msgspec.Struct, frozen=True):
    """Two hosts with one key, by the logs that only one of them names."""

    one: str
    other: str

    @property
    def sentence(self) -> str:
        """Return which hosts they are: `rescind status` on each names its log."""
        return (
            f"it is used on two hosts: `rescind status` says log {self.one} on one of them, log "
            f"{self.other} on the other; stop one, and give it a key and a spool of its own"
        )


class Owed:
    """What is owed by all publishers; used by one thread."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, _Named]] = {}

    def note(self, head: Head, boot: float) -> bool:
        """Take a valid head that was signed at `boot` by our boot clock; whether it names more."""
        named, more = self._named.setdefault(head.publisher, {}), False
        for log, each in list(named.items()):
            if boot - each.boot > MAX_STALENESS_S:
                del named[log]
        place = _place(head)
        for log, at in head.logs.items():
            more = more or at.seq > (named[log].at.seq if log in named else 0)
            each = named.setdefault(log, _Named(at, boot, place, place))
            if at.seq >= each.at.seq:
                each.at = at
            each.boot = max(each.boot, boot)
            each.first, each.last = min(each.first, place), max(each.last, place)
        for log, each in named.items():
            if log not in head.logs and place > each.first and each.without is None:
                each.without = head
        return more

    def logs(self, publisher: str, boot: float) -> dict[str, Position]:
        """Return what is owed now, by log; `boot` is our boot clock's time."""
        named = self._named.get(publisher, {})
        return {log: n.at for log, n in named.items() if boot - n.boot <= MAX_STALENESS_S}

    def two(self, publisher: str) -> Two | None:
        """Return the two hosts that this publisher's key is used on, if there are."""
        named = self._named.get(publisher, {})
        for log, each in named.items():
            if each.without is not None and each.last > _place(each.without):
                others = [name for name in each.without.logs if name != log]
                apart = [name for name in others if _left_out(named, name)]
                return Two(log, (apart or others or ["none"])[-1])
        return None

    def forget(self, publisher: str) -> None:
        """Begin again with a publisher: another key speaks for it."""
        self._named.pop(publisher, None)


def _left_out(named: dict[str, _Named], log: str) -> bool:
    return log in named and named[log].without is not None


def _place(head: Head) -> float:
    """Return when it was signed by what its host has measured; by its time where nothing is."""
    return head.count if head.count >= FIRST_COUNT else head.time_s * 1000
