"""Policy bundles as people sign them, and as nobody should: what a server may send."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rescind_guard.policy import PolicyFailed
from rescind_protocol.bundle_signatures import read_keys
from rescind_protocol.bundles import MANIFEST, SIGNATURES
from rescind_protocol.exact_json import canonical
from rescind_registry.bundle import archive
from rescind_registry.bundle.signing import BundleSigner
from rescind_subscriber.errors import PolicyUnavailable
from rescind_subscriber.policies.fetch import Answer
from rescind_subscriber.policies.opened import Trusted

SIGNER = BundleSigner(ec.generate_private_key(ec.SECP256R1()), scope="")
RSA_SIGNER = BundleSigner(rsa.generate_private_key(65537, 2048), scope="")
STRANGER = BundleSigner(ec.generate_private_key(ec.SECP256R1()), scope="")
AT = 1_800_000_000


def saying(decision: str, reason: str = "") -> str:
    """Return a policy that says one thing to everybody."""
    return f'package capiscio.policy\ndecision := "{decision}"\nreason := "{reason}"\n'


ALLOWS, DENIES = saying("ALLOW"), saying("DENY", "closed today")


def files(source: str = ALLOWS, revision: str = "1", **more: bytes) -> dict[str, bytes]:
    """Return a bundle's files; `more` by name, `data_json` for `data.json`."""
    named = {name.replace("_", ".", 1): raw for name, raw in more.items()}
    return {
        "policy.rego": source.encode(),
        MANIFEST: canonical({"revision": revision}),
        **named,
    }


def signed(
    members: Mapping[str, bytes], signer: BundleSigner = SIGNER, at: int | None = AT
) -> dict[str, bytes]:
    """Return the files with their signature."""
    return {**members, SIGNATURES: signer.sign(members, at=at)}


def bundle(
    source: str = ALLOWS, *, signer: BundleSigner = SIGNER, at: int | None = AT, revision: str = "1"
) -> bytes:
    """Return a good bundle of one module."""
    return archive.pack(signed(files(source, revision), signer, at))


def trusting(*signers: BundleSigner, scope: str = "") -> Trusted:
    """Return what trusts these."""
    pem = "".join(each.public_pem for each in signers or (SIGNER,))
    return Trusted(read_keys(pem.encode()), scope)


def public_key(signer: BundleSigner = SIGNER) -> str:
    """Return the public key in PEM."""
    return signer.public_pem


def private_key(signer: BundleSigner = SIGNER) -> bytes:
    """Return the private key in PEM."""
    return signer._key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def packed_with(member: tarfile.TarInfo, members: Mapping[str, bytes]) -> bytes:
    """Return an archive of these files and one more member, which has no content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(member)
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return gzip.compress(out.getvalue())


class Place:
    """Where a source fetches from: `has` is what is there, or what is wrong."""

    def __init__(self, has: bytes | PolicyUnavailable, *, tags: bool = True) -> None:
        self.has, self.tags = has, tags
        self.known: list[str] = []
        """What was said to be known, each time."""

    def __call__(self, known: str = "") -> Answer | None:
        """Answer as a server."""
        self.known.append(known)
        if isinstance(self.has, PolicyUnavailable):
            raise self.has
        tag = f'"{hash(self.has)}"' if self.tags else ""
        return None if known and known == tag else Answer(self.has, tag)


class Taker:
    """A policy that takes all but what has `refused` in it, and tells what it was told."""

    def __init__(self) -> None:
        self.fault: str | None = "nothing yet"
        self.trouble: str | None = None
        self.version = "none"
        self.took: list[str] = []

    def take(self, modules: Any) -> None:
        """Take it."""
        if "refused" in modules.sources[0][1]:
            raise PolicyFailed("it is refused")
        self.version = modules.name
        self.took.append(modules.sources[0][1])
        self.fault = self.trouble = None

    def confirm(self) -> None:
        """Know that it is the newest."""
        self.trouble = None

    def fail(self, why: str) -> None:
        """Note it."""
        if self.took:
            self.trouble = why
        else:
            self.fault = why
