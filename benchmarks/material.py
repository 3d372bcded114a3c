"""What the benchmarks work on: keys, trust, badges, kills, replicas of any size."""

import os
import time
import uuid
from collections.abc import Callable
from hashlib import sha256

import msgspec

from benchmarks.stats import progress
from rescind_guard import Issuers
from rescind_protocol import events, jws, targets
from rescind_protocol.changes import Change, Kill
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.events import Event
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey, jwk, thumbprint
from rescind_protocol.limits import MAX_CHANGES
from rescind_protocol.trust import ALL_RIGHTS, Trust, TrustedKey, TrustFile

FABRIC = "bench"
PUBLISHER = "bench-1"
ISSUER = "https://registry.acme.example"
AGENT = "did:web:acme.example:agents:{:06d}"
AUDIENCE = "https://orders.acme.example"
QUOTA = 2**40
LIFE_S = 3000
"""Of the kills: longer than any run, so that nothing expires meanwhile."""


class Publisher:
    """One key with its log: makes events, signed or as if their signature had been checked."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        rights = msgspec.structs.replace(ALL_RIGHTS, quota=QUOTA)
        trusted = TrustedKey(b64url_encode(self.key.public), PUBLISHER, rights)
        self.trust_file = TrustFile(1, FABRIC, 1, int(time.time()), (trusted,), (PUBLISHER,))
        self.trust = Trust(self.trust_file)
        self.log = f"{self.key.kid[:11]}-{b64url_encode(os.urandom(16))}"
        self.seq = 0
        self.digest = events.GENESIS

    def signed(self, changes: tuple[Change, ...]) -> bytes:
        """Return the next event of the log as it travels."""
        self.seq += 1
        raw = events.make(
            changes,
            key=self.key,
            publisher=PUBLISHER,
            fabric=FABRIC,
            log=self.log,
            seq=self.seq,
            prev=self.digest,
            at=int(time.time()),
        )
        self.digest = events.digest_of(raw)
        return raw

    def unsigned(self, changes: tuple[Change, ...]) -> Event:
        """Return the next event of the log as `authenticate` would, without the cost."""
        self.seq += 1
        prev, self.digest = self.digest, sha256(b"%d" % self.seq).digest()
        return Event(
            log=self.log,
            seq=self.seq,
            prev=prev,
            digest=self.digest,
            publisher=PUBLISHER,
            quota=QUOTA,
            at=int(time.time()),
            changes=tuple(enumerate(changes)),
            void=0,
        )

    def fill(self, replica: Replica, entries: int) -> None:
        """Kill `entries` badges in the replica, as a bulk kill would."""
        for done in range(0, entries, MAX_CHANGES):
            progress(f"filling the view: {done:,} of {entries:,}")
            count = min(MAX_CHANGES, entries - done)
            replica.apply(self.unsigned(tuple(badge_kill() for _ in range(count))))
        progress()


def badge_kill() -> Kill:
    """Return a kill of a badge that nobody holds."""
    return Kill(
        target=targets.badge(ISSUER, str(uuid.uuid4())),
        reason="key-compromise",
        reason_admin="INC-412",
        actor="soc@acme.example",
        expires_at=int(time.time()) + LIFE_S,
    )


class Registry:
    """An issuer of badges of the usual size."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.document = msgspec.json.encode({"keys": [jwk(self.key.public)]})
        self.issuers = Issuers.from_jwks({ISSUER: self.document})

    def badge(self, number: int) -> str:
        """Return a new badge of agent `number`, good for 300 s, with key and credential."""
        now = int(time.time())
        holder = os.urandom(32)
        claims = {
            "jti": str(uuid.uuid4()),
            "iss": ISSUER,
            "sub": AGENT.format(number),
            "aud": [AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "ial": "1",
            "key": {"kty": "OKP", "crv": "Ed25519", "x": b64url_encode(holder)},
            "cnf": {"kid": thumbprint(holder)},
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": "acme.example", "level": "2"},
            },
        }
        return jws.sign(msgspec.json.encode(claims), typ="JWT", key=self.key).decode("ascii")


def timed(call: Callable[[], object]) -> int:
    """Return how many nanoseconds one call takes."""
    begun = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - begun
