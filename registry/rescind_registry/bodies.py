"""What is sent and what is answered, as types; the OpenAPI document is made from them.

Times are written as RFC 3339, and read as that or as unix seconds.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rescind_protocol.changes import Effect, Reason
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_ID_CHARS, MAX_UNIX_S
from rescind_protocol.targets import Kind
from rescind_registry.proofs import Audiences

MAX_TARGETS = 10_000
"""In one request: 2.5 events' worth; more is a second request."""
MAX_WAIT_S = 30.0
MAX_TIME_CHARS = 40
LAST_S = 253_402_300_799
"""9999-12-31T23:59:59Z: a year has four digits (RFC 3339 §5.6)."""

Seconds = Annotated[int, Meta(ge=0, lt=MAX_UNIX_S)]
Moment = Seconds | Annotated[str, Meta(max_length=MAX_TIME_CHARS)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Ident = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
Ttl = Annotated[int, Meta(ge=0, lt=2**31)]


class TargetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One target: `iss` and `id` (its jti) for a badge, `iss` for an issuer, else `id`."""

    kind: Kind
    iss: Ident = ""
    id: Ident = ""


class Aimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a kill and an end of kills share: `targets`, or `target` for a single one."""

    targets: (
        Annotated[tuple[TargetBody, ...], Meta(min_length=1, max_length=MAX_TARGETS)] | None
    ) = None
    target: TargetBody | None = None
    """The same as `targets` with one entry; a request has one of the two."""

    def __post_init__(self) -> None:
        if (self.targets is None) is (self.target is None):
            raise ValueError("give `targets`, a list, or `target`, a single one, and not both")

    @property
    def aims(self) -> tuple[TargetBody, ...]:
        """All targets, in whichever form they came; never empty."""
        return self.targets or ((self.target,) if self.target else ())


class KillBody(Aimed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kill some targets at once: all are accepted, or none."""

    effect: Effect = Effect.USE
    expires: Moment | None = None
    """When the kill ends by itself."""
    expires_in_s: Annotated[int, Meta(gt=0, lt=2**40)] | None = None
    issued_before: Moment | None = None
    """Only badges issued up to then."""
    reason: Code = "unspecified"
    reason_user: Reason | None = None
    """May be shown to the caller of a tool."""
    reason_admin: Reason | None = None
    wait_s: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 0.0
    """How long to wait for subscribers to say that they have applied it."""


class EndBody(Aimed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """End every kill of one target: each has a floor of its own, so each is a request."""

    targets: Annotated[tuple[TargetBody, ...], Meta(min_length=1, max_length=1)] | None = None
    retract: bool = False
    """It was a mistake: what it killed lives again."""
    floor: Moment | None = None
    """Badges issued up to then stay dead; without: what was issued so far."""
    reason: Code = "unspecified"
    reason_user: Reason | None = None
    reason_admin: Reason | None = None


class ReasonBody(msgspec.Struct, frozen=True):
    """The reference's body of revoke, disable and enable."""

    reason: Reason | None = None


class EnrolBody(msgspec.Struct, frozen=True, kw_only=True):
    """An agent to enrol; a did:key needs no key, a did:web no domain."""

    did: Ident
    public_key: dict[str, Any] | Annotated[str, Meta(max_length=64)] | None = None
    """A JWK (OKP, Ed25519), or the 32 bytes in base64url."""
    domain: Annotated[str, Meta(max_length=253)] | None = None
    level: Annotated[int, Meta(ge=1, le=4)] = 1


class BadgeBody(msgspec.Struct, frozen=True, kw_only=True):
    """What badge is wanted; each in either spelling."""

    ttl: Ttl | None = None
    badge_ttl: Ttl | None = None
    badge_aud: Audiences | None = None
    badgeAud: Audiences | None = None  # noqa: N815 - on the wire
    mode: Literal["ial0", "ial1"] | None = None
    """As RFC-003 §5.2 names them; "ial1" is for a proof, which is not read here."""
    challenge_id: Annotated[str, Meta(max_length=64)] | None = None
    proof_jws: Annotated[str, Meta(max_length=16 * 1024)] | None = None

    @property
    def wants_proof(self) -> bool:
        """Whether this is a request for a badge by proof."""
        return self.mode == "ial1" or (self.challenge_id, self.proof_jws) != (None, None)

    @property
    def ttl_s(self) -> int | None:
        """Its life, as asked."""
        return self.ttl if self.ttl is not None else self.badge_ttl

    @property
    def aud(self) -> tuple[str, ...] | None:
        """Whom it is for, as asked."""
        return self.badge_aud or self.badgeAud


class ProofBody(msgspec.Struct, frozen=True, kw_only=True):
    """The signed challenge."""

    mode: Literal["ial1"] = "ial1"

    challenge_id: Annotated[str, Meta(max_length=64)]
    proof_jws: Annotated[str, Meta(max_length=16 * 1024)]


class ChallengeDocument(msgspec.Struct, frozen=True):
    """What to sign: `{cid, nonce, sub, aud, htu, htm, iat, exp}` as JWS by the agent's key."""

    challenge_id: str
    nonce: str
    challenge_expires_at: str
    expires_at: str
    """The same, as the reference's client reads it; likewise `aud` and `proof_aud`."""
    aud: str
    proof_aud: str
    htu: str
    htm: str
    badge_aud: tuple[str, ...] | None
    badge_ttl: int


class BadgeData(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The reference's second spelling of a new badge, and RFC-003's, which is a third."""

    token: str
    jti: str
    subject: str
    trust_level: str
    expires_at: str
    ial: str
    level: str = msgspec.field(name="trust_level")
    assurance: str = msgspec.field(name="assurance_level")
    expires: str = msgspec.field(name="expires_at")
    cnf: dict[str, str] | None = None


class BadgeDocument(msgspec.Struct, frozen=True):
    """A new badge, in both spellings."""

    badge: str
    jti: str
    expires_at: str
    data: BadgeData
    success: bool = True


class BadgeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """How a badge stands."""

    jti: str
    sub: str | None
    revoked: bool
    reason: str | None
    revoked_at: str | None
    expires_at: str | None


class Repeated(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an answer has beside its own words when an Idempotency-Key is used again."""

    replayed: bool = False
    """This is what was answered then."""
    killed_now: bool | None = msgspec.field(default=None, name="killed_now")
    """Whether what it names is killed now; null where this node cannot tell."""


class RevokedDocument(Repeated, frozen=True, rename="camel", omit_defaults=True):
    """A badge that was revoked now."""

    jti: str
    revoked: bool
    revoked_at: str
    ids: list[str] = []


class AgentDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An agent and how it stands."""

    did: str
    domain: str
    level: str
    public_key: dict[str, str]
    enrolled_at: str


class AgentList(msgspec.Struct, frozen=True, rename="camel"):
    """A page of agents."""

    agents: list[AgentDocument]
    next_cursor: str | None


class AgentStatus(Repeated, frozen=True, rename="camel", omit_defaults=True):
    """How an agent stands: active, suspended (no next badge), disabled (killed)."""

    did: str
    status: str
    disabled_at: str | None
    reason: str | None
    ids: list[str] = []


class Revoked(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One kill in force; `jti` for a badge, `target` for whatever it is."""

    target: TargetBody
    effect: Effect
    revoked_at: str
    reason: str
    id: str
    jti: str | None = None
    expires_at: str | None = None


class RevocationList(msgspec.Struct, frozen=True, rename="camel"):
    """A page of kills in force; nothing is missing before `cursor`."""

    revocations: list[Revoked]
    next_cursor: str | None
    """Of the next page; null on the last."""
    cursor: str
    """Where to go on later, for what is new by then."""
    synced_at: str


class ReceiptDocument(Repeated, frozen=True, omit_defaults=True):
    """What is known of a request: `durable` on a broker, or only accepted and pending."""

    ids: list[str]
    targets: list[str]
    accepted_at: str
    message: str
    durable: list[str]
    pending: list[str]
    ended: list[str] = []
    in_force: list[str] = []
    """Kills of before that cover what was asked: nothing new was signed for it."""
    new_badges_from: str | None = None
    warnings: list[str] = []
    applied: dict[str, Any] | None = None


def rfc3339(seconds: float) -> str:
    """Return unix seconds as UTC; what RFC 3339 §5.6 cannot write, after the year 9999, as its end.

    A kill may say any time up to `MAX_UNIX_S`, and must not take the whole list with it.
    """
    return datetime.fromtimestamp(min(int(seconds), LAST_S), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix(what: str, said: int | str | None) -> int | None:
    """Read a moment; raises `Malformed`."""
    if said is None or isinstance(said, int):
        return said
    try:
        if said.isascii() and said.isdecimal():
            return msgspec.convert(int(said), Seconds)
        found = datetime.fromisoformat(said)
        if found.tzinfo is None:
            raise Malformed(f"{what} has no zone: write it with a Z at its end")
        return msgspec.convert(int(found.timestamp()), Seconds)
    except (ValueError, OverflowError, msgspec.ValidationError) as error:
        raise Malformed(f"{what} is no time: write 2031-01-31T12:00:00Z") from error
