"""What a follower knows at one moment, proven or not: for whoever decides on it, not for guards."""

import msgspec

from rescind_protocol.heads import Head
from rescind_protocol.image import Image


class Heard(msgspec.Struct, frozen=True):
    """A publisher's newest valid head."""

    head: Head
    age_s: float
    """Since it was signed, as far as clocks tell."""
    named: frozenset[str] = frozenset()
    """Logs that any of its heads has named within the freshness limit."""


class Known(msgspec.Struct, frozen=True):
    """Positions, and what is behind them."""

    positions: Image
    """All but revocations and floors."""
    heads: dict[str, Heard]
    problems: tuple[str, ...]
    """Why a part of what is stored may be missing; sentences."""
