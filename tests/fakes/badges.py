"""Badges with any claim bent, a clock to set, a view with real kills, and guards over them.

Nothing is simulated but time: badges are signed, kills are signed events joined by the real code.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from rescind_guard import Guard, Issuers, View, didkey
from rescind_protocol import jws
from rescind_protocol.changes import Change, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey, jwk
from rescind_protocol.targets import Target
from tests.fakes.fabric import APPROVER, NOW, Log, key_of

ISSUER = "https://registry.example"
OTHER = "https://other.example"
AGENT = "did:web:acme.example:x7"
ABSENT = object()
"""As a claim's value: leave the claim out."""


@dataclass
class SetClock:
    """Two clocks that stand still until told otherwise."""

    wall_s: float = float(NOW)
    boot_s: float = 5_000.0

    def wall(self) -> float:
        """Unix seconds."""
        return self.wall_s

    def boot(self) -> float:
        """Seconds since boot."""
        return self.boot_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall_s += seconds
        self.boot_s += seconds


@dataclass
class Issuer:
    """Mints badges; each has a jti of its own, and `bent` claims replace the good ones."""

    iss: str = ISSUER
    key: SigningKey = field(default_factory=lambda: key_of("registry"))
    minted: int = 0

    def claims(self, level: Any = "2", **bent: Any) -> dict[str, Any]:
        """Return a good badge's claims, some of them bent."""
        self.minted += 1
        digest = sha256(f"{self.iss} {self.minted}".encode()).digest()
        good = {
            "jti": str(UUID(bytes=digest[:16], version=4)),
            "iss": self.iss,
            "sub": AGENT,
            "iat": NOW,
            "exp": NOW + 300,
            "ial": "0",
            "key": jwk(key_of("agent").public),
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": "acme.example", "level": level},
            },
        }
        return {name: said for name, said in (good | bent).items() if said is not ABSENT}

    def badge(self, level: Any = "2", header: dict[str, object] | None = None, **bent: Any) -> str:
        """Sign a badge; `header` members replace the good ones."""
        return self.sign(msgspec.json.encode(self.claims(level, **bent)), header)

    def sign(self, payload: bytes, header: dict[str, object] | None = None) -> str:
        """Sign any bytes as a badge."""
        members = {"alg": "EdDSA", "typ": "JWT", "kid": self.key.kid} | (header or {})
        kept = {name: said for name, said in members.items() if said is not ABSENT}
        signing_input = b64url_encode(msgspec.json.encode(kept)) + "." + b64url_encode(payload)
        return f"{signing_input}.{b64url_encode(self.key.sign(signing_input.encode()))}"

    def jwks(self) -> bytes:
        """Return the JWKS document."""
        return msgspec.json.encode({"keys": [jwk(self.key.public)]})


def self_signed(name: str = "loner") -> Issuer:
    """Return a level 0 agent that signs its own badges; pass `level="0", sub=….iss`."""
    key = key_of(name)
    return Issuer(didkey.from_public(key.public), key)


def own_badge(issuer: Issuer, **bent: Any) -> str:
    """Return a good level 0 badge of a self-signed agent."""
    return issuer.badge(**({"level": "0", "sub": issuer.iss} | bent))


class Revocations:
    """A view and the one who writes to it: kills are events of a real log, really joined."""

    def __init__(self, clock: SetClock) -> None:
        self.view = View()
        self.clock = clock
        self._log = Log(approver=APPROVER)
        self._replica = Replica()
        self.view.claim()
        self.freshen()

    def freshen(self) -> None:
        """Prove the view fresh now."""
        self.view.freshen(self.clock.wall_s, self.clock.boot_s)

    def kill(self, target: Target, **said: Any) -> RevocationId:
        """Kill; `said` are further members of the event's kill."""
        return self._apply(Kill(target=target, **said))

    def reinstate(self, target: Target, *names: RevocationId, floor: int) -> None:
        """End the kills named, with a floor."""
        self._apply(Reinstate(target=target, names=names, floor=floor))

    def retract(self, target: Target, *names: RevocationId) -> None:
        """Take the kills named back."""
        self._apply(Retract(target=target, names=names))

    def _apply(self, change: Change) -> RevocationId:
        name = self._log.next_id()
        self._replica.apply(self._log.event(change))
        self.view.swap(self._replica.table)
        return name


@dataclass
class Scene:
    """A clock, an issuer, a view with kills and a guard over them; `options` go to the guard."""

    clock: SetClock = field(default_factory=SetClock)
    issuer: Issuer = field(default_factory=Issuer)
    other: Issuer = field(default_factory=lambda: Issuer(OTHER, key_of("other registry")))

    def __post_init__(self) -> None:
        self.revocations = Revocations(self.clock)
        self.issuers = Issuers.from_jwks(
            {self.issuer.iss: self.issuer.jwks(), self.other.iss: self.other.jwks()}
        )

    def guard(self, **options: Any) -> Guard:
        """Return a guard with these options."""
        return Guard(self.revocations.view, self.issuers, clock=self.clock, **options)


def split(token: str) -> tuple[str, str, str]:
    """Return header, payload and signature as they stand in a token."""
    header, payload, signature = token.split(".")
    return header, payload, signature


def read_jti(token: str) -> str:
    """Return the jti of a badge."""
    jti = msgspec.json.decode(jws.read(token.encode(), limit=2**20).payload)["jti"]
    assert isinstance(jti, str)
    return jti
