"""A small fabric to test with: a root, publishers, an approver, their trust file and their logs.

Every key is derived from its name, so that a failing example fails again in the same way. Nothing
here is simulated: files, events and heads are signed and read by the real code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rescind_protocol import approvals, events, heads, jws, trust
from rescind_protocol.changes import Change, Retire, RevocationId
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.events import Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.keys import SigningKey
from rescind_protocol.positions import to_text
from rescind_protocol.rights import signer_of
from rescind_protocol.trust import ALL_RIGHTS, Rights, Trust, TrustedKey, TrustFile

FABRIC = "test"
NOW = 1_800_000_000
"""A fixed present, unix seconds; nothing in the protocol reads a clock."""
NO_RIGHTS = Rights()
APPROVER_RIGHTS = Rights(approve=True)


def key_of(name: str) -> SigningKey:
    """Return the Ed25519 key that belongs to `name`; the same one each time."""
    seed = sha256(f"rescind test key {name}".encode()).digest()
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


ROOT = key_of("root")
PUBLISHER = key_of("soc")
SECOND = key_of("soc-b")
APPROVER = key_of("approver")
STRANGER = key_of("stranger")
"""A good key that no trust file knows."""


def trusted(key: SigningKey, publisher: str, rights: Rights = ALL_RIGHTS) -> TrustedKey:
    """Return the trust file's line for a key."""
    return TrustedKey(x=b64url_encode(key.public), publisher=publisher, rights=rights)


def trust_file(
    *more: TrustedKey, rights: Rights = ALL_RIGHTS, fabric: str = FABRIC, version: int = 1
) -> TrustFile:
    """Return a trust file: "soc" (required, with `rights`), "soc-b", "approver", and `more`."""
    return TrustFile(
        ver=trust.VERSION,
        aud=fabric,
        version=version,
        iat=NOW,
        keys=(
            trusted(PUBLISHER, "soc", rights),
            trusted(SECOND, "soc-b"),
            trusted(APPROVER, "approver", APPROVER_RIGHTS),
            *more,
        ),
        required=("soc",),
    )


def make_trust(
    *more: TrustedKey, rights: Rights = ALL_RIGHTS, fabric: str = FABRIC, version: int = 1
) -> Trust:
    """Return the trust of `trust_file`, signed by the root and read back."""
    file = trust_file(*more, rights=rights, fabric=fabric, version=version)
    return trust.read(trust.sign(file, ROOT), root=ROOT.public, fabric=fabric)


def next_trust(
    before: Trust,
    *,
    keys: Mapping[str, TrustedKey | None] | None = None,
    cuts: Mapping[str, Mapping[str, Position]] | None = None,
    required: tuple[str, ...] | None = None,
    root: SigningKey = ROOT,
    new_root: SigningKey | None = None,
) -> bytes:
    """Return the next version, signed: keys put in or left out, keys revoked at `cuts`, by kid."""
    lines = {signer_of(key).kid: key for key in before.file.keys}
    for kid, line in (keys or {}).items():
        lines.pop(kid, None)
        if line is not None:
            lines[kid] = line
    for kid, ends in (cuts or {}).items():
        lines[kid] = msgspec.structs.replace(lines[kid], cuts=to_text(ends))
    file = msgspec.structs.replace(
        before.file,
        version=before.version + 1,
        keys=tuple(lines.values()),
        required=required or before.required,
    )
    return trust.sign(file, root, before=before, new_root=new_root).splitlines()[-1]


def log_id(key: SigningKey, run: str = "run 1") -> str:
    """Return a log id of `key`; another `run` gives another log."""
    return f"{key.kid[:11]}-{b64url_encode(sha256(run.encode()).digest()[:16])}"


@dataclass
class Log:
    """One log being written: numbered, hash-chained and signed, as a publisher's run does it."""

    key: SigningKey = PUBLISHER
    publisher: str = "soc"
    run: str = "run 1"
    fabric: str = FABRIC
    approver: SigningKey | None = None
    raws: list[bytes] = field(default_factory=list)
    """The events written so far; number n is `raws[n - 1]`."""

    @property
    def id(self) -> str:
        """The log id."""
        return log_id(self.key, self.run)

    @property
    def position(self) -> Position:
        """Where the log stands, as a head says it."""
        return Position(len(self.raws), self._tip())

    def cut(self, seq: int) -> Position:
        """Where the log stood after its event number `seq`."""
        return Position(seq, events.digest_of(self.raws[seq - 1]))

    def _tip(self) -> bytes:
        return events.digest_of(self.raws[-1]) if self.raws else events.GENESIS

    def next_id(self, index: int = 0) -> RevocationId:
        """Return the id that change `index` of the next event will have."""
        return RevocationId(self.id, len(self.raws) + 1, index)

    def write(self, *changes: Change, at: int = NOW, retires: tuple[Retire, ...] = ()) -> bytes:
        """Append one signed event and return its bytes."""
        raw = events.make(
            changes,
            retires=retires,
            key=self.key,
            approver=self.approver,
            publisher=self.publisher,
            fabric=self.fabric,
            log=self.id,
            seq=len(self.raws) + 1,
            prev=self._tip(),
            at=at,
        )
        self.raws.append(raw)
        return raw

    def event(self, *changes: Change, trust: Trust | None = None, at: int = NOW) -> Event:
        """Append one signed event and return it verified."""
        return events.authenticate(self.write(*changes, at=at), trust or make_trust())

    def branch(self, at: int) -> "Log":
        """Return another writer of this very log that knows its first `at` events only: a fork."""
        return Log(self.key, self.publisher, self.run, self.fabric, self.approver, self.raws[:at])


def retirement(*logs: Log, publisher: str | None = None, at: int | None = None) -> Retire:
    """Return what retires the publisher of these logs, where they stand or at number `at`."""
    ends = {log.id: log.cut(len(log.raws) if at is None else at) for log in logs if log.raws}
    return Retire(publisher=publisher or logs[0].publisher, key=logs[0].key.kid, logs=to_text(ends))


def head_of(
    *logs: Log, time_s: float = NOW, horizon: int = 0, live: int = 0, trust: int = 1
) -> Head:
    """Return the head of one publisher's logs as they stand."""
    return Head(
        publisher=logs[0].publisher,
        time_s=time_s,
        count=1,
        trust=trust,
        horizon=horizon,
        logs={log.id: log.position for log in logs},
        live=live,
    )


def sign_head(head: Head, key: SigningKey = PUBLISHER, fabric: str = FABRIC) -> bytes:
    """Return the head's signed bytes."""
    return heads.make(head, key=key, fabric=fabric)


def sign_claims(
    claims: object, *, key: SigningKey = PUBLISHER, typ: str = events.TYP, kid: str | None = None
) -> bytes:
    """Sign any JSON value (or raw bytes) as `typ`: for events that no honest writer makes."""
    payload = claims if isinstance(claims, bytes) else msgspec.json.encode(claims)
    return jws.sign(payload, typ=typ, key=key, kid=kid)


def event_claims(log: Log, changes: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the claims of the next event of `log` as plain JSON, to be bent by a test."""
    return {
        "iss": log.publisher,
        "jti": f"{log.id}.{len(log.raws) + 1}",
        "iat": NOW,
        "aud": log.fabric,
        "ver": events.VERSION,
        "events": {
            events.EVENT_TYPE: {
                "log": log.id,
                "seq": len(log.raws) + 1,
                "prev": b64url_encode(log.position.digest),
                "changes": changes,
            }
        },
    }


def approval(raw_changes: bytes, log: Log, *, key: SigningKey = APPROVER, seq: int = 1) -> str:
    """Return an approval by `key` of the event `seq` of `log` with these very changes."""
    return approvals.sign(approvals.statement(log.fabric, log.id, seq, raw_changes), key)
