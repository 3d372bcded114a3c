"""Each damaged file: one sentence, an exit code that is not zero, nothing overwritten.

By the installed command in a process of its own, on a folder whose spool holds one kill. No server
is needed: each fault is found before any broker is asked.
"""

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rescind import home
from rescind.home import SPOOL, SUBSCRIBERS
from rescind_protocol import trust
from rescind_protocol.encoding import b64url_encode
from rescind_publisher.keyfiles import read_private
from rescind_publisher.spool import OWNER_FILE
from tests.fakes.terminal import RESCIND, Done, Terminal, did, free_port
from tests.fakes.waiting import WITHIN_S

KILL = ("kill", "agent", did("x"), "--timeout", "0")
Harm = Callable[[Path], object]

SPOOL_FILE = f"{SPOOL}/spool.db"
ANEW = "move it away, and give every kill in it again"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a fabric's folder with one accepted kill, which no broker has."""
    folder = tmp_path_factory.mktemp("bad") / "home"
    home.create(folder, fabric="default", publisher="local", port=free_port(), now=int(time.time()))
    done = Terminal(folder).run(*KILL)
    assert done.code == 3, done
    return folder


@pytest.fixture
def terminal(template: Path, tmp_path: Path) -> Terminal:
    """Give commands on a copy of that folder."""
    copy = tmp_path / "home"
    shutil.copytree(template, copy, ignore=shutil.ignore_patterns("*.sock"))
    return Terminal(copy)


def writes(name: str, content: bytes) -> Harm:
    """Replace a file's content."""
    return lambda folder: (folder / name).write_bytes(content)


def cuts(name: str, left: int) -> Harm:
    """Leave only the beginning of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:left])


def flips(name: str, at: int) -> Harm:
    """Flip one bit of a file."""

    def do(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[at] ^= 1
        (folder / name).write_bytes(bytes(raw))

    return do


def folds(name: str) -> Harm:
    """Put a folder where the file was."""

    def do(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return do


def removes(name: str) -> Harm:
    """Delete a file."""
    return lambda folder: (folder / name).unlink()


def says(*statements: str) -> Harm:
    """Change the spool as somebody with an SQLite shell would."""

    def do(folder: Path) -> None:
        with sqlite3.connect(folder / SPOOL_FILE) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    return do


def overwrites_pages(folder: Path) -> None:
    """Damage all of the spool but its first page."""
    raw = bytearray((folder / SPOOL_FILE).read_bytes())
    raw[4096:] = b"A" * (len(raw) - 4096)
    (folder / SPOOL_FILE).write_bytes(bytes(raw))


def puts_a_file(folder: Path) -> None:
    """Put a file where the spool's folder was."""
    shutil.rmtree(folder / SPOOL)
    (folder / SPOOL).write_text("precious")


TRUST = "trust.jws is not a trust file of this fabric"
NO_KEY = "not an unencrypted PKCS #8 PEM private key"
NO_ROOT = "setting 'root_key' is missing"
CASES: list[tuple[str, Harm, int, str]] = [
    ("trust file empty", writes("trust.jws", b""), 2, TRUST),
    ("trust file binary", writes("trust.jws", b"\xff\x00" * 99), 2, TRUST),
    ("trust file cut", cuts("trust.jws", 40), 2, TRUST),
    ("trust file bit flip", flips("trust.jws", -10), 2, TRUST),
    ("trust file a folder", folds("trust.jws"), 2, "cannot be read: Is a directory"),
    ("trust file missing", removes("trust.jws"), 2, "cannot be read: No such file"),
    ("trust file too large", writes("trust.jws", b"x" * 50_000_000), 2, "is larger than"),
    ("key empty", writes("publisher.key", b""), 2, NO_KEY),
    ("key binary", writes("publisher.key", b"\xff\x00" * 99), 2, NO_KEY),
    ("key cut", cuts("publisher.key", 40), 2, NO_KEY),
    ("key bit flip", flips("publisher.key", 40), 2, NO_KEY),
    ("key a folder", folds("publisher.key"), 2, "cannot be read: Is a directory"),
    ("key missing", removes("publisher.key"), 2, "there is no key to sign with"),
    ("key too large", writes("publisher.key", b"x" * 99_999), 2, "is larger than"),
    ("settings empty", writes("rescind.toml", b""), 2, NO_ROOT),
    ("settings binary", writes("rescind.toml", b"\xff\x00" * 99), 2, "is not TOML"),
    ("settings unknown", writes("rescind.toml", b"fabrik = 1\n"), 2, "did you mean 'fabric'?"),
    ("settings a folder", folds("rescind.toml"), 2, "rescind.toml is not a file"),
    ("spool garbage", writes(SPOOL_FILE, b"garbage" * 999), 1, f"is not a spool: {ANEW}"),
    ("spool cut", cuts(SPOOL_FILE, 5000), 1, f"it is corrupt: {ANEW}"),
    ("spool emptied", writes(SPOOL_FILE, b""), 1, f"spool.db was emptied: {ANEW}"),
    ("spool's pages", overwrites_pages, 1, f"it is corrupt: {ANEW}"),
    ("spool a file", puts_a_file, 1, "cannot be opened: File exists"),
    ("spool newer", says("PRAGMA user_version=99"), 1, "was written by a newer version"),
    (
        "spool of a fabric",
        says("UPDATE meta SET value='other' WHERE name='fabric'"),
        1,
        "belongs to fabric 'other', not 'default'",
    ),
    (
        "spool of a key",
        says("UPDATE meta SET value='other' WHERE name='kid'"),
        1,
        "belongs to key 'other'",
    ),
    ("spool without events", says("DROP TABLE events"), 1, f"not a whole spool: {ANEW}"),
    ("spool without owner", says("DROP TABLE meta"), 1, f"not a whole spool: {ANEW}"),
    ("event a text", says("UPDATE events SET raw='text'"), 1, "an event of log"),
    ("event changed", says("UPDATE events SET raw=x'00'"), 1, "is corrupt: event 1 of log"),
    ("event deleted", says("DELETE FROM events"), 1, "has no newest event"),
    ("digest a text", says("UPDATE events SET digest='text'"), 1, "has no newest event"),
    (
        "horizon a text",
        says("INSERT OR REPLACE INTO meta VALUES ('horizon', 'soon')"),
        1,
        "its horizon is no number",
    ),
]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes, but for the note of who held the spool last."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != OWNER_FILE
    }


@pytest.mark.parametrize(
    ("harm", "code", "sentence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_damaged_file_is_said_and_left_as_it_is(
    terminal: Terminal, harm: Harm, code: int, sentence: str
) -> None:
    """The kill is not accepted, one sentence says why, and every byte stays."""
    harm(terminal.home)
    before = contents(terminal.home)
    done = terminal.run(*KILL)
    assert done.code == code, done
    assert sentence in done.error
    after = contents(terminal.home)
    assert {name: after.get(name) for name in before} == before


def test_the_undamaged_folder_is_no_fault(terminal: Terminal) -> None:
    """Negative control: the same command on the same folder is accepted, and pending."""
    assert terminal.run(*KILL).code == 3


MARKS = [
    "UPDATE progress SET durable=999999",
    "UPDATE progress SET durable=-5",
    "UPDATE progress SET position='zzz'",
    "INSERT INTO progress VALUES ('nats', 99, 5, 'x')",
]


@pytest.mark.parametrize("statement", MARKS)
def test_damaged_progress_loses_nothing(terminal: Terminal, statement: str) -> None:
    """How far a broker got is no kill: what makes no sense of it is sent again."""
    says("INSERT OR IGNORE INTO progress VALUES ('nats', 1, 1, '1')", statement)(terminal.home)
    assert terminal.run(*KILL).code == 3


def test_a_full_disk_accepts_nothing(terminal: Terminal) -> None:
    """An error before the kill is accepted, never a receipt; with room again it is accepted."""
    # No file of the process can grow beyond 8 blocks of 512 bytes (POSIX sh, ulimit -f).
    # Of another agent: a kill that is in force already needs no room.
    other = ("kill", "agent", did("y"), "--timeout", "0")
    full = ("sh", "-c", 'ulimit -f 8; exec "$@"', "sh", RESCIND, *other)
    before = (terminal.home / SPOOL_FILE).read_bytes()
    ended = subprocess.run(
        full,
        env=terminal.environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    done = Done(other, ended.returncode, ended.stdout, ended.stderr)
    assert done.code == 1, done
    assert "spool" in done.error
    assert (terminal.home / SPOOL_FILE).read_bytes() == before
    assert terminal.run(*other).code == 3


def test_a_publisher_whose_key_has_expired_is_said(terminal: Terminal) -> None:
    """Its kill still counts and is accepted; `config check` names the day and the remedy."""
    found = checked(terminal, "trust file")
    assert found["ok"], found
    end_publisher_key(terminal.home, not_after=int(time.time()) - 86_400)
    found = checked(terminal, "trust file")
    assert not found["ok"]
    assert "its kills still count, but views go stale" in found["detail"]
    assert terminal.run(*KILL).code == 3


def checked(terminal: Terminal, what: str) -> Any:
    """Return one line of `config check`."""
    done = terminal.run("config", "check", "--json", "--timeout", "0.1")
    return next(line for line in done.document["checks"] if line["what"] == what)


def end_publisher_key(folder: Path, *, not_after: int) -> None:
    """Sign the trust file anew, with an end for the publisher's key; the host knew no other."""
    for kept in (folder / SUBSCRIBERS).glob("*trust*"):
        kept.unlink()
    names = ("root", "publisher", "approver")
    keys = {name: read_private(folder / f"{name}.key") for name in names}
    x, second = (b64url_encode(keys[name].public) for name in names[1:])
    file = trust.TrustFile(
        ver=trust.VERSION,
        aud="default",
        version=2,
        iat=int(time.time()),
        required=("local",),
        keys=(
            trust.TrustedKey(x, "local", trust.ALL_RIGHTS, not_after),
            trust.TrustedKey(second, "second", trust.Rights(approve=True)),
        ),
    )
    (folder / "trust.jws").write_bytes(trust.sign(file, keys["root"]))
