"""Fetches a policy bundle if it is another one than is known: one conditional GET, bounded in all.

By the transport of the keeper of keys: no redirect, no proxy, so many seconds and bytes for the
whole. A private address is fine here: a policy's server is the operator's own.
"""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from rescind_subscriber.errors import KeysUnavailable, PolicyUnavailable, SourceRefused
from rescind_subscriber.http_address import check_token, has_user, is_loopback, is_visible
from rescind_subscriber.keys.fetch import Fetcher
from rescind_subscriber.policies.opened import MAX_BYTES

MAX_SECONDS = 30.0
"""Two of three intervals at most: a megabyte and a half at 50 KB a second."""
HEADER_BYTES = 64 * 1024
MAX_ETAG_CHARS = 256
_OK, _NOT_MODIFIED = 200, 304
_NO_ADDRESS = "it is no address: write https://HOST/PATH, a token apart from it"


class Answer(msgspec.Struct, frozen=True):
    """What a server sent; nothing of it is verified."""

    raw: bytes
    etag: str
    """As it was sent; empty: it sent none."""


class PolicyFetcher:
    """One bundle at one address."""

    def __init__(self, url: str, *, token: str | None = None, ca_file: Path | None = None) -> None:
        """`SourceRefused` for an address, a token or certificates that cannot be right."""
        self._url, self._token = url, token
        self.shown = _check(url)
        if token is not None:
            check_token(token)
        self._fetch = Fetcher(
            private=True,
            plain=True,  # on the loopback: `_check` has seen to it
            ca_file=ca_file,
            max_seconds=MAX_SECONDS,
            max_bytes=MAX_BYTES + HEADER_BYTES,
        )

    def __repr__(self) -> str:
        return f"<PolicyFetcher {self.shown}>"

    def __call__(self, known: str = "") -> Answer | None:
        """Return the bundle; None: it is the `known` one. Raises `PolicyUnavailable`."""
        headers: dict[bytes | str, bytes | str] = {"Accept": "*/*"}
        if known:
            headers["If-None-Match"] = known
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            answer = self._fetch.ask(self._url, headers)
        except KeysUnavailable as error:
            raise PolicyUnavailable(f"the bundle at {self.shown} {error}") from error
        if answer.status == _NOT_MODIFIED and known:
            return None
        if answer.status != _OK:
            raise PolicyUnavailable(f"the bundle at {self.shown}: HTTP {answer.status}")
        return Answer(answer.content, _etag(answer.headers))


def _etag(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the entity tag (RFC 9110 §8.8.3), if it is one that can be sent back."""
    found = {name.lower(): value for name, value in headers}.get(b"etag", b"")
    text = found.decode("ascii", "replace")
    return text if len(text) <= MAX_ETAG_CHARS and text.isascii() and text.isprintable() else ""


def _check(url: str) -> str:
    """Return the address for people; raises `SourceRefused`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its words quote what may be a password
        raise SourceRefused(_NO_ADDRESS) from None
    if not is_visible(url) or parts.scheme not in ("http", "https") or not host or has_user(parts):
        raise SourceRefused(_NO_ADDRESS)
    if parts.scheme == "http" and not is_loopback(host):
        raise SourceRefused("a bundle of policy is fetched by https://")
    return f"{parts.netloc}{parts.path}"
