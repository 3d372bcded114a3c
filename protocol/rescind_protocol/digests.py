"""The digests of events that were applied: kept for a while, and found again by reading.

A head names the newest event of a log by its digest. Where a publisher's spool was restored from an
older copy, that is an event of long ago, and a state that came from a snapshot never knew it. When
its bytes are read again, they alone prove nothing: a thief's event may lie there too. The chain
does: each event names the digest of the one before, from one that is known here back to it.
"""

import msgspec

from rescind_protocol.image import Link
from rescind_protocol.limits import MAX_ABOVE, RECENT_DIGESTS

MAX_WANTED = 64
"""Of a log; heads name one at a time."""


class _Log(msgspec.Struct):
    recent: dict[int, bytes] = {}
    wanted: set[int] = set()
    """Numbers that a head named and whose digests are not known."""
    read: dict[int, Link] = {}
    """What was read again, and is not linked to what is known yet; only while some are wanted."""


class Digests:
    """Of all logs; belongs to one replica."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    def get(self, log: str, seq: int) -> bytes | None:
        """Return the digest of an event that was applied, None if it is not kept."""
        found = self._logs.get(log)
        return None if found is None else found.recent.get(seq)

    def note(self, log: str, seq: int, digest: bytes) -> None:
        """Keep the digest of an event that was applied."""
        recent = self._logs.setdefault(log, _Log()).recent
        recent[seq] = digest
        if len(recent) > RECENT_DIGESTS:
            del recent[next(iter(recent))]

    def want(self, log: str, seq: int) -> None:
        """Look for the digest of an event that was applied when its log is read again."""
        wanted = self._logs.setdefault(log, _Log()).wanted
        if len(wanted) >= MAX_WANTED:
            wanted.clear()
        wanted.add(seq)

    def wants(self, log: str, seq: int) -> bool:
        """Whether that one is looked for."""
        return log in self._logs and seq in self._logs[log].wanted

    def read_again(self, log: str, seq: int, link: Link, *, known: bool) -> None:
        """Take an event that was applied before; `known`: its digest is that of ours."""
        found = self._logs.get(log)
        if found is None or not found.wanted:
            return
        if not known:
            if len(found.read) < MAX_ABOVE:
                found.read[seq] = link
            return
        at: Link | None = link
        while at is not None:
            seq -= 1
            if seq in found.wanted:
                self.note(log, seq, at.prev)
                found.wanted.discard(seq)
            before = found.read.get(seq)
            at = before if before is not None and before.digest == at.prev else None
        if not found.wanted:
            found.read.clear()
