"""`PlainClient`: what a link asks of a connection, by nats-py's public interface alone.

It serves where the insides that `nats_client.LeanClient` changes are not known. What differs:

- Each subscription has a task and a queue of the library's. A queue that was full has dropped
  messages; the connection is given up then, and the next one catches up.
- A kill waits for the loop: nobody writes to the socket from another thread.
- A message is buffered whatever size the server announces.
- That TLS was asked for is insisted on before a password is sent, here too: the library asks for
  it by a function once the connection is made, and that one refuses.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from nats import errors
from nats.aio.client import Client, ServerVersion
from nats.aio.msg import Msg

Handler = Callable[[str, bytes, bytes], None]

CLOSE_WITHIN_S = 1.0
MAX_QUEUED = 65_536
"""Messages of one subscription; a reading of the whole store comes in batches far below."""
MAX_QUEUED_BYTES = 256 * 1024 * 1024
_STATUS, _DESCRIPTION = "Status", "Description"
_SECRETS = ("user", "password", "token")

_shaken: ContextVar[list[bool] | None] = ContextVar("_shaken", default=None)
"""Of the connection that is being made in this context: not empty once its TLS stands."""


class _Noting(ssl.SSLObject):
    """TLS that tells when its handshake is done (`ssl.SSLContext.sslobject_class`)."""

    def do_handshake(self) -> None:
        super().do_handshake()
        shaken = _shaken.get()
        if shaken is not None:
            shaken.append(True)


class PlainClient:
    """One connection: it is replaced when it is lost, never revived. See `LeanClient`."""

    def __init__(self, *, tls_required: bool) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._nats = Client()
        self._tls_required = tls_required
        self._tls_stands: list[bool] = []
        self._closing: asyncio.Task[None] | None = None

    async def connect(self, *, error_cb: Any, **arguments: Any) -> None:
        """Connect and log in; raises as nats-py does."""

        async def gone() -> None:
            self.abort(str(self._nats.last_error or "connection closed"))

        async def noticed(error: Exception) -> None:
            await error_cb(error)
            if isinstance(error, errors.SlowConsumerError):
                self.abort("messages were dropped: the library's queue was full")

        if self._tls_required:
            arguments = self._insisting(arguments)
        try:
            await self._nats.connect(
                error_cb=noticed, disconnected_cb=gone, closed_cb=gone, **arguments
            )
            self._check_tls()
        except BaseException:
            await self.close()  # what the library has opened by then
            raise

    def _insisting(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments so that no secret is said before TLS stands."""
        context = arguments.get("tls") or ssl.create_default_context()
        context.sslobject_class = _Noting
        _shaken.set(self._tls_stands)
        secrets = {name: arguments[name] for name in _SECRETS if arguments.get(name) is not None}
        later = {name: self._when_safe(secret) for name, secret in secrets.items()}
        return {**arguments, **later, "tls": context}

    def _when_safe(self, secret: str) -> Callable[[], str]:
        def say() -> str:
            self._check_tls()
            return secret

        return say

    def _check_tls(self) -> None:
        if self._tls_required and not self._tls_stands:
            raise errors.SecureConnRequiredError

    async def listen(self, subject: str, handler: Handler) -> None:
        """Subscribe a plain function to a subject pattern."""

        async def heard(message: Msg) -> None:
            handler(message.subject, message.data, header_block(message.headers))

        await self._nats.subscribe(
            subject,
            cb=heard,
            pending_msgs_limit=MAX_QUEUED,
            pending_bytes_limit=MAX_QUEUED_BYTES,
        )

    async def send_held(self) -> None:
        """Do nothing: nothing is held."""

    async def flush(self, timeout: int) -> None:  # noqa: ASYNC109 - nats-py's signature
        """Return when the server has processed what was sent before.

        The library's PING may overtake what it still buffers. It writes that while it waits for the
        first answer, and so the second PING goes out behind it.
        """
        await self._nats.flush(timeout)
        await self._nats.flush(timeout)

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send; whether it arrived is not known."""
        await self._nats.publish(subject, payload, reply, headers)

    def read_directly(self) -> None:
        """Do nothing: the library's task reads."""

    def share(self) -> None:
        """Do nothing: no other thread writes."""

    def write_now(self, frame: bytes) -> bool:  # noqa: ARG002 - `LeanClient`'s signature
        """Return False: the loop sends it."""
        return False

    def abort(self, why: str) -> None:
        """Give the connection up, and say why; harmless if it is given up already."""
        if not self.lost.done():
            self.lost.set_result(why)
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())

    async def close(self) -> None:
        """Return when it is closed, or has had the time for it."""
        self.abort("closed")
        if self._closing is not None:
            await asyncio.wait((self._closing,))

    async def _close(self) -> None:
        with contextlib.suppress(errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._nats.close()

    @property
    def clustered(self) -> bool:
        """Whether the server has told of others."""
        return bool(self._nats.discovered_servers)

    @property
    def connected_server_version(self) -> ServerVersion:
        """The version of the server."""
        return self._nats.connected_server_version


def header_block(headers: dict[str, str] | None) -> bytes:
    """Return headers as the server writes them (NATS ADR-4), the status in the first line."""
    if not headers:
        return b""
    rest = dict(headers)
    said = (rest.pop(_STATUS, ""), rest.pop(_DESCRIPTION, ""))
    first = " ".join(("NATS/1.0", *filter(None, said)))
    lines = [first, *(f"{name}: {value}" for name, value in rest.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
