"""The demo as a person starts it: small, whole, with real processes. It leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fakes.waiting import alive, wait_until
from tests.faults.processes import freeze

WITHIN_S = 120.0
"""Importing Python a dozen times on a machine that does other things too."""
FOREIGN_SETTINGS = {"RESCIND_HOME": "/nowhere", "RESCIND_NATS_URL": "nats://127.0.0.1:1"}
"""Settings of the caller's own fabric, which are none of the demo's business."""


class Run:
    """A demo that runs, in a temporary folder of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.said: list[str] = []

    def processes(self, program: str = "") -> list[int]:
        """Return the running processes that inherited the folder, of one program if named."""
        marks = f"TMPDIR={self.folder}\0".encode(), program.encode()
        return [pid for pid in _pids() if _matches(pid, *marks)]

    def until(self, said: str) -> str:
        """Return the line that says it; fail if the demo ends without."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if said in line:
                return line
        raise AssertionError(f"{said!r} was not said: {''.join(self.said)}")

    def end(self) -> str:
        """Return what came out on stdout, when the demo has ended."""
        out, rest = self.process.communicate(timeout=WITHIN_S)
        self.said.append(rest)
        return out


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _matches(pid: int, mark: bytes, program: bytes) -> bool:
    at = Path(f"/proc/{pid}")
    try:
        found = mark in at.joinpath("environ").read_bytes()
        return found and program in at.joinpath("cmdline").read_bytes() and alive(pid)
    except (OSError, ProcessLookupError):
        return False


@contextmanager
def running(folder: Path, *options: str, **more: str) -> Iterator[Run]:
    """Start the demo, `more` in its environment; end whatever a failing test leaves of it."""
    environment = {**os.environ, **FOREIGN_SETTINGS, "TMPDIR": str(folder), **more}
    process = subprocess.Popen(
        [Path(sys.executable).with_name("rescind"), "demo", "--json", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    run = Run(process, folder)
    try:
        yield run
    finally:
        for pid in run.processes():
            with suppress(ProcessLookupError):  # it may end by itself between two looks
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def test_every_claim_holds(tmp_path: Path) -> None:
    """A small demo proves what it claims, and leaves no process and no file."""
    with running(tmp_path, "--subscribers", "7", "--servers", "2") as run:
        last = json.loads(run.end().splitlines()[-1])
        assert run.process.returncode == 0, run.said
        assert (last["subscribers"], last["servers"], last["failed"]) == (7, 2, [])
        assert last["allowed_before"] >= 2
        assert last["allowed_after_apply"] == 0
        for name in (
            "kill_to_ack_ms",
            "kill_to_last_apply_ms",
            "kill_to_first_deny_ms",
            "kill_without_nats_to_last_apply_ms",
        ):
            assert last[name] > 0, name
        for name in (
            "restarted_denies",
            "reinstated_new_badge_allowed",
            "old_badge_still_denied",
            "restarted_alone_denies",
        ):
            assert last[name] is True, name
        assert last["skipped"] == []
        assert run.processes() == []
        assert list(tmp_path.iterdir()) == []


def test_without_a_redis_server_one_act_is_skipped(tmp_path: Path) -> None:
    """It says which and why; the others hold, the restart with no broker left too."""
    with running(tmp_path, "--subscribers", "4", "--servers", "1", PATH="/nonexistent") as run:
        last = json.loads(run.end().splitlines()[-1])
        assert run.process.returncode == 0, run.said
        assert len(last["skipped"]) == 1
        assert "no redis-server on PATH" in last["skipped"][0]
        assert last["kill_without_nats_to_last_apply_ms"] is None
        assert last["restarted_alone_denies"] is True
        said = "".join(run.said)
        assert "skipped: no redis-server on PATH: apt-get install redis-server" in said
        assert "NATS gone: the killed badge is denied" in said


def test_a_deaf_subscriber_fails_the_demo(tmp_path: Path) -> None:
    """Negative control: one subscriber is kept from applying, and the demo says which."""
    with running(tmp_path, "--subscribers", "4", "--servers", "1") as run:
        wait_until(lambda: named(run, "sidecar-1"), WITHIN_S)
        [deaf] = named(run, "sidecar-1")
        run.until("Up in")
        freeze(deaf)
        run.until("Start the stopped subscriber again")
        os.kill(deaf, signal.SIGCONT)
        last = json.loads(run.end().splitlines()[-1])
        assert run.process.returncode == 1
        assert last["kill_to_last_apply_ms"] is None
        assert any("applied by 2 of 3" in claim for claim in last["failed"])
        assert "(not by sidecar-1)" in "".join(run.said)
        assert run.processes() == []


def named(run: Run, name: str) -> list[int]:
    """Return the process whose subscriber has this name."""
    return [pid for pid in run.processes("rescind.demo") if _matches(pid, _name(name), b"")]


def _name(name: str) -> bytes:
    return f"RESCIND_NAME={name}\0".encode()


def starting(run: Run) -> None:
    """Return while the world is still being built."""
    wait_until(lambda: run.processes("rescind.demo.server"), WITHIN_S)


def working(run: Run) -> None:
    """Return when the agent is at work."""
    run.until("An agent works")


@pytest.mark.parametrize("moment", [starting, working])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, moment: Callable[[Run], None], ending: signal.Signals) -> None:
    """Ctrl-C and SIGTERM, to the whole group, end every process and remove the folder."""
    with running(tmp_path, "--subscribers", "4", "--servers", "1") as run:
        moment(run)
        os.killpg(run.process.pid, ending)
        run.end()
        assert run.process.returncode == 130
        assert run.said[-1].endswith("The demo stopped: interrupted; every process has ended\n")
        assert "Traceback" not in run.said[-1]
        assert "unexpected EOF" not in run.said[-1]
        # One that was being started at that moment dies with its parent (PR_SET_PDEATHSIG).
        wait_until(lambda: not run.processes(), WITHIN_S)
        assert list(tmp_path.iterdir()) == []


def listening(pids: list[int]) -> set[str]:
    """Return the addresses that these processes listen on, as /proc/net/tcp has them."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def _sockets(pid: int) -> Iterator[str]:
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            link = str(handle.readlink())
            if link.startswith("socket:["):
                yield link[8:-1]


def test_loopback_only(tmp_path: Path) -> None:
    """Every port of every process is bound to 127.0.0.1."""
    with running(tmp_path, "--subscribers", "4", "--servers", "1") as run:
        run.until("Up in")
        assert listening(run.processes()) == {"0100007F"}


def test_killed(tmp_path: Path) -> None:
    """Even SIGKILL leaves no process: all of them are bound to the demo, stopped ones too."""
    with running(tmp_path, "--subscribers", "4", "--servers", "1") as run:
        run.until("Up in")
        freeze(run.processes("rescind.demo.sidecar")[0])
        assert len(run.processes()) > 5
        run.process.kill()
        wait_until(lambda: run.processes() == [])
