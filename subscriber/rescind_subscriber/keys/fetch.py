"""Fetches one document over HTTPS: no redirect, no proxy, no private address, in 10 s, 256 KiB.

The transport of the keeper of keys (RFC-002 §8.4). httpcore2 and not httpx2: the connection itself
is bounded, which httpx2 offers no place for, and all that it adds is what must not happen here.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

import httpcore2

from rescind_subscriber.errors import KeysUnavailable, SourceRefused
from rescind_subscriber.keys import coding
from rescind_subscriber.keys.addresses import is_plain, is_public
from rescind_subscriber.keys.stream import BoundedBackend, Budget, Forbidden

MAX_SECONDS = 10.0
"""RFC-002 §8.4: at most 10 s."""
MAX_BYTES = 256 * 1024
"""On the wire, with headers and TLS taken off: 256 keys of a kilobyte."""
_OK = 200


class Fetcher:
    """Asks for documents; each fetch has a connection of its own. Any thread may."""

    def __init__(
        self,
        *,
        private: bool = False,
        plain: bool = False,
        ca_file: Path | None = None,
        max_seconds: float = MAX_SECONDS,
        max_bytes: int = MAX_BYTES,
        private_setting: str = "keys_private",
    ) -> None:
        """`private` addresses and `plain` HTTP only if said so; `SourceRefused` for a bad CA file.

        `ca_file`: certificates (PEM) that may have signed the servers'; None: the system's.
        `private_setting`: which setting says so, for people.
        """
        try:
            self._tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SourceRefused(f"certificates in {ca_file} cannot be read: {error}") from error
        self._allowed = (lambda _: True) if private else is_public
        self._plain = plain
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._private_setting = private_setting

    def __call__(self, url: str) -> bytes:
        """Return the document; raises `KeysUnavailable`, saying why in a few words."""
        answer = self.ask(url, {"Accept": "application/json"})
        if answer.status != _OK:
            raise KeysUnavailable(f"answers HTTP {answer.status}")
        return answer.content

    def ask(self, url: str, headers: Mapping[bytes | str, bytes | str]) -> httpcore2.Response:
        """Return the whole answer, whatever its status, its content without a content coding.

        Raises `KeysUnavailable`.
        """
        if is_plain(url) and not self._plain:
            raise KeysUnavailable("is not reached over https")
        budget = Budget(self._max_seconds, self._max_bytes)
        backend = BoundedBackend(self._allowed, budget)
        try:
            with httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
                plain = {"Accept-Encoding": "identity", **headers, "Connection": "close"}
                return coding.decoded(pool.request("GET", url, headers=plain), self._max_bytes)
        except Forbidden as error:
            raise KeysUnavailable(
                f"has no public address; private ones are used if `{self._private_setting}` is set"
            ) from error
        except (httpcore2.LocalProtocolError, TypeError):
            # Nothing was sent. The error quotes the header, in which there may be a token.
            raise KeysUnavailable("is asked for in words that no request can carry") from None
        except (
            httpcore2.NetworkError,
            httpcore2.TimeoutException,
            httpcore2.ProtocolError,
        ) as error:
            raise KeysUnavailable(str(error) or type(error).__name__) from error
        except (httpcore2.UnsupportedProtocol, ValueError) as error:
            raise KeysUnavailable(f"is no address to fetch from: {error}") from error
