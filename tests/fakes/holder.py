"""An agent that proves its key to a registry, step by step."""

from typing import Any

import msgspec
from litestar import Litestar
from litestar.testing import TestClient

from rescind.testing.keys import key_of
from rescind_protocol import jws
from rescind_protocol.keys import SigningKey
from rescind_registry import agents
from tests.fakes.registry import Bench

DID = "did:web:acme.example:x7"


def enrol(bench: Bench, did: str = DID, level: int = 2) -> str:
    """Enrol an agent, and return its DID."""
    public = key_of(did).public
    now = bench.fabric.now
    return bench.node.agents.enrol(
        agents.make(did, public=public, domain=None, level=level, now=now)
    ).did


class Holder:
    """One agent and its key. `changes` are put into its proofs."""

    def __init__(
        self,
        client: TestClient[Litestar],
        bench: Bench,
        did: str = DID,
        key: SigningKey | None = None,
    ) -> None:
        self.client, self.bench, self.did = client, bench, did
        self.key = key or key_of(did)

    def challenge(self, **wish: Any) -> dict[str, Any]:
        """Ask what to sign."""
        answer = self.client.post(f"/v1/agents/{self.did}/badge/challenge", json=wish)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def proof(
        self,
        challenge: dict[str, Any],
        typ: str = "pop+jwt",
        kid: str | None = None,
        **changes: Any,
    ) -> dict[str, str]:
        """Sign it; `kid`: the verification method that the header names."""
        now = int(self.bench.fabric.now)
        claims = {
            "cid": challenge["challenge_id"],
            "nonce": challenge["nonce"],
            "sub": self.did,
            "aud": challenge["aud"],
            "htu": challenge["htu"],
            "htm": "POST",
            "iat": now,
            "exp": now + 60,
            "jti": "proof",
        }
        signed = jws.sign(msgspec.json.encode(claims | changes), typ=typ, key=self.key, kid=kid)
        return {"challenge_id": challenge["challenge_id"], "proof_jws": signed.decode()}

    def redeem(self, proof: dict[str, str]) -> Any:
        """Hand it in."""
        return self.client.post(f"/v1/agents/{self.did}/badge/pop", json=proof)

    def refresh(self, **wish: Any) -> Any:
        """Do all of it."""
        return self.redeem(self.proof(self.challenge(**wish)))
