"""The forms of one revision as bytes, all but the signed one. Pure; the whole takes a while."""

import msgspec

from rescind_protocol import bundles
from rescind_registry.bundle import archive
from rescind_registry.bundle.document import Captured, data_of
from rescind_registry.bundle.lines import encode
from rescind_registry.bundle.policy import MODULES, ROOTS
from rescind_registry.bundle.signing import BundleSigner


class Body(msgspec.Struct, frozen=True):
    """What is sent, and the revision it leads to."""

    revision: str
    raw: bytes
    media_type: str


def opa_of(captured: Captured, signer: BundleSigner | None) -> Body:
    """Return the whole as OPA takes it; the same bytes at every node."""
    members = members_of(captured)
    if signer is not None:
        members[bundles.SIGNATURES] = signer.sign(members)
    return Body(captured.revision, archive.pack(members), bundles.OPA)


def members_of(captured: Captured) -> dict[str, bytes]:
    """Return the files of a bundle, by name, without their signature."""
    files = {name: text.encode() for name, text in MODULES.items()}
    files[bundles.DATA] = data_of(captured)
    files[bundles.MANIFEST] = manifest_of(captured.revision)
    return files


def manifest_of(revision: str) -> bytes:
    """Return `.manifest`; a delta's roots must be those of what it is applied to."""
    return encode({"revision": revision, "roots": list(ROOTS)})


def delta_of(revision: str, patch: bytes) -> Body:
    """Return a delta as OPA takes it; unsigned, for OPA looks for no signature there."""
    members = {bundles.PATCH: patch, bundles.MANIFEST: manifest_of(revision)}
    return Body(revision, archive.pack(members), bundles.OPA)


def json_of(captured: Captured) -> Body:
    """Return the whole as clients of the reference registry read it (interop.md §3)."""
    raw = b"".join(
        (
            b'{"data":',
            data_of(captured),
            b',"modules":',
            encode(MODULES),
            b',"revision":',
            encode(captured.revision),
            b"}",
        )
    )
    return Body(captured.revision, raw, bundles.JSON)
