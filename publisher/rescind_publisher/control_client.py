"""`ControlClient`: an engine that hands every request to the publisher running on this host."""

import socket
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import msgspec

from rescind_protocol import errors as protocol_errors
from rescind_protocol.errors import RescindError
from rescind_publisher import errors
from rescind_publisher.applied import Applied
from rescind_publisher.control import MAX_REQUEST_BYTES, Answer
from rescind_publisher.errors import BadRequest, ControlFailed, ControlUncertain
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
_MARGIN_S = 10.0
"""Beyond the request's own wait: signing and committing the largest one."""
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
        """Raise `ControlFailed` where nobody answers."""
        self.status()

    def close(self) -> None:
        """Nothing is held between requests."""

    def answers(self) -> bool:
        """Whether a running publisher answers."""
        try:
            self.status()
        except ControlFailed:
            return False
        return True

    def submit(self, order: Order, told: Callable[[Applied], None] | None = None) -> Receipt:
        """Hand a request over; raises what the publisher raised, its sentence included.

        `ControlFailed`: it was not sent. `ControlUncertain`: it was, and the answer is lost.
        """
        wait_s = min(order.timeout_s, MAX_TIMEOUT_S) + min(order.wait_s, MAX_TIMEOUT_S)
        receipt = self._ask(order, wait_s, told).receipt
        if receipt is None:
            raise ControlUncertain("the publisher answered without a receipt")
        return receipt

    def status(self) -> Status:
        """Ask how the publisher is."""
        return self._status(StatusRequest())

    def scrub(self) -> Status:
        """Have all that the sinks hold compared with the spool; see `Publisher.scrub`."""
        return self._status(ScrubRequest())

    def _status(self, request: Request) -> Status:
        status = self._ask(request, 0).status
        if status is None:
            raise ControlFailed(f"what listens on {self.path} is not a publisher")
        return status

    def post_trust(self, request: TrustRequest) -> TrustPosted:
        """Hand versions of the trust file over; raises what the publisher raised."""
        posted = self._ask(request, request.timeout_s).trust
        if posted is None:
            raise ControlUncertain("the publisher answered without saying what became of it")
        return posted

    def fleet(self) -> Fleet:
        """Ask who the subscribers are."""
        fleet = self._ask(FleetRequest(), 0).fleet
        if fleet is None:
            raise ControlFailed(f"what listens on {self.path} does not know its subscribers")
        return fleet

    def _ask(
        self,
        request: Request,
        wait_s: float,
        told: Callable[[Applied], None] | None = None,
    ) -> Answer:
        line = msgspec.json.encode(request) + b"\n"
        if len(line) > MAX_REQUEST_BYTES:
            raise BadRequest(f"the request has {len(line)} bytes, limit {MAX_REQUEST_BYTES}")
        with socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection)
            with closing(self._exchange(connection, line, wait_s + _MARGIN_S)) as answers:
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
        except OSError as error:
            raise ControlFailed(f"no publisher answers on {self.path}: {error}") from error

    def _exchange(
        self, connection: socket.socket, line: bytes, timeout_s: float
    ) -> Generator[bytes]:
        """Send a line and yield lines for as long as they are asked for; never ends quietly."""
        connection.settimeout(timeout_s)
        try:
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                while (raw := answers.readline(MAX_REQUEST_BYTES)).endswith(b"\n"):
                    yield raw
        except OSError as error:
            raise ControlUncertain(
                f"the publisher on {self.path} did not answer: the request may have been accepted"
            ) from error
        raise ControlUncertain(
            f"the publisher on {self.path} hung up: the request may have been accepted"
        )


def _read(raw: bytes) -> Answer:
    try:
        return msgspec.json.decode(raw, type=Answer)
    except msgspec.MsgspecError as error:
        raise ControlUncertain("the publisher's answer cannot be read") from error
