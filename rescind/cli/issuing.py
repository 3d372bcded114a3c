"""The local issuer, for trying things out: mints badges and remembers what it minted.

Its ledger is what lets a reinstatement set the floor to the greatest `iat` it issued, so that the
next badge, minted with a greater one, passes at once (attack B4).
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_guard.errors import Refused
from rescind_guard.issuers import Issuers
from rescind_protocol import jws
from rescind_protocol.keys import SigningKey, jwk
from rescind_protocol.limits import SKEW_S
from rescind_protocol.targets import Kind, Target, canonical_did, canonical_issuer, session
from rescind_publisher.keyfiles import read_private

LEDGER = "issuer.ledger.json"
MAX_LEDGER_BYTES = 16 * 1024 * 1024
"""More than a hundred thousand agents."""


class Ledger(msgspec.Struct):
    """Greatest `iat` issued and floor given out, for each agent; and the floor for everybody."""

    issued: dict[str, int] = {}
    floors: dict[str, int] = {}
    floor: int = 0


def issued(path: Path) -> set[str] | None:
    """Return the agents that a ledger names; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(MAX_LEDGER_BYTES), type=Ledger)
    except (OSError, msgspec.MsgspecError):
        return None
    return set(found.issued)


class Minted(msgspec.Struct, frozen=True):
    """A new badge; `badge` is the token."""

    badge: str
    jti: str
    iss: str
    sub: str
    expires_at: int


class LocalIssuer:
    """Raises `BadConfig` where this host has no issuer, `BadKeyFile` for a bad key."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        if settings.issuer_key is None:
            raise BadConfig(
                "there is no local issuer here: setting 'issuer_key' names its private key "
                "(`rescind up` makes one with a new fabric)"
            )
        self._key = read_private(loaded.path(settings.issuer_key))
        self._path = loaded.home / LEDGER
        trusted = loaded.jwks_files
        self.iss = next((i for i, path in trusted.items() if self._is_mine(i, path)), None)
        self._alone = len(settings.issuers) == 1 and not settings.accept_self_signed

    def _is_mine(self, iss: str, jwks: Path) -> bool:
        issuers = Issuers.from_jwks({iss: jwks.read_bytes()})
        try:
            (key,) = issuers.candidates(canonical_issuer(iss), self._key.kid)
        except Refused:
            return False
        return key.thumbprint == self._key.kid

    def mint(
        self, sub: str, *, level: int, ttl_s: int, aud: tuple[str, ...], sid: str | None
    ) -> Minted:
        """Sign a badge for an agent; its `iat` lies beyond every floor given out."""
        if self.iss is None:
            raise BadConfig("no issuer in setting 'issuers' has the key of setting 'issuer_key'")
        sub = canonical_did(sub)
        if sid is not None:
            session(sid)
        iat = self._next_iat(sub)
        claims: dict[str, Any] = {
            "jti": str(uuid.uuid4()),
            "iss": self.iss,
            "sub": sub,
            "iat": iat,
            "exp": iat + ttl_s,
            "ial": "0",
            "key": jwk(SigningKey.generate().public),  # whose private half nobody has
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": _domain(sub), "level": str(level)},
            },
        }
        claims |= {"aud": list(aud)} if aud else {}
        claims |= {"sid": sid} if sid is not None else {}
        token = jws.sign(msgspec.json.encode(claims), typ="JWT", key=self._key).decode()
        return Minted(token, claims["jti"], self.iss, sub, claims["exp"])

    def floor_of(self, target: Target, *, least: int = 0) -> int | None:
        """Return the floor under which everything issued so far lies, and mint beyond it.

        `least`: what others have issued for the same origin. None where badges of other issuers
        may be meant: their clocks are not ours.
        """
        if not self._is_ours(target):
            return None
        now = int(time.time())
        with self._ledger() as ledger:
            if target.kind is Kind.AGENT:
                floor = max(now, least, ledger.issued.get(target.id, 0))
                ledger.floors[target.id] = floor
            else:
                floor = ledger.floor = max(now, least, *ledger.issued.values())
        return floor

    def _is_ours(self, target: Target) -> bool:
        if target.kind is Kind.BADGE or self.iss is None:
            return False
        if target.kind is Kind.KEY:
            return target.id == self._key.kid
        if target.kind is Kind.ISSUER:
            return target.iss == canonical_issuer(self.iss)
        return self._alone

    def _next_iat(self, sub: str) -> int:
        now = int(time.time())
        with self._ledger() as ledger:
            iat = max(now, ledger.floor + 1, ledger.floors.get(sub, 0) + 1)
            if iat > now + SKEW_S:
                raise BadConfig(
                    f"this host's clock went back: badges of it lie {iat - now} s ahead already"
                )
            ledger.issued[sub] = max(iat, ledger.issued.get(sub, 0))
        return iat

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        """Read, let change, and write; one process at a time."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            raw = file.read(MAX_LEDGER_BYTES + 1)
            try:
                ledger = msgspec.json.decode(raw, type=Ledger) if raw else Ledger()
            except msgspec.MsgspecError as error:
                raise BadConfig(f"{self._path} is damaged: remove it, or restore it") from error
            yield ledger
            file.seek(0)
            file.write(msgspec.json.encode(ledger))
            file.truncate()


def _domain(did: str) -> str:
    method, _, rest = did.removeprefix("did:").partition(":")
    return rest.partition(":")[0] if method == "web" else "localhost"
