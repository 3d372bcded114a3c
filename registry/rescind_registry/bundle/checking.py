"""Looks into a bundle in a file: what it says, and whether its signatures hold."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec

from rescind_protocol import bundles, events, snapshots
from rescind_protocol.bundle_signatures import digest_of
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed, Untrusted
from rescind_protocol.trust import Trust
from rescind_registry.bundle.lines import printable
from rescind_subscriber.bundle_reader import members_of, revision_of

ALGORITHMS = ("RS256", "ES256")
"""What OPA verifies of what we sign with."""
MAX_SHOWN_CHARS = 40
"""Of a scope that somebody else wrote, in a sentence."""
SIGNED_FORM = (bundles.MANIFEST, bundles.SNAPSHOT, bundles.EVENTS, bundles.SIGNATURES)
"""What is read to verify by the trust file; OPA's signatures only to say whose bundle it is."""


class Contents(msgspec.Struct, frozen=True):
    """What a bundle says, unverified."""

    form: str
    """opa, delta, signed or json."""
    revision: str
    counts: dict[str, int]
    """Lines of the data by section, operations of a delta, or events."""
    signature: str | None = None
    """The key and algorithm that an OPA would have to know."""


class Verified(msgspec.Struct, frozen=True):
    """What holds of the signed form."""

    revision: str
    revocations: int
    events: int
    publisher: str | None
    """Who signed the snapshot."""
    signed_at: int | None
    """When, unix seconds."""


def open_bundle(raw: bytes) -> dict[str, bytes]:
    """Return a bundle's files; one in JSON as the files it would have. Raises `Malformed`."""
    if not raw.startswith(b"{"):
        return members_of(raw)
    found = check_json(raw)
    if not isinstance(found, dict) or not {"data", "revision"} <= set(found):
        raise Malformed("not a bundle: JSON without data and revision")
    manifest = json.dumps({"revision": found["revision"]}).encode()
    return {bundles.DATA: json.dumps(found["data"]).encode(), bundles.MANIFEST: manifest}


def inspect(raw: bytes) -> Contents:
    """Return what a bundle says; raises `Malformed`."""
    members = open_bundle(raw)
    revision = printable(revision_of(members))
    if bundles.EVENTS in members:
        said = bundles.split_events(members[bundles.EVENTS])
        counts = {"events": len(said), "snapshots": int(bundles.SNAPSHOT in members)}
        return Contents("signed", revision, counts)
    if bundles.PATCH in members:
        patch = check_json(members[bundles.PATCH])
        operations = patch.get("data") if isinstance(patch, dict) else None
        if not isinstance(operations, list):
            raise Malformed("the bundle's delta has no operations")
        return Contents("delta", revision, {"operations": len(operations)})
    form = "json" if raw.startswith(b"{") else "opa"
    return Contents(form, revision, _counts(members), _signature(members))


def _counts(members: Mapping[str, bytes]) -> dict[str, int]:
    data = check_json(members.get(bundles.DATA, b"{}"))
    if not isinstance(data, dict):
        raise Malformed("the bundle's data is no object")
    kinds = data.get("revocations")
    sections = {"agents": data.get("agents")}
    if isinstance(kinds, dict):
        sections |= {f"revocations.{kind}": lines for kind, lines in kinds.items()}
    return {
        printable(name): len(each)
        for name, each in sections.items()
        if isinstance(each, dict | list)
    }


def _signature(members: Mapping[str, bytes]) -> str | None:
    if bundles.SIGNATURES not in members:
        return None
    try:
        header = jwt.get_unverified_header(_token(members))
    except jwt.PyJWTError as error:
        raise Malformed(f"the bundle's signature cannot be read: {error}") from error
    return printable(f"{header.get('alg')} by {header.get('kid')}")


def _token(members: Mapping[str, bytes]) -> str:
    """Return the one JWT, as OPA wants it."""
    found = check_json(members.get(bundles.SIGNATURES, b"{}"))
    tokens = found.get("signatures") if isinstance(found, dict) else None
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise Untrusted("the bundle is not signed: it needs exactly one signature")
    return tokens[0]


def verify_opa(raw: bytes, public_pem: str, *, scope: str) -> str:
    """Check what an OPA checks; return the revision. Raises `Untrusted`, `Malformed`."""
    members = open_bundle(raw)
    try:
        claims: dict[str, Any] = jwt.decode(
            _token(members), public_pem, algorithms=list(ALGORITHMS)
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Untrusted(f"the bundle's signature does not verify: {error}") from error
    if (signed_for := claims.get("scope", "")) != scope:
        given = repr(str(signed_for or "")[:MAX_SHOWN_CHARS])
        raise Untrusted(
            f"the bundle is signed for {f'the scope {given}' if signed_for else 'no scope'}, not "
            f"{repr(scope) if scope else 'for none'}: give --scope {given} if that is its use"
        )
    said = _files(claims.get("files"))
    found = {name for name in members if name != bundles.SIGNATURES}
    if found != set(said):
        raise Untrusted("the bundle has other files than those that were signed")
    for name in found:
        if said[name] != digest_of(name, members[name]):
            raise Untrusted(f"{name} is not what was signed")
    return revision_of(members)


def _files(said: object) -> dict[str, str]:
    """Return the SHA-256 that each file must have."""
    if not isinstance(said, list):
        return {}
    files = [each for each in said if isinstance(each, dict)]
    return {
        str(each.get("name")): str(each.get("hash"))
        for each in files
        if each.get("algorithm") == "SHA-256"
    }


def verify_signed(raw: bytes, trust: Trust) -> Verified:
    """Check every signature of the signed form by the trust file.

    Raises `Untrusted`, `Malformed` or `Unreadable` at the first that does not hold.
    """
    members = members_of(raw, SIGNED_FORM)
    if bundles.EVENTS not in members:
        if bundles.SIGNATURES in members:
            raise Untrusted("the bundle is signed for an OPA: give --key, the public key of it")
        raise Untrusted("the bundle has nothing in it that a publisher has signed")
    said = bundles.split_events(members[bundles.EVENTS])
    for each in said:
        events.authenticate(each, trust)
    revision = revision_of(members)
    if bundles.SNAPSHOT not in members:
        return Verified(revision, 0, len(said), None, None)
    image = snapshots.authenticate(members[bundles.SNAPSHOT], trust)
    statement, _ = bundles.split_snapshot(members[bundles.SNAPSHOT])
    by = snapshots.read_statement(statement, trust)
    return Verified(revision, len(image.revocations), len(said), by.iss, by.iat)
