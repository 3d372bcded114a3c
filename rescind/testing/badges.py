"""Badges for tests: really signed, by an issuer whose key every guard of a test fabric trusts."""

from hashlib import sha256
from uuid import UUID

import msgspec

from rescind.testing.keys import key_of
from rescind_guard import Issuers
from rescind_protocol import jws, targets
from rescind_protocol.keys import jwk
from rescind_protocol.targets import Target

ISSUER = "https://registry.test.example"


class TestBadge(msgspec.Struct, frozen=True):
    """A badge to call with, and what a kill would name."""

    __test__ = False  # pytest: no class of tests

    token: str
    iss: str
    sub: str
    jti: str
    iat: int
    exp: int

    @property
    def target(self) -> Target:
        """This badge, as a target."""
        return targets.badge(self.iss, self.jti)

    @property
    def agent(self) -> Target:
        """Its agent, as a target: every badge of it."""
        return targets.agent(self.sub)


def mint(
    sub: str,
    *,
    iat: int,
    ttl_s: int = 300,
    level: int = 2,
    sid: str | None = None,
    audience: str | None = None,
    serial: int = 0,
) -> TestBadge:
    """Sign a badge; one `serial`, one `jti`. Times in unix seconds."""
    digest = sha256(f"{sub} {iat} {serial}".encode()).digest()
    jti = str(UUID(bytes=digest[:16], version=4))
    claims: dict[str, object] = {
        "jti": jti,
        "iss": ISSUER,
        "sub": sub,
        "iat": iat,
        "exp": iat + ttl_s,
        "ial": "0",
        "key": jwk(key_of(sub).public),
        "vc": {
            "type": ["VerifiableCredential", "AgentIdentity"],
            "credentialSubject": {"domain": "test.example", "level": str(level)},
        },
    }
    claims |= {"sid": sid} if sid else {}
    claims |= {"aud": [audience]} if audience else {}
    token = jws.sign(msgspec.json.encode(claims), typ="JWT", key=key_of("registry")).decode()
    return TestBadge(token, ISSUER, sub, jti, iat, iat + ttl_s)


def issuers() -> Issuers:
    """Return the allowlist that trusts this issuer."""
    document = msgspec.json.encode({"keys": [jwk(key_of("registry").public)]})
    return Issuers.from_jwks({ISSUER: document})
