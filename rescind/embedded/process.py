"""What every embedded server needs: a process bound to ours, a locked store, an orderly end."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from rescind_protocol.errors import RescindError
from rescind_subscriber.durable import locked

STOP_WITHIN_S = 5.0
LOG_TAIL_BYTES = 64 * 1024


class EmbeddedServerError(RescindError):
    """The embedded server did not start; the sentence says what to do."""

    code = "EMBEDDED_SERVER"


def bound(*command: str) -> list[str]:
    """Return the command that runs `command` and dies with this process."""
    script = Path(__file__).with_name("exec_bound.py")
    return [sys.executable, "-I", "-S", str(script), str(os.getpid()), *command]


def scratch(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a directory that is removed at the end."""
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def open_store(given: Path | None, cleanup: contextlib.ExitStack) -> Path:
    """Return the store, made if need be and locked: one store, one server. None: a throw-away."""
    if given is None:
        return Path(cleanup.enter_context(scratch("rescind-store-")))
    try:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = cleanup.enter_context(os.fdopen(os.open(given / "rescind.lock", flags, 0o600), "wb"))
        free = locked(lock.fileno())
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise EmbeddedServerError(f"the store {given} is not writable: {reason}") from error
    if not free:
        raise EmbeddedServerError(
            f"the store {given} is in use by another server: stop that one first"
        )
    return given


def spawn(
    command: list[str], environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process in a thread that stays as long as the process does.

    `PR_SET_PDEATHSIG` follows the *thread* that started the child (prctl(2)).
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is ours to handle: the server goes last
            )
            started.append(process)
        except OSError as error:
            started.append(error)
            return
        finally:
            ready.set()
        process.wait()  # this thread is the parent that PR_SET_PDEATHSIG watches

    threading.Thread(target=keep, name="rescind-embedded", daemon=True).start()
    ready.wait()
    if isinstance(started[0], OSError):
        raise EmbeddedServerError(f"the server cannot be started: {started[0]}")
    return started[0]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process: SIGTERM, then SIGKILL; harmless if it is gone."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def log_tail(log: IO[bytes]) -> str:
    """Return what the server has said, its end."""
    log.seek(0)
    return log.read(LOG_TAIL_BYTES).decode("utf-8", "replace")
