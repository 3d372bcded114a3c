"""Which agents' DID documents are kept: those of allowed domains that a badge lately named.

Pure: no I/O, no clock. A document that no badge names any more is forgotten, and of too many the
one that was named longest ago.
"""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from rescind_guard import didweb
from rescind_guard.key_view import MAX_NOTED
from rescind_subscriber.keys.known import WITHDRAWN_KEPT_S

MAX_AGENTS = MAX_NOTED
"""Each is asked every `keys_every_s`: fourteen a second at 300 s."""
IDLE_S = WITHDRAWN_KEPT_S
"""By then the last badge that named it has expired."""


class Agents:
    """DID → when a badge named it last, in boot seconds; oldest first."""

    def __init__(self, domains: Collection[str]) -> None:
        """`domains`: patterns, as of tools, of the domains that may be asked."""
        self._domains = tuple(domains)
        self._used: dict[str, float] = {}

    def __contains__(self, did: object) -> bool:
        return did in self._used

    def __len__(self) -> int:
        return len(self._used)

    def __iter__(self) -> Iterator[str]:
        return iter(self._used)

    def allows(self, did: str) -> bool:
        """Whether the document of this DID may be asked for."""
        domain = didweb.domain_of(did)
        return any(fnmatchcase(domain, pattern) for pattern in self._domains)

    def use(self, dids: Iterable[str], boot: float) -> list[str]:
        """Note who was named; return those that are new."""
        fresh = []
        for did in filter(self.allows, dids):
            if self._used.pop(did, None) is None:
                fresh.append(did)
            self._used[did] = boot
        return fresh

    def forget(self, boot: float) -> list[str]:
        """Return, and forget, those that nobody names any more, and what is too many."""
        excess = len(self._used) - MAX_AGENTS
        gone = [
            did
            for place, (did, used) in enumerate(self._used.items())
            if place < excess or boot - used > IDLE_S
        ]
        for did in gone:
            del self._used[did]
        return gone
