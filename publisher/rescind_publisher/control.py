"""The control socket: other programs on this host hand their kills to the running publisher.

Newline-delimited JSON over a Unix socket, one request a line, one answer a line:

    {"op": "kill", "kills": [{"target": {"kind": "agent", "id": "did:…"}}], "actor": "ann@ops"}
    {"receipt": { … }}  or  {"error": {"code": "NOT_PERMITTED", "message": "…"}}

A kill with `wait_s` is answered by some lines `{"applied": { … }}` before its receipt.

A connection holds a place until its request is accepted: what comes after, waiting for brokers and
subscribers, holds neither a place nor a thread. Kills are committed by threads of their own, so
that no other request is before them. Where no place is free, the answer is the error
`CONTROL_BUSY`, and the request was not looked at: nothing was done, and it may be sent again.

The directory is 0700 and the socket 0600: whoever can connect is whoever could read the key.
"""

import asyncio
import logging
import os
import resource
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from rescind_protocol.errors import RescindError
from rescind_publisher.applied import Applied
from rescind_publisher.errors import ControlBusy, ControlFailed, ControlInUse
from rescind_publisher.fleet import Fleet
from rescind_publisher.peer import peer
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import (
    EndRequest,
    FleetRequest,
    ForgetRequest,
    KillRequest,
    Order,
    Request,
    RetireRequest,
    ScrubRequest,
    StatusRequest,
    TrustRequest,
)
from rescind_publisher.status import Status, TrustPosted

if TYPE_CHECKING:  # clients load this module too, and no engine with it
    from rescind_publisher.hand import Hand

_log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""One line: `requests.MAX_KILLS` kills with ordinary reasons."""
MAX_PLACES = 512
"""Connections whose request is not accepted yet; at most a quarter of the files of this process."""
MAX_WAITS = 2048
"""Accepted requests that wait; at most half of the files. Further ones are answered at once."""
MAX_OTHERS = 64
"""Questions under way, and requests of any other kind: the other places are kept for kills."""
KILL_THREADS = 2
"""The ledger commits one request at a time; a second thread reads the next one meanwhile."""
QUESTION_THREADS = 2
"""Their own: whoever kills asks first who does it, and must not wait for a reinstatement."""
OTHER_THREADS = 8
BACKLOG = 1024
READ_TIMEOUT_S = 10.0
"""How long a client may take to send a line, and to take its answer."""
SILENT_S = 1.0
"""Whoever has sent nothing for so long gives its place to a newcomer, where all are taken."""
NO_WAIT = "too many requests wait already: this receipt says what was known at once"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True):
    """An error as it crosses the socket."""

    code: str
    message: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of seven. `applied` is no last word: a receipt follows."""

    receipt: Receipt | None = None
    status: Status | None = None
    fleet: Fleet | None = None
    applied: Applied | None = None
    trust: TrustPosted | None = None
    forgotten: int | None = None
    error: Problem | None = None


class Answering(Protocol):
    """What the socket serves: a `Publisher`."""

    def accept(self, order: Order) -> "Hand":
        """Commit what is asked; blocks for the disk."""
        ...

    async def finish(
        self, hand: "Hand", order: Order | None, told: Callable[[Applied], None]
    ) -> Receipt:
        """Wait as the order says, without one not at all; a cancelled wait ends as it stands."""
        ...

    def fleet(self) -> Fleet:
        """Who the subscribers are."""
        ...

    def forget(self, name: str) -> int:
        """Take subscribers off the roster; how many."""
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


class _Operation(msgspec.Struct, frozen=True):
    """What a line asks for, read before the rest of it."""

    op: str = ""


class _Lane:
    """Threads for some kinds of requests, and how many of these there may be at once."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=f"rescind-{name}")
        self.most, self.now = most, 0


_BUSY = Problem(
    ControlBusy.code, "the publisher has no place free: nothing was done, send it again"
)


class ControlServer:
    """Listens on the loop that calls `start`, which is the publisher's."""

    def __init__(self, publisher: Answering, path: Path) -> None:
        self._publisher, self.path = publisher, path
        self._server: asyncio.Server | None = None
        kills = _Lane("kill", KILL_THREADS, MAX_PLACES)
        asked = _Lane("ask", QUESTION_THREADS, MAX_OTHERS)
        self._others = _Lane("control", OTHER_THREADS, MAX_OTHERS)
        self._lanes = {"kill": kills, "status": asked, "fleet": asked}
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], float] = {}
        """Connections that have sent nothing of a request yet, since when; the oldest first."""
        self._waits = 0
        self._closing = False
        self._inode = 0

    async def start(self) -> None:
        """Listen; raises `ControlInUse` where a live publisher does, `ControlFailed` otherwise."""
        try:
            _prepare(self.path)
            # The directory is ours alone, so that nobody can connect before the mode is set.
            self._server = await asyncio.start_unix_server(
                self._connected, self.path, limit=MAX_REQUEST_BYTES, backlog=BACKLOG
            )
            self.path.chmod(0o600)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            raise ControlFailed(f"control socket {self.path}: {error.strerror or error}") from error

    async def stop(self) -> None:
        """Stop listening; what was accepted is answered with what is known of it."""
        self._closing = True
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                if self.path.stat().st_ino == self._inode:
                    self.path.unlink()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for lane in (*self._lanes.values(), self._others):
            await asyncio.to_thread(lane.pool.shutdown)

    # --- places ---

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._closing or not self._has_place():
            writer.write(_encode(Answer(error=_BUSY)))
            writer.close()
            return
        self._clients.add(task)
        try:
            await self._serve(task, reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            _log.info("control connection ended: %s", type(error).__name__)
        except asyncio.CancelledError:  # no request of it is under way, so nothing was done
            writer.write(_encode(Answer(error=_BUSY)))
        finally:
            self._clients.discard(task)
            self._silent.pop(task, None)
            writer.close()

    def _has_place(self) -> bool:
        """Whether a newcomer gets a place, perhaps that of a connection that says nothing."""
        if len(self._clients) - self._waits < _at_most(MAX_PLACES, 4):
            return True
        oldest = next(iter(self._silent), None)
        if oldest is None or asyncio.get_running_loop().time() - self._silent[oldest] < SILENT_S:
            return False
        del self._silent[oldest]
        oldest.cancel()
        return True

    # --- one connection ---

    async def _serve(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        loop, by = asyncio.get_running_loop(), peer(writer.get_extra_info("socket"))
        while not self._closing:
            self._silent[task] = loop.time()
            async with asyncio.timeout(READ_TIMEOUT_S):
                first = await reader.read(1)
                self._silent.pop(task, None)
                line = first + await reader.readline()
            if not line.endswith(b"\n"):
                return  # cut off: it was not sent whole, and is not looked at
            told = partial(_tell_soon, loop, writer)
            writer.write(_encode(await self._answer(line, by, told)))
            await asyncio.wait_for(writer.drain(), READ_TIMEOUT_S)

    async def _answer(self, line: bytes, by: str | None, told: Callable[[Applied], None]) -> Answer:
        try:
            asked = msgspec.json.decode(line, type=_Operation).op
            done = await self._in_lane(self._lanes.get(asked, self._others), line, by)
            return done if isinstance(done, Answer) else await self._receipt(*done, told)
        except msgspec.MsgspecError as error:
            return Answer(error=Problem("BAD_REQUEST", f"the request cannot be read: {error}"))
        except RescindError as error:
            return Answer(error=Problem(error.code, str(error)))
        except Exception:  # noqa: BLE001 - it is logged; a client must get an answer
            _log.exception("a control request failed in an unforeseen way")
            return Answer(error=Problem("ERROR", "the publisher failed; its log says how"))

    async def _in_lane(
        self, lane: _Lane, line: bytes, by: str | None
    ) -> "Answer | tuple[Order, Hand]":
        if lane.now >= lane.most:
            return Answer(error=_BUSY)
        lane.now += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(lane.pool, self._do, line, by)
            return await _to_its_end(work)
        finally:
            lane.now -= 1

    async def _receipt(self, order: Order, hand: "Hand", told: Callable[[Applied], None]) -> Answer:
        """Wait for what comes after the commit, which holds neither a thread nor a place."""
        if self._closing or self._waits >= _at_most(MAX_WAITS, 2):
            receipt = await self._publisher.finish(hand, None, told)
            return Answer(receipt=replace(receipt, warnings=(*receipt.warnings, NO_WAIT)))
        self._waits += 1
        try:
            return Answer(receipt=await self._publisher.finish(hand, order, told))
        finally:
            self._waits -= 1

    def _do(self, line: bytes, by: str | None) -> "Answer | tuple[Order, Hand]":
        request = msgspec.json.decode(line, type=Request)
        if isinstance(request, KillRequest | EndRequest | RetireRequest):
            request = replace(request, by=by)
            return request, self._publisher.accept(request)
        if isinstance(request, StatusRequest):
            return Answer(status=self._publisher.status())
        if isinstance(request, FleetRequest):
            return Answer(fleet=self._publisher.fleet())
        if isinstance(request, ForgetRequest):
            return Answer(forgotten=self._publisher.forget(request.name))
        if isinstance(request, ScrubRequest):
            return Answer(status=self._publisher.scrub())
        return Answer(trust=self._publisher.post_trust(request))


def _encode(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


async def _to_its_end(work: "asyncio.Future[T]") -> T:
    """Wait for what a thread does; it cannot be cut short, and its client hears of it."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        return await work


def _at_most(most: int, share: int) -> int:
    """Return a limit of connections that leaves files for the spool and the brokers."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, files // share)


def _tell_soon(
    loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter, applied: Applied
) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(lambda: _tell(writer, applied))


def _tell(writer: asyncio.StreamWriter, applied: Applied) -> None:
    """Send how far a request is; a client that does not read misses it."""
    if not writer.is_closing() and not writer.transport.get_write_buffer_size():
        writer.write(_encode(Answer(applied=applied)))


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
