"""Mints badges (RFC-002): a fresh jti each, `iat` beyond every floor, never for a killed agent."""

import uuid
from typing import Any

import msgspec

from rescind_protocol import jws
from rescind_protocol.clock import Clock
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_TTL_S, SKEW_S
from rescind_registry.agents import Agent
from rescind_registry.badges import Badges, Issued
from rescind_registry.config import RegistryConfig
from rescind_registry.errors import AgentDisabled, CannotTell
from rescind_registry.keyring import Keyring
from rescind_registry.standing import Look, Standing, State


class Minted(msgspec.Struct, frozen=True):
    """A new badge; `token` is shown to the agent alone."""

    token: str
    agent: Agent
    issued: Issued
    kid: str | None = None
    """`cnf.kid`: the key that the agent proved; None: it proved none."""

    @property
    def ial(self) -> str:
        """How sure the registry is of the key: "1" if the agent proved it (RFC-003)."""
        return "0" if self.kid is None else "1"


class Issuer:
    """Issues for one origin; raises `AgentDisabled`, `CannotTell`."""

    def __init__(
        self, config: RegistryConfig, keyring: Keyring, badges: Badges, look: Look, clock: Clock
    ) -> None:
        self._config, self._keyring, self._badges = config, keyring, badges
        self._look, self._clock = look, clock

    def check_ttl(self, ttl_s: int | None) -> int:
        """Return the life of a badge as asked, or raise `Malformed`."""
        if ttl_s is None:
            return self._config.ttl_s
        if not self._config.min_ttl_s <= ttl_s <= MAX_BADGE_TTL_S:
            raise Malformed(
                f"ttl is {self._config.min_ttl_s} to {MAX_BADGE_TTL_S} seconds, not {ttl_s}"
            )
        return ttl_s

    def standing(self, did: str) -> Standing:
        """Return how the next badge of an agent would stand."""
        key = self._keyring.signing(self._clock.wall())
        return self._look.agent(did, iss=self._config.iss, key_thumbprint=key.kid)

    def mint(
        self, agent: Agent, *, ttl_s: int, aud: tuple[str, ...] | None, kid: str | None = None
    ) -> Minted:
        """Sign a badge. `kid`: the DID URL of the key that the agent proved to have."""
        now = int(self._clock.wall())
        key = self._keyring.signing(now)
        standing = self._look.agent(agent.did, iss=self._config.iss, key_thumbprint=key.kid)
        if standing.state is not State.ACTIVE:
            raise AgentDisabled(_why(agent, standing))
        iat = max(now, standing.floor + 1)
        if iat > now + SKEW_S:
            # A guard would find it not valid yet (RFC-002 §7).
            raise CannotTell(f"the next badge of {agent.did} may be issued in {iat - now} s")
        issued = Issued(str(uuid.uuid4()), agent.did, iat, iat + ttl_s)
        claims = self._claims(agent, issued, aud, kid)
        token = jws.sign(msgspec.json.encode(claims), typ="JWT", key=key).decode()
        self._badges.remember(issued)
        return Minted(token, agent, issued, kid)

    def _claims(
        self, agent: Agent, issued: Issued, aud: tuple[str, ...] | None, kid: str | None
    ) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "jti": issued.jti,
            "iss": self._config.iss,
            "sub": agent.did,
            "iat": issued.iat,
            "exp": issued.exp,
            "ial": "0" if kid is None else "1",
            "key": agent.jwk,
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": agent.domain, "level": str(agent.level)},
            },
        }
        claims |= {"aud": list(aud)} if aud else {}
        claims |= {} if kid is None else {"cnf": {"kid": kid}}  # and no `jwk`: RFC-002 §4.3.3
        return claims


def _why(agent: Agent, standing: Standing) -> str:
    word = "suspended" if standing.state is State.SUSPENDED else "killed"
    said = standing.by.kill.reason_user if standing.by else None
    return f"agent {agent.did} is {word}: no badge is issued{f' ({said})' if said else ''}"
