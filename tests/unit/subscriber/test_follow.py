"""The loop around the reconcile step: gaps, lost tails, outages, rewinds, crashes."""

import asyncio
import logging
from math import inf

import pytest
from msgspec.structs import replace

from rescind_guard.view import View
from rescind_protocol.changes import Kill
from rescind_protocol.errors import Malformed
from rescind_protocol.events import Event
from rescind_protocol.trust import ALL_RIGHTS
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.listeners import Applied
from rescind_subscriber.states import State, derive
from tests.fakes.fabric import NOW, SECOND, Log, make_trust
from tests.fakes.following import PATIENT, QUICK, following, kills, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until


async def test_stored_and_live_are_joined() -> None:
    """What is stored is read, what is said is heard, and a covered head makes it fresh."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 5)
    async with following(source) as at:
        await until(lambda: at.denies(*map(victim, range(1, 6))))
        assert at.age_s == inf
        source.say(*kills(log, 1))
        assert at.denies(victim(6))
        assert at.age_s == inf  # no event freshens, however live
        source.head(log)
        assert at.age_s == 0


async def test_live_events_are_joined_while_a_read_stands_still() -> None:
    """A slow reader holds no live kill up, and what was heard meanwhile closes no gap too early."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 6)
    source.gate.clear()
    async with following(source) as at:
        await until(lambda: at.denies(victim(2)))
        source.say(*kills(log, 1))
        assert at.denies(victim(7))
        assert not at.denies(victim(3))
        source.head(log)
        assert at.age_s == inf
        source.gate.set()
        await until(lambda: at.denies(*map(victim, range(1, 8))))
        source.head(log, time_s=at.clock.wall() + 1)
        assert at.age_s <= 0


async def test_live_events_have_their_turn_within_a_large_batch() -> None:
    """A thousand stored signatures are no reason to be deaf for a tenth of a second."""
    source, log, other = ScriptedSource(), Log(), Log(key=SECOND, publisher="soc-b")
    source.stored, source.batch_size = kills(log, 300), 1000
    live = other.write(Kill(target=victim(999)))
    last_known: list[bool] = []

    def speak() -> None:
        source.say(live)
        last_known.append(at.denies(victim(300)))

    def first(applied: Applied) -> None:
        if isinstance(applied, Event) and (applied.log, applied.seq) == (log.id, 1):
            asyncio.get_running_loop().call_soon(speak)

    async with following(source) as at:
        at.follower.reconciler.on_applied.append(first)
        await until(lambda: at.denies(victim(300), victim(999)))
        assert last_known == [False]


async def test_a_store_that_cannot_be_read_is_no_live_source() -> None:
    """Fresh by the other source, connected to both: the one that cannot be read still shows."""
    good, bad, log = ScriptedSource("good"), ScriptedSource("bad"), Log()
    good.stored = kills(log, 1)
    bad.outage = "a string lies where the stream should"
    async with following(good, bad) as at:
        await until(lambda: at.denies(victim(1)) and "read bad" in at.follower.trouble)
        good.head(log)
        seen = at.follower.observed()
        assert derive(seen) is State.FALLBACK
        assert derive(replace(seen, away=0)) is State.LIVE  # by its connections alone
        bad.outage = ""
        await until(lambda: derive(at.follower.observed()) is State.LIVE)


async def test_a_gap_is_read() -> None:
    """An event heard above a gap asks for what is stored."""
    source, log = ScriptedSource(), Log()
    async with following(source) as at:
        await until(lambda: at.follower.reads.read() == {"complete": 1})
        source.stored = kills(log, 3)
        source.say(source.stored[2])
        await until(lambda: at.denies(victim(1), victim(2), victim(3)))


async def test_a_lost_tail_is_read() -> None:
    """A head that names more than was heard asks for what is stored."""
    source, log = ScriptedSource(), Log()
    async with following(source) as at:
        await until(lambda: at.follower.reads.read() == {"complete": 1})
        source.stored = kills(log, 3)
        source.head(log)
        await until(lambda: at.denies(victim(3)))
        assert at.age_s == 0  # the head that asked is proven by the reading


@pytest.mark.parametrize("relinked", [False, True])
async def test_what_came_with_a_reading_is_not_read_again(*, relinked: bool) -> None:
    """A head heard in mid-reading asks for no second one; a connection made meanwhile does."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 6)
    source.gate.clear()
    async with following(source) as at:
        await until(lambda: at.denies(victim(2)))
        source.head(log)
        assert at.age_s == inf
        if relinked:
            at.follower.linked(source.name)
        source.gate.set()
        await until(lambda: at.follower.reads.read() == {"complete": 1 + relinked})
        assert at.age_s <= 0
        assert len(source.reads) == 1 + relinked


async def test_a_gap_in_one_source_is_filled_from_another() -> None:
    """Every source is asked, not only the one that showed the gap."""
    one, two, log = ScriptedSource("one"), ScriptedSource("two"), Log()
    async with following(one, two) as at:
        await until(lambda: at.follower.reads.read() == {"complete": 2})
        two.stored = kills(log, 2)
        one.say(two.stored[1])
        await until(lambda: at.denies(victim(1)))


async def test_reads_that_bring_nothing_are_asked_for_less_often() -> None:
    """A kill that no broker has is named by every head: the waits double, up to the limit."""
    source, log = ScriptedSource(), Log()
    kills(log, 1)
    async with following(source) as at:
        pace = at.follower.paces["memory"]
        await until(lambda: source.feed is not None)
        for seconds in range(1, 50):
            before = len(source.reads)
            source.head(log, time_s=at.clock.wall() + seconds)
            await until(lambda before=before: len(source.reads) > before)  # type: ignore[misc]
            if pace.next_s == QUICK.retry_most_s:
                return
        pytest.fail("the waits did not grow")


async def test_an_unreachable_store_is_not_asked_in_a_spin() -> None:
    """A failed read asks for the next one, and that one waits."""
    source = ScriptedSource()
    source.outage = "no leader"
    async with following(source, config=PATIENT) as at:
        await until(lambda: at.follower.reads.read() == {"unavailable": 1})
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(source.reads) == 1
        assert at.follower.trouble == {"read memory": "no leader"}


async def test_a_link_ends_the_wait() -> None:
    """When the source is back, what was stored meanwhile is read at once."""
    source, log = ScriptedSource(), Log()
    source.outage = "no leader"
    async with following(source, config=PATIENT) as at:
        await until(lambda: at.follower.reads.read() == {"unavailable": 1})
        source.outage, source.stored = "", kills(log, 1)
        source.cut()
        source.mend()
        await until(lambda: at.denies(victim(1)))
        assert at.follower.trouble == {}


async def test_a_rewound_stream_is_read_again_and_takes_nothing_back() -> None:
    """Other bytes at the cursor: from the beginning; kills of the old stream stay."""
    source, log, other = ScriptedSource(), Log(), Log(key=SECOND, publisher="soc-b")
    source.stored = kills(log, 3)
    async with following(source) as at:
        await until(lambda: at.denies(victim(3)))
        source.stored = [other.write(Kill(target=victim(9)))]
        source.mend()
        await until(lambda: at.denies(victim(9)))
        assert at.denies(victim(1), victim(3))
        assert source.reads[-1] is None
        assert at.follower.reads.read()["rewound"] == 1


@pytest.mark.parametrize("live", [True, False], ids=["gap", "lost tail"])
async def test_what_a_store_left_out_once_is_read_from_the_beginning(*, live: bool) -> None:
    """A damaged event in a reading moves the cursor past it; only a rescan can bring it back."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 3)
    good, source.stored[0 if live else 2] = source.stored[0 if live else 2], b"damaged"
    quick = replace(QUICK, reread_every_s=0.05)
    async with following(source, config=quick) as at:
        await until(lambda: at.denies(victim(2)) and "memory" in at.follower.cursors)
        source.stored[0 if live else 2] = good
        at.follower.cursors["memory"] = source.cursor(3)
        source.head(log)
        await until(lambda: at.denies(*map(victim, range(1, 4))))
        assert at.follower.reads.read()["rescan"] == 1
        assert at.age_s == 0


async def test_nothing_is_read_again_while_nothing_is_missing() -> None:
    """A covered view keeps its cursor, however often it reads."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 3)
    async with following(source, config=replace(QUICK, reread_every_s=0.001)) as at:
        await until(lambda: len(source.reads) > 20)
        assert source.reads.count(None) == 1
        assert "rescan" not in at.follower.reads.read()


async def test_a_refused_source_is_tried_again_and_heals(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is said once, kept for who asks, and gone once the source lets us in."""
    source, log = ScriptedSource(), Log()
    source.refusal = SourceRefused("bad password")
    source.stored = kills(log, 1)
    async with following(source) as at:
        await until(lambda: source.starts > 3)
        assert "bad password" in str(at.follower.refused["memory"])
        assert at.follower.links["memory"] == "bad password"
        source.refusal = None
        await until(lambda: at.denies(victim(1)))
        assert at.follower.refused == {}
        assert at.follower.links["memory"] == ""
    said = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([r for r in said if "bad password" in r.getMessage()]) == 1


@pytest.mark.parametrize("error", [RuntimeError("bug"), asyncio.CancelledError()])
async def test_a_reader_that_dies_ends_the_follower(error: BaseException) -> None:
    """No reader ends quietly, not even by a cancellation from within (OPAL #915)."""
    source, log = ScriptedSource(), Log()
    source.stored, source.breaks = kills(log, 1), error
    async with following(source) as at:
        await until(at.task.done)
        assert at.task.exception() is not None
        assert not at.view._writer


async def test_a_feed_that_fails_ends_the_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that could not be joined may be half joined: that replica is used no further."""
    source, log = ScriptedSource(), Log()
    async with following(source) as at:
        await until(lambda: source.feed is not None)
        monkeypatch.setattr(at.follower.reconciler.replica, "_effect", _fail)
        source.say(*kills(log, 1))
        await until(at.task.done)
        assert isinstance(at.task.exception(), MemoryError)


def _fail(*_: object) -> None:
    raise MemoryError


async def test_stop_while_reading() -> None:
    """Stopping ends a read that stands still, closes the source and frees the view."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 6)
    source.gate.clear()
    async with following(source) as at:
        await until(lambda: at.denies(victim(2)))
        await at.end()
    assert source.stops == 1
    assert not at.view._writer


async def test_a_source_that_does_not_stop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopping does not wait for a transport that hangs."""
    monkeypatch.setattr("rescind_subscriber.tasks.SOURCE_STOP_S", 0.01)
    source = ScriptedSource()
    source.hangs_on_stop = True
    async with following(source) as at:
        await until(lambda: source.feed is not None)
        await at.end()
    assert source.stops == 1


async def test_a_publisher_at_its_quota_survives_a_new_follower() -> None:
    """What the view keeps over a crash is not counted twice as it is read again."""
    trust = make_trust(rights=replace(ALL_RIGHTS, quota=3))
    source, log, view = ScriptedSource(), Log(), View()
    source.stored = [log.write(*(Kill(target=victim(n)) for n in (1, 2, 3)))]
    for seconds in (1, 2):
        async with following(source, trust=trust, view=view) as at:
            await until(lambda: source.feed is not None)
            view.distrust()
            source.head(log, time_s=NOW + seconds)
            await until(lambda: at.age_s <= 0)
            await at.end()


async def test_a_source_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reading that hangs (a half-open socket, OPAL #945) ends, is said, and begins again."""
    monkeypatch.setattr("rescind_subscriber.follow.READ_SILENCE_S", 0.01)
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 4)
    source.gate.clear()
    async with following(source) as at:
        await until(lambda: at.follower.reads.read().get("unavailable"))
        assert "silent" in at.follower.trouble["read memory"]
        assert at.denies(victim(1), victim(2))
        source.gate.set()
        await until(lambda: at.denies(victim(4)))
        await until(lambda: not at.follower.trouble)


async def test_two_sources_of_one_name_are_refused() -> None:
    """One of them would never be started."""
    with pytest.raises(Malformed, match="two sources"):
        async with following(ScriptedSource("a"), ScriptedSource("a")):
            pass
