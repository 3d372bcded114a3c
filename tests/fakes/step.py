"""The pure step of a subscriber, over a view and a clock that stands still."""

from dataclasses import dataclass, field

from rescind_guard.view import View
from rescind_protocol.trust import Trust, TrustFile, read, sign
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import (
    FABRIC,
    ROOT,
    Log,
    head_of,
    make_trust,
    sign_head,
)
from tests.fakes.following import kills


@dataclass
class Step:
    """A reconciler over a view and a clock that stands still."""

    trust: Trust = field(default_factory=make_trust)
    clock: FakeClock = field(default_factory=FakeClock)
    view: View = field(default_factory=View)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        self.view.claim()
        self.at = Reconciler(self.trust, self.view, self.clock)

    @property
    def age_s(self) -> float:
        """Age of the proof of freshness."""
        return self.view.published.age_s(self.clock.wall(), self.clock.boot())

    def say(self, count: int = 1) -> bytes:
        """Write and take so many kills; return the last."""
        raws = kills(self.log, count)
        for raw in raws:
            self.at.event(raw)
        return raws[-1]

    def head(self, *, after_s: float = 0, horizon: int = 0) -> bool:
        """Take the log's head, signed `after_s` from now; return whether something is missing."""
        said = head_of(self.log, time_s=self.clock.wall() + after_s, horizon=horizon)
        return self.at.head(sign_head(said))


def trust_of(file: TrustFile) -> Trust:
    """Return the trust of a file."""
    return read(sign(file, ROOT), root=ROOT.public, fabric=FABRIC)
