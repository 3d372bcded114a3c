"""Where an unsigned list is, and whose badges it may stop. No I/O.

Nothing in the list is signed, so that TLS is all that says who wrote it: plain HTTP goes to this
machine alone. A file on this machine is as good as the folder that it lies in.
"""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from rescind_protocol.errors import Malformed
from rescind_protocol.targets import canonical_issuer
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.http_address import check_token, has_user, is_loopback, is_visible

MAX_URL_CHARS = 2048
FILE = "file"


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

    @property
    def file(self) -> Path | None:
        """The path, if the list is a file."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == FILE else None

    def page(self, cursor: str) -> "Place":
        """Return where the page behind a cursor is (`nextCursor`, RFC-002 §12.5)."""
        parts = urlsplit(self.url)
        asked = [
            pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "cursor"
        ]
        query = urlencode([*asked, ("cursor", cursor)])
        return msgspec.structs.replace(self, url=urlunsplit(parts._replace(query=query)))


def place(issuer: str, url: str, token: str | None = None) -> Place:
    """Return a place in canonical form; raises `SourceRefused` for what cannot be right."""
    try:
        canonical = canonical_issuer(issuer)
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except Malformed as error:
        raise SourceRefused(f"unsigned list of {issuer[:80]!r}: {error}") from error
    except ValueError as error:  # it may quote a password
        raise _no_address(issuer) from error
    fits = len(url) <= MAX_URL_CHARS and is_visible(url)
    if fits and parts.scheme == FILE and not host and parts.path.startswith("/"):
        return Place(canonical, url)
    if not fits or parts.scheme not in ("http", "https") or not host or parts.fragment:
        raise _no_address(issuer)
    if has_user(parts):
        raise SourceRefused(
            f"unsigned list of {issuer[:80]}: keep the token apart from its address"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise SourceRefused(f"unsigned list of {issuer[:80]}: it is reached over https:// only")
    if token is not None:
        _check_token(issuer, token)
    return Place(canonical, url, token)


def _no_address(issuer: str) -> SourceRefused:
    """Without what was given: a password may be in it."""
    return SourceRefused(
        f"unsigned list of {issuer[:80]}: what is given is no address: write https://HOST/PATH or "
        "file:///PATH"
    )


def _check_token(issuer: str, token: str) -> None:
    try:
        check_token(token)
    except SourceRefused as error:
        raise SourceRefused(f"unsigned list of {issuer[:80]}: {error}") from error
