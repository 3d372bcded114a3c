"""`rescind kill --from`: any number of targets, of a file or a pipe."""

import fcntl
import json
import os
import subprocess
import sys
import termios
from itertools import count
from pathlib import Path
from typing import Any

from tests.fakes.terminal import RESCIND, Running, Terminal, did, refused
from tests.fakes.waiting import wait_until

PIPE = 4096


def documents(out: str) -> list[dict[str, Any]]:
    """Read lines of JSON."""
    return [json.loads(line) for line in out.splitlines()]


def test_a_file_of_many(up: Running, terminal: Terminal, tmp_path: Path) -> None:
    """More than one request's worth; in both forms, and each is in force."""
    del up
    lines = [f"agent {did(f'many-{n}')}" for n in range(12_000)]
    lines += ["", "# the rest", json.dumps({"kind": "session", "id": "many-as-json"})]
    file = tmp_path / "targets.txt"
    file.write_text("\n".join(lines))  # the last line has no end
    done = terminal.run("kill", "--from", str(file), "--json", "--reason", "compromise")
    assert done.code == 0, done
    *requests, total = documents(done.out)
    assert [each["targets"] for each in requests] == [10_000, 2001]
    assert [each["lines"] for each in requests] == [[1, 10_000], [10_001, 12_003]]
    assert (total["killed"], total["faults"]) == (12_001, 0)
    assert all(terminal.killed("agent", did(f"many-{n}")) for n in (0, 11_999))
    assert terminal.killed("session", "many-as-json")


def test_lines_that_name_no_target_are_said_and_the_others_killed(
    up: Running, terminal: Terminal
) -> None:
    """With their numbers; exit code 1. A wide kill wants its word here too."""
    del up
    given = f"agent {did('pipe')}\nagent no-did\nnobody x\n{{\neveryone\nbadge -\n"
    done = terminal.run("kill", "--from", "-", given=given)
    assert done.code == 1, done
    for number in range(2, 7):
        assert f"warning: line {number}: " in done.err
    assert "to kill everyone takes --yes" in done.err
    assert "killed 1 targets in 1 request" in done.out
    assert terminal.killed("agent", did("pipe"))


def test_a_file_without_a_target_is_refused(up: Running, terminal: Terminal) -> None:
    """Nothing was killed, and it is said; nor are a file and a target given at once."""
    del up
    refused(terminal.run("kill", "--from", "-", given="\n# none\n"), 2, "nothing to kill")
    refused(terminal.run("kill", "--from", "-", "agent", did("x")), 2, "not both")
    refused(terminal.run("kill"), 2, "Missing argument 'KIND'")


def test_what_comes_slowly_is_killed_as_it_comes(up: Running, terminal: Terminal) -> None:
    """A pipe that stays open keeps nothing waiting."""
    del up
    command = [RESCIND, "kill", "--from", "-", "--json"]
    with subprocess.Popen(
        command, env=terminal.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(f"agent {did('slowly')}\n".encode())
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["targets"] == 1
        assert terminal.killed("agent", did("slowly"))
        running.stdin.close()
        assert json.loads(running.stdout.readline())["killed"] == 1


def test_output_that_nobody_reads_holds_no_publisher_up(own: Terminal) -> None:
    """With its pipe full for long it kills as ever, and ends by SIGTERM."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    command = [RESCIND, "up", "--port", "0", "--json"]
    with subprocess.Popen(
        command, env=own.environment(), stdout=writing, stderr=writing
    ) as running:
        os.close(writing)
        wait_until((own.home / "control" / "control.sock").exists, 30)
        batches = count()
        wait_until(lambda: _unread(reading) > PIPE - 512 or _kill_some(own, next(batches)), 30)
        assert own.killed("agent", did("unread-0-0"))
        running.terminate()
        try:
            assert running.wait(30) == 0
        finally:
            running.kill()
    os.close(reading)


def _unread(pipe: int) -> int:
    """Return how many bytes stand in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def _kill_some(terminal: Terminal, batch: int) -> bool:
    """Kill twenty, and return False: the publisher writes a line for each once it is fresh."""
    lines = "".join(f"agent {did(f'unread-{batch}-{n}')}\n" for n in range(20))
    assert terminal.run("kill", "--from", "-", given=lines).code == 0
    return False
