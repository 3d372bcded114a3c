"""Where a Redis is: one server, a Sentinel's master, or the primary of one slot of a cluster.

    redis://user:password@host:port/db      rediss:// for TLS      unix://user:password@/path
    redis+sentinel://user:password@s1:26379,s2:26379/master-name
    redis+cluster://user:password@n1:6379,n2:6379

A Sentinel that wants a password is given it as `?sentinel_password=`, with `sentinel_user=` where
it has users; ours before the @ are the servers'.

`?ssl_ca_certs=`, `ssl_certfile=` and `ssl_keyfile=` name files for TLS. A certificate is always
verified, its host name too. No I/O here, and no Redis library.
"""

from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from rescind_protocol import redact
from rescind_subscriber.errors import SourceRefused

PORT = 6379
SENTINEL_PORT = 26379
TLS_FILES = redact.SHOWN_OPTIONS
SENTINEL_OPTIONS = ("sentinel_user", "sentinel_password")
_MAX_PORT = 65_535
_ENCODE = "special characters in its user and password are to be percent-encoded"


class _Unusable(ValueError):
    """An address that is wrong; its sentence quotes nothing of it."""


class Address(msgspec.Struct, frozen=True):
    """One place to connect to: host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL."""

    kind: Literal["server", "sentinel", "cluster"]
    addresses: tuple[Address, ...]
    tls: bool = False
    user: str | None = None
    password: str | None = None
    db: int = 0
    master: str = ""
    """Name of the master that the sentinels watch."""
    tls_files: dict[str, str] = {}
    sentinel_user: str | None = None
    sentinel_password: str | None = None

    @property
    def shown(self) -> str:
        """The addresses without their secrets."""
        return ",".join(str(one) for one in self.addresses)

    def __repr__(self) -> str:
        return f"<Place {self.kind} {self.shown}>"


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom to connect; everything else is the same for every link."""

    url: str
    name: str = "rescind"

    def __repr__(self) -> str:
        return f"<RedisOptions {parse(self.url).shown}>"


def parse(url: str) -> Place:
    """Return the place a URL names; raises `SourceRefused` with the reason, never the secrets."""
    try:
        return _parse(url.strip())
    except _Unusable as error:
        raise SourceRefused(f"the address of Redis cannot be used: {error}") from error
    except ValueError:  # its words quote what may be a part of a password
        raise SourceRefused(f"the address of Redis cannot be used: {_ENCODE}") from None


def _parse(url: str) -> Place:
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        raise _Unusable(_ENCODE)
    base, _, kind = parts.scheme.partition("+")
    if base == "unix" and not kind:
        return _place(parts, kind="server", addresses=(Address("", 0, _path_of(parts)),), tls=False)
    if base not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster"):
        raise _Unusable(
            "it begins with redis://, rediss://, unix://, or redis+sentinel:// and redis+cluster://"
        )
    default = SENTINEL_PORT if kind == "sentinel" else PORT
    hosts = parts.netloc.rpartition("@")[2].split(",")
    addresses = tuple(_address(host, default) for host in hosts)
    if not kind and len(addresses) > 1:
        raise _Unusable("several hosts are for redis+sentinel:// and redis+cluster://")
    return _place(
        parts,
        kind="sentinel" if kind == "sentinel" else "cluster" if kind else "server",
        addresses=addresses,
        tls=base == "rediss",
    )


def _path_of(parts: SplitResult) -> str:
    if not parts.path:
        raise _Unusable("unix:// needs the path of a socket")
    return unquote(parts.path)


def _address(host: str, default: int) -> Address:
    one = urlsplit(f"//{host}")
    port = default if one.port is None else one.port
    if not one.hostname or not 0 < port <= _MAX_PORT:
        raise _Unusable("a host is missing, or its port is out of range")
    return Address(one.hostname, port)


def _place(
    parts: SplitResult,
    *,
    kind: Literal["server", "sentinel", "cluster"],
    addresses: tuple[Address, ...],
    tls: bool,
) -> Place:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    files = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    known = (*TLS_FILES, *SENTINEL_OPTIONS) if kind == "sentinel" else TLS_FILES
    if any(name not in known for name in files):
        raise _Unusable(f"it has an unknown option; there are {', '.join(known)}")
    name = unquote(parts.path.strip("/")) if not addresses[0].path else ""
    if kind == "sentinel" and not name:
        raise _Unusable("redis+sentinel:// needs the master's name as its path")
    if kind != "sentinel" and name and not (name.isascii() and name.isdigit()):
        raise _Unusable("the path is the number of a database")
    return Place(
        kind=kind,
        addresses=addresses,
        tls=tls,
        user=unquote(user) or None,
        password=unquote(password) or None,
        db=int(name) if name and kind != "sentinel" else 0,
        master=name if kind == "sentinel" else "",
        tls_files={name: files[name] for name in TLS_FILES if name in files},
        sentinel_user=files.get("sentinel_user"),
        sentinel_password=files.get("sentinel_password"),
    )
