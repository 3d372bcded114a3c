"""One target as lines of the bundle's data: what is said of it, where it stands, its exact bytes.

    data.revocations.badge[jti][iss]     data.revocations.agent[did]     …session, key, issuer
    data.revocations.everyone["*"]       data.rescind.agents[did].status: "disabled" | "suspended"

`data.agents` is the same as a list of objects with `did` and `status`, the reference's form, over
which its policies iterate. It is derived: nothing is kept for it.

Every value is written in the one way that OPA hashes (keys in order, no blanks, Go's escapes), so
that the bytes are the same at every node and their SHA-256 is what the signature has to name.

Pure: no order of arrival shows, and no reader's clock. A floor whose kills have ended is not here:
a table knows it by the target's digest alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from rescind_protocol import killset
from rescind_protocol.killset import ALL, Sum
from rescind_protocol.table import Entry
from rescind_protocol.targets import Kind, Target

AGENTS = "rescind/agents"
LOGS = "rescind/logs"
"""Section of the newest number of each log."""
SECTIONS = (AGENTS, LOGS, *sorted(f"revocations/{kind}" for kind in Kind))
"""Objects of the data, as paths, in the order in which they stand there."""
EVERYONE = "*"


class Line(NamedTuple):
    """One value at its place."""

    section: str
    key: str
    issuer: str
    """A badge's; beneath the key, since `jti` alone names no badge (AAuth #64)."""
    value: bytes


def lines_of(entry: Entry) -> Iterator[Line]:
    """Yield what is said of one target."""
    if not entry.revocations:
        return
    sums = killset.sums(entry.revocations)
    target = next(iter(entry.revocations)).kill.target
    if (use := sums.use) is not None:
        section, key = f"revocations/{target.kind}", _key(target)
        yield Line(section, key, target.iss if target.kind is Kind.BADGE else "", _kill(use, entry))
    # A kill of the badges up to some `iat` leaves the agent as it is: it may have new ones.
    by = sums.whole or sums.issuance
    if target.kind is Kind.AGENT and by is not None:
        yield Line(AGENTS, target.id, "", _agent(by, "disabled" if sums.whole else "suspended"))


def _key(target: Target) -> str:
    if target.kind is Kind.EVERYONE:
        return EVERYONE
    return target.iss if target.kind is Kind.ISSUER else target.id


def _kill(use: Sum, entry: Entry) -> bytes:
    members: dict[str, object] = {}
    if use.until is not None:
        members["expires_at"] = use.until
    if use.cut != ALL:
        members["issued_before"] = max(entry.floor, use.cut)
    members["reason"] = printable(use.first.kill.reason)
    members["revoked_at"] = use.since
    return encode(members)


def _agent(by: Sum, status: str) -> bytes:
    return encode({"reason": printable(by.first.kill.reason), "since": by.since, "status": status})


def printable(text: str) -> str:
    """Return `text` without what JSON writers escape in more than one way."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def encode(value: object) -> bytes:
    """Return JSON as Go's encoder writes it, whose output OPA hashes; keys stand in order."""
    raw = msgspec.json.encode(value)
    if b"\xe2\x80" in raw:  # Go escapes these two, JavaScript's line ends
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return raw
