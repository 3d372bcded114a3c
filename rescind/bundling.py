"""Bundles from settings: who signs them, and one written from what the fabric says now."""

from rescind import compose
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_protocol.clock import Clock
from rescind_protocol.errors import Untrusted
from rescind_protocol.trust import Trust
from rescind_publisher.keyfiles import read_private
from rescind_registry.bundle import bodies, signed, signing
from rescind_registry.bundle.asking import Form
from rescind_registry.bundle.bodies import Body
from rescind_registry.bundle.document import Document
from rescind_registry.bundle.signed import Author
from rescind_registry.bundle.signing import BundleSigner
from rescind_subscriber.capture import Captured


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
