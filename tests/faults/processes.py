"""Processes that freeze, die and come back: signals by process id, never by name."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.fakes.waiting import wait_until


class Server(Protocol):
    """A real server bound to this process, as `rescind.embedded` makes them."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    def start(self) -> None:
        """Start on the same port and the same store."""

    def stop(self) -> None:
        """End it, and let go of its store."""


def freeze(pid: int) -> None:
    """Stop a process where it stands (SIGSTOP): its sockets stay open, and nothing answers.

    Returns when every thread of it stands: the signal alone takes a busy machine a while.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(_stands, Path(f"/proc/{pid}/task").iterdir())))


def _stands(thread: Path) -> bool:
    """Whether a thread is stopped by a signal, or gone (proc(5): T; Z and X)."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def thaw(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process for the time of the block."""
    freeze(pid)
    try:
        yield
    finally:
        thaw(pid)


def crash(server: Server) -> None:
    """End a server as a power cut would its process (SIGKILL); `start` brings it back."""
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
