"""How a NATS connection is made: options in one place, our errors for the library's.

What cannot heal by itself is `SourceRefused`: credentials, certificate, TLS, version, an address
that no server can have. The rest is weather, `SourceUnavailable`.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import structs
from nats import errors

from rescind_protocol import redact
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.libraries import warn_unknown
from rescind_subscriber.nats_client import LeanClient, unknown_part
from rescind_subscriber.nats_plain import PlainClient

MIN_SERVER = (2, 11)
"""Batched direct get (NATS ADR-31, server 2.11)."""
CONNECT_TIMEOUT_S = 0.5
PING_INTERVAL_S = 1
MAX_PINGS_OUTSTANDING = 2
ONE_ROUND = 0.5
"""Each address once in one attempt. The library drops an address after *more* failures than this;
0 is "for ever", and 1 would be two rounds with a fixed wait in between, the same for everybody."""
FIRST_ATTEMPT_S = 3.0
"""All addresses, TCP, TLS and log-in together."""

Connected = LeanClient | PlainClient

_UNUSABLE = (
    *(errors.InvalidUserCredentialsError, FileNotFoundError, PermissionError),
    *(ImportError, ValueError),
)


class NatsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom to connect; everything else is the same for every link.

    `url` is one or more addresses with a comma between them, `nats://` or `tls://`, with
    `user:password@` or `token@` if that is how the server knows us; or `creds_file` (JWT) or
    `nkey_file` (seed). `tls` passes a context through and insists on TLS, and so do `ca_file`,
    `cert_file` and `key_file` (PEM). All files are read at each connection: what was rotated holds
    from the next one on. `fresh` returns the addresses as they are written now: where the server
    refuses the credentials of `url`, which may be old, they are tried with these.
    """

    url: str
    inbox_prefix: str
    name: str = "rescind"
    tls: ssl.SSLContext | None = None
    creds_file: Path | None = None
    nkey_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    fresh: Callable[[], str | None] | None = None

    @property
    def wants_tls(self) -> bool:
        """Whether a connection without TLS is refused."""
        files = (self.ca_file, self.cert_file, self.key_file)
        schemes = any(url.startswith("tls://") for url in self.urls)
        return schemes or self.tls is not None or any(files)

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS is spoken with; raises `PermissionError` and its like for bad files."""
        if self.tls is not None or not any((self.ca_file, self.cert_file, self.key_file)):
            return self.tls
        try:
            made = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                made.load_cert_chain(self.cert_file, self.key_file)
        except ssl.SSLError as error:
            raise PermissionError(
                f"CA, client certificate or key are not PEM, or do not fit: {error}"
            ) from error
        return made

    @property
    def shown(self) -> str:
        """The addresses without their secrets."""
        return redact.hosts(self.url)

    @property
    def urls(self) -> list[str]:
        """Each address on its own."""
        return [part.strip() for part in self.url.split(",") if part.strip()]

    def __repr__(self) -> str:
        return f"<NatsOptions {self.shown}>"

    def connect_arguments(self) -> dict[str, Any]:
        """Return the arguments of nats-py's `connect`; the only place that names them."""
        if not self.urls:
            raise ValueError("no address is given")
        if any("@" in part for url in self.urls for part in urlsplit(url)[2:]):
            raise ValueError("an address ends within its password: '/', '?' and '#' are encoded")
        return {
            "servers": self.urls,
            "name": self.name,
            "inbox_prefix": self.inbox_prefix,
            "allow_reconnect": False,  # the link replaces a lost connection itself
            "max_reconnect_attempts": ONE_ROUND,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "ping_interval": PING_INTERVAL_S,
            "max_outstanding_pings": MAX_PINGS_OUTSTANDING,
            **self._identity(),
        }

    def _identity(self) -> dict[str, Any]:
        context = self.context()
        arguments: dict[str, Any] = {"tls": context} if context is not None else {}
        if self.creds_file is not None:
            return arguments | {"user_credentials": str(self.creds_file)}
        if self.nkey_file is not None:
            return arguments | {"nkeys_seed": str(self.nkey_file)}
        first = urlsplit(self.urls[0])
        if first.username and first.password:
            # Given apart, for the library would not decode them: a password may hold '@' or '/'.
            user, password = unquote(first.username), unquote(first.password)
            return arguments | {"user": user, "password": password}
        return arguments | ({"token": unquote(first.username)} if first.username else {})


def _new_client(*, tls_required: bool) -> Connected:
    """Return a client that is not connected yet: the lean one where nats-py's insides are known."""
    part = unknown_part()
    if not part:
        return LeanClient(tls_required=tls_required)
    warn_unknown("nats-py", part, "its public interface is used, and kills take longer")
    return PlainClient(tls_required=tls_required)


class _Unauthorized(SourceRefused):
    """The server does not know these credentials."""


async def connect(options: NatsOptions, on_problem: Callable[[str], None]) -> Connected:
    """Return a new connection, or raise `SourceRefused` or `SourceUnavailable`."""
    try:
        return await _connect(options, on_problem)
    except _Unauthorized:
        written = options.fresh() if options.fresh is not None else None
        if written is None or written == options.url:
            raise
    return await _connect(structs.replace(options, url=written), on_problem)


async def _connect(options: NatsOptions, on_problem: Callable[[str], None]) -> Connected:
    client = _new_client(tls_required=options.wants_tls)
    last: list[Exception] = []

    async def noticed(error: Exception) -> None:
        last[:] = [error]
        if "permissions violation" in str(error).lower():
            on_problem(f"NATS at {options.shown}: {error}")

    try:
        async with asyncio.timeout(FIRST_ATTEMPT_S):
            await client.connect(error_cb=noticed, **options.connect_arguments())
        _check_version(client, options)
    except BaseException as error:
        client.abort("not connected")
        if isinstance(error, (errors.Error, OSError, TimeoutError, ValueError, ImportError)):
            root = last[0] if last and isinstance(error, errors.NoServersError) else error
            raise _mapped(root, options) from error
        raise
    client.read_directly()
    return client


def _check_version(client: Connected, options: NatsOptions) -> None:
    version = client.connected_server_version
    if (version.major, version.minor) < MIN_SERVER:
        raise SourceRefused(
            f"NATS at {options.shown} is version {version.major}.{version.minor}.{version.patch}: "
            f"{MIN_SERVER[0]}.{MIN_SERVER[1]} or newer is needed (batched direct get)"
        )


def _mapped(error: BaseException, options: NatsOptions) -> SourceRefused | SourceUnavailable:
    """Return our error for one of nats-py or the socket, by whose fault it is."""
    where = f"NATS at {options.shown}"
    text = str(error) or type(error).__name__
    if "authorization violation" in text.lower() or isinstance(error, errors.AuthorizationError):
        return _Unauthorized(f"{where} refused our credentials: check user, password or key")
    if isinstance(error, errors.SecureConnRequiredError):
        return SourceRefused(f"{where} offers no TLS, which these settings insist on")
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceRefused(f"{where}: its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ValueError):  # its words quote what may be a part of a password
        return SourceRefused(
            f"{where}: the address cannot be used; are special characters in user and password "
            "percent-encoded?"
        )
    if isinstance(error, _UNUSABLE) or text.startswith("nats: invalid"):
        return SourceRefused(f"{where}: address or credentials cannot be used: {text}")
    return SourceUnavailable(f"{where} cannot be reached: {text}")
