"""An issuer of real badges and a real guard that trusts it; kills go straight into the view."""

import json
import threading
import time
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rescind_guard import Guard, Issuers, View
from rescind_guard.freshness import SystemClock
from rescind_guard.parsing import read
from rescind_protocol import jws, targets
from rescind_protocol.changes import Kill, Revocation, RevocationId
from rescind_protocol.keys import SigningKey, jwk
from rescind_protocol.table import TableEdit, entry

ISSUER = "https://registry.example"
LOG = "AAAAAAAAAAA-BBBBBBBBBBBBBBBBBBBBBB"


class Clock(SystemClock):
    """The host's clocks, and however much further."""

    ahead_s = 0.0

    def wall(self) -> float:
        """Unix seconds."""
        return super().wall() + self.ahead_s

    def boot(self) -> float:
        """Seconds since boot."""
        return super().boot() + self.ahead_s


class Authority:
    """Two built from the same 32-byte `seed`, in two processes, trust the same badges."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
        self._view = View()
        self._writing = threading.Lock()
        self._clock = Clock()
        jwks = json.dumps({"keys": [jwk(self._key.public)]}).encode()
        self.guard = Guard(self._view, Issuers.from_jwks({ISSUER: jwks}), clock=self._clock)
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for guard and issuer, the view staying fresh."""
        self._clock.ahead_s += seconds
        with self._writing:
            self._view.claim()
            self._view.freshen(self._clock.wall(), self._clock.boot())
            self._view.release()

    def badge(self, name: str) -> str:
        """Issue a badge of level 2 to the agent `name`."""
        now = int(self._clock.wall())
        claims = {
            "jti": str(uuid.uuid4()),
            "iss": ISSUER,
            "sub": f"did:web:acme.example:{name}",
            "iat": now,
            "exp": now + 300,
            "ial": "0",
            "key": jwk(self._key.public),
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": "acme.example", "level": "2"},
            },
        }
        return jws.sign(json.dumps(claims).encode(), typ="JWT", key=self._key).decode()

    def kill(self, badge: str) -> None:
        """Kill one badge; the guard knows when this returns."""
        dead = targets.badge(ISSUER, read(badge).payload.jti)
        kill = Kill(
            target=dead,
            reason="compromised",
            reason_user="ask your administrator",
            reason_admin="INC-412",
        )
        revocation = Revocation(RevocationId(LOG, 1, 0), kill, int(time.time()))
        with self._writing:  # the tools of a server run in any thread
            self._view.claim()
            edit = TableEdit(self._view.published.table)
            edit.put(dead.digest, entry((revocation,), ()))
            self._view.swap(edit.done())
            self._view.release()
