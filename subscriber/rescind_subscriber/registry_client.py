"""Asks a registry for a badge over HTTP, proving the agent's key (RFC-003). The keeper's transport.

It signs only what its own registry asks of it: a challenge for another address or another audience
could be a stranger's, handed on.
"""

import ssl
import uuid
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from rescind_guard import didkey, parsing
from rescind_guard.errors import Refused as BadBadge
from rescind_protocol import jws, targets
from rescind_protocol.clock import Clock
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_BADGE_TTL_S, SKEW_S
from rescind_protocol.targets import canonical_did, canonical_issuer
from rescind_subscriber.errors import BadKeeper
from rescind_subscriber.renewal import Answer, Issued, Refused, Unavailable

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4 * MAX_BADGE_BYTES
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_FINAL = {403: ("AGENT_DISABLED",), 404: ("AGENT_UNKNOWN",), 400: ("MALFORMED", "BAD_REQUEST")}
"""What a registry of ours means for good, by status and its stable name of the error: the agent is
refused, or what is asked for. The same status by a proxy, with a page of its own, is weather."""


class _Challenge(msgspec.Struct, frozen=True):
    challenge_id: str
    nonce: str
    aud: str
    htu: str
    htm: str


class _Badge(msgspec.Struct, frozen=True):
    badge: str


class _Problem(msgspec.Struct, frozen=True):
    error: str = ""
    code: str = ""


class RegistryClient:
    """One agent at one registry. Not thread-safe; `close` it."""

    def __init__(
        self,
        registry: str,
        did: str,
        key: SigningKey,
        *,
        issuer: str | None = None,
        ttl_s: int | None = None,
        aud: tuple[str, ...] = (),
        clock: Clock,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`issuer`: what badges name as `iss`, if not `registry`. Raises `BadKeeper`."""
        parts = urlsplit(registry)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise BadKeeper(f"the registry {registry[:80]!r} is not reached over https")
        self._url = registry.rstrip("/")
        self._issuer = canonical_issuer(issuer or registry)
        self._did, self._key, self._clock = canonical_did(did), key, clock
        self._kid = didkey.method_of(key.public)
        wish = {"badge_ttl": ttl_s, "badge_aud": list(aud) or None}
        self._wish = {name: value for name, value in wish.items() if value is not None}
        # No proxy and no `.netrc` of the environment, as in `http_address`: a badge to the loopback
        # would go in the clear through a proxy that stands there.
        self._http = httpx2.Client(
            timeout=TIMEOUT_S,
            transport=transport,
            headers={"Accept-Encoding": "identity"},
            verify=ssl.create_default_context(),
            trust_env=False,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def fetch(self) -> Answer:
        """Ask for a badge; never raises."""
        path = f"/v1/agents/{quote(self._did, safe=':')}/badge"
        try:
            said = self._post(f"{path}/challenge", self._wish)
            if not isinstance(said, bytes):
                return said
            challenge = msgspec.json.decode(said, type=_Challenge)
            if problem := self._strange(challenge):
                return Unavailable(problem)
            said = self._post(f"{path}/pop", self._proof(challenge))
            return self._read(said) if isinstance(said, bytes) else said
        except msgspec.MsgspecError as error:
            return Unavailable(f"the registry answered something else: {error}")
        except httpx2.HTTPError as error:
            return Unavailable(f"the registry does not answer: {type(error).__name__}")

    def _strange(self, challenge: _Challenge) -> str | None:
        """Return why this challenge is not to be signed."""
        if challenge.htu != f"{self._url}/v1/agents/{self._did}/badge/pop":
            return f"the registry says it is reached at {challenge.htu[:80]!r}, not at {self._url}"
        if challenge.aud != self._issuer or challenge.htm != "POST":
            return f"the registry issues as {challenge.aud[:80]!r}, not as {self._issuer}"
        return None

    def _proof(self, challenge: _Challenge) -> dict[str, str]:
        now = int(self._clock.wall())
        claims = {
            "cid": challenge.challenge_id,
            "nonce": challenge.nonce,
            "sub": self._did,
            "aud": challenge.aud,
            "htu": challenge.htu,
            "htm": challenge.htm,
            "iat": now,
            "exp": now + SKEW_S,
            "jti": str(uuid.uuid4()),
        }
        signed = jws.sign(msgspec.json.encode(claims), typ="pop+jwt", key=self._key, kid=self._kid)
        return {
            "mode": "ial1",
            "challenge_id": challenge.challenge_id,
            "proof_jws": signed.decode("ascii"),
        }

    def _post(self, path: str, body: dict[str, Any]) -> bytes | Answer:
        """Return the body of a good answer, or what another one means."""
        with self._http.stream("POST", self._url + path, json=body) as answer:
            # Unasked (`identity`): a few bytes of it may unpack to any size.
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                return Unavailable("the registry answered in a coding that was not asked for")
            raw = b""
            for part in answer.iter_bytes():
                raw += part
                if len(raw) > MAX_ANSWER_BYTES:
                    return Unavailable("the registry's answer is too long")
            return raw if answer.status_code == httpx2.codes.OK else _judge(answer, raw)

    def _read(self, raw: bytes) -> Answer:
        token = msgspec.json.decode(raw, type=_Badge).badge
        try:
            said = parsing.read(token, lenient=True)
        except BadBadge as error:
            return Unavailable(f"the registry answered with no badge: {error}")
        payload = said.payload
        life_s = payload.exp - payload.iat
        if (
            payload.sub != self._did
            or said.iss != self._issuer
            or not 0 < life_s <= MAX_BADGE_TTL_S
        ):
            return Unavailable("the registry answered with a badge that was not asked for")
        named = (targets.badge(said.iss, payload.jti), targets.agent(payload.sub))
        digests = tuple(each.digest for each in named)
        return Issued(token, payload.jti, digests, payload.iat, float(life_s))


def _judge(answer: httpx2.Response, raw: bytes) -> Answer:
    status = answer.status_code
    try:
        problem = msgspec.json.decode(raw, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    why = f"the registry answered {status}: {problem.error[:200] or 'no reason given'}"
    # Of the others none is a word about the agent, as PROOF_FAILED: its clock is wrong.
    if problem.code in _FINAL.get(status, ()):
        return Refused(why)
    after = answer.headers.get("Retry-After", "")
    return Unavailable(why, float(after) if after.isdecimal() and len(after) < 6 else None)  # noqa: PLR2004
