"""The control socket: other programs on this host hand their kills to the running publisher.

Newline-delimited JSON over a Unix socket, one request a line, one answer a line:

    {"op": "kill", "kills": [{"target": {"kind": "agent", "id": "did:…"}}], "actor": "ann@ops"}
    {"receipt": { … }}  or  {"error": {"code": "NOT_PERMITTED", "message": "…"}}

A kill with `wait_s` is answered by some lines `{"applied": { … }}` before its receipt.

The directory is 0700 and the socket 0600: whoever can connect is whoever could read the key.
"""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from rescind_protocol.errors import RescindError
from rescind_publisher.applied import Applied
from rescind_publisher.errors import ControlFailed, ControlInUse
from rescind_publisher.fleet import Fleet
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import (
    FleetRequest,
    Order,
    Request,
    ScrubRequest,
    StatusRequest,
    TrustRequest,
)
from rescind_publisher.status import Status, TrustPosted

_log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""One line: `requests.MAX_KILLS` kills with ordinary reasons."""
MAX_CONNECTIONS = 16
READ_TIMEOUT_S = 10.0
"""How long a client may take to send a line, and to take its answer."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Problem(msgspec.Struct, frozen=True):
    """An error as it crosses the socket."""

    code: str
    message: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of six. `applied` is no last word: a receipt follows."""

    receipt: Receipt | None = None
    status: Status | None = None
    fleet: Fleet | None = None
    applied: Applied | None = None
    trust: TrustPosted | None = None
    error: Problem | None = None


class Answering(Protocol):
    """What the socket serves: a `Publisher`."""

    def submit(self, order: Order, told: Callable[[Applied], None] | None = None) -> Receipt:
        """Do what is asked."""
        ...

    def fleet(self) -> Fleet:
        """Who the subscribers are."""
        ...

    def post_trust(self, request: TrustRequest) -> TrustPosted:
        """Go by newer versions of the trust file, and put them into the brokers."""
        ...

    def status(self) -> Status:
        """How it is."""
        ...

    def scrub(self) -> Status:
        """Begin to compare what the sinks hold with the spool."""
        ...


class ControlServer:
    """Listens on the loop that calls `start`; each request runs in a thread of a small pool."""

    def __init__(self, publisher: Answering, path: Path) -> None:
        self._publisher, self.path = publisher, path
        self._server: asyncio.Server | None = None
        self._pool = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="rescind-control")
        self._clients: set[asyncio.Task[None]] = set()
        self._inode = 0

    async def start(self) -> None:
        """Listen; raises `ControlInUse` where a live publisher does, `ControlFailed` otherwise."""
        try:
            _prepare(self.path)
            # The directory is ours alone, so that nobody can connect before the mode is set.
            self._server = await asyncio.start_unix_server(
                self._connected, self.path, limit=MAX_REQUEST_BYTES
            )
            self.path.chmod(0o600)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            raise ControlFailed(f"control socket {self.path}: {error.strerror or error}") from error

    async def stop(self) -> None:
        """Stop listening and let the requests under way end."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                if self.path.stat().st_ino == self._inode:
                    self.path.unlink()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            _log.info("control connection ended: %s", type(error).__name__)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await asyncio.wait_for(reader.readline(), READ_TIMEOUT_S):
            loop = asyncio.get_running_loop()
            told = partial(_tell_soon, loop, writer)
            answer = await loop.run_in_executor(self._pool, self._answer, line, told)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await asyncio.wait_for(writer.drain(), READ_TIMEOUT_S)

    def _answer(self, line: bytes, told: Callable[[Applied], None]) -> Answer:
        try:
            return self._do(msgspec.json.decode(line, type=Request), told)
        except msgspec.MsgspecError as error:
            return Answer(error=Problem("BAD_REQUEST", f"the request cannot be read: {error}"))
        except RescindError as error:
            return Answer(error=Problem(error.code, str(error)))
        except Exception:  # noqa: BLE001 - it is logged; a client must get an answer
            _log.exception("a control request failed in an unforeseen way")
            return Answer(error=Problem("ERROR", "the publisher failed; its log says how"))

    def _do(self, request: Request, told: Callable[[Applied], None]) -> Answer:
        if isinstance(request, StatusRequest):
            return Answer(status=self._publisher.status())
        if isinstance(request, FleetRequest):
            return Answer(fleet=self._publisher.fleet())
        if isinstance(request, ScrubRequest):
            return Answer(status=self._publisher.scrub())
        if isinstance(request, TrustRequest):
            return Answer(trust=self._publisher.post_trust(request))
        return Answer(receipt=self._publisher.submit(request, told))


def _tell_soon(
    loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter, applied: Applied
) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(lambda: _tell(writer, applied))


def _tell(writer: asyncio.StreamWriter, applied: Applied) -> None:
    """Send how far a request is; a client that does not read misses it."""
    if not writer.is_closing() and not writer.transport.get_write_buffer_size():
        writer.write(msgspec.json.encode(Answer(applied=applied)) + b"\n")


def _prepare(path: Path) -> None:
    """Make the directory 0700; remove the socket of a process that is gone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.parent.stat()
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise ControlFailed(
            f"the directory of the control socket must be only its owner's: chmod 700 {path.parent}"
        )
    if not path.is_socket():
        if path.exists():
            raise ControlFailed(f"{path} exists and is not a socket")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        else:
            raise ControlInUse(f"a publisher listens on {path} already")
