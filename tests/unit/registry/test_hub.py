"""The hub and its readers: without gap or repeat, from memory, from the file, from another node."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol.changes import Kill
from rescind_protocol.image import Image
from rescind_registry.feeds.cursor import Position, decode, encode, tag_of
from rescind_registry.feeds.errors import Ended, GoneCursor, TooSlow
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.reader import MAX_AHEAD, Reader
from rescind_registry.feeds.window import Said, Window
from rescind_subscriber.memory import positions_of
from tests.fakes.fabric import SECOND, STRANGER, Log, make_trust, next_trust
from tests.fakes.feeds import Node, digests, noded, position_of, stored
from tests.fakes.following import kills, victim


def two_logs() -> tuple[Log, Log]:
    """Return logs of two publishers."""
    return Log(), Log(key=SECOND, publisher="soc-b")


async def test_what_is_verified_is_handed_on_as_it_was_signed() -> None:
    """The very bytes, in order, each with the cursor of who has it; heads come behind them."""
    async with noded() as node:
        log = Log()
        reader = Reader(node.hub, None)
        raws = kills(log, 3)
        node.say(*raws)
        head = node.head(log)
        taken = await reader.next()
        assert [said.raw for said in taken.events] == raws
        assert taken.heads == (head,)
        assert [said.cursor for said in taken.events] == [
            encode(Position({tag_of(log.id): n})) for n in (1, 2, 3)
        ]
        assert (await stored(node.hub, None))[0] == raws


async def test_the_oldest_that_is_held_is_found_without_a_file() -> None:
    """What memory had no room for is left out, and what is behind it is not."""
    async with noded(window=2) as node:
        raws = kills(Log(), 5)
        node.say(*raws)
        assert (await stored(node.hub, None))[0] == raws[-2:]


async def test_a_version_of_the_trust_file_is_handed_on_as_one_more_log() -> None:
    """A reader without a broker goes by it too: whose key is revoked is revoked for all."""
    async with noded() as node:
        version = next_trust(make_trust(), cuts={SECOND.kid: {}})
        before, after = kills(Log(), 2)
        node.say(before, version, version, after)
        assert sorted((await stored(node.hub, None))[0]) == sorted([before, version, after])
        behind = encode(position_of(Log(raws=[before, after])))
        assert (await stored(node.hub, behind))[0] == [version]


async def test_what_is_not_verified_is_not_handed_on() -> None:
    """Forged, changed, and repeated bytes reach no reader."""
    async with noded() as node:
        log = Log()
        [good] = kills(log, 1)
        node.say(b"garbage", *kills(Log(key=STRANGER), 1))
        node.say(good[:-8] + b"AAAAAAAA", good, good)
        assert (await stored(node.hub, None))[0] == [good]


async def test_a_kill_does_not_wait_for_the_one_before_it() -> None:
    """An event above a gap is handed on at once, and a resume neither misses nor repeats any."""
    async with noded() as node:
        log = Log()
        raws = kills(log, 5)
        node.say(raws[0], raws[3])
        await node.settled()
        reader = Reader(node.hub, Position())
        taken = await reader.next()
        assert [said.raw for said in taken.events] == [raws[0], raws[3]]
        assert taken.events[-1].cursor == f"v1~{tag_of(log.id)}.1.4"
        node.say(raws[1], raws[4], raws[2])
        again, last = await stored(node.hub, taken.events[-1].cursor)
        assert again == [raws[1], raws[2], raws[4]]
        assert last == encode(position_of(log))


@given(
    order=st.permutations(range(12)),
    cut=st.integers(0, 12),
    first=st.integers(0, 12),
    window=st.sampled_from([1, 3, 100]),
)
def test_a_cut_at_any_event_loses_and_repeats_nothing(
    order: list[int], cut: int, first: int, window: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two logs in any order, a cut behind any event: the resume yields exactly the missing ones."""

    async def run() -> None:
        a, b = two_logs()
        raws = [*kills(a, 6), *kills(b, 6)]
        said = [raws[n] for n in order]
        async with noded(tmp_path_factory.mktemp("hub"), window=window) as node:
            node.say(*said[:first])
            await node.settled()
            before, cursor = await stored(node.hub, None)
            node.say(*said[first:])
            await node.settled()
            rest, cursors = [], [cursor]
            reader = Reader(node.hub, decode(cursor))
            while (taken := await reader.stored()) is not None:
                rest += [each.raw for each in taken.events]
                cursors += [each.cursor for each in taken.events]
            assert digests([*before, *rest]) == digests(raws)
            at = min(cut, len(cursors) - 1)
            resumed, last = await stored(node.hub, cursors[at])
            assert digests([*before, *rest[:at], *resumed]) == digests(raws)
            assert last == encode(node.hub.position)

    asyncio.run(run())


async def test_a_cursor_holds_at_every_node(tmp_path: Path) -> None:
    """Two nodes heard the same in another order: a reader moves between them, and back."""
    async with noded(tmp_path / "a") as one, noded(tmp_path / "b") as two:
        a, b = two_logs()
        raws = [*kills(a, 4), *kills(b, 4)]
        one.say(raws[0], raws[4], raws[1])
        had, cursor = await stored(one.hub, None)
        two.say(raws[4], raws[5])  # behind in one log, ahead in the other
        more, cursor = await stored(two.hub, cursor)
        assert more == [raws[5]]
        reader = Reader(two.hub, decode(cursor))
        assert await reader.stored() is None
        two.say(*raws)  # what it has from the other node does not come again
        live = await reader.next()
        rest = [said.raw for said in live.events]
        while len(had) + 1 + len(rest) < len(raws):
            rest += [said.raw for said in (await reader.next()).events]
        assert digests([*had, *more, *rest]) == digests(raws)
        one.say(*raws)
        assert await stored(one.hub, reader.cursor) == ([], reader.cursor)
        assert encode(one.hub.position) == encode(two.hub.position)


async def test_a_restart_serves_what_the_file_holds(tmp_path: Path) -> None:
    """A node that starts again resumes readers from before, and says nothing twice."""
    log = Log()
    raws = kills(log, 5)
    async with noded(tmp_path, window=2) as node:
        node.say(*raws)
        _, cursor = await stored(node.hub, None)
        await node.settled()
    async with noded(tmp_path) as node:
        assert await stored(node.hub, None) == (raws, cursor)
        node.say(*raws)  # the log is read again from its beginning
        reader = Reader(node.hub, None)
        assert await stored(node.hub, cursor) == ([], cursor)
        [new] = kills(log, 1)
        node.say(new)
        assert [said.raw for said in (await reader.next()).events] == [new]


async def test_what_only_a_snapshot_brought_is_told_as_gone() -> None:
    """Readers from before it are refused, connected ones are ended, new ones follow from there."""
    async with noded() as node:
        log = Log()
        raws = kills(log, 6)
        node.say(raws[0])
        _, before = await stored(node.hub, None)
        connected = Reader(node.hub, None)
        other = Node(Hub())
        other.say(*raws[:4])
        node.at.merge(positions_of(other.at.replica))
        await node.settled()
        with pytest.raises(Ended):
            await connected.next()
        with pytest.raises(GoneCursor):
            Reader(node.hub, decode(before))
        with pytest.raises(GoneCursor):
            Reader(node.hub, Position())
        node.say(*raws[4:])
        here = encode(Position({tag_of(log.id): 4}))
        assert (await stored(node.hub, here))[0] == raws[4:]
        assert (await stored(node.hub, None))[0] == raws[4:]  # partial: all that is held


async def test_without_the_merge_being_told_a_gap_would_be_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: a hub that is told of no merge serves a stream with a hole."""
    monkeypatch.setattr(Hub, "merged", lambda *_: None)
    async with noded() as node:
        log = Log()
        raws = kills(log, 6)
        node.say(raws[0])
        _, before = await stored(node.hub, None)
        other = Node(Hub())
        other.say(*raws[:4])
        node.at.merge(Image(vector=positions_of(other.at.replica).vector))
        node.say(*raws[4:])
        assert (await stored(node.hub, before))[0] == raws[4:]


async def test_a_file_has_an_end(tmp_path: Path) -> None:
    """The oldest events go first; a reader that needs one is refused, not served a hole."""
    async with noded(tmp_path, window=1, max_events=50) as node:
        log = Log()
        raws = kills(log, 120)
        node.say(*raws)
        await node.settled()
        held = (await stored(node.hub, None))[0]
        assert held == raws[-len(held) :]
        assert 40 <= len(held) <= 50
        with pytest.raises(GoneCursor):
            Reader(node.hub, Position())
        edge = Position({tag_of(log.id): 120 - len(held)})
        assert (await stored(node.hub, encode(edge)))[0] == held


async def test_memory_alone_has_an_end_too() -> None:
    """Without a file, what fell out of the window is gone, at once and for whoever asks again."""
    async with noded(window=3) as node:
        log = Log()
        raws = kills(log, 5)
        node.say(*raws)
        with pytest.raises(GoneCursor):
            await stored(node.hub, "v1")
        with pytest.raises(GoneCursor):
            Reader(node.hub, Position())
        assert (await stored(node.hub, f"v1~{tag_of(log.id)}.2"))[0] == raws[2:]


async def test_a_damaged_row_is_gone_and_not_served(tmp_path: Path) -> None:
    """Bytes that are not those written reach nobody."""
    async with noded(tmp_path, window=1) as node:
        log = Log()
        node.say(*kills(log, 3))
        await node.settled()
        with sqlite3.connect(tmp_path / "events.db") as db:
            db.execute("UPDATE events SET raw = replace(raw, 'ey', 'ex') WHERE seq = 1")
        db.close()
        with pytest.raises(GoneCursor):
            await stored(node.hub, "v1")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """It is a copy: nothing is lost but the past."""
    (tmp_path / "events.db").write_bytes(content)
    async with noded(tmp_path) as node:
        raws = kills(Log(), 2)
        node.say(*raws)
        await node.settled()
        assert (await stored(node.hub, None))[0] == raws


async def test_a_foreign_or_impossible_cursor_is_refused() -> None:
    """Another fabric's cursor and one of events that nobody has are told from one ahead of us."""
    async with noded() as node:
        log = Log()
        node.say(*kills(log, 1))
        with pytest.raises(GoneCursor, match="another fabric"):
            await stored(node.hub, f"v1~{tag_of('nobody')}.3")
        tag = tag_of(log.id)
        await stored(node.hub, f"v1~{tag}.{MAX_AHEAD + 1}")
        with pytest.raises(GoneCursor, match="nobody has here"):
            await stored(node.hub, f"v1~{tag}.{MAX_AHEAD + 2}")


async def test_a_reader_that_stays_behind_is_cut_off_and_can_resume(tmp_path: Path) -> None:
    """It has no queue that could grow; its cursor is good for the file."""
    async with noded(tmp_path, window=4) as node:
        log = Log()
        slow = Reader(node.hub, None)
        raws = kills(log, 6)
        node.say(*raws)
        await node.settled()
        with pytest.raises(TooSlow):
            await slow.next()
        assert (await stored(node.hub, "v1"))[0] == raws


async def test_only_the_newest_head_of_each_publisher_is_handed_on() -> None:
    """A reader that was busy gets no old ones, and one that is new gets the newest at once."""
    async with noded() as node:
        a, b = two_logs()
        node.say(*kills(a, 1), *kills(b, 1))
        await node.settled()
        reader = Reader(node.hub, Position())
        assert len((await reader.next()).events) == 1
        assert len((await reader.next()).events) == 1
        node.head(a)
        newest = [node.head(a), node.head(b)]
        await node.settled()
        assert (await reader.next()).heads == tuple(newest)
        assert (await Reader(node.hub, None).next()).heads == tuple(newest)
        waiting = asyncio.create_task(reader.next())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_both_events_of_a_fork_are_handed_on(tmp_path: Path) -> None:
    """A stolen key's second history is killed by, too: readers hear both, live and later."""
    async with noded(tmp_path) as node:
        log = Log()
        other = log.branch(0)
        [one] = kills(log, 1)
        two = other.write(Kill(target=victim(77)))
        reader = Reader(node.hub, None)
        node.say(one, two)
        await node.settled()
        assert [said.raw for said in (await reader.next()).events] == [one, two]
        assert digests((await stored(node.hub, None))[0]) == digests([one, two])


def test_the_window_is_bounded_by_bytes_too() -> None:
    """Large events push more small ones out; one beyond the limit alone is still there."""
    window = Window(100, most_bytes=1000)
    for n in range(1, 51):
        window.append(Said("t", n, b"x" * 100, ""))
    assert window.end - window.first == 10
    window.append(Said("t", 51, b"x" * 5000, ""))
    assert [said.seq for said in window.since(window.first)][-1] == 51
    assert window.find("t", 1) is None
