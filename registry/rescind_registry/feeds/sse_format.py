"""What travels in an event stream, to the letter of WHATWG HTML §9.2 "Server-sent events".

What one reader gets, with what each block is for behind it:

    id: v1~q0fK2mSdYx1A.41      (first, with `retry:`) where it stands; dispatches nothing

    id: v1~q0fK2mSdYx1A.42
    event: revocation
    data: eyJhbGciOiJFZERT…     the signed event, one compact JWS, and the cursor of who has it

    event: head
    data: eyJhbGciOiJFZERT…     a signed head; it is in no log, so the last id stays

    :                           a comment, where nothing else was said for a while
"""

import random
import re

CONTENT_TYPE = "text/event-stream"
HEARTBEAT_S = 2.0
"""A comment after so long a silence. The standard says "every 15 seconds or so", for old proxies;
a reader that is to notice a dead connection within seconds needs it more often (§9.2.7)."""
RETRY_MS = (500, 1500)
"""A node that restarts has all its readers back within this, and not all at one moment."""
HEARTBEAT = b":\n\n"

_LINE = re.compile(rb"[\x21-\x7e]+")


def opening(cursor: str) -> bytes:
    """Return the first block: when to reconnect, and from where even if nothing follows."""
    retry_ms = random.randint(*RETRY_MS)  # noqa: S311 - spreads load, keeps no secret
    return b"retry: %d\n" % retry_ms + standing(cursor)


def standing(cursor: str) -> bytes:
    """Return a block that sets the reader's last event id and dispatches nothing."""
    return b"id: %b\n\n" % cursor.encode()


def revocation(raw: bytes, cursor: str) -> bytes:
    """Return a signed event, with the cursor of a reader who has it."""
    return b"id: %b\nevent: revocation\ndata: %b\n\n" % (cursor.encode(), _line(raw))


def head(raw: bytes) -> bytes:
    """Return a signed head."""
    return b"event: head\ndata: %b\n\n" % _line(raw)


def _line(raw: bytes) -> bytes:
    """Return a compact JWS as it is: it is one line, which its verification has shown."""
    if not _LINE.fullmatch(raw):
        raise ValueError("a compact JWS has no such characters")
    return raw
