"""Badges that were issued: enough to answer for them while they live, and for the floor."""

import msgspec

from rescind_protocol.targets import canonical_did
from rescind_registry.store import Store

KEPT_S = 24 * 3600
"""A badge is remembered for so long after its `exp`."""


class Issued(msgspec.Struct, frozen=True):
    """One badge; times in unix seconds. The token itself is kept nowhere."""

    jti: str
    did: str
    iat: int
    exp: int


class Badges:
    """The table of badges."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, badge: Issued) -> None:
        """Write it down before it is handed out: the floor must lie beyond it."""
        self._store.change_all(
            (
                "INSERT INTO badges (jti, did, iat, exp) VALUES (?,?,?,?)",
                (badge.jti, badge.did, badge.iat, badge.exp),
            ),
            ("DELETE FROM badges WHERE exp < ?", (badge.iat - KEPT_S,)),
        )

    def get(self, jti: str) -> Issued | None:
        """Return a badge that was issued here lately."""
        rows = self._store.rows("SELECT jti, did, iat, exp FROM badges WHERE jti = ?", (jti,))
        return Issued(*rows[0]) if rows else None

    def newest(self, did: str | None = None) -> int:
        """Return the greatest `iat` issued here, to one agent or to any; 0: none."""
        where, values = ("", ()) if did is None else (" WHERE did = ?", (canonical_did(did),))
        ((newest,),) = self._store.rows(
            f"SELECT coalesce(max(iat), 0) FROM badges{where}",  # noqa: S608 - a constant
            values,
        )
        return int(newest)
