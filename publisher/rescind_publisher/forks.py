"""Whose bytes lie where an event of ours should: a fork of the log, or garbage. Pure.

A fork is a second event with the number of one of ours, signed by our key: the spool was copied, or
the key is used elsewhere. Nothing may be decided then but by people. Bytes that our key has not
signed for that place are garbage: injected, damaged, or an event of ours at another's place. They
mean nothing, and no store may hold up a kill for them.
"""

import msgspec

from rescind_protocol import events, jws
from rescind_protocol.errors import RescindError, Unreadable
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_protocol.trust import Trust

_MAX_SEQ = 2**32
"""The spool's own limit."""


def is_fork(log: str, seq: int, raw: bytes, *, trust: Trust, kid: str) -> bool:
    """Whether `raw` is an event of the key `kid` with this number; it is not the one in the spool.

    One that this version cannot read, but the key has signed, counts as one: unknown is not
    nothing (I10).
    """
    try:
        event = events.authenticate(raw, trust)
    except Unreadable:
        return jws.read(raw, limit=MAX_EVENT_BYTES).header.kid == kid
    except RescindError:
        return False
    return (event.log, event.seq) == (log, seq)


class _Place(msgspec.Struct, frozen=True):
    log: str
    seq: int


class _Claims(msgspec.Struct, frozen=True):
    events: dict[str, _Place]


_decode = msgspec.json.Decoder(_Claims).decode


def claimed_seq(log: str, raw: bytes) -> int:
    """Return the number in that log which `raw` claims, 0 if none; not verified.

    It is good for looking up what should lie there, and for nothing else.
    """
    try:
        token = jws.read(raw, limit=MAX_EVENT_BYTES)
        place = events.body_of(_decode(token.payload).events)
    except (RescindError, msgspec.MsgspecError, KeyError, ValueError):
        return 0
    return place.seq if place.log == log and 0 < place.seq < _MAX_SEQ else 0
