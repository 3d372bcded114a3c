"""Kill, reinstate, retract, retire: what an event can say; and a revocation, a kill in force.

A reinstatement ends only the kills it names (I2), by their ids; no clock and no order of arrival
decides anything. A retraction (the kill was a mistake) is a reinstatement without a floor.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol.limits import (
    MAX_CUT_LOGS,
    MAX_NAMES,
    MAX_REASON_CHARS,
    MAX_UNIX_S,
)
from rescind_protocol.targets import Target

Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARS)]
Seconds = Annotated[int, Meta(ge=0, lt=MAX_UNIX_S)]
"""Unix seconds."""
LogId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{11}-[A-Za-z0-9_-]{22}\Z")]
"""`<first 11 characters of the key's thumbprint>-<128 random bits>`: a log id names its key."""
Seq = Annotated[int, Meta(ge=1, lt=2**53)]
Sha256 = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Effect(StrEnum):
    """What a kill stops: use of a badge now, or only the issuing of the next one (suspend)."""

    USE = "use"
    ISSUANCE = "issuance"


class RevocationId(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """Where a kill stands: the log, the event's number in it, its index in the event."""

    log: LogId
    seq: Seq
    index: Annotated[int, Meta(ge=0, lt=2**16)]

    def __str__(self) -> str:
        return f"{self.log}/{self.seq}/{self.index}"


class _Change(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag=str.lower,
    kw_only=True,
):
    target: Target
    reason: Annotated[str, Meta(max_length=64)] = "unspecified"
    """Reason code, a short stable word."""
    reason_user: Reason | None = None
    """May be shown to the caller."""
    reason_admin: Reason | None = None
    """Never shown to the caller."""
    actor: Reason | None = None
    """Who asked for it; never shown to the caller."""


class Kill(_Change, frozen=True, gc=False, kw_only=True):
    """Deny `target` until `expires_at`, or until a reinstatement names this kill's id."""

    effect: Effect = Effect.USE
    issued_before: Seconds | None = None
    """Only badges whose `iat` is up to this are dead; all of them when absent."""
    expires_at: Seconds | None = None
    """None: until reinstated."""


class Reinstate(_Change, frozen=True, gc=False, kw_only=True):
    """End the kills named; badges whose `iat` is up to `floor` stay dead."""

    names: Annotated[tuple[RevocationId, ...], Meta(min_length=1, max_length=MAX_NAMES)]
    floor: Seconds


class Retract(_Change, frozen=True, gc=False, kw_only=True):
    """Take the kills named back as mistakes: every badge they killed lives again."""

    names: Annotated[tuple[RevocationId, ...], Meta(min_length=1, max_length=MAX_NAMES)]


Change = Kill | Reinstate | Retract

DigestText = Annotated[str, Meta(min_length=43, max_length=43)]
"""SHA-256 as base64url."""
Kid = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]
"""RFC 7638 thumbprint of a key."""
CutsText = Annotated[dict[LogId, tuple[Seq, DigestText]], Meta(max_length=MAX_CUT_LOGS)]
"""Log -> number and digest of the last event that counts."""


class Retire(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A publisher is gone: what its key said beyond the cuts is void; nobody waits for its heads.

    Logs that are not named keep counting: a publisher that comes back says its own again in one.
    """

    publisher: Annotated[str, Meta(max_length=32)]
    """For people; `key` decides."""
    key: Kid
    """The key that signed its heads."""
    logs: CutsText
    reason: Annotated[str, Meta(max_length=64)] = "unspecified"
    reason_admin: Reason | None = None
    actor: Reason | None = None


class Revocation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One kill in force. `at` is the publisher's clock when it said so, for people only."""

    id: RevocationId
    kill: Kill
    at: int
    was: tuple[RevocationId, ...] = ()
    """Ids by which it went before its publisher moved it; whatever ends one of them ends it."""

    def covers(self, iat: int) -> bool:
        """Whether a badge issued at `iat` (unix seconds) is dead by this kill."""
        before = self.kill.issued_before
        return before is None or iat <= before
