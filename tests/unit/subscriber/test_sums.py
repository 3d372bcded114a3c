"""The sum of live kills that heads carry: an alarm for a defect, and for nothing else."""

from msgspec.structs import replace

from rescind_guard.view import View
from rescind_protocol.changes import Kill, Retract
from rescind_protocol.image import id_number
from rescind_protocol.limits import SKEW_S
from rescind_protocol.trust import Trust
from rescind_subscriber.faults import Fault
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import SECOND, Log, head_of, make_trust, sign_head
from tests.fakes.following import victim


class Two:
    """A subscriber of two required publishers; the first has killed, the second has ended it."""

    def __init__(self) -> None:
        first = make_trust()
        trust: Trust = Trust(replace(first.file, required=("soc", "soc-b")))
        self.clock, self.view = FakeClock(), View()
        self.view.claim()
        self.at = Reconciler(trust, self.view, self.clock)
        self.one, self.other = Log(), Log(key=SECOND, publisher="soc-b")
        self.kill = self.one.next_id()
        self.at.event(self.one.write(Kill(target=victim(1))))
        self.end = self.other.write(Retract(target=victim(1), names=(self.kill,)))
        self._count = 0

    def heads(self, *, live: bool, known: bool = True) -> None:
        """Let a second go by, and both heads come: the first one's sum has the kill, or not.

        `known`: whether the second one's head names its event.
        """
        self.clock.pass_s(1)
        now = self.clock.wall()
        for log, sum_ in ((self.one, id_number(self.kill) if live else 0), (self.other, 0)):
            head = head_of(log, time_s=now, live=sum_)
            if log is self.other and not known:
                head = replace(head, logs={})
            self.at.head(sign_head(head, log.key))

    @property
    def alarms(self) -> int:
        """How often the sum was said to be wrong."""
        return self.at.heads.read().get("disagreed", 0)


def test_a_publisher_that_has_not_heard_of_anothers_end_is_no_defect() -> None:
    """However long that takes; when it has heard, the sums agree, and a defect shows again."""
    two = Two()
    two.heads(live=True, known=False)
    two.at.event(two.end)
    for _ in range(3 * SKEW_S):
        two.heads(live=True)
    assert two.alarms == 0
    two.heads(live=False)
    for _ in range(2 * SKEW_S):
        two.heads(live=True)
    assert two.alarms > 0


def test_a_publisher_that_has_heard_before_us_is_no_defect() -> None:
    """Its sum lacks a kill whose end has not come here: until it must have, nothing is said."""
    two = Two()
    for _ in range(3):
        two.heads(live=False, known=False)
    assert two.alarms == 0
    two.at.event(two.end)
    two.heads(live=False)
    assert two.alarms == 0
    assert Fault.WRONG_SUM not in two.at.faults.counts.read()


def test_a_kill_that_a_sum_lacks_for_ever_is_one() -> None:
    """When all others are proven covered up to then and a skew beyond: nobody has ended it."""
    two = Two()
    for _ in range(SKEW_S):
        two.heads(live=False, known=False)
    assert two.alarms == 0
    for _ in range(3):
        two.heads(live=False, known=False)
    assert two.alarms > 0
