"""What else a view could be made of, at the same size: the alternatives of ADR 0005.

Each is the bare structure: 16-byte keys, one shared entry. `published` is what a reader holds.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from rescind_protocol.table import ALL, Entry, Table, TableEdit

ENTRY = Entry(ALL, ())
OVERLAY_ENTRIES = 256
SHARDS = 4096

Leaf = dict[bytes, Entry]


class Structure(Protocol):
    """One writer adds, any number of readers look up."""

    def add(self, key: bytes) -> None:
        """Publish one more entry."""
        ...

    def get(self, key: bytes) -> Entry | None:
        """Look a key up."""
        ...


class DictCopied:
    """One dict, copied whole for each event."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.published: Leaf = dict.fromkeys(keys, ENTRY)

    def add(self, key: bytes) -> None:
        """Copy, change, publish."""
        copy = self.published.copy()
        copy[key] = ENTRY
        self.published = copy

    def get(self, key: bytes) -> Entry | None:
        """Look a key up."""
        return self.published.get(key)


class DictInPlace:
    """One dict, changed under its readers: right with a GIL only, and it stops to grow."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.published: Leaf = dict.fromkeys(keys, ENTRY)

    def add(self, key: bytes) -> None:
        """Change."""
        self.published[key] = ENTRY

    def get(self, key: bytes) -> Entry | None:
        """Look a key up."""
        return self.published.get(key)


class BaseOverlay:
    """A big dict that rests and a small one copied for each event, merged when it is full."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        empty: Leaf = {}
        self.published = (dict.fromkeys(keys, ENTRY), empty)

    def add(self, key: bytes) -> None:
        """Copy the small one, or merge both into a new big one."""
        base, overlay = self.published
        overlay = {**overlay, key: ENTRY}
        if len(overlay) < OVERLAY_ENTRIES:
            self.published = (base, overlay)
        else:
            self.published = ({**base, **overlay}, {})

    def get(self, key: bytes) -> Entry | None:
        """Look a key up in both."""
        base, overlay = self.published
        return overlay.get(key) or base.get(key)


class FlatShards:
    """A tuple of 4096 dicts; an event copies one of them and the tuple."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        shards: list[Leaf] = [{} for _ in range(SHARDS)]
        for key in keys:
            shards[_shard(key)][key] = ENTRY
        self.published = tuple(shards)

    def add(self, key: bytes) -> None:
        """Copy one shard and the tuple."""
        shards, at = list(self.published), _shard(key)
        shards[at] = {**shards[at], key: ENTRY}
        self.published = tuple(shards)

    def get(self, key: bytes) -> Entry | None:
        """Look a key up."""
        return self.published[_shard(key)].get(key)


def _shard(key: bytes) -> int:
    return key[0] << 4 | key[1] >> 4


class Tree:
    """Ours: 64 x 64 dicts; an event copies one of them and two tuples of 64."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        edit = TableEdit(Table())
        for key in keys:
            edit.put(key, ENTRY)
        self.published = edit.done()

    def add(self, key: bytes) -> None:
        """Copy one leaf and its path."""
        edit = TableEdit(self.published)
        edit.put(key, ENTRY)
        self.published = edit.done()

    def get(self, key: bytes) -> Entry | None:
        """Look a key up."""
        return self.published.get(key)


ALTERNATIVES: dict[str, Callable[[Iterable[bytes]], Structure]] = {
    "dict copied": DictCopied,
    "dict in place": DictInPlace,
    "base + overlay": BaseOverlay,
    "4096 flat shards": FlatShards,
    "tree 64 x 64 (ours)": Tree,
}
