"""A line of the trust file: what one key may say, and where what it said ends.

A kill by a key without the right is void; a snapshot by a key that may not reinstate would be a
silent reinstatement, hence its own right.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol.changes import Change, CutsText, Kill, Retire, Seconds
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import public_from_text, thumbprint
from rescind_protocol.limits import DEFAULT_QUOTA
from rescind_protocol.positions import START, Position, from_text
from rescind_protocol.targets import Kind, Target, canonical_issuer

LOG_PREFIX_CHARS = 11
"""A log id begins with this much of its key's thumbprint: 66 bits, unique in a trust file."""
TWO_KEY_KINDS = (Kind.ISSUER, Kind.EVERYONE)
"""Kills and floors this wide need the approval of a second key (ADR 6)."""

PublisherId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}\Z")]


class Rights(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one key may say; everything is refused unless given."""

    kill: tuple[Kind, ...] = ()
    reinstate: tuple[Kind, ...] = ()
    issuers: tuple[str, ...] | None = None
    """Issuers whose badges and whose own name it may touch; None: any."""
    head: bool = False
    snapshot: bool = False
    retire: bool = False
    approve: bool = False
    quota: Annotated[int, Meta(ge=0)] = DEFAULT_QUOTA
    """Live revocations this key may hold at once."""

    @property
    def speaks(self) -> bool:
        """Whether this key may say anything in an event at all."""
        return bool(self.kill or self.reinstate or self.retire)

    def reads_like(self, other: "Rights") -> bool:
        """Whether events mean the same by both."""
        mine = (self.kill, self.reinstate, self.issuers, self.retire, self.approve)
        return mine == (other.kill, other.reinstate, other.issuers, other.retire, other.approve)

    def permit(self, change: Change) -> bool:
        """Whether this key may say `change` (a second key's approval is checked elsewhere)."""
        kinds = self.kill if isinstance(change, Kill) else self.reinstate
        return change.target.kind in kinds and self._permit_issuer(change.target)

    def _permit_issuer(self, target: Target) -> bool:
        return self.issuers is None or not target.iss or target.iss in self.issuers


ALL_RIGHTS = Rights(
    kill=tuple(Kind), reinstate=tuple(Kind), head=True, snapshot=True, retire=True, approve=False
)


class TrustedKey(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One publisher's key: `x` is the Ed25519 public key, base64url (RFC 8037 §2)."""

    x: str
    publisher: PublisherId
    rights: Rights
    not_after: Seconds | None = None
    """After this its heads freshen nothing; its kills still count."""
    since: int = 1
    """The version since which its events are read by these rights."""
    cuts: CutsText | None = None
    """A revoked key: the last event of each log that it signed (an approver: approved) and that
    counts. All beyond is void, and logs not named are void wholly."""
    cut_at: int = 0
    """The version since which its cuts are these."""


class Signer(msgspec.Struct, frozen=True):
    """A trusted key, ready to verify with."""

    kid: str
    public: bytes
    publisher: str
    rights: Rights
    not_after: int | None
    since: int = 1
    cuts: dict[str, Position] | None = None
    """None unless the root has revoked it."""
    cut_at: int = 0

    @property
    def revoked(self) -> bool:
        """Whether the root has revoked it: it says nothing new, what it said up to its cuts is."""
        return self.cuts is not None

    def owns(self, log: str) -> bool:
        """Whether `log` is one of this key's own: its id begins with the key's thumbprint."""
        return log.startswith(self.kid[:LOG_PREFIX_CHARS] + "-")

    def cut(self, log: str) -> Position | None:
        """Where a log ends for this key, None while it is not revoked."""
        return None if self.cuts is None else self.cuts.get(log, START)

    def permit_retiring(self, said: Retire) -> bool:
        """Whether it may say this: with the right, of another key, of that key's logs only.

        A key that nobody has, and whose logs would be its own, is no other.
        """
        prefix = said.key[:LOG_PREFIX_CHARS] + "-"
        return (
            self.rights.retire
            and not said.key.startswith(self.kid[:LOG_PREFIX_CHARS])
            and all(log.startswith(prefix) for log in said.logs)
        )


def signer_of(key: TrustedKey) -> Signer:
    """Return a line of the file ready to verify with; raises `Malformed`."""
    public = public_from_text(key.x)
    for issuer in key.rights.issuers or ():
        if canonical_issuer(issuer) != issuer:
            raise Malformed(f"trust file: write issuer {issuer[:60]!r} in its canonical form")
    cuts = None if key.cuts is None else from_text(key.cuts)
    made = Signer(
        kid=thumbprint(public),
        public=public,
        publisher=key.publisher,
        rights=key.rights,
        not_after=key.not_after,
        since=key.since,
        cuts=cuts,
        cut_at=key.cut_at,
    )
    if foreign := [log for log in cuts or () if not (made.owns(log) or key.rights.approve)]:
        raise Malformed(f"trust file: {key.publisher!r} is cut in a log not its own: {foreign[0]}")
    return made
