"""One socket, two writers: a loop and a thread that cannot wait for it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from rescind_subscriber.nats_writer import SharedWriter
from tests.fakes.waiting import until

T = TypeVar("T")

LARGE = b"L" * 4_000_000
"""More than any socket takes at once."""


class Wire:
    """A writer, its shared form, and the other end."""

    def __init__(self, writer: asyncio.StreamWriter, other: socket.socket) -> None:
        self.writer, self.other = writer, other
        self.shared = SharedWriter(writer)

    async def read(self, size: int) -> bytes:
        """Return so many bytes of what arrived."""
        got = bytearray()
        while len(got) < size:
            got += await asyncio.get_running_loop().sock_recv(self.other, size - len(got))
        return bytes(got)


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Give a connected writer."""
    ours, other = socket.socketpair()
    other.settimeout(0)
    _, writer = await asyncio.open_connection(sock=ours)
    at = Wire(writer, other)
    try:
        yield at
    finally:
        at.shared.close()
        writer.transport.abort()
        other.close()


def elsewhere(call: Callable[[], T]) -> T:
    """Call it on another thread while the loop stands still."""
    said: list[T] = []
    thread = threading.Thread(target=lambda: said.append(call()))
    thread.start()
    thread.join()
    return said[0]


async def test_another_thread_sends_without_the_loop() -> None:
    """What it sends has arrived before the loop does anything."""
    async with wire() as at:
        assert elsewhere(lambda: at.shared.send(b"kill"))
        assert at.other.recv(100) == b"kill"


async def test_what_the_socket_took_in_part_goes_out_whole_and_first() -> None:
    """The loop sends the rest, before what it writes itself, and nobody else gets between."""
    async with wire() as at:
        assert elsewhere(lambda: at.shared.send(LARGE))
        assert not elsewhere(lambda: at.shared.send(b"between"))
        at.writer.write(b"behind")
        assert await at.read(len(LARGE) + 6) == LARGE + b"behind"
        assert at.shared.send(b"now")
        assert elsewhere(lambda: at.shared.send(b"then"))
        assert await at.read(7) == b"nowthen"


async def test_the_rest_goes_out_where_the_loop_has_nothing_to_write() -> None:
    """The loop is woken for it."""
    async with wire() as at:
        assert elsewhere(lambda: at.shared.send(LARGE))
        assert await at.read(len(LARGE)) == LARGE


async def test_without_the_rest_being_first_a_message_is_torn() -> None:
    """The control: a loop that does not know of the rest writes into the middle of a message."""
    async with wire() as at:
        assert elsewhere(lambda: at.shared.send(LARGE))
        at.shared._write(b"behind")
        assert await at.read(len(LARGE) + 6) != LARGE + b"behind"


async def test_behind_what_the_loop_could_not_send_yet_nothing_is_sent() -> None:
    """It would land in the middle of it."""
    async with wire() as at:
        at.writer.writelines([LARGE, b"end"])
        assert at.writer.transport.get_write_buffer_size()
        assert not elsewhere(lambda: at.shared.send(b"kill"))
        assert await at.read(len(LARGE) + 3) == LARGE + b"end"
        await until(lambda: at.shared.send(b"kill"))


async def test_whether_the_loop_is_behind_no_other_thread_asks_the_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its buffer looks empty there for a moment, while the loop puts the rest of a piece back."""
    async with wire() as at:
        at.writer.write(LARGE)
        with monkeypatch.context() as moment:
            moment.setattr(at.writer.transport, "get_write_buffer_size", lambda: 0)
            at.other.recv(1_000_000)
            assert not elsewhere(lambda: at.shared.send(b"torn"))
            assert at.shared.send(b"")  # the control: the loop itself goes by what it says


async def test_a_piece_that_waits_when_the_writer_is_made_stays_whole() -> None:
    """A connection may be behind before anybody shares it."""
    async with wire() as at:
        at.writer.write(LARGE)
        late = SharedWriter(at.writer)
        assert not elsewhere(lambda: late.send(b"torn"))
        late.close()


async def test_many_writers_tear_nothing() -> None:
    """A loop and three threads write as fast as they can: every line arrives whole."""
    async with wire() as at:
        sent = list[bytes]()

        def hurry(who: bytes) -> None:
            for number in range(2000):
                line = who + b" %d\n" % number
                if at.shared.send(line):
                    sent.append(line)

        threads = [threading.Thread(target=hurry, args=(who,)) for who in (b"a", b"b", b"c")]
        for each in threads:
            each.start()
        got = bytearray()
        while any(each.is_alive() for each in threads):
            at.writer.write(b"loop\n")
            sent.append(b"loop\n")
            got += await asyncio.get_running_loop().sock_recv(at.other, 65536)
        size = sum(map(len, sent))
        got += await at.read(size - len(got))
        assert sorted(got.splitlines(keepends=True)) == sorted(sent)


async def test_a_closed_one_sends_nothing() -> None:
    """Nor does it hold the connection open."""
    async with wire() as at:
        at.shared.close()
        assert not at.shared.send(b"kill")
        at.writer.transport.abort()
        assert await asyncio.get_running_loop().sock_recv(at.other, 1) == b""


async def test_a_lost_connection_is_the_loops_to_see() -> None:
    """The thread is told that nothing was sent, and gets no exception."""
    async with wire() as at:
        at.other.close()
        assert not elsewhere(lambda: at.shared.send(b"kill"))


async def test_with_tls_only_the_loop_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is state beside the socket: written to past it, the connection would be broken."""
    ours, other = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    plain = writer.get_extra_info

    def get(name: str) -> Any:
        return object() if name == "ssl_object" else plain(name)

    monkeypatch.setattr(writer, "get_extra_info", get)
    shared = SharedWriter(writer)
    assert not elsewhere(lambda: shared.send(b"past it"))
    assert shared.send(b"through it")
    assert other.recv(100) == b"through it"
    writer.transport.abort()
    other.close()
