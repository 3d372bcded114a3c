"""`SharedWriter`: one socket, written to by its loop and by whoever cannot wait for the loop.

Waking a loop costs as much as sending a kill. So the thread that commits a kill writes it to the
socket by itself, and the loop is woken only for what the socket did not take. Both take the same
lock, and neither writes while something waits that the other one has begun.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Iterable
from typing import Any


class SharedWriter:
    """Stands before a stream's writer from the moment it is made, on the loop's thread.

    With TLS there is state beside the socket, which is the loop's alone: others cannot send then.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._transport = writer.transport
        self._lock = threading.Lock()
        self._rest = b""
        """Of a message that the socket took in part; goes out before all else."""
        self._behind = True
        """Whether the transport still held something, when its loop's thread last looked.

        No other thread may ask: from Python 3.12 on, a transport that sends a piece in part has
        taken it out of its buffer for a moment.
        """
        self._look()
        self._socket: socket.socket | None = None
        if writer.get_extra_info("ssl_object") is None:
            # One of our own: the transport may close its socket at any moment, and the number of a
            # closed one may be somebody else's file by the time that another thread writes to it.
            number = os.dup(writer.get_extra_info("socket").fileno())
            self._socket = socket.socket(fileno=number)
            self._socket.settimeout(0)
        self._closed = False
        self._write: Any = writer.write
        writer.write = self.write  # type: ignore[method-assign, assignment]
        writer.writelines = self.writelines  # type: ignore[method-assign, assignment]

    def write(self, data: bytes) -> None:
        """Write on the loop, in turn with other threads."""
        with self._lock:
            rest, self._rest = self._rest, b""
            self._write(rest + data if rest else data)
            self._look()
        if self._behind:
            self._loop.call_soon(self._look)  # uvloop sends at the end of a turn

    def _look(self) -> None:
        self._behind = self._transport.get_write_buffer_size() > 0

    def writelines(self, data: Iterable[bytes]) -> None:
        """Write several pieces at once, on the loop."""
        self.write(b"".join(data))

    def send(self, message: bytes) -> bool:
        """Write a whole message on any thread, without waiting; False where it was not taken."""
        on_loop = threading.get_ident() == self._loop_thread
        with self._lock:
            if on_loop:
                self._look()
            if self._closed or self._rest or self._behind:
                return False
            if self._socket is None:
                if on_loop:
                    self._write(message)
                    self._look()
                return on_loop
            try:
                self._rest = message[self._socket.send(message) :]
            except OSError:  # the socket is full, or gone: the loop's to see
                return False
            rest = bool(self._rest)
        if rest:
            self._loop.call_soon_threadsafe(self.write, b"")
        return True

    def close(self) -> None:
        """Send nothing more by itself; the connection ends when the transport closes its socket."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                self._socket.close()
