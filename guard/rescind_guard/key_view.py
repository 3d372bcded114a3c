"""The issuers' keys that guards read, and their swap: as the view of kills, one attribute store.

Whoever fetches keys is the one writer. Guards read one reference and say which issuer's keys had
none that fits; they never wait for an answer (I5).
"""

from rescind_guard.issuers import Issuers


class KeyView:
    """Holds the published `Issuers`; any number of guards may share it."""

    __slots__ = ("_missed", "published")

    def __init__(self, issuers: Issuers) -> None:
        self.published = issuers
        self._missed: set[str] = set()

    def __repr__(self) -> str:
        return f"<KeyView {self.published!r}>"

    def swap(self, issuers: Issuers) -> None:
        """Publish other keys; tokens verified under the old ones are verified anew."""
        self.published = issuers

    def miss(self, iss: str) -> None:
        """Note that a badge came by a key that a trusted issuer is not known to have."""
        if iss in self.published:  # so that it is bounded
            self._missed.add(iss)

    def take_missed(self) -> set[str]:
        """Return whose keys were missed since the last time."""
        missed, self._missed = self._missed, set()
        return missed
