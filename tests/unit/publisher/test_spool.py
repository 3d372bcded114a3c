"""The spool: what is committed stays, who may open it, and how it says no."""

import gc
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rescind_protocol.changes import Kill
from rescind_protocol.heads import Position
from rescind_publisher.chain import Chain, Numbered
from rescind_publisher.errors import SpoolFailed, SpoolForeign, SpoolInUse
from rescind_publisher.spool import CHECKPOINT_PAGES, FILE, Mark, Marks, Spool
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, SECOND
from tests.fakes.publishing import VOICE, target


def opened(directory: Path) -> Spool:
    """Open a spool of the test fabric."""
    return Spool(directory / "spool", fabric=FABRIC, kid=PUBLISHER.kid)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A new spool."""
    spool = opened(tmp_path)
    yield spool
    spool.close()


def write(spool: Spool, chain: Chain, count: int = 1, *, reason: str = "") -> list[Numbered]:
    """Append so many events, each committed by itself."""
    made = []
    for n in range(count):
        kill = Kill(target=target(n), reason_admin=reason)
        one = chain.number([(kill,)], NOW)
        spool.append(one)
        chain.advance(one)
        made += one
    return made


def test_events_survive_a_reopening(tmp_path: Path) -> None:
    """What was appended is there after a close, in order, with its positions."""
    spool, chain = opened(tmp_path), Chain(VOICE)
    made = write(spool, chain, 3)
    spool.close()
    again = opened(tmp_path)
    assert [r.raw for r in again.read(chain.log, 0, 10)] == [m.raw for m in made]
    assert [r.seq for r in again.read(chain.log, 1, 1)] == [2]
    assert again.positions() == {chain.log: chain.at}
    again.close()


def test_logs_do_not_run_into_each_other(spool: Spool) -> None:
    """Reading one log never shows an event of another."""
    first, second = Chain(VOICE), Chain(VOICE)
    write(spool, first, 2)
    write(spool, second, 3)
    write(spool, first, 1)
    assert [(r.log, r.seq) for r in spool.read(first.log, 0, 10)] == [
        (first.log, n) for n in (1, 2, 3)
    ]
    assert spool.positions() == {first.log: first.at, second.log: second.at}


def test_settings_that_make_a_commit_durable(spool: Spool) -> None:
    """WAL and synchronous=FULL hold from the start, and after progress was saved without a sync."""
    chain = Chain(VOICE)
    write(spool, chain)
    spool.save_marks([Marks("nats", chain.log, Mark(1, "7"))])
    pragma = {
        name: spool._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "locking_mode")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}


def test_a_kill_is_one_commit(spool: Spool) -> None:
    """One event is one statement in a transaction of its own."""
    chain = Chain(VOICE)
    write(spool, chain)
    statements: list[str] = []
    spool._db.set_trace_callback(statements.append)
    write(spool, chain)
    assert len(statements) == 1
    assert statements[0].startswith("INSERT INTO events")


def test_only_the_owner_can_read_it(spool: Spool) -> None:
    """The directory is 0700 and every file in it 0600, under any umask."""
    write(spool, Chain(VOICE))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in spool.directory.iterdir()}
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert f"{FILE}-wal" in modes


def test_two_publishers_on_one_spool_in_one_process(spool: Spool) -> None:
    """The second one is told who holds it, and the first one's lock survives the attempt."""
    for _ in range(2):
        with pytest.raises(SpoolInUse, match=f"is in use by process {os.getpid()}"):
            opened(spool.directory.parent)
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN EXCLUSIVE')"
    file = str(spool.directory / FILE)
    other = subprocess.run([sys.executable, "-c", code, file], capture_output=True, check=False)
    assert b"database is locked" in other.stderr


def test_two_publishers_on_one_spool_in_two_processes(tmp_path: Path) -> None:
    """The lock is gone with its process, even one that is killed."""
    code = (
        "import sys; from tests.unit.publisher.test_spool import *; import time\n"
        f"s = opened(Path({str(tmp_path)!r})); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(SpoolInUse, match=f"process {holder.pid}"):
            opened(tmp_path)
        holder.send_signal(signal.SIGKILL)
    opened(tmp_path).close()


@pytest.mark.parametrize(
    ("fabric", "kid", "says"),
    [("other", PUBLISHER.kid, "belongs to fabric"), (FABRIC, SECOND.kid, "belongs to key")],
)
def test_a_foreign_spool_is_refused(spool: Spool, fabric: str, kid: str, says: str) -> None:
    """A spool serves one fabric and one key."""
    spool.close()
    with pytest.raises(SpoolForeign, match=says):
        Spool(spool.directory, fabric=fabric, kid=kid)


def test_a_newer_spool_is_refused(spool: Spool) -> None:
    """A spool with a schema of the future is not touched."""
    spool._db.execute("PRAGMA user_version=99")
    spool.close()
    with pytest.raises(SpoolForeign, match="newer version"):
        opened(spool.directory.parent)


def test_a_directory_open_to_others_is_refused(spool: Spool) -> None:
    """It names the command that mends it."""
    spool.close()
    spool.directory.chmod(0o755)
    with pytest.raises(SpoolFailed, match=f"chmod 700 {spool.directory}"):
        opened(spool.directory.parent)


def test_a_file_open_to_others_is_refused(spool: Spool) -> None:
    """A spool that others could write is not believed."""
    spool.close()
    (spool.directory / FILE).chmod(0o644)
    with pytest.raises(SpoolFailed, match="chmod 600"):
        opened(spool.directory.parent)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """A spool file that points elsewhere is not followed."""
    directory = tmp_path / "spool"
    directory.mkdir(mode=0o700)
    (directory / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolFailed, match="regular file"):
        opened(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_garbage_is_not_a_spool(tmp_path: Path) -> None:
    """A file that SQLite did not write is refused, and left as it is."""
    directory = tmp_path / "spool"
    directory.mkdir(mode=0o700)
    (directory / FILE).write_bytes(b"garbage" * 1000)
    (directory / FILE).chmod(0o600)
    with pytest.raises(SpoolFailed, match="not a spool"):
        opened(tmp_path)
    assert (directory / FILE).read_bytes() == b"garbage" * 1000


@contextmanager
def full_disk(at_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_before_accepting(spool: Spool) -> None:
    """The event is refused with a sentence, the earlier ones stay, and the next one fits again."""
    chain = Chain(VOICE)
    kept = write(spool, chain, 2)
    size = (spool.directory / f"{FILE}-wal").stat().st_size
    with full_disk(size + 100), pytest.raises(SpoolFailed, match="was not accepted"):
        write(spool, chain)
    assert [r.raw for r in spool.read(chain.log, 0, 9)] == [m.raw for m in kept]
    write(spool, chain)
    assert spool.positions() == {chain.log: chain.at}


def test_an_interrupt_leaves_no_transaction_open(spool: Spool) -> None:
    """Else everything after it would be refused, or written and never committed."""

    def interrupt(_frame: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called.__name__ == "execute":
            raise KeyboardInterrupt

    sys.setprofile(interrupt)  # it is taken away again as it raises
    with pytest.raises(KeyboardInterrupt):
        write(spool, Chain(VOICE))
    chain = Chain(VOICE)
    write(spool, chain)
    assert spool.positions() == {chain.log: chain.at}


def test_several_events_are_accepted_together_or_not_at_all(spool: Spool) -> None:
    """A batch that does not fit leaves nothing, not even its log's name."""
    chain = Chain(VOICE)
    write(spool, Chain(VOICE))
    batch = chain.number(
        [(Kill(target=target(n), reason_admin="x" * 900),) for n in range(99)], NOW
    )
    size = (spool.directory / f"{FILE}-wal").stat().st_size
    with full_disk(size + 20_000), pytest.raises(SpoolFailed):
        spool.append(batch)
    assert chain.log not in spool.positions()
    spool.append(batch)
    assert spool.positions()[chain.log] == Position(99, batch[-1].event.digest)


def test_read_only_is_said(spool: Spool) -> None:
    """A spool that cannot be written refuses with the reason."""
    spool._db.execute("PRAGMA query_only=1")
    with pytest.raises(SpoolFailed, match="read-only"):
        write(spool, Chain(VOICE))


def test_progress_is_kept_for_each_sink(spool: Spool) -> None:
    """How far one sink got says nothing of another; an unknown log is left out."""
    chain = Chain(VOICE)
    write(spool, chain, 2)
    spool.save_marks([Marks("nats", chain.log, Mark(2, "8")), Marks("nats", "gone", Mark(1, "9"))])
    spool.close()
    again = opened(spool.directory.parent)
    assert (again.marks("nats"), again.marks("redis")) == ({chain.log: Mark(2, "8")}, {})
    again.close()


def test_a_long_wal_is_folded(spool: Spool) -> None:
    """A checkpoint empties a long write-ahead log, so that it is written from its start again."""
    chain = Chain(VOICE)
    kills = [(Kill(target=target(n), reason_admin="x" * 1000),) for n in range(CHECKPOINT_PAGES)]
    for part in range(0, len(kills), 250):
        made = chain.number(kills[part : part + 250], NOW)
        spool.append(made)
        chain.advance(made)
        for _ in range(4):
            write(spool, chain, 50)
    wal = spool.directory / f"{FILE}-wal"
    before = wal.stat().st_size
    assert before > CHECKPOINT_PAGES * 4096
    spool.checkpoint()
    write(spool, chain)
    assert wal.stat().st_size == before
    assert spool.positions() == {chain.log: chain.at}


def test_the_horizon_is_kept(spool: Spool) -> None:
    """A horizon that was committed is there after a restart."""
    assert spool.horizon == 0
    spool.save_horizon(NOW)
    spool.close()
    again = opened(spool.directory.parent)
    assert again.horizon == NOW
    again.close()


def test_a_dropped_log_is_gone(spool: Spool) -> None:
    """Nothing of a dropped log stays, and the others do."""
    old, new = Chain(VOICE), Chain(VOICE)
    write(spool, old, 2)
    write(spool, new, 2)
    spool.save_marks([Marks("nats", old.log, Mark(2, "8"))])
    spool.drop([old.log])
    assert spool.positions() == {new.log: new.at}
    assert spool.marks("nats") == {}
    assert spool._db.execute("SELECT count(*) FROM events").fetchone() == (2,)


def kept_after_a_fork(spool: Spool) -> int:
    """Fork a child that drops its copy of the spool; return how many of 3 events remain."""
    chain = Chain(VOICE)
    write(spool, chain, 2)
    child = os.fork()
    if child == 0:
        spool._db = None  # type: ignore[assignment]
        gc.collect()  # a connection and its statements are a cycle
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    write(spool, chain, 1)
    # As a power cut would leave it: no orderly close that could mend anything.
    files = {path.name: path.read_bytes() for path in spool.directory.iterdir()}
    for name, content in files.items():
        (spool.directory.parent / name).write_bytes(content)
    with sqlite3.connect(spool.directory.parent / FILE) as copy:
        try:
            return int(copy.execute("SELECT count(*) FROM events").fetchone()[0])
        except sqlite3.Error:
            return 0
        finally:
            copy.rollback()


def test_a_fork_leaves_the_spool_to_its_parent(spool: Spool) -> None:
    """A child that ends, destructors and all, takes nothing of the parent's write-ahead log."""
    assert kept_after_a_fork(spool) == 3


def test_a_fork_would_harm_the_spool(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a copied connection that is closed removes what the parent committed."""
    monkeypatch.setattr(Spool, "leak", lambda _: None)
    assert kept_after_a_fork(spool) < 3


def test_sqlite_is_one_that_says_its_errors_by_name() -> None:
    """The sentences rest on names that sqlite3 gives since Python 3.11."""
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect("/nonexistent/file")
    assert caught.value.sqlite_errorname == "SQLITE_CANTOPEN"
