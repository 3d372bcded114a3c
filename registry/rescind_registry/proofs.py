"""Proof that an agent holds its key (RFC-003): a challenge of ours, signed by the agent.

A challenge is a statement signed by our own key, so that any node that shares the keys can check a
proof of it and nothing is stored for strangers. Each is taken once: its id is written down then.
"""

import uuid
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_guard import didkey
from rescind_protocol import jws
from rescind_protocol.changes import Seconds
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_ID_CHARS, SKEW_S
from rescind_registry.agents import Agent
from rescind_registry.errors import ProofFailed
from rescind_registry.keyring import Keyring
from rescind_registry.store import Store

CHALLENGE_S = 300
"""RFC-003: five minutes."""
PROOF_S = 60
"""RFC-003 §6.3: `exp` is at most a minute after `iat`. With a skew at both ends, a stolen one
is good for no longer at nodes that do not share a database."""
CHALLENGE_TYP = "rescind-challenge+jwt"
PROOF_TYP = "pop+jwt"
"""RFC-003 §6.2: no other JWT that an agent has signed is a proof (RFC 8725 §3.11)."""
MAX_AUDIENCES = 16

Text = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Audiences = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_AUDIENCES)]


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the badge is to be."""

    did: str
    ttl_s: int
    aud: Audiences | None = None


class Challenge(msgspec.Struct, frozen=True):
    """What the agent is given, and signs back."""

    id: str
    nonce: str
    expires_at: int


class _Statement(msgspec.Struct, frozen=True):
    cid: str
    exp: Seconds
    wish: Wish


class _Proof(msgspec.Struct, frozen=True):
    cid: str
    nonce: str
    sub: str
    aud: str | tuple[str, ...]
    htu: str
    htm: str
    iat: Seconds
    exp: Seconds


class Proofs:
    """Gives challenges and takes proofs, for one issuer; raises `ProofFailed`."""

    def __init__(self, keyring: Keyring, store: Store, issuer: str) -> None:
        self._keyring, self._store, self._issuer = keyring, store, issuer

    def challenge(self, wish: Wish, now: float) -> Challenge:
        """Return a challenge for a badge."""
        statement = _Statement(f"ch-{uuid.uuid4()}", int(now) + CHALLENGE_S, wish)
        nonce = jws.sign(
            msgspec.json.encode(statement), typ=CHALLENGE_TYP, key=self._keyring.signing(now)
        )
        return Challenge(statement.cid, nonce.decode(), statement.exp)

    def redeem(
        self, cid: str, proof: str, agent: Agent, *, htu: str, now: float
    ) -> tuple[Wish, str]:
        """Check a proof and use its challenge up.

        Returns the badge that it is for, and the badge's `cnf.kid`.
        """
        kid, said = _signed(proof, agent.public)
        statement = self._statement(said.nonce, now)
        if not cid == said.cid == statement.cid:
            raise ProofFailed("the proof is for another challenge")
        if said.sub != agent.did or statement.wish.did != agent.did:
            raise ProofFailed("the proof is for another agent")
        if self._issuer not in ((said.aud,) if isinstance(said.aud, str) else said.aud):
            raise ProofFailed("the proof is for another registry: aud is its issuer")
        if said.htm != "POST" or said.htu != htu:
            raise ProofFailed("the proof is for another request: htu and htm are the challenge's")
        if said.exp > said.iat + PROOF_S:
            raise ProofFailed(f"the proof lives too long: exp is at most iat + {PROOF_S} s")
        if not said.iat - SKEW_S <= now <= said.exp + SKEW_S:
            raise ProofFailed("the proof has expired, or this agent's clock is wrong")
        self._use_up(statement, now)
        return statement.wish, confirmed(agent, kid)

    def _statement(self, nonce: str, now: float) -> _Statement:
        try:
            token = jws.read(nonce.encode("ascii"), limit=MAX_BADGE_BYTES)
            public = self._keyring.publics().get(token.header.kid or "")
            good = public is not None and jws.verify(token, public)
            if not good or token.header.typ != CHALLENGE_TYP:
                raise ProofFailed("the nonce is not of a challenge of this registry")
            statement = to_type(check_json(token.payload), _Statement)
        except (Malformed, UnicodeEncodeError) as error:
            raise ProofFailed("the nonce is not of a challenge of this registry") from error
        if statement.exp <= now:
            raise ProofFailed("the challenge has expired: ask for a new one")
        return statement

    def _use_up(self, statement: _Statement, now: float) -> None:
        self._store.change("DELETE FROM challenges WHERE expires_at < ?", (int(now) - SKEW_S,))
        if not self._store.change(
            "INSERT INTO challenges (id, expires_at) VALUES (?,?) ON CONFLICT DO NOTHING",
            (statement.cid, statement.exp),
        ):
            raise ProofFailed("this challenge was used already: ask for a new one")


def confirmed(agent: Agent, kid: str | None) -> str:
    """Return the `cnf.kid` of a badge: a DID URL of the key that was proven (RFC-002 §4.3.3).

    The one that the proof names, where it is of the agent's own document; verifiers resolve it and
    compare the keys. Else the key's did:key, which needs no document.
    """
    if kid is not None and kid.startswith(f"{agent.did}#") and len(kid) <= MAX_ID_CHARS:
        return kid
    return didkey.method_of(agent.public)


def _signed(proof: str, public: bytes) -> tuple[str | None, _Proof]:
    try:
        token = jws.read(proof.encode("ascii"), limit=MAX_BADGE_BYTES)
        if token.header.typ != PROOF_TYP:
            raise ProofFailed(f"proof_jws is not a proof: its typ is not {PROOF_TYP} (RFC-003)")
        if not jws.verify(token, public):
            raise ProofFailed("the proof is not signed by the agent's key")
        return token.header.kid, to_type(check_json(token.payload), _Proof)
    except (Malformed, UnicodeEncodeError) as error:
        raise ProofFailed(f"proof_jws cannot be read: {error}") from error
