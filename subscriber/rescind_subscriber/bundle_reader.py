"""Takes a bundle's archive apart: bytes in, members out; nothing is written anywhere.

Whoever serves it is not trusted, so that everything is bounded: members, names, and what it unpacks
to, by what was really sent. Of a compressed bomb no more than that is ever held.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection
from typing import IO, cast

import msgspec

from rescind_protocol.bundles import (
    EVENTS,
    MANIFEST,
    MAX_MEMBERS,
    MAX_RATIO,
    SNAPSHOT,
    split_events,
    split_snapshot,
)
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed, TooLarge
from rescind_protocol.limits import SNAPSHOT_PART_BYTES

SMALL_BYTES = 1024 * 1024
"""So much may be unpacked, whatever the ratio: small archives are mostly zeros."""
MAX_MANIFEST_BYTES = 64 * 1024
MAX_REVISION_CHARS = 128


class SignedBundle(msgspec.Struct, frozen=True):
    """The signed form, not verified yet."""

    revision: str
    events: list[bytes]
    statement: bytes = b""
    """Of the snapshot; empty: there is none, the events are all."""
    parts: tuple[bytes, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it stands alone, and is no delta."""
        return bool(self.statement)


class _Bounded(io.RawIOBase):
    """What is unpacked, until it is more than it may be."""

    def __init__(self, packed: bytes, most_bytes: int | None) -> None:
        self._from = gzip.GzipFile(fileobj=io.BytesIO(packed))
        allowed = SMALL_BYTES + MAX_RATIO * len(packed)
        self._left = self._most = allowed if most_bytes is None else min(allowed, most_bytes)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._from.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(found)
        if self._left < 0:
            raise TooLarge(f"the archive unpacks to more than {self._most} bytes")
        return found


def members_of(
    packed: bytes, wanted: Collection[str] | None = None, *, most_bytes: int | None = None
) -> dict[str, bytes]:
    """Return files by their names, the `wanted` ones or all; raises `Malformed`, `TooLarge`.

    `most_bytes`: what it may unpack to; without, so many times its size.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", _Bounded(packed, most_bytes)), mode="r|"
        ) as tar:
            for count, info in enumerate(tar):
                name = _name(info, count)
                if name in found:
                    raise Malformed(f"the archive has two files of one name: {name[:80]!r}")
                if info.isfile() and (wanted is None or name in wanted):
                    member = tar.extractfile(info)
                    found[name] = member.read() if member is not None else b""
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError) as error:
        raise Malformed(f"not a bundle: {str(error)[:80]}") from error
    return found


def _name(info: tarfile.TarInfo, count: int) -> str:
    if count >= MAX_MEMBERS:
        raise TooLarge(f"the archive has more than {MAX_MEMBERS} files")
    if not (info.isfile() or info.isdir()):
        raise Malformed("the archive has something that is neither file nor folder")
    name = info.name.removeprefix("./").strip("/")  # OPA's own writer begins with "/"
    if ".." in name.split("/") or "\\" in name or "\x00" in name:
        raise Malformed(f"a name in the archive leads out of it: {name[:80]!r}")
    return name


def read_signed(packed: bytes) -> SignedBundle:
    """Return the signed form in an archive; raises `Malformed`, `TooLarge`."""
    members = members_of(packed, (MANIFEST, SNAPSHOT, EVENTS))
    if EVENTS not in members:
        raise Malformed("the bundle has nothing in it that a publisher has signed")
    statement = b""
    parts: tuple[bytes, ...] = ()
    if SNAPSHOT in members:
        statement, body = split_snapshot(members[SNAPSHOT])
        starts = range(0, len(body), SNAPSHOT_PART_BYTES)
        parts = tuple(body[at : at + SNAPSHOT_PART_BYTES] for at in starts)
    return SignedBundle(revision_of(members), split_events(members[EVENTS]), statement, parts)


def revision_of(members: dict[str, bytes]) -> str:
    """Return what the manifest says the revision is; raises `Malformed`."""
    raw = members.get(MANIFEST, b"")
    manifest = check_json(raw) if 0 < len(raw) <= MAX_MANIFEST_BYTES else None
    revision = manifest.get("revision") if isinstance(manifest, dict) else None
    if not isinstance(revision, str) or not 0 < len(revision) <= MAX_REVISION_CHARS:
        raise Malformed("the bundle's manifest names no revision")
    return revision
