"""Negative controls: each protection of the loop taken out, and the kill that is lost by it."""

import pytest

from rescind_protocol.changes import Kill
from rescind_subscriber.follow import Follower
from rescind_subscriber.reconcile import Reconciler
from rescind_subscriber.sources.base import Cursor, Feed
from tests.fakes.fabric import SECOND, Log
from tests.fakes.following import Followed, following, kills, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

ON, OFF = True, False


class ReadsFirst(ScriptedSource):
    """Subscribes only after it was read: what is stored between the two is heard by nobody."""

    async def start(self, feed: Feed) -> None:
        """Subscribe later."""
        await super().start(feed)
        self.feed = None

    async def stop_between(self, at: Followed, raws: list[bytes]) -> None:
        """Wait for the first reading, store, and only then subscribe."""
        await until(at.follower.reads.read)
        self.stored += raws
        self.feed = at.follower


@pytest.mark.parametrize("heads", [ON, OFF])
async def test_a_catch_up_before_the_subscription_is_found_by_heads(
    heads: bool,  # noqa: FBT001 - the protection, in or out
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without heads that ask for a reading, the kill in between is never known."""
    if not heads:
        monkeypatch.setattr(Reconciler, "head", lambda *_: False)
    source, log = ReadsFirst(), Log()
    async with following(source) as at:
        await source.stop_between(at, kills(log, 1))
        assert source.feed is not None
        source.head(log)
        await _settle(at, source, reads=2 if heads else 1)
        assert at.denies(victim(1)) is heads


@pytest.mark.parametrize("by_reads_only", [ON, OFF])
async def test_a_cursor_moved_by_live_events_skips(
    by_reads_only: bool,  # noqa: FBT001 - the protection, in or out
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An event of another log, lost live, lies before the one that was heard."""
    source, lost, heard = ScriptedSource(), Log(key=SECOND, publisher="soc-b"), Log()
    join = Follower.heard

    def moves(self: Follower, name: str, raw: bytes) -> None:
        join(self, name, raw)
        self.cursors[name] = source.cursor(len(source.stored))

    if not by_reads_only:
        monkeypatch.setattr(Follower, "heard", moves)
    async with following(source) as at:
        await until(at.follower.reads.read)
        source.stored = [*kills(lost, 1), heard.write(*_kill(7))]
        source.say(source.stored[1])
        source.mend()
        await _settle(at, source, reads=2)
        assert at.denies(victim(7))
        assert at.denies(victim(1)) is by_reads_only


@pytest.mark.parametrize("gaps", [ON, OFF])
async def test_a_gap_that_asks_for_no_reading_stays(
    gaps: bool,  # noqa: FBT001 - the protection, in or out
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the number of each event in its log nobody would know that one was lost."""
    if not gaps:
        event = Reconciler.event
        monkeypatch.setattr(Reconciler, "event", lambda self, raw: bool(event(self, raw)) and False)
    source, log = ScriptedSource(), Log()
    async with following(source) as at:
        await until(at.follower.reads.read)
        source.stored = kills(log, 2)
        source.say(source.stored[1])
        await _settle(at, source, reads=2 if gaps else 1)
        assert at.denies(victim(1)) is gaps


@pytest.mark.parametrize("proven", [ON, OFF])
async def test_a_cursor_that_is_not_proven_reads_past_a_new_stream(
    proven: bool,  # noqa: FBT001 - the protection, in or out
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream made anew that has grown beyond the cursor looks continuous by number alone."""
    source, old, new = ScriptedSource(), Log(), Log(key=SECOND, publisher="soc-b")
    source.stored = kills(old, 2)

    def by_number(after: Cursor | None) -> int:
        return int(after.position) if after is not None else 0

    if not proven:
        monkeypatch.setattr(source, "_resume", by_number)
    async with following(source) as at:
        await until(at.follower.reads.read)
        source.stored = [new.write(*_kill(number)) for number in (11, 12, 13)]
        source.mend()
        await until(lambda: at.denies(victim(13)))
        assert at.denies(victim(11)) is proven


async def _settle(at: Followed, source: ScriptedSource, *, reads: int) -> None:
    """Return when so many readings have ended and nobody asks for another."""
    await until(lambda: at.follower.reads.read().get("complete", 0) >= reads)
    assert len(source.reads) >= reads
    assert not any(due.is_set() for due in at.follower._due.values())


def _kill(number: int) -> list[Kill]:
    return [Kill(target=victim(number))]
