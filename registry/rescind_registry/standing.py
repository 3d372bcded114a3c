"""Who is suspended or killed: a look into the view of the one log, never into a table of our own.

A view that is not fresh cannot tell, and then nothing is issued: a badge that should not exist
lives for its whole TTL. What it knows to be killed is refused all the same.
"""

from enum import StrEnum
from typing import Protocol

import msgspec

from rescind_guard.view import View
from rescind_protocol import killset
from rescind_protocol.changes import Effect, Revocation, RevocationId
from rescind_protocol.table import ALIVE, ALL, Entry
from rescind_protocol.targets import Target, agent, everyone, issuer, key
from rescind_protocol.trust import Trust
from rescind_registry.errors import CannotTell
from rescind_subscriber.capture import Captured

_ALL = everyone()


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

    @property
    def trust(self) -> Trust:
        """The trust in use."""
        ...

    def capture(self) -> Captured | None:
        """Return the followed state of one moment, None unless it is proven fresh; blocks."""
        ...


class State(StrEnum):
    """How an agent stands, in the words of the reference's API (interop.md §3)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


class Standing(msgspec.Struct, frozen=True):
    """How an agent stands; `by` is a kill or suspension that says so."""

    state: State
    by: Revocation | None
    floor: int
    """The next badge's `iat` must be greater (unix seconds), if it is active."""


class Look:
    """Answers from the view; raises `CannotTell` while it is not fresh, but for known kills."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed

    def agent(self, did: str, *, iss: str, key_thumbprint: str) -> Standing:
        """Return how the next badge of an agent would stand, by this issuer and this key."""
        found = (self.entry(each) for each in (agent(did), issuer(iss), key(key_thumbprint), _ALL))
        entries = [entry for entry in found if entry is not None]
        for effect, state in ((Effect.USE, State.DISABLED), (Effect.ISSUANCE, State.SUSPENDED)):
            for entry in entries:
                if (by := entry.why(ALL, effect)) is not None:
                    return Standing(state, by, ALIVE)
        if not self._followed.fresh:  # a known kill stands before that (I3)
            raise CannotTell("this node cannot prove that it knows every kill: try again later")
        floor = max((max(entry.cut, entry.suspended) for entry in entries), default=ALIVE)
        return Standing(State.ACTIVE, None, floor)

    def entry(self, target: Target) -> Entry | None:
        """Return all that is known of a target, fresh or not."""
        return self._followed.view.published.table.get(target.digest)

    def knows(self, names: tuple[RevocationId, ...], target: Target) -> bool:
        """Whether this node's view has these kills of a target."""
        entry = self.entry(target)
        return entry is not None and all(killset.find(entry.revocations, name) for name in names)
