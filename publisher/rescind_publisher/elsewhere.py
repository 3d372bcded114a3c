"""Own kills that another publisher has ended: own state follows own logs, and hears it from here.

What all publishers have said is in the followed view. A kill of ours whose event was seen there,
and that is in force there by none of its ids, was ended by somebody: it takes no place in the quota
any more, it is in no sum that heads carry, and nothing is moved or ended for it. It is put aside
and not forgotten: what ended it may turn out to be void, and then it is in force again.

Each look costs what has changed since the last one.
"""

from collections.abc import Iterator
from itertools import islice

from rescind_protocol import killset
from rescind_protocol.changes import Revocation, RevocationId
from rescind_protocol.join import Replica
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.table import Entry, Table, differences
from rescind_publisher import moving
from rescind_publisher.follower import Captured

AT_ONCE = 20_000
"""Own kills that one look asks after for the first time: some 50 ms of the ledger's lock."""


class Elsewhere:
    """What was put aside of one state; belongs to the ledger, under its lock."""

    def __init__(self, own: Replica, key: str) -> None:
        """`own` is the state of the logs of `key`, as the spool has them."""
        self._own, self._key = own, key[:LOG_PREFIX_CHARS]
        self._followed: Table | None = None
        self._aside: dict[RevocationId, Revocation] = {}
        self._unheard: dict[RevocationId, bytes] = {}
        """Own kills, with their targets, that the followed view did not have at the last look."""
        for _, entry in own.table.items():  # noqa: PERF102 - a Table has no values()
            self.said(*entry.revocations)

    def said(self, *revocations: Revocation) -> None:
        """Know of own kills that the followed view will hear of."""
        for each in revocations:
            self._unheard[each.id] = each.kill.target.digest

    def __len__(self) -> int:
        return len(self._aside)

    def heed(self, followed: Captured) -> int:
        """Put aside what others have ended, and take back what lives again; how many changed."""
        changed = 0
        for target, was, now in differences(self._followed or followed.table, followed.table):
            for name in {each.id for each in _differing(was, now)}:
                if name.log.startswith(self._key):
                    changed += self._look(followed, target, name)
        for name, target in list(islice(self._unheard.items(), AT_ONCE)):
            if followed.positions.seen(name):
                del self._unheard[name]
                changed += self._look(followed, target, name)
        self._followed = followed.table
        return changed

    def forget(self, logs: set[str]) -> None:
        """Forget what lies in logs that nobody needs any more."""
        self._aside = {name: r for name, r in self._aside.items() if name.log not in logs}

    def _look(self, followed: Captured, target: bytes, name: RevocationId) -> bool:
        lives = _lives(followed.table.get(target), name)
        if lives and (back := self._aside.pop(name, None)) is not None:
            self._own.restore(back)
            return True
        if lives or not followed.positions.seen(name) or name.log in followed.positions.forked:
            return False
        found = self._own.find(target, name)
        for each in found:
            self._own.set_aside(each)
            self._aside[name] = each
        return bool(found)


def _lives(entry: Entry | None, name: RevocationId) -> bool:
    """Whether a kill is in force by this id or by a newer one."""
    return entry is not None and moving.lives(entry.revocations, name)


def _differing(was: Entry | None, now: Entry | None) -> Iterator[Revocation]:
    old = was.revocations if was is not None else ()
    yield from killset.differing(old, now.revocations if now is not None else ())
