"""Reads a bundle as an unsigned list: bytes in, target digests out. Pure.

Two forms, told apart by their first bytes: the reference registry's JSON, `{"data": {…}, "modules":
…, "revision": …}` (INTEROP §3), and an OPA bundle, whose `data.json` is that `data`. Of the data
are read

    revocations     a list of `jti`s, or of objects with one; an object by `jti`, of objects or
                    `true`; or an object by kind of target, as our own registry writes it
    agents          by DID: {"status": "active" | "suspended" | "disabled"}

It is all or nothing: a document that is not understood in every part changes nothing. A page of
several is none, and neither is a delta: what is missing on it would be free again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rescind_guard.unsigned import UnsignedList
from rescind_protocol import bundles, targets
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed, TooLarge
from rescind_protocol.limits import MAX_UNIX_S
from rescind_protocol.table import ALIVE, ALL
from rescind_protocol.targets import Kind, Target
from rescind_subscriber.bundle_reader import members_of

MAX_BYTES = 8 * 1024 * 1024
"""Of the JSON. To parse an honest one holds every reader of this process up for some ten
milliseconds, one of nothing but brackets for most of a second. Whoever has more to say has a log of
signed events for it."""
MAX_ENTRIES = 50_000
_GZIP = b"\x1f\x8b"
_KINDS = frozenset(map(str, Kind))
_STATUSES = ("active", "suspended", "disabled")

Cuts = dict[bytes, int]


def read(raw: bytes, issuer: str) -> UnsignedList:
    """Return what a document says of an issuer's badges; raises `Malformed`, `TooLarge`."""
    data = _unpacked(raw) if raw.startswith(_GZIP) else _member(_json(raw), "data")
    if "revocations" not in data:
        # Not an empty list: whoever serves another document by mistake shall free nobody.
        raise Malformed("its data has no `revocations`")
    killed = _revocations(data["revocations"], issuer)
    suspended: Cuts = {}
    for did, status in _agents(data.get("agents", {})):
        if status != "active":
            into = suspended if status == "suspended" else killed
            into[targets.agent(did).digest] = ALL
    _check_count(len(killed) + len(suspended))
    return UnsignedList(issuer, killed, suspended)


def _unpacked(raw: bytes) -> dict[str, Any]:
    named = (bundles.DATA, bundles.EVENTS, bundles.PATCH)
    members = members_of(raw, named, most_bytes=2 * MAX_BYTES)
    if bundles.EVENTS in members:
        raise Malformed('it is signed by publishers: follow it with sources = ["bundle"]')
    if bundles.PATCH in members:
        raise Malformed("it is a delta, which is no list")
    if bundles.DATA not in members:
        raise Malformed(f"the archive has no {bundles.DATA}")
    return _object(_json(members[bundles.DATA]), bundles.DATA)


def _json(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"it is larger than {MAX_BYTES} bytes")
    return check_json(raw)


def _revocations(said: Any, issuer: str) -> Cuts:
    if isinstance(said, list):
        _check_count(len(said))
        named = _rows(said, issuer)
    else:
        named = _members(_object(said, "revocations"), issuer)
    # What names another issuer is left out: this list is not asked about that one's badges.
    cuts: Cuts = {}
    for target, told in named:
        if target.iss in ("", issuer):  # of what is named twice, the wider; no order decides
            cuts[target.digest] = max(cuts.get(target.digest, ALIVE), _cut(target, told))
    return cuts


def _members(found: dict[str, Any], issuer: str) -> Iterable[tuple[Target, Any]]:
    kinds = _KINDS.intersection(found)
    if kinds and len(kinds) < len(found):
        raise Malformed("`revocations` has kinds of targets beside what is none")
    if kinds:
        return _by_kind(found)
    _check_count(len(found))
    return ((targets.badge(issuer, jti), told) for jti, told in found.items())


def _rows(said: list[Any], issuer: str) -> Iterable[tuple[Target, Any]]:
    for row in said:
        told = {"jti": row} if isinstance(row, str) else _object(row, "an entry of `revocations`")
        named, jti = told.get("iss", issuer), told.get("jti")
        if not isinstance(named, str) or not isinstance(jti, str):
            raise Malformed("an entry of `revocations` has no `jti`, or an `iss` that is no text")
        yield targets.badge(named, jti), told


def _by_kind(found: Mapping[str, Any]) -> Iterable[tuple[Target, Any]]:
    """Yield kills as our registry writes them."""
    for kind, said in found.items():
        named = _object(said, kind)
        _check_count(len(named))
        for ident, told in named.items():
            if kind != Kind.BADGE:
                yield _MAKERS[Kind(kind)](ident), told
                continue
            by_issuer = _object(told, "a badge's kills")
            _check_count(len(by_issuer))
            for iss, one in by_issuer.items():
                yield targets.badge(iss, ident), one


_MAKERS: dict[Kind, Callable[[str], Target]] = {
    Kind.AGENT: targets.agent,
    Kind.SESSION: targets.session,
    Kind.KEY: targets.key,
    Kind.ISSUER: targets.issuer,
    Kind.EVERYONE: lambda _: targets.everyone(),
}


def _cut(target: Target, told: Any) -> int:
    if told is True:
        return ALL
    before = _object(told, str(target)[:80]).get("issued_before", ALL)
    if type(before) is not int or not (0 <= before < MAX_UNIX_S or before == ALL):
        raise Malformed(f"{str(target)[:80]}: `issued_before` is no time in unix seconds")
    return before


def _agents(said: Any) -> Iterable[tuple[str, str]]:
    agents = _object(said, "agents")
    _check_count(len(agents))
    for did, told in agents.items():
        status = _object(told, "an agent").get("status")
        if status not in _STATUSES:
            raise Malformed(f"agent {did[:60]!r} has a status that is none of {_STATUSES}")
        yield did, status


def _member(found: Any, name: str) -> dict[str, Any]:
    return _object(_object(found, "it").get(name), name)


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Malformed(f"{what} is no object")
    return found


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise TooLarge(f"it has more than {MAX_ENTRIES} entries")
