"""Bundles from settings: who signs them, and those written to files: of kills, or of a policy."""

from pathlib import Path

from rescind import compose
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_guard import policy_files
from rescind_guard.errors import BadGuard
from rescind_guard.policy import PolicyFailed
from rescind_protocol.bundle_signatures import read_keys
from rescind_protocol.clock import Clock
from rescind_protocol.errors import Untrusted
from rescind_protocol.trust import Trust
from rescind_publisher.keyfiles import read_private
from rescind_registry.bundle import bodies, policy_body, signed, signing
from rescind_registry.bundle.asking import Form
from rescind_registry.bundle.bodies import Body
from rescind_registry.bundle.document import Document
from rescind_registry.bundle.signed import Author
from rescind_registry.bundle.signing import BundleSigner
from rescind_subscriber.capture import Captured
from rescind_subscriber.policies.opened import Trusted, open_bundle


def make_signer(loaded: Loaded) -> BundleSigner | None:
    """Return what signs bundles for OPAs, None where no key is set; raises `BadRegistryConfig`."""
    settings = loaded.settings
    if settings.bundle_key is None:
        return None
    return signing.load(loaded.path(settings.bundle_key), keyid=settings.bundle_keyid)


def make_author(loaded: Loaded, trust: Trust, clock: Clock) -> Author | None:
    """Return in whose name this host signs what it knows, None if it has no key with the right."""
    path = loaded.path(loaded.settings.publisher_key)
    if not path.exists():
        return None
    key = read_private(path)
    try:
        signer = trust.signer(key.kid)
    except Untrusted:
        return None
    if not signer.rights.snapshot:
        return None
    return Author(key, signer.publisher, trust.fabric, clock.wall)


def write(
    loaded: Loaded, captured: Captured, form: Form, *, signer: BundleSigner | None, clock: Clock
) -> Body:
    """Return a bundle of what was captured; raises `BadConfig` where nobody may sign it."""
    document = Document(loaded.settings.fabric)
    document.advance(captured.table, captured.positions)
    if form is Form.OPA:
        return bodies.opa_of(document.capture(), signer)
    if form is Form.JSON:
        return bodies.json_of(document.capture())
    author = make_author(loaded, compose.make_trust(loaded), clock)
    if author is None:
        raise BadConfig(
            f"{loaded.path(loaded.settings.publisher_key)} is no key that may sign snapshots: "
            "give it the right 'snapshot' in the trust file"
        )
    member = author.write(captured.image(), captured.trust)
    return Body(document.revision, signed.pack(document.revision, member, []), "")


def build(folder: Path, signer: BundleSigner, *, revision: str, at: int) -> Body:
    """Return a signed bundle of the policy in a folder; raises `BadConfig` if it does not work.

    `at`: when it is signed, unix seconds; later ones are never replaced by it.
    """
    try:
        from rescind_guard.rego import Rego  # noqa: PLC0415 - rego-cpp only when used

        modules = policy_files.read(folder)
        Rego().take(modules)
    except (BadGuard, PolicyFailed) as error:
        raise BadConfig(f"the policy in {folder} does not work: {error}") from error
    body = policy_body.body_of(modules, signer, revision=revision or modules.digest, at=at)
    try:
        open_bundle(body.raw, Trusted(read_keys(signer.public_pem.encode()), signer.scope))
    except PolicyFailed as error:
        raise BadConfig(f"no sidecar would take this policy: {error}") from error
    return body
