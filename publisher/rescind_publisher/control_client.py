"""`ControlClient`: an engine that hands every request to the publisher running on this host."""

import random
import socket
import struct
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from rescind_protocol import errors as protocol_errors
from rescind_protocol.errors import RescindError
from rescind_publisher import errors
from rescind_publisher.applied import Applied
from rescind_publisher.control import MAX_REQUEST_BYTES, Answer
from rescind_publisher.errors import (
    BadRequest,
    ControlAbsent,
    ControlBusy,
    ControlFailed,
    ControlSilent,
    ControlUncertain,
)
from rescind_publisher.fleet import Fleet
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import (
    MAX_TIMEOUT_S,
    FleetRequest,
    ForgetRequest,
    Order,
    Request,
    ScrubRequest,
    StatusRequest,
    TrustRequest,
)
from rescind_publisher.status import Status, TrustPosted

CONNECT_TIMEOUT_S = 1.0
BUSY_FOR_S = 30.0
"""How long a request is tried again that the publisher had no place for."""
_AGAIN_S, _MOST_AGAIN_S = 0.01, 0.5
ANSWER_TIMEOUT_S = 5.0
"""To a question: milliseconds are usual, and whoever asks waits with a kill at hand."""
_MARGIN_S = 10.0
"""Beyond the request's own wait: signing and committing the largest one."""
_ACCEPTED = "the request may have been accepted"
_NOTHING = "nothing was done"
_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)
_UCRED = struct.Struct("=iII")
"""pid, uid, gid of who listens (unix(7), SO_PEERCRED)."""
_KINDS = {
    kind.code: kind
    for module in (protocol_errors, errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, RescindError)
}


class ControlClient:
    """Speaks to the control socket at `path`; a connection for each request."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<ControlClient {self.path}>"

    def start(self) -> None:
        """Raise `ControlAbsent` where nobody listens, `ControlSilent` where nobody answers."""
        self.status()

    def close(self) -> None:
        """Nothing is held between requests."""

    def answers(self) -> bool:
        """Whether a publisher runs here; raises `ControlSilent` where it does not answer."""
        try:
            self.status()
        except ControlAbsent:
            return False
        return True

    def submit(self, order: Order, told: Callable[[Applied], None] | None = None) -> Receipt:
        """Hand a request over; raises what the publisher raised, its sentence included.

        `ControlFailed`: it was not sent, or not looked at. `ControlUncertain`: it was, and the
        answer is lost.
        """
        wait_s = min(order.timeout_s, MAX_TIMEOUT_S) + min(order.wait_s, MAX_TIMEOUT_S)
        receipt = self._ask(order, wait_s + _MARGIN_S, told).receipt
        if receipt is None:
            raise ControlUncertain("the publisher answered without a receipt")
        return receipt

    def status(self) -> Status:
        """Ask how the publisher is."""
        return self._status(StatusRequest(), ANSWER_TIMEOUT_S)

    def scrub(self) -> Status:
        """Have all that the sinks hold compared with the spool; see `Publisher.scrub`."""
        return self._status(ScrubRequest(), _MARGIN_S)

    def _status(self, request: Request, timeout_s: float) -> Status:
        status = self._ask(request, timeout_s).status
        if status is None:
            raise ControlFailed(f"what listens on {self.path} is not a publisher")
        return status

    def post_trust(self, request: TrustRequest) -> TrustPosted:
        """Hand versions of the trust file over; raises what the publisher raised."""
        posted = self._ask(request, request.timeout_s + _MARGIN_S).trust
        if posted is None:
            raise ControlUncertain("the publisher answered without saying what became of it")
        return posted

    def fleet(self) -> Fleet:
        """Ask who the subscribers are."""
        fleet = self._ask(FleetRequest(), ANSWER_TIMEOUT_S).fleet
        if fleet is None:
            raise ControlFailed(f"what listens on {self.path} does not know its subscribers")
        return fleet

    def forget(self, name: str) -> int:
        """Take subscribers off the roster; how many there were."""
        forgotten = self._ask(ForgetRequest(name), ANSWER_TIMEOUT_S).forgotten
        if forgotten is None:
            raise ControlFailed(f"what listens on {self.path} knows no subscribers to forget")
        return forgotten

    def _ask(
        self,
        request: Request,
        timeout_s: float,
        told: Callable[[Applied], None] | None = None,
    ) -> Answer:
        line = msgspec.json.encode(request) + b"\n"
        if len(line) > MAX_REQUEST_BYTES:
            raise BadRequest(f"the request has {len(line)} bytes, limit {MAX_REQUEST_BYTES}")
        until, again_s = time.monotonic() + BUSY_FOR_S, _AGAIN_S
        while True:
            try:
                return self._ask_once(line, timeout_s, told)
            except (ControlBusy, _QueueFull):
                if time.monotonic() + again_s > until:
                    raise
            # Spread, or all who were told so at one moment come back at one moment.
            time.sleep(random.uniform(0, again_s))  # noqa: S311 - no secret
            again_s = min(2 * again_s, _MOST_AGAIN_S)

    def _ask_once(
        self, line: bytes, timeout_s: float, told: Callable[[Applied], None] | None
    ) -> Answer:
        with socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection)
            with closing(self._exchange(connection, line, timeout_s)) as answers:
                while (answer := _read(next(answers))).applied is not None:
                    if told is not None:
                        told(answer.applied)
        if answer.error is not None:
            raise _KINDS.get(answer.error.code, RescindError)(answer.error.message)
        return answer

    def _connect(self, connection: socket.socket) -> None:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(self.path))
        except (TimeoutError, BlockingIOError) as error:
            said = f"the publisher on {self.path} takes no connection: {_NOTHING}"
            raise _QueueFull(said) from error
        except OSError as error:
            # Without an errno the path is too long for a socket: nobody can listen there.
            nobody = isinstance(error, _NOBODY) or error.errno is None
            kind = ControlAbsent if nobody else ControlFailed
            raise kind(f"no publisher answers on {self.path}: {error}") from error

    def _exchange(
        self, connection: socket.socket, line: bytes, timeout_s: float
    ) -> Generator[bytes]:
        """Send a line and yield lines for as long as they are asked for; never ends quietly."""
        connection.settimeout(timeout_s)
        who = f"the publisher on {self.path}"
        sent = _send(connection, line)
        try:
            with connection.makefile("rb") as answers:
                while (raw := answers.readline(MAX_REQUEST_BYTES)).endswith(b"\n"):
                    yield raw
        except TimeoutError as error:
            done = _ACCEPTED if sent else _NOTHING
            raise ControlSilent(f"{who} did not answer: {done}", _peer(connection)) from error
        except OSError as error:
            if sent:
                raise ControlUncertain(f"{who} did not answer: {_ACCEPTED}") from error
        if sent:
            raise ControlUncertain(f"{who} hung up: {_ACCEPTED}")
        raise ControlFailed(f"{who} hung up before it had read the request: {_NOTHING}")


class _QueueFull(ControlSilent):
    """So many wait to be connected that no further one may: it was not sent."""


def _send(connection: socket.socket, line: bytes) -> bool:
    """Whether a request was sent whole: a part of one is never looked at.

    Whoever is told that there is no place is hung up on meanwhile, and can read that all the same.
    """
    with suppress(OSError):
        connection.sendall(line)
        return True
    return False


def _peer(connection: socket.socket) -> int:
    """Return the pid of who listens, 0 where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)  # of Linux
    if option is None:
        return 0
    pid: int = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[0]
    return pid


def _read(raw: bytes) -> Answer:
    try:
        return msgspec.json.decode(raw, type=Answer)
    except msgspec.MsgspecError as error:
        raise ControlUncertain("the publisher's answer cannot be read") from error
