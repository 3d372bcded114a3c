"""Which badge a message carries: the rules of interop.md §1, with no framework in sight.

- `X-Capiscio-Badge` carries it over HTTP; `Authorization: Bearer` does when that one is absent.
- Both present: refused, since they may name two agents. A server that has OAuth tokens of its own
  in `Authorization` says `bearer="foreign"`: then only `X-Capiscio-Badge` is read.
- A header that stands twice is refused: proxies disagree on which of the two counts.
- MCP messages carry it in `_meta.capiscio_caller_badge` (stdio has no headers). Header and `_meta`
  both present must be equal.
- Length is limited before anything else is done with a badge.

Nothing here says whether a badge is good. It only makes sure that the badge the guard checks is the
badge that everyone else along the way would read.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from rescind_guard.integrations.errors import BadCarriage
from rescind_protocol.limits import MAX_BADGE_BYTES

BADGE_HEADER = "x-capiscio-badge"
MAP_HEADER = "x-capiscio-badge-map"
AUTHORIZATION = "authorization"
META_KEY = "capiscio_caller_badge"

Bearer = Literal["badge", "foreign"]
"""What `Authorization: Bearer` holds: a badge, or a token of someone else's (OAuth)."""


def header_badge(headers: Iterable[tuple[str, str]], *, bearer: Bearer = "badge") -> str | None:
    """Return the badge in HTTP `headers` (name, value; repeated names repeated), None if absent.

    Raises `BadCarriage` when two could be meant, or the one is empty or too long.
    """
    pairs = [(name.lower(), value) for name, value in headers]
    own = [value for name, value in pairs if name == BADGE_HEADER]
    lent = [_token(value) for name, value in pairs if _is_lent(name, value, bearer)]
    if own and lent:
        raise BadCarriage("X-Capiscio-Badge and Authorization: Bearer are both present; send one")
    found = own or lent
    if len(found) > 1:
        raise BadCarriage("the header that carries the badge is present more than once")
    return _sized(found[0]) if found else None


def has_bearer(headers: Iterable[tuple[str, str]], *, bearer: Bearer = "badge") -> bool:
    """Return whether `Authorization: Bearer` is among HTTP `headers` and counts as a badge."""
    return any(_is_lent(name.lower(), value, bearer) for name, value in headers)


def header_map(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the badges of the hops behind the caller as they came (`hops.read`), None if absent.

    Raises `BadCarriage` when two could be meant.
    """
    found = [value for name, value in headers if name.lower() == MAP_HEADER]
    if len(found) > 1:
        raise BadCarriage("X-Capiscio-Badge-Map is present more than once")
    return found[0] if found else None


def carries_badge(name: bytes, value: bytes, *, bearer: Bearer = "badge") -> bool:
    """Return whether this raw HTTP header holds badges, so that handlers must not see it."""
    plain = name.decode("latin-1").lower()
    return plain in (BADGE_HEADER, MAP_HEADER) or _is_lent(plain, value.decode("latin-1"), bearer)


def _is_lent(name: str, value: str, bearer: Bearer) -> bool:
    """Return whether the header is an `Authorization: Bearer` that counts as a badge."""
    scheme = value.partition(" ")[0]  # case-insensitive: RFC 9110 §11.1
    return bearer == "badge" and name == AUTHORIZATION and scheme.lower() == "bearer"


def _token(authorization: str) -> str:
    """Return the token after the scheme (RFC 6750 §2.1)."""
    return authorization.partition(" ")[2].strip(" ")


def meta_badge(params: Mapping[str, Any] | None) -> str | None:
    """Return the badge in the `_meta` of MCP `params`, None if absent.

    Raises `BadCarriage` when it is not a string, empty or too long.
    """
    meta = (params or {}).get("_meta")
    if not isinstance(meta, Mapping) or META_KEY not in meta:
        return None
    badge = meta[META_KEY]
    if not isinstance(badge, str):
        raise BadCarriage(f"_meta.{META_KEY} is not a string")
    return _sized(badge)


def one_badge(header: str | None, meta: str | None) -> str | None:
    """Return the badge that a message carries in either place; raises `BadCarriage` for two."""
    if header is not None and meta is not None and header != meta:
        raise BadCarriage(f"the badge in the header and the one in _meta.{META_KEY} differ")
    return meta if header is None else header


def _sized(badge: str) -> str:
    if len(badge) > MAX_BADGE_BYTES:
        raise BadCarriage(f"the badge is longer than {MAX_BADGE_BYTES} bytes")
    if not badge:
        raise BadCarriage("the badge is empty")
    return badge
