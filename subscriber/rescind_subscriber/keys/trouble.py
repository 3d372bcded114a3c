"""What is wrong with keys that are fetched, in sentences for operators. Pure: no I/O, no clock."""

from collections.abc import Mapping

from rescind_subscriber.keys.known import MAX_AGE_S, Known

LATE_AFTER = 3
"""Intervals without an answer; one is missed by any restart."""
DOCUMENTS = "DID documents"


def trouble_of(known: Known | None, why: str | None, now: float, every_s: float) -> str | None:
    """Return what is wrong with the keys of one; `why`: how the last fetch failed, if it did."""
    if known is None or not known.confirmed_at:
        return f"cannot be fetched: {why}; nobody has them yet" if why else "not fetched yet"
    age = abs(now - known.confirmed_at)
    if age <= MAX_AGE_S and why is None:
        return f"not confirmed for {age:.0f} s" if age > LATE_AFTER * every_s else _ignored(known)
    failed = f"cannot be fetched: {why}; " if why else ""
    if age <= MAX_AGE_S:
        return f"{failed}those confirmed {age:.0f} s ago stay in use, for a day at most"
    return f"{failed}not confirmed for {age:.0f} s, and no longer in use"


def _ignored(known: Known) -> str | None:
    if not known.ignored:
        return None
    return f"{len(known.ignored)} of the document's keys cannot be used: {known.ignored[0]}"


def of_issuers(found: Mapping[str, str | None]) -> dict[str, str]:
    """Return the troubles of issuers, by name, as health has them."""
    return {f"keys of {iss}": said for iss, said in found.items() if said is not None}


def of_agents(found: Mapping[str, str | None]) -> dict[str, str]:
    """Return the troubles of agents' documents as one: how many, and an example."""
    bad = [(did, said) for did, said in found.items() if said is not None]
    if not bad:
        return {}
    did, said = bad[0]
    return {DOCUMENTS: f"{len(bad)} of {len(found)} are in trouble; {did[:120]}: {said}"}
