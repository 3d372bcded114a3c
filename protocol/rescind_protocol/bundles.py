"""What a bundle's server and its readers agree on: media types, header, names of members, limits.

One state, three forms of the same revision:

- what an Open Policy Agent fetches: a tar.gz of data, policy and, if wanted, a signature
- what clients of the reference registry fetch: one JSON document
- the *signed form*, for our own subscribers: a tar.gz of what publishers have signed, a snapshot
  and the events after it. Whoever carries it, server or cache, adds nothing that is believed

The newest head of each publisher travels in a header, also with a 304: an old answer has an old
head, and so no cache can make a view look fresher than it is (I6).
"""

from collections.abc import Iterable

from rescind_protocol.errors import Malformed, TooLarge
from rescind_protocol.limits import MAX_HEAD_BYTES
from rescind_protocol.snapshots import frame, split

OPA = "application/vnd.openpolicyagent.bundles"
"""What OPA takes as the sign that long polls are answered (its documentation, bundles)."""
SIGNED = "application/vnd.rescind.bundle"
"""The signed form; also what its readers send as `Accept`."""
GZIP = "application/gzip"
JSON = "application/json"

HEADS = "Rescind-Heads"
"""Response header: the newest head of each publisher, compact JWS apart by commas."""
MAX_HEADS_CHARS = 12 * 1024
"""Together with all else in the 16 KiB that common HTTP clients and proxies allow for headers."""

MANIFEST = ".manifest"
DATA = "data.json"
PATCH = "patch.json"
SIGNATURES = ".signatures.json"
SNAPSHOT = "rescind/snapshot"
"""A snapshot as one file: statement, line feed, body."""
EVENTS = "rescind/events"
"""Signed events, each framed by its length; later ones last."""

MAX_PACKED_BYTES = 512 * 1024 * 1024
"""A bundle on its way; as many revocations as a snapshot's limit allows, compressed."""
MAX_RATIO = 100
"""A bundle unpacks to this many times its size at most: ours to ten, deflate's limit is 1032."""
MAX_MEMBERS = 1024
"""Files in a bundle; ours has six."""
MAX_WAIT_S = 60
"""A long poll is answered after so long, whatever it asks for: proxies end a silent exchange."""


def join_heads(heads: Iterable[bytes]) -> str:
    """Return the header's value; heads that have no room are left out, and freshen nobody."""
    kept: list[str] = []
    room = MAX_HEADS_CHARS
    for head in heads:
        room -= len(head) + 2
        if room >= 0:
            kept.append(head.decode("ascii"))
    return ", ".join(kept)


def split_heads(value: str) -> list[bytes]:
    """Return the heads in a header's value, unverified; raises `TooLarge`."""
    if len(value) > MAX_HEADS_CHARS + MAX_HEAD_BYTES:
        raise TooLarge(f"a header of {len(value)} characters")
    return [part.strip().encode("ascii", "replace") for part in value.split(",") if part.strip()]


def join_events(events: Iterable[bytes]) -> bytes:
    """Return the member of these events."""
    return b"".join(map(frame, events))


def split_events(member: bytes) -> list[bytes]:
    """Return the events in a member, unverified; raises `Malformed`."""
    return [bytes(each) for each in split(member)]


def split_snapshot(member: bytes) -> tuple[bytes, bytes]:
    """Return statement and body of a snapshot, unverified; raises `Malformed`."""
    statement, found, body = member.partition(b"\n")
    if not found:
        raise Malformed("the snapshot in this bundle has no statement")
    return statement, body
