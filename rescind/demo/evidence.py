"""What was seen in each act. Nothing here judges; `report` does.

All times are `time.monotonic()` of the process that saw it, one clock for the machine.
"""

from collections.abc import Iterable, Mapping

import msgspec

from rescind.demo.wire import Called

OK = "OK"
REVOKED = "BADGE_REVOKED"


class Change(msgspec.Struct, frozen=True):
    """A kill or a reinstatement: what the receipt says, and who applied it when."""

    event: tuple[str, int]
    """Log and number of the event that says it."""
    called_at: float
    """Just before the switch was called; `_ms` below count from here."""
    accepted_ms: float
    acked: dict[str, float | None]
    """By broker; None: not when the receipt came."""
    durable_ms: float | None
    applied: dict[str, float]
    """Subscriber to the moment after the swap of its view."""

    @property
    def acked_ms(self) -> float | None:
        """When the last broker acknowledged it, None if one had not."""
        times = list(self.acked.values())
        known = [at for at in times if at is not None]
        return max(known) if known and len(known) == len(times) else None

    def ms(self, at: float) -> float:
        """Return a moment as milliseconds since the call."""
        return (at - self.called_at) * 1000

    @property
    def applied_ms(self) -> list[float]:
        """When each subscriber applied it, first to last."""
        return sorted(self.ms(at) for at in self.applied.values())


class Calls(msgspec.Struct, frozen=True):
    """The agent's calls with one badge."""

    servers: tuple[str, ...]
    """All there are, called or not."""
    made: tuple[Called, ...]

    def coded(self, code: str) -> "Calls":
        """Return the calls that ended in this way."""
        return Calls(self.servers, tuple(call for call in self.made if call.code == code))

    def started_after(self, at: Mapping[str, float]) -> "Calls":
        """Return the calls that the agent began after each server's own moment in `at`."""
        return Calls(
            self.servers,
            tuple(c for c in self.made if c.server in at and c.started > at[c.server]),
        )

    def others(self, *codes: str) -> list[str]:
        """Return how calls ended in any other way."""
        return sorted({call.code for call in self.made if call.code not in codes})

    def servers_without(self) -> list[str]:
        """Return the servers that no call here reached."""
        reached = {call.server for call in self.made}
        return [server for server in self.servers if server not in reached]

    def __len__(self) -> int:
        return len(self.made)


class Work(msgspec.Struct, frozen=True):
    """Act 1: the agent works; one subscriber is stopped."""

    calls: Calls
    stopped: str


class BadgeKill(msgspec.Struct, frozen=True):
    """Act 2: the badge is killed while the agent works with it."""

    change: Change
    running: tuple[str, ...]
    """Subscribers that should apply it."""
    calls: Calls
    """All calls with that badge, from the first."""
    answers: dict[str, str]
    """Sidecar to its guard's code for the badge."""

    @property
    def allowed_before(self) -> int:
        """Calls allowed, and answered, before the kill."""
        return sum(1 for c in self.calls.coded(OK).made if c.ended <= self.change.called_at)

    @property
    def allowed_after_apply(self) -> int:
        """Calls allowed though begun after that very server had applied the kill."""
        return len(self.calls.started_after(self.change.applied).coded(OK))

    @property
    def allowed_between(self) -> int:
        """The rest: calls that were let through because their server did not know yet."""
        return len(self.calls.coded(OK)) - self.allowed_before - self.allowed_after_apply

    @property
    def first_denied_at(self) -> float | None:
        """When the agent had its first refusal."""
        return min((call.ended for call in self.calls.coded(REVOKED).made), default=None)


class Restart(msgspec.Struct, frozen=True):
    """Act 3: the subscriber that was stopped starts again."""

    name: str
    code_before: str
    """Its guard's answer before it followed anything."""
    followed_at: float
    replayed_at: float | None
    """When it applied the kill, which was said while it was away."""
    code_after: str


class AgentKill(msgspec.Struct, frozen=True):
    """Act 4: the agent fetches a fresh badge, then the agent itself is killed."""

    change: Change
    running: tuple[str, ...]
    held: Calls
    """Calls with the fresh badge that it held when it was killed."""
    fetched: Calls
    """Calls with a badge issued after that."""

    @property
    def worked(self) -> Calls:
        """Calls that the badge in hand was allowed before the kill."""
        before = tuple(c for c in self.held.coded(OK).made if c.ended <= self.change.called_at)
        return Calls(self.held.servers, before)

    @property
    def allowed_after_apply(self) -> int:
        """Calls allowed though begun after that very server had applied the kill."""
        held = self.held.started_after(self.change.applied).coded(OK)
        return len(held) + len(self.fetched.coded(OK))


class Reinstatement(msgspec.Struct, frozen=True):
    """Act 5: the agent is reinstated, and gets a new badge."""

    change: Change
    running: tuple[str, ...]
    floor: int
    new_iat: int
    new: Calls
    old: dict[str, Calls]
    """Each older badge, tried again."""


class Outage(msgspec.Struct, frozen=True):
    """Act 6: NATS is killed, then the badge that the agent is working with."""

    kill: BadgeKill
    durable: tuple[str, ...]
    """Brokers that held the kill for certain when the receipt came."""
    pending: tuple[str, ...]
    """Brokers that did not have it."""
    before: Change
    """The same with every broker alive: act 2's."""


class Alone(msgspec.Struct, frozen=True):
    """Act 7: a subscriber is killed and starts again, and no broker runs any more."""

    name: str
    brokers: tuple[str, ...]
    """What was killed before, by name; none of them runs."""
    code_killed: str
    """Its guard's answer for a badge that was killed before."""
    code_living: str
    """Its guard's answer for a badge that nobody killed."""
    fresh: bool
    """Whether it calls its view fresh: with nobody to ask it must not."""


def denied_everywhere(each: Iterable[Calls]) -> bool:
    """Whether every server refused each of these badges, always, as revoked."""
    return all(
        not calls.coded(REVOKED).servers_without() and not calls.others(REVOKED) for calls in each
    )
