"""Asks for a list if it is another one than is known: one conditional request, bounded in all."""

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

import httpcore2
import msgspec

from rescind_protocol import bundles
from rescind_subscriber.errors import KeysUnavailable, ListUnavailable
from rescind_subscriber.keys import fetch as bounded
from rescind_subscriber.unsigned.place import Place
from rescind_subscriber.unsigned.reader import MAX_BYTES

MAX_SECONDS = 10.0
"""Connection, TLS, and the whole answer however slowly it drips: no longer than an interval."""
HEADERS_BYTES = 64 * 1024
_OK, _NOT_MODIFIED = 200, 304
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,256}"')
"""RFC 9110 §8.8.3, without what is not ASCII; a longer one is not kept."""


class Answer(msgspec.Struct, frozen=True):
    """A good answer, nothing of it read."""

    tag: str = ""
    """By which to ask the next time; "": it has none."""
    raw: bytes | None = None
    """None: not modified."""


class Fetcher:
    """Asks for lists; each request has a connection of its own. Any thread may."""

    def __init__(self, *, private: bool = False, ca_file: Path | None = None) -> None:
        """`private` addresses only if said so; `SourceRefused` for a bad CA file."""
        self._bounded = bounded.Fetcher(
            private=private,
            plain=True,  # to this machine alone, which a place has seen to
            ca_file=ca_file,
            max_seconds=MAX_SECONDS,
            max_bytes=MAX_BYTES + HEADERS_BYTES,
            private_setting="unsigned_list_private",
        )

    def __call__(self, place: Place, tag: str) -> Answer:
        """Return the list, unless it is the one of `tag` still; raises `ListUnavailable`."""
        if place.file is not None:
            return _from_file(place.file, tag)
        headers: dict[bytes | str, bytes | str] = {
            "Accept": f"{bundles.JSON}, {bundles.GZIP};q=0.9",
            "Cache-Control": "no-cache",  # RFC 9111 §5.2.1.4: a cache asks before it answers
        }
        if place.token is not None:
            headers["Authorization"] = f"Bearer {place.token}"
        if tag:
            headers["If-None-Match"] = tag
        try:
            got = self._bounded.ask(place.url, headers)
        except KeysUnavailable as error:
            raise ListUnavailable(str(error)) from error
        if got.status == _NOT_MODIFIED and tag:
            return Answer(tag)
        if got.status != _OK:
            raise ListUnavailable(f"answers HTTP {got.status}")
        return _read(got)


def _from_file(path: Path, tag: str) -> Answer:
    """Read a list that is a file; its tag is its digest."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ListUnavailable(f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & stat.S_IWOTH:
        raise ListUnavailable("is not a file, or anyone may write to it: chmod o-w")
    now = f'"{sha256(raw).hexdigest()}"'
    return Answer(tag) if now == tag else Answer(now, raw)


def _read(got: httpcore2.Response) -> Answer:
    said = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in got.headers}
    tag = said.get("etag", "").strip()
    return Answer(tag if _TAG.fullmatch(tag) else "", got.content)
