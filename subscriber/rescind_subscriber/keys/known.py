"""What is known of an issuer's keys, and what a new answer changes. Pure: no I/O, no clock.

A key that its issuer has no longer is kept, marked withdrawn, until the last badge it can have
signed is dead; and for as long as it is killed, so that its badges show as revoked (I3, attack B6).
"""

from collections.abc import Callable
from itertools import islice

import msgspec

from rescind_guard.issuers import MAX_KEYS, IssuerKey, KeySet, Standing
from rescind_guard.jwk import thumbprint
from rescind_protocol.limits import UNKNOWN_EXP_KILL_S

MAX_AGE_S = 86_400.0
"""Keys that were not confirmed for so long make no badge good: an issuer that cannot publish its
keys for a day has had no badge alive for twenty-three hours (RFC-002 §7.2: an hour at most)."""
WITHDRAWN_KEPT_S = UNKNOWN_EXP_KILL_S
"""By then every badge that a withdrawn key signed in time has expired."""
WRITTEN_EVERY_S = 3600

IsKilled = Callable[[str], bool]
"""Whether a known kill names the key with this thumbprint."""


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key; `public` is 32 bytes of Ed25519 or the 65 of a point of P-256."""

    kid: str
    public: bytes
    withdrawn_at: int | None = None
    """Unix seconds at which its issuer was first seen without it."""


class Known(msgspec.Struct, frozen=True):
    """One issuer's keys."""

    iss: str
    confirmed_at: int
    """Unix seconds of the last good answer; 0: there was none."""
    keys: tuple[Key, ...]
    trouble: str | None = None
    """On disk: how the last fetch failed, if it did."""
    ignored: tuple[str, ...] = ()
    """What is wrong with entries of the last good answer that cannot be used."""

    def standing(self, key: Key, now: float) -> Standing:
        """Return what a key is good for now."""
        if key.withdrawn_at is not None:
            return Standing.WITHDRAWN
        # A clock that jumped back confirms nothing.
        outdated = abs(now - self.confirmed_at) > MAX_AGE_S
        return Standing.OUTDATED if outdated else Standing.LIVE

    def issuer_keys(self, now: float) -> tuple[IssuerKey, ...]:
        """Return the keys as a guard reads them, the live ones first."""
        return tuple(
            IssuerKey(key.kid, key.public, thumbprint(key.public), self.standing(key, now))
            for key in sorted(self.keys, key=lambda key: key.withdrawn_at is not None)
        )


def merge(known: Known | None, iss: str, answer: KeySet, now: int, is_killed: IsKilled) -> Known:
    """Return what is known after an issuer's good answer."""
    live = {(key.kid, key.public): Key(key.kid, key.public) for key in answer}
    before = known.keys if known is not None else ()
    gone = [
        Key(key.kid, key.public, now if key.withdrawn_at is None else key.withdrawn_at)
        for key in before
        if (key.kid, key.public) not in live
    ]
    kept = [key for key in gone if _is_kept(key, now, is_killed)]
    kept.sort(key=lambda key: (not is_killed(thumbprint(key.public)), -(key.withdrawn_at or 0)))
    keys = (*live.values(), *islice(kept, MAX_KEYS))
    return Known(iss, now, keys, ignored=answer.ignored)


def is_worth_a_write(before: Known | None, now: Known) -> bool:
    """Whether an agent's document is to be kept again; there may be thousands of them.

    A file that is an hour behind is trusted an hour less, that is all.
    """
    if before is None or before.keys != now.keys or before.ignored != now.ignored:
        return True
    return before.confirmed_at // WRITTEN_EVERY_S != now.confirmed_at // WRITTEN_EVERY_S


def _is_kept(key: Key, now: int, is_killed: IsKilled) -> bool:
    age_s = now - (now if key.withdrawn_at is None else key.withdrawn_at)
    return age_s < WITHDRAWN_KEPT_S or is_killed(thumbprint(key.public))
