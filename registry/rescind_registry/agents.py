"""Agents that may have badges: enrolled with a public key, a domain and a level."""

import re
from contextlib import suppress

import msgspec

from rescind_guard import didkey
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import SigningKey, jwk, public_from_text
from rescind_protocol.targets import canonical_did
from rescind_registry.errors import AgentExists, AgentUnknown
from rescind_registry.store import Store

LEVELS = {1: "registered", 2: "domain", 3: "organisation", 4: "extended"}
"""Level 0 signs its own badges and has no registry (RFC-002 §3)."""
MAX_DOMAIN_CHARS = 253
_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*\Z", re.ASCII)
_COLUMNS = "did, public, domain, level, enrolled_at"


class Agent(msgspec.Struct, frozen=True):
    """One agent. `public_key` is base64url; times in unix seconds."""

    did: str
    public_key: str
    domain: str
    level: int
    enrolled_at: int

    @property
    def public(self) -> bytes:
        """The 32 bytes of its key."""
        return public_from_text(self.public_key)

    @property
    def jwk(self) -> dict[str, str]:
        """Its key as a badge carries it."""
        return jwk(self.public)


def make(did: str, *, public: bytes | None, domain: str | None, level: int, now: float) -> Agent:
    """Return an agent to enrol; raises `Malformed` naming what is wrong.

    A did:key names its key itself. A did:web names its domain.
    """
    did = canonical_did(did)
    if did.startswith(didkey.PREFIX):
        own = didkey.public_key(did)
        if public is not None and public != own:
            raise Malformed("public_key is not the key that this did:key names")
        public = own
    if public is None:
        raise Malformed("public_key is missing: only a did:key names its key itself")
    domain = domain or _domain_of(did)
    if domain is None or len(domain) > MAX_DOMAIN_CHARS or not _DOMAIN.match(domain):
        raise Malformed("domain is missing, or is no domain name")
    if level not in LEVELS:
        raise Malformed("level is 1 to 4: level 0 signs its own badges")
    return Agent(did, b64url_encode(public), domain.lower(), level, int(now))


def _domain_of(did: str) -> str | None:
    method, _, rest = did.removeprefix("did:").partition(":")
    return rest.partition(":")[0].partition("%")[0] if method == "web" else None


def _check_same(agent: Agent, found: Agent) -> None:
    if found != msgspec.structs.replace(agent, enrolled_at=found.enrolled_at):
        raise AgentExists(
            f"agent {agent.did} is enrolled with another key, domain or level: remove it first"
        )


_NOBODY = Agent("", b64url_encode(SigningKey.generate().public), "", 0, 0)


class Agents:
    """The table of agents."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def enrol(self, agent: Agent) -> Agent:
        """Put an agent in; the same one twice is one. Raises `AgentExists` for another key."""
        self._store.change(
            f"INSERT INTO agents ({_COLUMNS}) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING",  # noqa: S608 - a constant
            (agent.did, agent.public_key, agent.domain, agent.level, agent.enrolled_at),
        )
        found = self.get(agent.did)
        _check_same(agent, found)
        return found

    def check(self, agent: Agent) -> None:
        """See that nobody else is enrolled by this name; raises `AgentExists`."""
        with suppress(AgentUnknown):
            _check_same(agent, self.get(agent.did))

    def get(self, did: str) -> Agent:
        """Return an agent, or raise `AgentUnknown`."""
        did = canonical_did(did)
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM agents WHERE did = ?", (did,))  # noqa: S608
        if not rows:
            raise AgentUnknown(f"no agent {did[:80]} is enrolled here")
        return Agent(*rows[0])

    def find(self, did: str) -> Agent:
        """Return an agent, or one of that name whose key nobody holds: strangers are told alike."""
        try:
            return self.get(did)
        except AgentUnknown:
            return msgspec.structs.replace(_NOBODY, did=canonical_did(did))

    def remove(self, did: str) -> Agent:
        """Take an agent out: it gets no badge any more. Raises `AgentUnknown`."""
        found = self.get(did)
        self._store.change("DELETE FROM agents WHERE did = ?", (found.did,))
        return found

    def page(self, *, after: str = "", limit: int) -> list[Agent]:
        """Return up to `limit` agents whose DID sorts after `after`."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM agents WHERE did > ? ORDER BY did LIMIT ?",  # noqa: S608
            (after, limit),
        )
        return [Agent(*row) for row in rows]

    def names(self) -> list[str]:
        """Return the DID of every agent."""
        return [row[0] for row in self._store.rows("SELECT did FROM agents", ())]
