"""The view in the shape of the reference verifier's `RevocationCache`: two questions, two booleans.

For a verifier that is there already and asks by `jti`. A `jti` alone names neither an issuer nor an
agent: it is looked up under every issuer given, and a kill of an *agent* is seen only if `sub` is
passed, too. `Guard.check` sees them all; its place in the two vocabularies: docs/verify-options.md.
"""

from collections.abc import Iterable
from datetime import timedelta

from rescind_guard.errors import BadGuard
from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.clock import Clock
from rescind_protocol.targets import canonical_issuer


class RevocationCache:
    """Answers from a view that a subscriber keeps; asks nobody else, blocks on nothing."""

    __slots__ = ("_clock", "_issuers", "_view")

    def __init__(self, view: View, issuers: Iterable[str], *, clock: Clock | None = None) -> None:
        """`issuers` are those whose badges are asked about; raises `BadGuard` if there are none."""
        if isinstance(issuers, str):
            raise BadGuard("issuers must be several names, not one text")
        self._issuers = tuple(canonical_issuer(iss) for iss in issuers)
        if not self._issuers:
            raise BadGuard("no issuers: a jti alone names nobody's badge")
        self._view = view
        self._clock = clock or SystemClock()

    def is_revoked(self, jti: str, *, sub: str | None = None, iat: int | None = None) -> bool:
        """Whether a known kill, or an unsigned list, stops this badge; raises `Malformed`.

        With `sub` (the agent's DID) kills of the agent count, too. `iat` (unix seconds) spares
        what was issued after a kill's `issued_before` or a reinstatement's floor; without it a
        badge is older than any of them.
        """
        asked = [targets.badge(iss, jti) for iss in self._issuers]
        asked += [] if sub is None else [targets.agent(sub)]
        asked += [targets.issuer(iss) for iss in self._issuers]
        asked += [targets.everyone()]
        digests = tuple(target.digest for target in asked)
        if self._view.published.table.killer(digests, iat or 0) is not None:
            return True
        return self._view.lists.killer(digests, iat or 0) is not None

    def is_stale(self, threshold: timedelta | float) -> bool:
        """Whether the view was last proven complete longer ago (in seconds), or never."""
        limit_s = threshold.total_seconds() if isinstance(threshold, timedelta) else threshold
        age_s = self._view.published.age_s(self._clock.wall(), self._clock.boot())
        return not age_s < limit_s  # so that NaN is stale
