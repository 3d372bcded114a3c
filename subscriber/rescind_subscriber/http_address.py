"""Where a node of the registry is and how to speak with it; the same for all that follows by HTTP.

A token goes over TLS or to this machine. No proxy and no `.netrc` of the environment decides where
kills come from; no redirect is followed.
"""

import ipaddress
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec

from rescind_subscriber.errors import SourceRefused

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S = 3.0
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NO_ADDRESS = "it is no address of a registry: write https://HOST:PORT, the token apart from it"
"""Without the address, in which there may be a password."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom to connect. `url` is a node's origin: `https://registry.example:8410`."""

    url: str
    token: str | None = None
    """An API token of that node with the scope `read`."""
    ca_file: Path | None = None
    """Certificates (PEM) that may have signed the node's; None: the system's."""
    name: str = "rescind"

    @property
    def shown(self) -> str:
        """The address, for people; it has no secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"HttpOptions({self.shown})"


def make_client(options: HttpOptions, *, silence_s: float) -> "httpx2.AsyncClient":
    """Return a client; raises `SourceRefused` for an address that cannot be right.

    `silence_s`: a connection on which nothing comes for so long is given up.
    """
    import httpx2  # noqa: PLC0415 - who follows by gRPC alone has none

    check(options)
    headers = {"User-Agent": options.name, "Accept-Encoding": "identity"}
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    return httpx2.AsyncClient(
        base_url=options.url.rstrip("/"),
        headers=headers,
        verify=_context(options),
        timeout=httpx2.Timeout(silence_s, connect=CONNECT_TIMEOUT_S),
        follow_redirects=False,
        trust_env=False,
    )


def check(options: HttpOptions) -> None:
    """Raise `SourceRefused` for an address that cannot be right."""
    try:
        parts = urlsplit(options.url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its words quote what may be a password
        raise SourceRefused(_NO_ADDRESS) from None
    fits = is_visible(options.url) and parts.scheme in ("http", "https") and not has_user(parts)
    if not fits or not host or parts.query:
        raise SourceRefused(_NO_ADDRESS)
    if options.token is not None:
        check_token(options.token)
    if parts.scheme == "http" and options.token and not is_loopback(host):
        raise SourceRefused(f"{options.shown}: a token goes over https:// only")


def check_token(token: str) -> None:
    """Raise `SourceRefused`, which does not show it, for a token that no header can carry."""
    if not is_visible(token):
        raise SourceRefused(
            "its token is empty, or has a blank, an end of line or what is not ASCII in it: "
            "set it as it was issued"
        )


def is_visible(text: str) -> bool:
    """Whether it is visible ASCII alone: neither an address (RFC 3986 §2) nor a token has more.

    So nothing in it can end a header's line (RFC 9110 §5.5).
    """
    return _VISIBLE.fullmatch(text) is not None


def has_user(parts: SplitResult) -> bool:
    """Whether an address names a user or holds a password, even with an empty name."""
    return parts.username is not None or parts.password is not None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(options: HttpOptions) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SourceRefused(f"certificates in {options.ca_file} cannot be read: {error}") from error
