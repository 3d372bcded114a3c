"""`kill --wait` and the subscribers in `status`, with guarded processes of their own."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.terminal import RESCIND, Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.faults.processes import freeze

GUARDED = (
    "import sys\nfrom rescind.sidecar import Sidecar\n"
    "with Sidecar(name=sys.argv[1]) as at:\n"
    "    at.subscriber.wait_fresh(20)\n    print('fresh', flush=True)\n    sys.stdin.read()\n"
)


@contextmanager
def guarded(terminal: Terminal, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Give processes with a guard each, fresh and on the publisher's roster."""
    work = [
        subprocess.Popen(
            [sys.executable, "-c", GUARDED, name],
            env=terminal.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        for each in work:
            assert each.stdout is not None
            assert each.stdout.readline() == "fresh\n"
        wait_until(lambda: known(terminal) == list(names))
        yield work
    finally:
        for each in work:
            os.kill(each.pid, signal.SIGCONT)
            each.communicate("", timeout=WITHIN_S)


def known(terminal: Terminal) -> list[str]:
    """Return the names that `status` lists."""
    members = terminal.run("status", "--json").document["subscribers"]["members"]
    return [member["name"] for member in members]


def kill(terminal: Terminal, name: str, *more: str) -> tuple[int, dict[str, object]]:
    """Kill an agent and return exit code and what subscribers said."""
    done = terminal.run("kill", "agent", did(name), "--json", *more)
    return done.code, done.document["applied"]


def test_the_exit_code_says_who_has_it(terminal: Terminal) -> None:
    """All: 0. Somebody is missing: 5, by name. Nobody is there: 4, for nobody can tell."""
    with guarded(terminal, "eu-1", "eu-2") as (_, second):
        code, applied = kill(terminal, "wait-1", "--wait", "20s")
        assert (code, applied["complete"], applied["done"]) == (0, True, 2)
        freeze(second.pid)
        code, applied = kill(terminal, "wait-2", "--wait", "500ms")
        assert (code, applied["complete"], applied["done"]) == (5, False, 1)
        assert "not yet: eu-2" in str(applied["message"])
        done = terminal.run("kill", "agent", did("wait-3"), "--wait", "300ms")
        assert done.code == 5
        assert "dead in 1/2 after " in done.out
        assert "dead in" not in done.err  # no terminal, no bar
    wait_until(lambda: known(terminal) == [])
    code, applied = kill(terminal, "wait-4", "--wait", "300ms")
    assert (code, applied["known"]) == (4, 0)


def test_status_lists_the_subscribers(terminal: Terminal) -> None:
    """Each with state, lag, version and when it was last heard."""
    with guarded(terminal, "eu-1"):
        wait_until(lambda: "LIVE" in terminal.run("status").out.partition("last seen")[2])
        out = terminal.run("status").out
        head, row = out.splitlines()[-2:]
        assert head.split() == [
            "subscriber",
            "host",
            "pid",
            "state",
            "lag",
            "version",
            "last",
            "seen",
        ]
        assert row.split()[0] == "eu-1"
        assert row.split()[3:5] == ["LIVE", "0"]
        assert row.endswith(" ago")
        assert "1 known, since " in out


def test_a_terminal_sees_a_bar(terminal: Terminal) -> None:
    """On standard error, gone at the end; the figures stay on standard output."""
    with guarded(terminal, "eu-1") as (first,):
        freeze(first.pid)
        ours, theirs = pty.openpty()
        work = subprocess.Popen(
            [RESCIND, "kill", "agent", did("wait-5"), "--wait", "500ms"],
            env=terminal.environment(TERM="xterm", COLUMNS="100"),
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)
        drawn = b""
        while chunk := _read(ours):
            drawn += chunk
        os.close(ours)
        out, _ = work.communicate(timeout=WITHIN_S)
    assert work.returncode == 5
    assert b"0/1" in drawn
    assert b"eu-1" in drawn
    assert "dead in 0/1; not yet: eu-1" in out


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""


def test_a_wait_without_unit_is_refused(terminal: Terminal) -> None:
    """Nothing is killed by a command line that is not understood."""
    for said in ("2", "0s", "2h", "61s", "-1s"):
        done = terminal.run("kill", "agent", did("x"), f"--wait={said}")
        assert done.code == 2, done
        assert done.error.startswith("Invalid value for '--wait'"), done
