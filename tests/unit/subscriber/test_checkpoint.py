"""The file of the local snapshot by itself: whole, private, one writer at a time."""

import threading
from pathlib import Path

import pytest

from rescind_protocol.changes import Kill
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.table import Table
from rescind_subscriber import checkpoint as module
from rescind_subscriber import durable
from rescind_subscriber.checkpoint import (
    Checkpoint,
    CheckpointDamaged,
    CheckpointFile,
    CheckpointForeign,
    CheckpointLost,
)
from tests.fakes.fabric import FABRIC, Log
from tests.fakes.following import victim


def test_saves_of_two_threads_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save whose task was cancelled goes on in its thread; the next one waits for it."""
    file = CheckpointFile(tmp_path, "x")
    assert file.acquire()
    inside, at_once, write = [0], [0], durable.write_synced
    both = threading.Barrier(2)

    def watched(path: Path, parts: list[bytes]) -> None:
        inside[0] += 1
        at_once[0] = max(at_once[0], inside[0])
        write(path, parts)
        inside[0] -= 1

    def save() -> None:
        both.wait()
        for _ in range(20):
            file.save(Checkpoint(FABRIC, "", Image()), Table())

    monkeypatch.setattr(durable, "write_synced", watched)
    threads = [threading.Thread(target=save) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [1]
    assert file.load(FABRIC) is not None


def test_a_table_of_many_pieces_comes_back_whole(tmp_path: Path) -> None:
    """Every revocation, in however many frames."""
    log, replica = Log(), Replica()
    for number in range(3):
        changes = [Kill(target=victim(1000 * number + n)) for n in range(600)]
        replica.apply(log.event(*changes))
    file = CheckpointFile(tmp_path, "x")
    assert file.acquire()
    file.save(Checkpoint(FABRIC, "", Image(vector=replica.vector)), replica.table)
    again, kept = Replica(), file.load(FABRIC)
    assert kept is not None
    again.merge(kept.image)
    assert dict(again.table.items()) == dict(replica.table.items())
    assert again.live_sum([log.id]) == replica.live_sum([log.id])


def test_the_file_is_private(tmp_path: Path) -> None:
    """It names who was killed, and why."""
    file = CheckpointFile(tmp_path / "state", "x")
    assert file.acquire()
    file.save(Checkpoint(FABRIC, "", Image()), Table())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "state").iterdir()} == {0o600}


def test_errors_of_a_file_are_told_apart(tmp_path: Path) -> None:
    """Damaged and foreign are different sentences; a reader leaves both where they are."""
    file = CheckpointFile(tmp_path, "x")
    assert file.load(FABRIC) is None
    file.path.write_bytes(b"half")
    with pytest.raises(CheckpointDamaged):
        file.load(FABRIC)
    assert file.path.exists()
    file.save(Checkpoint("other", "", Image()), Table())
    with pytest.raises(CheckpointForeign):
        file.load(FABRIC)


def saved(folder: Path) -> CheckpointFile:
    """Return a file with an empty snapshot in it, ours no longer."""
    file = CheckpointFile(folder, "x")
    assert file.acquire()
    file.save(Checkpoint(FABRIC, "", Image()), Table())
    file.release()
    return file


def test_a_folder_that_anyone_may_write_to_is_not_used(tmp_path: Path) -> None:
    """A snapshot is not signed: one laid there could say that every kill was seen and ended."""
    file = saved(tmp_path / "state")
    assert file.load(FABRIC) is not None
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(CheckpointLost, match="chmod o-w"):
        file.load(FABRIC)
    with pytest.raises(CheckpointLost, match="chmod o-w"):
        file.acquire()


def test_a_file_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it may change it at any time."""
    file = saved(tmp_path / "state")
    monkeypatch.setattr(module, "_trusted_users", lambda: {2**31})
    with pytest.raises(CheckpointLost, match="another user"):
        file.load(FABRIC)
