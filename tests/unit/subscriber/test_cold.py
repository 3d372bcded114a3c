"""The cold start: the newest good snapshot, then the tail; nothing a store does loses a kill."""

import asyncio
import logging

import pytest
from msgspec.structs import replace

from rescind_protocol import events, snapshots
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Retract
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.positions import Position
from rescind_protocol.trust import ALL_RIGHTS, Rights
from rescind_subscriber.cold import ColdStart
from rescind_subscriber.faults import Faults
from rescind_subscriber.sources.base import Cursor, SnapshotStore
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import (
    NOW,
    PUBLISHER,
    STRANGER,
    Log,
    key_of,
    make_trust,
    next_trust,
    trusted,
)
from tests.fakes.following import QUICK, Followed, following, kills, victim
from tests.fakes.shelf import ShelfSource, Slots
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

WEAK = key_of("weak")
TRUST = make_trust(
    trusted(WEAK, "weak", Rights(kill=ALL_RIGHTS.kill, head=True)),
)


def image_of(log: Log, count: int) -> Image:
    """Return the state after the first so many events."""
    replica = Replica()
    for raw in log.raws[:count]:
        replica.apply(events.authenticate(raw, TRUST))
    return replica.image()


def knows(at: Followed, *numbers: int) -> bool:
    """Whether these victims are denied."""
    return at.denies(*(victim(n) for n in numbers))


def counts(at: Followed) -> dict[str, int]:
    """What became of the snapshots."""
    return dict(at.follower.cold.counts.read())


async def read_all(at: Followed) -> None:
    """Wait for the first whole reading."""
    await until(lambda: at.follower.reads.read().get("complete"))


async def test_a_snapshot_comes_first_then_the_tail() -> None:
    """Reading begins at the cursor that the snapshot names."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 6)
    source.shelve(image_of(log, 4), cursor=source.cursor(4))
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3, 4, 5, 6))
        assert source.reads[0] == source.cursor(4)
        assert at.follower.reconciler.events.read() == {"applied": 2}


async def test_who_reads_all_is_told_of_each_event() -> None:
    """A snapshot names no digest but the last: who asks for an older one takes none."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 6)
    source.shelve(image_of(log, 4), cursor=source.cursor(4))
    all_read = replace(QUICK, reads_all=True)
    async with following(source, trust=TRUST, config=all_read) as at:
        await until(lambda: knows(at, 1, 2, 3, 4, 5, 6))
        assert source.reads[0] is None
        assert at.follower.reconciler.replica.digest_of(log.id, 2) is not None
    async with following(source, trust=TRUST) as at:  # the control
        await until(lambda: knows(at, 1, 2, 3, 4, 5, 6))
        assert at.follower.reconciler.replica.digest_of(log.id, 2) is None


async def test_without_the_capability_all_is_read() -> None:
    """A source is asked for snapshots only if it has them; so is its reader's interface."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 3)
    assert not isinstance(source, SnapshotStore)
    assert isinstance(ShelfSource(), SnapshotStore)
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3))
        assert source.reads[0] is None


@pytest.mark.parametrize("shelved", [True, False])
async def test_what_was_trimmed_is_in_the_snapshot(*, shelved: bool) -> None:
    """The stream holds the tail only. Control: without the snapshot the head is never covered."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 6)[4:]
    if shelved:
        source.shelve(image_of(log, 4))
    async with following(source, trust=TRUST) as at:
        await read_all(at)
        source.head(log)
        await until(lambda: len(source.reads) > 3 or at.follower.reconciler.ever_fresh)
        assert knows(at, 1, 2, 3, 4, 5, 6) is shelved
        assert at.follower.reconciler.ever_fresh is shelved


async def test_a_damaged_one_gives_way_to_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """Older is as good; both damaged, the stream is read."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 4)
    old = source.shelve(image_of(log, 2), slot="0", at=NOW - 60, cursor=source.cursor(2))
    new = source.shelve(image_of(log, 4), slot="1", at=NOW, cursor=source.cursor(4))
    source.slots.bend(new)
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3, 4))
        assert counts(at) == {"damaged": 1, "taken": 1}
        assert source.slots.reads == [new, old]
        assert source.reads[0] == source.cursor(2)
    source.slots.bend(old)
    with caplog.at_level(logging.WARNING):
        async with following(source, trust=TRUST) as at:
            await until(lambda: knows(at, 1, 2, 3, 4))
            assert counts(at) == {"damaged": 2}
            assert source.reads[-1] is None or source.reads[1] is None
    assert "is damaged" in caplog.text


def test_control_without_digests_a_damaged_snapshot_is_taken() -> None:
    """Negative control: the very bytes that were refused read as a state that was never signed."""
    source, log = ShelfSource(), Log()
    kills(log, 2)
    place = source.shelve(image_of(log, 2))
    good = b"".join(source.slots.parts[place])
    bent = good.replace(victim(1).id.encode(), victim(7).id.encode())
    assert snapshots.decode(bent) != snapshots.decode(good)


@pytest.mark.parametrize(
    ("bend", "counted"),
    [
        ({"key": STRANGER}, "untrusted"),
        ({"key": WEAK}, "untrusted"),
        ({"fabric": "staging"}, "untrusted"),
    ],
)
async def test_snapshots_that_nobody_may_say_are_passed_over(
    bend: dict[str, object], counted: str
) -> None:
    """A stranger's, a key's without the right, another fabric's: an older good one is taken."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 3)
    source.shelve(image_of(log, 2), slot="0", at=NOW - 60, cursor=source.cursor(2))
    source.shelve(Image(), slot="1", at=NOW, **bend)  # type: ignore[arg-type]
    source.slots.put("w.2", [b"x"], b"garbage")
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3))
        assert counts(at) == {counted: 1, "malformed": 1, "taken": 1}


async def test_a_cursor_by_another_trust_is_not_used() -> None:
    """Its writer may have skipped events that we believe: all is read, the snapshot joined."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 3)
    source.shelve(image_of(log, 1), cursor=source.cursor(3), trust=7)
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3))
        assert source.reads[0] is None


@pytest.mark.parametrize("cursor", [Cursor("2", bytes(32)), Cursor("999", bytes(32))])
async def test_a_cursor_that_the_source_refutes_is_used_once(cursor: Cursor) -> None:
    """A stream made anew: the snapshot stays joined, all is read, and nothing goes in circles."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 3)
    source.shelve(image_of(log, 2), cursor=cursor)
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3))
        await read_all(at)
        assert source.reads[:2] == [cursor, None]
        assert counts(at)["taken"] == 1


async def test_a_snapshot_brings_no_kill_back_and_loses_none() -> None:
    """What was heard live is joined with it: a reinstated kill stays ended, a newer one lives."""
    source, log = ShelfSource(), Log()
    first = log.next_id()
    source.stored = kills(log, 2)
    old = image_of(log, 2)
    end = log.write(Retract(target=victim(1), names=(first,)))
    source.unlisted = "not yet"
    async with following(source, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2))
        source.say(end)
        await until(lambda: not at.view.published.table.get(victim(1).digest))
        source.say(*kills(log, 1))
        source.shelve(old)
        source.unlisted = ""
        kills(log, 1)  # heard by nobody, so that the head is not covered
        source.head(log)
        await until(lambda: counts(at).get("taken"))
        assert knows(at, 2, 4)
        assert not at.view.published.table.get(victim(1).digest)


async def test_an_unreadable_shelf_stops_no_reading() -> None:
    """The events are read all the same, and the shelf is asked again once something is missing."""
    source, log = ShelfSource(), Log()
    source.stored = kills(log, 4)[2:]
    source.shelve(image_of(log, 2))
    source.unlisted = "no leader"
    async with following(source, trust=TRUST) as at:
        await until(lambda: at.follower.reads.read().get("complete"))
        assert not knows(at, 1)
        source.unlisted = ""
        source.head(log)
        await until(lambda: at.follower.reconciler.ever_fresh)
        assert knows(at, 1, 2, 3, 4)


async def test_two_sources_with_one_state_merge_it_once() -> None:
    """The same body under two statements: joined once; each source has a cursor of its own."""
    log = Log()
    left, right = ShelfSource("left"), ShelfSource("right", Slots())
    left.stored = right.stored = kills(log, 3)
    left.shelve(image_of(log, 2), cursor=left.cursor(2))
    right.shelve(image_of(log, 2), cursor=right.cursor(1))
    async with following(left, right, trust=TRUST) as at:
        await until(lambda: knows(at, 1, 2, 3))
        await until(lambda: left.reads and right.reads)
        assert counts(at)["taken"] == 1
        assert left.reads[0] == left.cursor(2)
        assert right.reads[0] == right.cursor(1)


async def test_kills_are_applied_while_a_snapshot_is_fetched() -> None:
    """Subscribed first: what is said meanwhile waits for nothing."""
    source, log = ShelfSource(), Log()
    source.shelve(image_of(log, 0))
    opened = asyncio.Event()

    async def slow(place: str, size: int) -> list[bytes]:
        await opened.wait()
        return await ShelfSource.read_snapshot(source, place, size)

    source.read_snapshot = slow  # type: ignore[method-assign]
    async with following(source, trust=TRUST) as at:
        await until(lambda: source.feed)
        source.say(*kills(log, 1))
        assert knows(at, 1)
        opened.set()
        await until(lambda: counts(at).get("taken"))
        assert knows(at, 1)


class Overtaken(ShelfSource):
    """A source of which a snapshot is read just when its writer is revoked."""

    def __init__(self) -> None:
        super().__init__()
        self.cold: ColdStart | None = None
        self.newer = TRUST

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Have a newer trust gone by before the answer is here."""
        if self.cold is not None:
            self.cold.begin(self.newer)
        return await super().read_snapshot(place, size)


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_snapshot_whose_writer_is_revoked_while_it_is_read_is_not_taken(
    *, revoked: bool
) -> None:
    """Its signature was checked before. Control: with the trust as it was, it is."""
    source, log = Overtaken(), Log()
    source.shelve(image_of(log, 0))
    cold = ColdStart(TRUST, Faults(FakeClock()), lambda _image, _version: True)
    keys = {"new": trusted(STRANGER, "new")}
    cuts: dict[str, dict[str, Position]] = {PUBLISHER.kid: {}}
    required = ("weak",)
    if revoked:
        raw = next_trust(TRUST, keys=keys, cuts=cuts, required=required)
        source.cold, source.newer = cold, trusts.extend(TRUST, raw)
    assert (await cold.take("memory", source) is None) == revoked
    assert await cold.take("memory", source) is None or not revoked
