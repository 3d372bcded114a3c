"""Enforcement modes (RFC-008 §10.5, RFC-005 §7.2): what a refusal means, in one table.

Whatever the mode, a known kill denies (I3): it is found before policy, and no row says otherwise.
"""

from enum import StrEnum

import msgspec

from rescind_guard.errors import BadGuard

PREFIX = "EM-"


class Enforcement(StrEnum):
    """Weakest first."""

    OBSERVE = "EM-OBSERVE"
    GUARD = "EM-GUARD"
    DELEGATE = "EM-DELEGATE"
    STRICT = "EM-STRICT"


class Row(msgspec.Struct, frozen=True):
    """Which refusals hold in a mode; those that do not are recorded, and the call passes."""

    mode: Enforcement
    badge: bool
    """A bad badge, a view that is not fresh."""
    broken: bool
    """A policy that could not be loaded or evaluated: nobody knows what it would have denied."""
    policy: bool
    """A policy that denies."""
    obligation: bool
    """A policy that allows on a condition that nobody here fulfils."""


TABLE = (
    Row(Enforcement.OBSERVE, badge=False, broken=False, policy=False, obligation=False),
    Row(Enforcement.GUARD, badge=True, broken=True, policy=False, obligation=False),
    Row(Enforcement.DELEGATE, badge=True, broken=True, policy=True, obligation=False),
    Row(Enforcement.STRICT, badge=True, broken=True, policy=True, obligation=True),
)
_BY_NAME = {row.mode.value: row for row in TABLE}


def row_of(name: str) -> Row:
    """Return the row of a mode: in any case, with or without `EM-`; raises `BadGuard`."""
    said = name.upper() if isinstance(name, str) else ""
    row = _BY_NAME.get(said) or _BY_NAME.get(PREFIX + said)
    if row is None:
        raise BadGuard(f"enforcement mode {name!r} is none of {', '.join(Enforcement)}")
    return row
