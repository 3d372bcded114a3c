"""Looks into a bundle in a file: what it says, and whether its signatures hold."""

import json
from collections.abc import Mapping

import msgspec

from rescind_protocol import bundle_signatures, bundles, events, snapshots
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed, Untrusted
from rescind_protocol.trust import Trust
from rescind_registry.bundle.lines import printable
from rescind_subscriber.bundle_reader import members_of, revision_of

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
    header = bundle_signatures.read(members).header
    return printable(f"{header.alg} by {header.kid}")


def verify_opa(raw: bytes, public_pem: bytes, *, scope: str) -> str:
    """Check what an OPA checks; return the revision. Raises `Untrusted`, `Malformed`."""
    members = open_bundle(raw)
    keys = bundle_signatures.read_keys(public_pem)
    try:
        bundle_signatures.verify(members, keys, scope=scope)
    except bundle_signatures.OtherScope as other:
        raise Untrusted(f"{other}: give --scope {other.given} if that is its use") from None
    return revision_of(members)


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
