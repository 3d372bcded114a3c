"""`ControlClient`: an engine that hands every request to the publisher running on this host."""

import socket
import struct
from collections.abc import Callable, Generator
from contextlib import closing
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
    ControlFailed,
    ControlSilent,
    ControlUncertain,
)
from rescind_publisher.fleet import Fleet
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import (
    MAX_TIMEOUT_S,
    FleetRequest,
    Order,
    Request,
    ScrubRequest,
    StatusRequest,
    TrustRequest,
)
from rescind_publisher.status import Status, TrustPosted

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 5.0
"""To a question: milliseconds are usual, and whoever asks waits with a kill at hand."""
_MARGIN_S = 10.0
"""Beyond the request's own wait: signing and committing the largest one."""
_ACCEPTED = "the request may have been accepted"
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

        `ControlFailed`: it was not sent. `ControlUncertain`: it was, and the answer is lost.
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

    def _ask(
        self,
        request: Request,
        timeout_s: float,
        told: Callable[[Applied], None] | None = None,
    ) -> Answer:
        line = msgspec.json.encode(request) + b"\n"
        if len(line) > MAX_REQUEST_BYTES:
            raise BadRequest(f"the request has {len(line)} bytes, limit {MAX_REQUEST_BYTES}")
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
        except (TimeoutError, BlockingIOError) as error:  # its queue of connections is full
            raise ControlSilent(f"the publisher on {self.path} takes no connection") from error
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
        try:
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                while (raw := answers.readline(MAX_REQUEST_BYTES)).endswith(b"\n"):
                    yield raw
        except TimeoutError as error:
            raise ControlSilent(f"{who} did not answer: {_ACCEPTED}", _peer(connection)) from error
        except OSError as error:
            raise ControlUncertain(f"{who} did not answer: {_ACCEPTED}") from error
        raise ControlUncertain(f"{who} hung up: {_ACCEPTED}")


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
