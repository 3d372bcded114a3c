"""Retiring a publisher, and what one does that was taken for gone."""

from pathlib import Path

import msgspec
import pytest

from rescind_guard import View
from rescind_protocol import events
from rescind_protocol.changes import Kill, Retract
from rescind_protocol.heads import Position
from rescind_protocol.image import Image, Link
from rescind_protocol.join import Replica
from rescind_protocol.positions import START, to_text
from rescind_protocol.trust import ALL_RIGHTS, Rights
from rescind_publisher import plans, retiring
from rescind_publisher.chain import Numbered
from rescind_publisher.errors import BadRequest, NothingLive, NotPermitted
from rescind_publisher.plans import Plan
from rescind_publisher.requests import EndRequest, RetireRequest
from rescind_publisher.rights import check_rights
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.known import Heard, Known
from tests.fakes.fabric import NOW, PUBLISHER, SECOND, Log, head_of, log_id, make_trust, retirement
from tests.fakes.publishing import publisher, target
from tests.fakes.sink import FakeSink
from tests.unit.publisher.test_ledger import Bench, restarts
from tests.unit.publisher.test_moving import anything, dead, few, move

TRUST = make_trust()
__all__ = ["few"]
LOG = log_id(SECOND)
SILENT_S = 3.0


def known(seq: int = 2, *, age_s: float = 9.0, headed: int = 2, **more: object) -> Known:
    """Return what is known of the second publisher's one log."""
    log = Log(SECOND, "soc-b")
    for number in range(1, max(seq, headed) + 1):
        log.write(Kill(target=target(number)))
    at = {log.id: log.cut(seq)} if seq else {}
    said = head_of(log)
    said = msgspec.structs.replace(said, logs={log.id: log.cut(headed)} if headed else {})
    return Known(Image(vector=at, **more), {"soc-b": Heard(said, age_s)}, ())  # type: ignore[arg-type]


def plan(at: Known, name: str = "soc-b", *, force: bool = False) -> Plan:
    """Plan the retirement of a publisher."""
    signer = TRUST.signer(PUBLISHER.kid)
    order = RetireRequest(name, force=force)
    return retiring.plan(order, at, trust=TRUST, signer=signer, silent_s=SILENT_S)


def test_a_retirement_names_the_last_known_event_of_each_log() -> None:
    """By number and digest; and the receipt says so."""
    at = known()
    made = plan(at)
    assert made.retires[0].key == SECOND.kid
    assert made.retires[0].logs == to_text(at.positions.vector)
    assert made.warnings == (f"log {LOG} ends at event 2",)


@pytest.mark.parametrize(
    ("at", "name", "why"),
    [
        (known(age_s=0.5), "soc-b", "is alive"),
        (known(1), "soc-b", "names event 2"),
        (known(above={LOG: {4: Link(bytes(32), bytes(32))}}), "soc-b", "missing in between"),
        (known(forked=(LOG,)), "soc-b", "revoke it instead"),
        (known(), "soc", "cannot retire itself"),
        (known(), "nobody", "knows no publisher"),
        (msgspec.structs.replace(known(), problems=("nats: away",)), "soc-b", "nats: away"),
        (msgspec.structs.replace(known(), heads={}), "soc-b", "no head of 'soc-b' was heard"),
    ],
)
def test_what_may_be_a_mistake_is_refused(at: Known, name: str, why: str) -> None:
    """In one sentence that says what is wrong."""
    with pytest.raises(BadRequest, match=why):
        plan(at, name)


def test_force_gives_up_what_is_missing_but_retires_nobody_who_is_alive() -> None:
    """And the receipt says what was given up."""
    made = plan(known(1), force=True)
    assert "names event 2" in made.warnings[0]
    with pytest.raises(BadRequest, match="is alive"):
        plan(known(age_s=0.5), force=True)


def test_a_publisher_without_the_right_retires_nobody() -> None:
    """Asked before anything is accepted: subscribers would find it void."""
    signer = make_trust(rights=Rights(kill=ALL_RIGHTS.kill, head=True)).signer(PUBLISHER.kid)
    with pytest.raises(NotPermitted, match="retire 'soc-b'"):
        check_rights(Plan((), (retirement(Log(SECOND, "soc-b")),)), signer, approved=True)


def test_without_a_follower_nobody_knows_where_the_others_stand(tmp_path: Path) -> None:
    """Refused: a cut at nothing would void all that the publisher ever said."""
    with (
        KillSwitch(publisher(tmp_path, FakeSink())) as switch,
        pytest.raises(BadRequest, match="no subscriber follows"),
    ):
        switch.retire("soc-b")


# --- taken for gone ---


def ends(bench: Bench, seq: int) -> dict[str, Position]:
    """Return a cut of the current log after its event `seq`."""
    made = [each for each in bench.handed if each.event.log == bench.ledger.log]
    at = made[seq - 1].event.digest if seq else START.digest
    return {bench.ledger.log: Position(seq, at)}


def say_again(bench: Bench, cuts: dict[str, Position]) -> list[Numbered]:
    """Let the ledger hear that others have cut its logs."""
    return bench.ledger.say_again(cuts, anything, bench.handed.extend)


def heard(bench: Bench, cuts: dict[str, Position]) -> Replica:
    """Return the state of a subscriber that knows the retirement, and hears everything."""
    replica = Replica(retired={PUBLISHER.kid: cuts})
    for each in bench.handed:
        replica.apply(events.authenticate(each.raw, TRUST))
    return replica


def test_who_was_retired_says_its_own_beyond_the_cut_again_in_a_new_log(tmp_path: Path) -> None:
    """Every kill it has accepted is in force at those who know of the cut; none comes back."""
    bench = Bench(tmp_path)
    first = bench.say(Kill(target=target(1)))
    for number in (2, 3, 4):
        bench.say(Kill(target=target(number)))
    bench.say(Retract(target=target(4), names=(bench.ledger.live(target(4))[0].id,)))
    cuts, old = ends(bench, 1), bench.ledger.log
    assert dead(heard(bench, cuts).table) == {target(1).digest}  # what would be lost without
    say_again(bench, cuts)
    assert bench.ledger.log != old
    wanted = {target(number).digest for number in (1, 2, 3)}
    assert dead(heard(bench, cuts).table) == wanted
    assert bench.ledger.live(target(1))[0].id == first
    assert old not in bench.ledger.standing().logs  # no head names what nobody can cover
    bench.spool.close()


def test_what_was_said_again_is_not_said_a_third_time(tmp_path: Path) -> None:
    """Neither in the same run nor after a restart."""
    bench = Bench(tmp_path)
    bench.say(Kill(target=target(1)))
    cuts = {bench.ledger.log: START}
    assert say_again(bench, cuts)
    assert not say_again(bench, cuts)
    bench.reopen()
    assert not say_again(bench, cuts)
    assert set(cuts) & set(bench.ledger.standing().logs) == set()
    bench.spool.close()


def test_a_cut_at_the_end_changes_nothing(tmp_path: Path) -> None:
    """Nothing lies beyond, and what comes next opens a log of its own only if it must."""
    bench = Bench(tmp_path)
    bench.say(Kill(target=target(1)))
    assert not say_again(bench, ends(bench, 1))
    bench.spool.close()


@pytest.mark.usefixtures("few")
def test_a_move_and_a_retirement_at_the_same_moment(tmp_path: Path) -> None:
    """The move is beyond the cut: the kill is in force once, and its end ends it everywhere."""
    bench = Bench(tmp_path)
    restarts(bench, 6, None)
    before = {n: bench.ledger.live(target(n)) for n in range(6)}
    assert move(bench)
    moved = next(n for n, kills in before.items() if kills != bench.ledger.live(target(n)))
    cuts = {bench.ledger.log: START}
    say_again(bench, cuts)
    (kill,) = bench.ledger.live(target(moved))
    assert before[moved][0].id in kill.was
    found = heard(bench, cuts).table.get(target(moved).digest)
    assert found is not None
    assert [r.id for r in found.revocations] == [kill.id]
    request = EndRequest(target=target(moved), retract=True)
    bench.say(*plans.end(request, [kill], now=NOW).changes)
    assert heard(bench, cuts).table.get(target(moved).digest) is None
    bench.spool.close()


class Knowing:
    """A followed view that has everything of ours and shows a kill that we have ended."""

    def __init__(self) -> None:
        self.state, self.view = Replica(), View()
        self.view.claim()

    def wait_synced(self, _: float, /) -> bool:
        """It is complete."""
        return True

    def known(self) -> Known:
        """Where all logs stand."""
        return Known(self.state.image(), {}, ())

    def retired(self, _: str, /) -> dict[str, Position]:
        """Nobody is retired in here."""
        return {}


def test_a_kill_whose_end_is_void_can_be_ended_again(tmp_path: Path) -> None:
    """Ended beyond a cut, it lives on elsewhere: it is no answer that no kill is in force."""
    sink, follower = FakeSink(), Knowing()
    with KillSwitch(publisher(tmp_path, sink, follower=follower)) as switch:
        ids = switch.kill(target()).ids
        event = events.authenticate(sink.store[0] or b"", TRUST)
        follower.state.apply(event)
        follower.view.swap(follower.state.table)
        switch.retract(target())
        with pytest.raises(NothingLive):  # the view may only be behind
            switch.retract(target())
        end = events.authenticate(sink.store[1] or b"", TRUST)
        follower.state.vector[event.log] = Position(end.seq, end.digest)
        assert switch.retract(target()).ended == ids
