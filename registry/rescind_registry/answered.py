"""Requests that were answered, by their Idempotency-Key: a repeated one gets the same answer.

It is marked as a replay, for it says what was so then: a kill may have been retracted since. The
key belongs to who used it. With another request it is refused; a request that failed without
any effect is forgotten, so that it can be tried again.
"""

from collections.abc import Callable
from hashlib import sha256

import msgspec

from rescind_protocol.errors import Malformed
from rescind_registry.errors import KeyReused, StillRunning
from rescind_registry.store import Store

KEPT_S = 24 * 3600
ABANDONED_S = 120
"""A request that is not answered by then was cut off; a kill said twice is two kills, no harm."""
MAX_KEY_CHARS = 128


class Answer(msgspec.Struct, frozen=True):
    """A status and a JSON document."""

    status: int
    body: bytes
    replayed: bool = False
    """Whether it was given before, to the same request."""


class Answered:
    """The table of answers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def once(
        self, owner: str, key: str | None, request: bytes, now: float, do: Callable[[], Answer]
    ) -> Answer:
        """Return the answer to a request, doing it only the first time.

        Raises `KeyReused`, `StillRunning`, `Malformed`, and what `do` raises.
        """
        if key is None:
            return do()
        if not 0 < len(key) <= MAX_KEY_CHARS or not key.isprintable():
            raise Malformed(f"Idempotency-Key has 1 to {MAX_KEY_CHARS} printable characters")
        digest = sha256(request).digest()
        known = self._begin(owner, key, digest, int(now))
        if known is not None:
            return known
        try:
            answer = do()
        except BaseException:
            self._store.change("DELETE FROM answered WHERE owner = ? AND key = ?", (owner, key))
            raise
        self._store.change(
            "UPDATE answered SET status = ?, body = ? WHERE owner = ? AND key = ?",
            (answer.status, answer.body, owner, key),
        )
        return answer

    def _begin(self, owner: str, key: str, digest: bytes, now: int) -> Answer | None:
        """Take the key, or return the answer that it has."""
        self._store.change(
            "DELETE FROM answered WHERE at < ? OR (status IS NULL AND at < ?)",
            (now - KEPT_S, now - ABANDONED_S),
        )
        if self._store.change(
            "INSERT INTO answered (owner, key, request, at) VALUES (?,?,?,?)"
            " ON CONFLICT DO NOTHING",
            (owner, key, digest, now),
        ):
            return None
        rows = self._store.rows(
            "SELECT request, status, body FROM answered WHERE owner = ? AND key = ?", (owner, key)
        )
        if rows and rows[0][0] != digest:
            raise KeyReused("this Idempotency-Key was used with another request: take a new one")
        if not rows or rows[0][1] is None:
            raise StillRunning("the first request with this Idempotency-Key is being answered")
        return Answer(rows[0][1], rows[0][2], replayed=True)
