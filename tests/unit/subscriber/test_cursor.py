"""The cursor: moved by reads only, and never beyond what could not be joined (I10)."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from rescind_protocol.changes import Kill
from rescind_protocol.events import VERSION
from rescind_protocol.trust import ALL_RIGHTS
from rescind_subscriber.errors import SourceUnavailable
from tests.fakes.fabric import (
    NOW,
    STRANGER,
    Log,
    event_claims,
    head_of,
    make_trust,
    sign_claims,
    sign_head,
    trusted,
)
from tests.fakes.following import following, kills, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until


async def test_live_events_do_not_move_the_cursor() -> None:
    """A live event says nothing of what lies before it in the store."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 2)
    async with following(source) as at:
        await until(at.follower.reads.read)
        source.say(*kills(log, 1))
        assert at.denies(victim(3))
        assert at.follower.cursors == {"memory": source.cursor(2)}


async def test_a_read_that_breaks_off_keeps_what_it_got() -> None:
    """The next read goes on behind the last whole batch."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 6)
    source.breaks, source.breaks_after = SourceUnavailable("cut"), 2
    async with following(source) as at:
        await until(lambda: at.denies(victim(6)))
        assert source.reads == [None, source.cursor(4)]


def newer(log: Log) -> bytes:
    """Append an event by a trusted key that this version cannot read."""
    raw = sign_claims(event_claims(log, []) | {"ver": VERSION + 1})
    log.raws.append(raw)
    return raw


async def test_the_cursor_stops_before_an_unreadable_event(tmp_path: Path) -> None:
    """A newer version must find it again: also after a restart the read begins before it."""
    source, log = ScriptedSource(), Log()
    source.stored = [*kills(log, 2), newer(log), *kills(log, 3)]
    for _ in range(2):
        async with following(source, folder=tmp_path) as at:
            await until(at.follower.reads.read)
            assert at.denies(victim(1), victim(2), victim(4), victim(6))
            assert at.follower.cursors == {"memory": source.cursor(2)}
            assert "newer version" in at.follower.trouble["unreadable"]
            await at.end()


async def test_the_cursor_stops_before_an_event_over_quota(tmp_path: Path) -> None:
    """It is applied by a later read, when others have expired; also after a restart."""
    trust = make_trust(rights=replace(ALL_RIGHTS, quota=2))
    source, log = ScriptedSource(), Log()
    short = [log.write(Kill(target=victim(n), expires_at=NOW + 10)) for n in (1, 2)]
    source.stored = [*short, *kills(log, 1)]
    async with following(source, trust=trust, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        assert at.follower.cursors == {"memory": source.cursor(2)}
        await at.end()
    async with following(source, trust=trust, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        assert at.denies(victim(1), victim(2))
        at.clock.pass_s(20)
        head = head_of(log, time_s=NOW + 20, horizon=NOW + 15)
        source.head_raw(sign_head(head))
        await until(lambda: at.denies(victim(3)))
        assert at.age_s == 0
        assert not at.denies(victim(1))


async def test_the_cursor_stops_before_an_event_too_far_above_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hole that is repaired at the end of the store makes readable what lay beyond it."""
    monkeypatch.setattr("rescind_protocol.join.MAX_ABOVE", 2)
    source, log = ScriptedSource(), Log()
    written = kills(log, 5)
    source.stored = written[1:]
    async with following(source) as at:
        await until(lambda: at.follower.reconciler.events.read().get("too_far", 0) >= 2)
        source.stored.append(written[0])
        source.head(log)
        await until(lambda: at.age_s == 0)
        assert at.denies(*map(victim, range(1, 6)))


async def test_another_trust_file_reads_everything_again(tmp_path: Path) -> None:
    """Events of a key that was not trusted then were skipped: its kills must not stay so."""
    source, log = ScriptedSource(), Log(key=STRANGER, publisher="new")
    source.stored = kills(log, 2)
    async with following(source, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        assert not at.denies(victim(1))
        assert at.follower.cursors == {"memory": source.cursor(2)}
        await at.end()
    trust = make_trust(trusted(STRANGER, "new"), version=2)
    async with following(source, folder=tmp_path, trust=trust) as at:
        await until(lambda: at.denies(victim(1), victim(2)))
