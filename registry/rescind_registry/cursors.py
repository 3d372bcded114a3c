"""The cursor of the list of revocations: how far a client has read each log.

Opaque to clients, good at every node: a position in the one log, no row of a table. What a client
has read is every kill in force up to there, so that nothing is missed and nothing comes twice.
"""

import msgspec

from rescind_protocol.changes import LogId, Revocation
from rescind_protocol.encoding import b64url_decode, b64url_encode
from rescind_protocol.errors import Malformed
from rescind_registry.errors import CursorGone
from rescind_subscriber.capture import Captured

MAX_CHARS = 48 * 1024
"""As `limits.MAX_CURSOR_CHARS`: heads name 500 logs at most."""

Read = dict[LogId, tuple[int, int]]
"""Of each log: the number of the last event read, and how many of its changes."""
_WHOLE = 2**16
_decoder = msgspec.json.Decoder(Read)


def read(cursor: str | None, now: Captured) -> Read:
    """Return what a client has read; raises `CursorGone` for what this node cannot go on from."""
    if not cursor:
        return {}
    try:
        found = _decoder.decode(b64url_decode(cursor.encode("ascii")))
    except (Malformed, msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise CursorGone("this cursor is none of ours: begin again without one") from error
    known = now.positions.vector
    if any(log not in known or seq > known[log].seq for log, (seq, _) in found.items()):
        raise CursorGone("this cursor is not of this fabric's log: begin again without one")
    return found


def write(after: Read) -> str:
    """Return the cursor of a client that has read this."""
    return b64url_encode(msgspec.json.encode(after))


def page(now: Captured, after: Read, limit: int) -> tuple[list[Revocation], Read, bool]:
    """Return the next kills in force, the position after them, and whether there are more.

    Events above a gap wait until it is filled: a cursor beyond them would skip what is missing.
    """
    vector = now.positions.vector
    found = [
        each
        for _, entry in now.table.items()
        for each in entry.revocations
        if each.id.log in vector
        and each.id.seq <= vector[each.id.log].seq
        and (each.id.seq, each.id.index + 1) > after.get(each.id.log, (0, 0))
    ]
    found.sort(key=lambda each: each.id)
    taken = found[:limit]
    if len(found) <= limit:
        return taken, {log: (at.seq, _WHOLE) for log, at in vector.items()}, False
    reached = dict(after)
    for each in taken:
        reached[each.id.log] = (each.id.seq, each.id.index + 1)
    return taken, reached, True
