"""Reads an unsigned list: bytes in, target digests out. Pure.

Four documents, told apart by their first bytes and members:

    {"data": {…}, "modules": …, "revision": …}          the reference's bundle (interop.md §3)
    an OPA bundle                                       whose `data.json` is that `data`
    {"revocations": […], "nextCursor": …, …}            `GET /v1/revocations` (RFC-002 §12.5)
    {"syncedAt": …, "revocations": […]}                 the reference verifier's cache, a file

Of the data are read

    revocations     a list of `jti`s, or of objects with one or with a `target`; an object by `jti`,
                    of objects or `true`; or an object by kind of target, as our registry writes it
    agents          by DID: {"status": "active" | "suspended" | "disabled"}; or a list of objects
                    with `did` and `status`

It is all or nothing: a document that is not understood in every part changes nothing. A delta is
refused, and so is one page of several: what is missing on it would be free again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rescind_guard.unsigned import UnsignedList
from rescind_protocol import bundles, targets
from rescind_protocol.changes import Effect
from rescind_protocol.encoding import check_document
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
MAX_CURSOR_CHARS = 512
_NEVER = "0001-01-01"
"""Go's zero time: a cache that no registry has filled yet."""
_GZIP = b"\x1f\x8b"
_KINDS = frozenset(map(str, Kind))
_STATUSES = ("active", "suspended", "disabled")

Cuts = dict[bytes, int]


def read(raw: bytes, issuer: str) -> UnsignedList:
    """Return what a document says of an issuer's badges; raises `Malformed`, `TooLarge`."""
    found, cursor = read_page(raw, issuer)
    if cursor:
        raise Malformed("it is one page of several")
    return found


def read_page(raw: bytes, issuer: str) -> tuple[UnsignedList, str]:
    """Return what a document says, and the cursor of its next page ("": it is whole).

    Raises `Malformed`, `TooLarge`.
    """
    data, cursor = (_unpacked(raw), "") if raw.startswith(_GZIP) else _plain(raw)
    if data.keys().isdisjoint(("revocations", "agents")):
        # Not an empty list: another document, served by mistake, shall free nobody.
        raise Malformed("its data has no `revocations` and no `agents`")
    killed, suspended = _revocations(data.get("revocations", []), issuer)
    for did, status in _agents(data.get("agents", {})):
        if status != "active":
            into = suspended if status == "suspended" else killed
            into[targets.agent(did).digest] = ALL
    return _checked(issuer, killed, suspended), cursor


def merged(pages: Sequence[UnsignedList]) -> UnsignedList:
    """Return the pages of one list as one; raises `TooLarge`."""
    killed: Cuts = {}
    suspended: Cuts = {}
    for page in pages:
        for into, cuts in ((killed, page.killed), (suspended, page.suspended)):
            for digest, cut in cuts.items():
                into[digest] = max(cut, into.get(digest, ALIVE))
    return _checked(pages[0].issuer, killed, suspended)


def _checked(issuer: str, killed: Cuts, suspended: Cuts) -> UnsignedList:
    _check_count(len(killed) + len(suspended))
    return UnsignedList(issuer, killed, suspended)


def _plain(raw: bytes) -> tuple[dict[str, Any], str]:
    found = _object(_json(raw), "it")
    if "data" in found or "revocations" not in found:
        return _member(found, "data"), ""
    synced, cursor = found.get("syncedAt"), found.get("nextCursor") or ""
    if isinstance(synced, str) and synced.startswith(_NEVER):
        raise Malformed("its `syncedAt` says that it was never synced")
    if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR_CHARS:
        raise Malformed("its `nextCursor` is not a text")
    # Go writes null for a slice that nothing was added to.
    rows = found["revocations"]
    return {"revocations": [] if rows is None and synced else rows}, cursor


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
    return check_document(raw)


def _revocations(said: Any, issuer: str) -> tuple[Cuts, Cuts]:
    """Return what is killed and what is suspended."""
    if isinstance(said, list):
        _check_count(len(said))
        named = _rows(said, issuer)
    else:
        named = _members(_object(said, "revocations"), issuer)
    # What names another issuer is left out: this list is not asked about that one's badges.
    killed: Cuts = {}
    suspended: Cuts = {}
    for target, told in named:
        if target.iss in ("", issuer):  # of what is named twice, the wider; no order decides
            cuts = suspended if _is_suspension(told) else killed
            cuts[target.digest] = max(cuts.get(target.digest, ALIVE), _cut(target, told))
    return killed, suspended


def _is_suspension(told: Any) -> bool:
    effect = told.get("effect", Effect.USE) if isinstance(told, dict) else Effect.USE
    if effect not in tuple(Effect):
        raise Malformed("an entry of `revocations` has an effect that is not known")
    return bool(effect == Effect.ISSUANCE)


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
        if told.get("target") is not None:
            yield _target(told["target"]), told
            continue
        named, jti = told.get("iss", issuer), told.get("jti")
        if not isinstance(named, str) or not isinstance(jti, str):
            raise Malformed("an entry of `revocations` has no `jti`, or an `iss` that is no text")
        yield targets.badge(named, jti), told


def _target(said: Any) -> Target:
    """Read a target as `GET /v1/revocations` of a node writes it."""
    found = _object(said, "a `target`")
    try:
        return targets.check(msgspec.convert(found, Target))
    except msgspec.ValidationError as error:
        raise Malformed(f"a `target`: {error}") from error


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
    if isinstance(said, list):
        _check_count(len(said))
        yield from (_listed_agent(each) for each in said)
        return
    agents = _object(said, "agents")
    _check_count(len(agents))
    for did, told in agents.items():
        yield did, _status(did, _object(told, "an agent").get("status"))


def _listed_agent(said: Any) -> tuple[str, str]:
    """Read an entry of the reference's list; one without a status is an agent that it knows."""
    told = _object(said, "an entry of `agents`")
    did = told.get("did")
    if not isinstance(did, str):
        raise Malformed("an entry of `agents` has no `did`")
    return did, _status(did, told.get("status", "active"))


def _status(did: str, status: Any) -> str:
    if status not in _STATUSES:
        raise Malformed(f"agent {did[:60]!r} has a status that is none of {_STATUSES}")
    return str(status)


def _member(found: Any, name: str) -> dict[str, Any]:
    return _object(_object(found, "it").get(name), name)


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Malformed(f"{what} is no object")
    return found


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise TooLarge(f"it has more than {MAX_ENTRIES} entries")
