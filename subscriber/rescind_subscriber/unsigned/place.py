"""Where an unsigned list is, and whose badges it may stop. No I/O.

Nothing in the list is signed, so that TLS is all that says who wrote it: plain HTTP goes to this
machine alone.
"""

import re
from urllib.parse import urlsplit

import msgspec

from rescind_protocol.errors import Malformed
from rescind_protocol.targets import canonical_issuer
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.http_address import is_loopback

MAX_URL_CHARS = 2048
_URL = re.compile(r"[\x21-\x7e]+")
"""RFC 3986 §2: what is not ASCII is percent-encoded; and nothing that could end a header's line."""


class Place(msgspec.Struct, frozen=True):
    """One list; make it with `place`."""

    issuer: str
    url: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Place({self.issuer} at {self.shown})"

    @property
    def shown(self) -> str:
        """The address, for people, without a query that may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.netloc}{parts.path}"


def place(issuer: str, url: str, token: str | None = None) -> Place:
    """Return a place in canonical form; raises `SourceRefused` for what cannot be right."""
    try:
        canonical = canonical_issuer(issuer)
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (Malformed, ValueError) as error:
        raise SourceRefused(f"unsigned list of {issuer[:80]!r}: {error}") from error
    fits = len(url) <= MAX_URL_CHARS and _URL.fullmatch(url)
    if not fits or parts.scheme not in ("http", "https") or not host or parts.fragment:
        raise SourceRefused(
            f"unsigned list of {issuer[:80]}: {url[:80]!r} is no address: write https://HOST/PATH"
        )
    if parts.username is not None or parts.password is not None:
        raise SourceRefused(
            f"unsigned list of {issuer[:80]}: keep the token apart from its address"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise SourceRefused(f"unsigned list of {issuer[:80]}: it is reached over https:// only")
    if token is not None and not _URL.fullmatch(token):
        raise SourceRefused(f"unsigned list of {issuer[:80]}: its token has blanks, or is empty")
    return Place(canonical, url, token)
