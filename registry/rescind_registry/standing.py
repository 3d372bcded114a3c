"""Who is suspended or killed: a look into the view of the one log, never into a table of our own.

A view that is not fresh cannot tell, and then nothing is issued: a badge that should not exist
lives for its whole TTL.
"""

from enum import StrEnum
from typing import Protocol

import msgspec

from rescind_guard.view import View
from rescind_protocol.changes import Effect, Revocation, RevocationId
from rescind_protocol.table import ALIVE, Entry
from rescind_protocol.targets import Target, agent, everyone, issuer, key
from rescind_registry.errors import CannotTell


class Followed(Protocol):
    """What follows the log for this node: a `rescind_subscriber.Subscriber`, or a fake of one."""

    @property
    def view(self) -> View:
        """What the log says so far."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether the view is proven and within the limit."""
        ...


class State(StrEnum):
    """How an agent stands, in the words of the reference's API (INTEROP §3)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


class Standing(msgspec.Struct, frozen=True):
    """How an agent stands. `by` is the kill or suspension that says so, oldest first."""

    state: State
    by: Revocation | None
    floor: int
    """The next badge's `iat` must be greater (unix seconds)."""


class Look:
    """Answers from the view; raises `CannotTell` while it is not fresh."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed

    def agent(self, did: str, *, iss: str, key_thumbprint: str) -> Standing:
        """Return how the next badge of an agent would stand, by this issuer and this key."""
        if not self._followed.fresh:
            raise CannotTell("this node cannot prove that it knows every kill: try again later")
        entries = [
            entry
            for target in (agent(did), issuer(iss), key(key_thumbprint), everyone())
            if (entry := self.entry(target)) is not None
        ]
        floor = max((entry.floor for entry in entries), default=ALIVE)
        for effect, state in ((Effect.USE, State.DISABLED), (Effect.ISSUANCE, State.SUSPENDED)):
            for entry in entries:
                if (by := _first(entry, effect)) is not None:
                    return Standing(state, by, floor)
        return Standing(State.ACTIVE, None, floor)

    def entry(self, target: Target) -> Entry | None:
        """Return all that is known of a target, fresh or not."""
        return self._followed.view.published.table.get(target.digest)

    def knows(self, names: tuple[RevocationId, ...], target: Target) -> bool:
        """Whether this node's view has these kills of a target."""
        entry = self.entry(target)
        known = {each.id for each in entry.revocations} if entry else set()
        return known.issuperset(names)


def _first(entry: Entry, effect: Effect) -> Revocation | None:
    """Return the oldest kill with this effect that a badge issued from now on falls under."""
    found = [
        each
        for each in entry.revocations
        if each.kill.effect is effect and each.kill.issued_before is None
    ]
    return min(found, key=lambda each: (each.at, each.id), default=None)
