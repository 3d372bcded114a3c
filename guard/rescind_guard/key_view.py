"""The keys that guards read, and their swap: as the view of kills, one attribute store.

Those of issuers, and those in agents' DID documents. Whoever fetches keys is the one writer. Guards
read one reference, and say which issuer's keys had none that fits and which documents they need;
they never wait for an answer (I5).
"""

from collections.abc import Mapping

from rescind_guard.issuers import IssuerKey, Issuers

MAX_NOTED = 4096
"""Documents that are asked for at once. Only badges that an issuer has signed name any."""


class KeyView:
    """Holds the published `Issuers` and DID documents; any number of guards may share it."""

    __slots__ = ("_missed", "_used", "documents", "published")

    def __init__(self, issuers: Issuers) -> None:
        self.published = issuers
        self.documents: Mapping[str, tuple[IssuerKey, ...]] = {}
        """The keys of agents by DID; written as a whole, never in place."""
        self._missed: set[str] = set()
        self._used: set[str] = set()

    def __repr__(self) -> str:
        return f"<KeyView {self.published!r}, {len(self.documents)} DID documents>"

    def swap(self, issuers: Issuers) -> None:
        """Publish other keys; tokens verified under the old ones are verified anew."""
        self.published = issuers

    def document(self, did: str) -> tuple[IssuerKey, ...] | None:
        """Return the keys in an agent's document, None if it is not known; and note who asked."""
        if len(self._used) < MAX_NOTED:
            self._used.add(did)
        return self.documents.get(did)

    def miss(self, name: str) -> None:
        """Note a badge by a key that a trusted issuer, or of one that its agent, does not have."""
        if name in self.published or name in self.documents:  # so that it is bounded
            self._missed.add(name)

    def take_missed(self) -> set[str]:
        """Return whose keys were missed since the last time."""
        missed, self._missed = self._missed, set()
        return missed

    def take_used(self) -> set[str]:
        """Return whose documents were looked at since the last time."""
        used, self._used = self._used, set()
        return used
