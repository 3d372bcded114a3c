"""Deployment profiles (RFC-002 §17): what a guard may take on trust, by where it runs."""

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import urlsplit

from rescind_guard import didkey
from rescind_guard.errors import BadGuard

RESERVED = "invalid"
"""A top-level domain that nobody can own (RFC 2606 §2): a test's issuer, never a real one."""


class Profile(StrEnum):
    """Where a guard runs."""

    DEV = "dev"
    """A developer's machine: badges without `key`, issuers over plain HTTP or under `.invalid`."""
    CONNECTED = "connected"
    """Production that reaches its issuers over HTTPS."""
    AIR_GAPPED = "air-gapped"
    """Production without a network: keys come as files; nothing is fetched."""


def profile_of(name: str) -> Profile:
    """Return the profile of that name; raises `BadGuard`."""
    try:
        return Profile(name)
    except ValueError as error:
        raise BadGuard(f"profile {name!r} is none of {', '.join(Profile)}") from error


def check_issuers(profile: Profile, issuers: Iterable[str]) -> None:
    """Raise `BadGuard` for an issuer that production must not trust (RFC-002 §4.3.1, §17.2)."""
    if profile is Profile.DEV:
        return
    for iss in issuers:
        if iss.startswith(didkey.PREFIX):
            continue  # an agent that signs for itself, trusted by name
        parts = urlsplit(iss)
        if parts.scheme != "https" or parts.path:
            raise BadGuard(
                f"issuer {iss} is not an https origin, which profile {profile} asks for; "
                f"for trying things out there is profile {Profile.DEV}"
            )
        if (parts.hostname or "").rpartition(".")[2] == RESERVED:
            raise BadGuard(f"issuer {iss} has a name reserved for tests (RFC 2606)")
