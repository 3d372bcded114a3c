"""Whether anybody has ever heard of what is to be killed: a misspelt agent is killed, and lives.

The registry of this host knows whom it enrolled, the local issuer whom it gave a badge, and the
guards remember who called them. Nothing here stands in a kill's way: it is asked after it.
"""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rescind_protocol.errors import RescindError
from rescind_protocol.targets import Kind, Target

if TYPE_CHECKING:
    from rescind.config import Loaded
    from rescind_publisher.applied import Applied

REGISTRY, DATABASE, LEDGER = "registry", "registry.sqlite3", "issuer.ledger.json"
"""As in `rescind.home`, `rescind.cli.registry` and `rescind.cli.issuing`, which load more."""
_REMEMBERED = (Kind.AGENT, Kind.SESSION, Kind.BADGE)
_MAX_CANDIDATES = 5000


def strangers(
    found: Iterable[Target], loaded: "Loaded", applied: "Applied | None" = None
) -> list[str]:
    """Return a sentence for each target that nobody here knows, with the nearest name.

    `applied`: what guards have said, where they were waited for.
    """
    if applied is not None and applied.seen:
        return []
    targets = list(found)
    asked = applied is not None and applied.done > 0
    guards = " and no guard that answered remembers a call of it" if asked else ""
    names = _names(loaded)
    sentences = []
    for target in targets:
        if target.kind is Kind.AGENT and names is not None:
            if target.id not in names:
                hint = near(target.id, names)
                sentences.append(f"{target} is known to no registry here{guards}{hint}")
        elif asked and target.kind in _REMEMBERED:
            sentences.append(
                f"no guard that answered remembers a call of {target}: is it spelt so?"
            )
    return sentences


def near(name: str, names: Iterable[str]) -> str:
    """Return the question after the nearest of some names; "" where none is near."""
    candidates = sorted(names, key=lambda each: abs(len(each) - len(name)))[:_MAX_CANDIDATES]
    found = difflib.get_close_matches(name, candidates, 1, 0.7)
    return f"; did you mean {found[0]}?" if found else ": is it spelt so?"


def _names(loaded: "Loaded") -> set[str] | None:
    """Return the agents that are known on this host; None where nothing here would know them."""
    enrolled, issued = _enrolled(loaded), _issued(loaded)
    return None if enrolled is None and issued is None else (enrolled or set()) | (issued or set())


def _enrolled(loaded: "Loaded") -> set[str] | None:
    if not (loaded.home / REGISTRY / DATABASE).exists():
        return None
    from rescind.cli.registry import opened  # noqa: PLC0415 - only where there is one
    from rescind_registry.agents import Agents  # noqa: PLC0415

    try:
        with opened(loaded) as store:
            return set(Agents(store).names())
    except RescindError:
        return None


def _issued(loaded: "Loaded") -> set[str] | None:
    path = loaded.home / LEDGER
    if not path.exists():
        return None
    from rescind.cli.issuing import issued  # noqa: PLC0415 - only where there is one

    return issued(path)
