"""A policy's files as a signed bundle, for guards and OPAs; pure."""

from rescind_guard.policy_files import DATA_FILE, Modules
from rescind_protocol import bundles
from rescind_protocol.exact_json import canonical, loads
from rescind_registry.bundle import archive
from rescind_registry.bundle.bodies import Body
from rescind_registry.bundle.signing import BundleSigner


def body_of(modules: Modules, signer: BundleSigner, *, revision: str, at: int) -> Body:
    """Return the bundle; `at`: when it is signed, unix seconds."""
    members = {name: source.encode() for name, source in modules.sources}
    if modules.data is not None:
        members[DATA_FILE] = canonical(loads(modules.data.encode()))
    members[bundles.MANIFEST] = canonical({"revision": revision})
    members[bundles.SIGNATURES] = signer.sign(members, at=at)
    return Body(revision, archive.pack(members), bundles.OPA)
