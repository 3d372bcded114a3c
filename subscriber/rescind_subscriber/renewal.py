"""When a badge is renewed, and what follows from an answer. The pure step of the keeper.

    answer                      the badge in hand      next
    issued                      replaced               60 s before its end
    refused by the registry     dropped                nothing: stopped
    anything else               kept until its end     1 s * 2^n, 300 s at most, +-25 %

(interop.md §2, RFC-002 §7.5.) A badge that was killed while its agent was not is renewed at once.
"""

from collections.abc import Callable

import msgspec

EARLY_S = 60.0
"""Renew so long before the end (RFC-002); at half of its life where that is shorter."""
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 300.0
JITTER = 0.25


class Issued(msgspec.Struct, frozen=True):
    """A new badge. `life_s`: from its issue to its end; clocks need not agree."""

    token: str
    jti: str
    targets: tuple[bytes, ...]
    """Digests under which a view would know it as killed."""
    iat: int
    life_s: float


class Refused(msgspec.Struct, frozen=True):
    """The registry will not: the agent is suspended, killed, or not enrolled."""

    why: str


class Unavailable(msgspec.Struct, frozen=True):
    """No answer that decides anything; the registry may have said when to ask again."""

    why: str
    retry_after_s: float | None = None


Answer = Issued | Refused | Unavailable


class Held(msgspec.Struct, frozen=True):
    """The badge in hand, and when it came (seconds of CLOCK_BOOTTIME)."""

    badge: Issued
    since: float

    @property
    def ends(self) -> float:
        """When it is no longer handed out."""
        return self.since + self.badge.life_s

    @property
    def renew(self) -> float:
        """When to ask for the next."""
        return self.ends - min(EARLY_S, self.badge.life_s / 2)


class Renewal(msgspec.Struct, frozen=True):
    """Where a keeper stands. `due`: when to ask next, on the boot clock; None: never again."""

    held: Held | None = None
    due: float | None = 0.0
    failures: int = 0
    problem: str = ""
    """Why there is no newer badge; "" when all is well."""

    @property
    def stopped(self) -> bool:
        """Whether the registry has refused for good."""
        return self.due is None

    def token(self, boot: float) -> str | None:
        """Return the badge to call with, None where there is none that lives."""
        return self.held.badge.token if self.held and boot < self.held.ends else None

    def answered(self, answer: Answer, boot: float, random: Callable[[], float]) -> "Renewal":
        """Return what follows from an answer; `random` gives 0 to 1."""
        match answer:
            case Issued():
                held = Held(answer, boot)
                return Renewal(held, held.renew)
            case Refused(why):
                return Renewal(None, None, problem=why)
            case Unavailable(why, retry_after_s):
                wait_s = max(_backoff_s(self.failures, random()), retry_after_s or 0.0)
                due = boot + min(wait_s, RETRY_MOST_S * (1 + JITTER))
                return Renewal(self.held, due, self.failures + 1, why)

    def killed(self, boot: float) -> "Renewal":
        """Return what follows from the badge in hand being dead: it is dropped, and renewed."""
        if self.held is None or self.due is None:
            return self
        # After failures the wait goes on, and one that died young waits: a badge that is dead
        # whenever it is new must not become a storm.
        due = self.due if self.failures else max(boot, self.held.since + RETRY_FIRST_S)
        return msgspec.structs.replace(self, held=None, due=due, problem="the badge was killed")


def _backoff_s(failures: int, random: float) -> float:
    wait_s: float = min(RETRY_FIRST_S * 2 ** min(failures, 16), RETRY_MOST_S)
    return wait_s * (1 - JITTER + 2 * JITTER * random)
