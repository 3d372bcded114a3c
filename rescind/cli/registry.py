"""The registry's folder on this host, for commands: its database, its audit trail, its keys.

No server need run: a running one reads the same files.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rescind import home
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_protocol.table import Entry as TableEntry
from rescind_protocol.targets import Target
from rescind_publisher.asks import default_actor
from rescind_publisher.trail import Entry, Trail
from rescind_registry import floors
from rescind_registry.badges import Badges
from rescind_registry.keyring import Keyring
from rescind_registry.store import Store

DATABASE, KEYS = "registry.sqlite3", "keys"
"""As in `rescind_registry.node`, which loads a web framework."""


@contextmanager
def opened(loaded: Loaded) -> Iterator[Store]:
    """Give the database; it is made at its first use, in the folder of a fabric."""
    if not home.exists(loaded.home) and not (loaded.home / home.REGISTRY).is_dir():
        raise BadConfig(
            f"{loaded.home} holds no fabric: start `rescind up`, or name the folder with --home"
        )
    store = Store(loaded.home / home.REGISTRY / DATABASE)
    try:
        yield store
    finally:
        store.close()


def trail_of(loaded: Loaded) -> Trail:
    """Return the audit trail."""
    return Trail(loaded.home / home.TRAIL)


def keyring_of(loaded: Loaded) -> Keyring:
    """Return the keys that sign badges."""
    return Keyring(loaded.home / home.REGISTRY / KEYS)


def note(loaded: Loaded, what: str, *targets: str, why: str | None = None) -> None:
    """Write an act of the command line into the audit trail."""
    at = round(time.time(), 3)
    trail_of(loaded).append(
        Entry(at=at, who=default_actor(), where="local", what=what, targets=targets, why=why)
    )


def floor_of(loaded: Loaded, target: Target, entry: TableEntry | None) -> int | None:
    """Return the floor of what the registry of this host has issued, None if there is none."""
    if not (loaded.home / home.REGISTRY / DATABASE).exists():
        return None
    with opened(loaded) as store:
        return floors.floor_of(Badges(store), target, entry, time.time())
