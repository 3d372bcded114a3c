"""What a restart remembers (I7): the local snapshot whole, damaged, foreign, shared, unwritable."""

import errno
import fcntl
import logging
import os
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from rescind_protocol.changes import Kill, Reinstate, RevocationId
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.table import Table
from rescind_subscriber import durable
from rescind_subscriber.checkpoint import (
    Checkpoint,
    CheckpointFile,
    CheckpointLost,
)
from tests.fakes.fabric import NOW, Log
from tests.fakes.following import QUICK, following, kills, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

NAME = f"{QUICK.name}.snapshot"


async def followed_once(folder: Path, count: int = 3) -> tuple[ScriptedSource, Log]:
    """Follow so many stored kills to their end, and stop."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, count)
    async with following(source, folder=folder) as at:
        await until(at.follower.reads.read)
        source.head(log)
        await at.end()
    return source, log


async def test_a_restart_denies_before_any_source_answers(tmp_path: Path) -> None:
    """Known kills deny at once, the view is stale, and the rest is read from the cursor."""
    source, log = await followed_once(tmp_path)
    source.outage, source.stored = "no broker", source.stored + kills(log, 1)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.follower.trouble)
        assert at.denies(victim(1), victim(2), victim(3))
        assert at.age_s == inf
        cursor = source.cursor(3)
        source.outage = ""
        await until(lambda: at.denies(victim(4)))
        assert set(source.reads[1:]) == {cursor}


async def test_without_a_snapshot_a_restart_knows_nothing(tmp_path: Path) -> None:
    """Negative control of the one above."""
    source, _ = await followed_once(tmp_path)
    (tmp_path / NAME).unlink()
    source.outage = "no broker"
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.follower.trouble)
        assert not at.denies(victim(1))


async def test_a_head_heard_before_the_restart_freshens_nothing_after(tmp_path: Path) -> None:
    """The greatest head time of each publisher is in the snapshot."""
    source, log = await followed_once(tmp_path)
    async with following(source, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        source.head(log)
        assert at.age_s == inf
        source.head(log, time_s=NOW + 1)
        assert at.age_s == 0


async def test_a_floor_and_a_gap_are_remembered(tmp_path: Path) -> None:
    """Not only kills: what a reinstatement left, and what came above a gap."""
    source, log = ScriptedSource(), Log()
    first = log.write(Kill(target=victim(1)))
    names = (RevocationId(log.id, 1, 0),)
    lift = log.write(Reinstate(target=victim(1), names=names, floor=NOW))
    missing, above = kills(log, 2)
    source.stored = [first, lift, above]
    async with following(source, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        await at.end()
    async with following(source, folder=tmp_path) as at:
        await until(at.follower.reads.read)
        entry = at.view.published.table.get(victim(1).digest)
        assert entry is not None
        assert (entry.floor, entry.revocations) == (NOW, ())
        source.say(missing)
        source.head(log, time_s=NOW + 1)
        assert at.age_s == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw.replace(b"acme.example:x2", b"acme.example:y2"),
        lambda raw: raw.replace(b"snapshot 3", b"snapshot 2"),
        lambda raw: raw.partition(b"\n")[0] + b"\n",
        lambda _: os.urandom(200),
    ],
    ids=["empty", "truncated", "flipped", "edited", "older format", "no body", "noise"],
)
async def test_a_damaged_snapshot_is_loud_and_never_empty(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside, said, and everything is read again (interop.md §5, line 2)."""
    source, _ = await followed_once(tmp_path)
    path = tmp_path / NAME
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    source.outage = "no broker"
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.follower.trouble)
        assert "damaged" in at.follower.trouble["snapshot"]
        assert at.age_s == inf
        source.outage = ""
        await until(lambda: at.denies(victim(3)))
        assert source.reads[-1] is None
        await until(lambda: path.exists() and not at.follower.trouble)
    assert path.with_suffix(".damaged").read_bytes() == bad
    assert [r.levelno for r in caplog.records if "damaged" in r.getMessage()] == [logging.ERROR]


async def test_a_foreign_snapshot_is_neither_believed_nor_overwritten(tmp_path: Path) -> None:
    """Another fabric's kills are not ours, and its file is not either."""
    file = CheckpointFile(tmp_path, QUICK.name)
    assert file.acquire()
    file.save(Checkpoint("production", "", Image()), Table())
    file.release()
    before = (tmp_path / NAME).read_bytes()
    source, _ = await followed_once(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before
    source.outage = "no broker"
    async with following(source, folder=tmp_path) as at:
        await until(lambda: "snapshot" in at.follower.trouble)
        assert "'production'" in at.follower.trouble["snapshot"]


async def test_an_older_copy_is_harmless(tmp_path: Path) -> None:
    """A snapshot put back from a backup: stale, an older cursor, and nothing is lost."""
    source, log = await followed_once(tmp_path)
    old = (tmp_path / NAME).read_bytes()
    source.stored += kills(log, 2)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.denies(victim(5)))
        await at.end()
    assert (tmp_path / NAME).read_bytes() != old
    (tmp_path / NAME).write_bytes(old)
    async with following(source, folder=tmp_path) as at:
        assert at.age_s == inf
        await until(lambda: at.denies(victim(4), victim(5)))
        assert source.reads[-1] == source.cursor(3)


async def test_two_processes_on_one_name(tmp_path: Path) -> None:
    """The second remembers what the first has kept, and keeps a snapshot of its own; no trouble."""
    source, log = await followed_once(tmp_path)
    first = CheckpointFile(tmp_path, QUICK.name)
    assert first.acquire("first")
    before = (tmp_path / NAME).stat().st_ino
    source.outage = "no broker"
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.follower.trouble)
        assert at.denies(victim(1), victim(3))
        assert "snapshot" not in at.follower.trouble
        source.outage, source.stored = "", source.stored + kills(log, 1)
        await until(lambda: at.denies(victim(4)))
        await until((tmp_path / f"{QUICK.name}+2.snapshot").exists)
        assert (tmp_path / NAME).stat().st_ino == before
        assert at.follower._memory.ended() == []
        first.release()
        assert at.follower._memory.ended() == ["first"]


async def test_after_a_restart_of_all_none_forgets(tmp_path: Path) -> None:
    """Whichever file one gets: the newest of its name counts, too."""
    source, log = await followed_once(tmp_path)
    first = CheckpointFile(tmp_path, QUICK.name)
    assert first.acquire()
    source.stored += kills(log, 1)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.denies(victim(4)))
        await at.end()
    first.release()
    source.outage = "no broker"
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.follower.trouble)
        assert at.denies(victim(1), victim(4))


def test_a_file_system_without_locks_is_not_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOLCK is no other process: it is said as the system says it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CheckpointLost, match="No locks available"):
        CheckpointFile(tmp_path, "x").acquire()


async def test_a_folder_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    """A file where the folder should be: said, and the following goes on."""
    (tmp_path / "state").write_text("not a folder")
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 1)
    async with following(source, folder=tmp_path / "state") as at:
        await until(lambda: at.denies(victim(1)))
        assert "Not a directory" in at.follower.trouble["snapshot"]
        source.head(log)
        assert at.age_s == 0


async def test_a_full_disk_keeps_the_old_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails half way: said, the old file is whole, and saved again when there is room."""
    source, log = await followed_once(tmp_path)
    old = (tmp_path / NAME).read_bytes()
    write = durable.write_synced

    def full(path: Path, parts: list[bytes]) -> None:
        path.write_bytes(b"".join(parts)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable, "write_synced", full)
    source.stored += kills(log, 1)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: "No space left" in at.follower.trouble.get("snapshot", ""))
        assert (tmp_path / NAME).read_bytes() == old
        monkeypatch.setattr(durable, "write_synced", write)
        await until(lambda: not at.follower.trouble)
        assert (tmp_path / NAME).read_bytes() != old


async def test_what_a_crash_leaves_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-joined event, number marked and kill without effect, is read again by the next."""
    source, log = await followed_once(tmp_path)
    source.stored += kills(log, 1)
    with monkeypatch.context() as broken:
        broken.setattr(Replica, "_effect", _out_of_memory)
        async with following(source, folder=tmp_path) as at:
            await until(at.task.done)
            assert isinstance(at.task.exception(), MemoryError)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.denies(victim(4)))


def _out_of_memory(*_: object) -> None:
    raise MemoryError
