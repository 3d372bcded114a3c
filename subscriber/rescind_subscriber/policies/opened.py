"""Opens a policy bundle: bytes in, modules out if its signature holds. Pure.

Whoever serves a bundle, or writes to the disk where one is kept, is not trusted: everything is
bounded, and nothing of it is looked at as policy before the signature over all of it was checked.
"""

import msgspec

from rescind_guard.policy import PolicyFailed
from rescind_guard.policy_files import MAX_DATA_BYTES, MAX_MODULE_BYTES, Modules, of_members
from rescind_protocol.bundle_signatures import MAX_SIGNATURE_BYTES, PublicKey, verify
from rescind_protocol.bundles import MANIFEST
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed, RescindError
from rescind_subscriber.bundle_reader import MAX_MANIFEST_BYTES, MAX_REVISION_CHARS, members_of

BUNDLE = "the bundle"
MAX_BYTES = 2 * (MAX_MODULE_BYTES + MAX_DATA_BYTES + MAX_MANIFEST_BYTES + MAX_SIGNATURE_BYTES)
"""Unpacked, and as much again for tests, licences and archive headers. Packed, it is less."""


class Trusted(msgspec.Struct, frozen=True):
    """Which bundles are believed."""

    keys: tuple[PublicKey, ...]
    scope: str = ""
    """What a bundle must be signed for."""


class Opened(msgspec.Struct, frozen=True):
    """A bundle whose signature holds."""

    modules: Modules
    signed_at: int | None
    """Unix seconds; None: its signature does not say."""


def open_bundle(raw: bytes, trusted: Trusted) -> Opened:
    """Return the policy in a bundle; raises `PolicyFailed`, whatever is wrong with it."""
    if len(raw) > MAX_BYTES:
        raise PolicyFailed(f"a bundle of policy has {MAX_BYTES} bytes at most")
    try:
        members = members_of(raw, most_bytes=MAX_BYTES)
        said = verify(members, trusted.keys, scope=trusted.scope)
        revision = _revision(members.get(MANIFEST, b"{}"))
    except RescindError as error:
        raise PolicyFailed(f"{BUNDLE} is refused: {error}") from error
    return Opened(of_members(members, BUNDLE, revision), said.iat)


def _revision(manifest: bytes) -> str:
    """Return the revision, for people; a manifest, and a revision in it, may be left out (OPA)."""
    said = check_json(manifest)
    found = said.get("revision", "") if isinstance(said, dict) else None
    if not isinstance(found, str) or len(found) > MAX_REVISION_CHARS or not found.isprintable():
        raise Malformed("its manifest has no revision that could be shown")
    return found


def check_newer(found: Opened, than: Opened | None) -> None:
    """Raise `PolicyFailed` for a bundle that was signed before one that was in force.

    Whoever serves bundles could serve an old one again, signature and all. Those that are signed
    with a time are held to its order; for others there is none.
    """
    last = than.signed_at if than is not None else None
    if last is None:
        return
    if found.signed_at is None:
        raise PolicyFailed(f"{BUNDLE} does not say when it was signed; the one in force does")
    if found.signed_at < last:
        raise PolicyFailed(
            f"{BUNDLE} was signed {last - found.signed_at} s before the one in force: "
            "to go back to an older policy, sign it anew"
        )
