"""Reading without the library's task: the same messages in the same order, however they are cut."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from rescind_subscriber.nats_client import LeanClient

payloads = st.binary(max_size=40)
header_blocks = st.sampled_from([b"", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0 404\r\n\r\n"])
messages = st.lists(st.tuples(payloads, header_blocks, st.booleans()), max_size=12)
cuts = st.lists(st.integers(0, 1500), max_size=8)

Heard = list[tuple[str, bytes, bytes]]


def frame(number: int, payload: bytes, headers: bytes, *, reply: bool) -> bytes:
    """Return a message as the server writes it (NATS client protocol)."""
    start = f"a.{number} 1{' back' if reply else ''}".encode()
    if headers:
        sizes = b"%d %d" % (len(headers), len(headers) + len(payload))
        return b"HMSG %b %b\r\n%b%b\r\n" % (start, sizes, headers, payload)
    return b"MSG %b %d\r\n%b\r\n" % (start, len(payload), payload)


async def read(chunks: list[bytes], *, directly: bool) -> Heard:
    """Return what a handler hears of these bytes, as the socket brings them chunk by chunk."""
    heard: Heard = []
    client, reader = LeanClient(tls_required=False), asyncio.StreamReader()
    client._transport = SimpleNamespace(_io_reader=reader)  # type: ignore[assignment]
    client._handlers[1] = lambda *message: heard.append(message)
    if directly:
        client.read_directly()

    async def library() -> None:
        while data := await reader.read(32_768):
            await client._ps.parse(data)

    task = asyncio.create_task(library())
    for number, chunk in enumerate(chunks):
        reader.feed_data(chunk)
        if number % 2:  # the library's task has had a turn between some, and not between others
            await asyncio.sleep(0)
    reader.feed_eof()
    await task
    return heard


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return the bytes in pieces."""
    places = [0, *sorted(place for place in at if place < len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(places) if a < b]


@given(messages=messages, cuts=cuts)
def test_messages_come_whole_and_in_order_however_they_are_cut(
    messages: list[tuple[bytes, bytes, bool]], cuts: list[int]
) -> None:
    """The direct way and the library's hear the same, in the same order."""
    data = b"".join(
        frame(n, payload, headers, reply=reply) + (b"PONG\r\n" if reply else b"")
        for n, (payload, headers, reply) in enumerate(messages)
    )
    expected = [(f"a.{n}", payload, headers) for n, (payload, headers, _) in enumerate(messages)]
    for directly in (True, False):
        assert asyncio.run(read(cut(data, cuts), directly=directly)) == expected


def test_whole_messages_do_not_wait_for_the_librarys_task() -> None:
    """A message that the socket brings whole is heard before any other task has a turn."""

    async def first_turn(*, directly: bool) -> int:
        heard: Heard = []
        client, reader = LeanClient(tls_required=False), asyncio.StreamReader()
        client._transport = SimpleNamespace(_io_reader=reader)  # type: ignore[assignment]
        client._handlers[1] = lambda *message: heard.append(message)
        if directly:
            client.read_directly()
        reader.feed_data(frame(1, b"x", b"", reply=False))
        return len(heard)

    assert asyncio.run(first_turn(directly=True)) == 1
    assert asyncio.run(first_turn(directly=False)) == 0


def test_odd_frames_are_left_to_the_library() -> None:
    """What is not exactly a message is judged by the library's parser, never by ours."""
    for odd in (
        b"MSG a 1\r\n",
        b"MSG a x 1\r\nx\r\n",
        b"HMSG a 1 9 3\r\nabc\r\n",
        b"MSG a 1 1\r\nxyz",
    ):

        async def left(odd: bytes = odd) -> bytes:
            client = LeanClient(tls_required=False)
            client._handlers[1] = lambda *_: None
            return client._dispatch(odd)

        assert asyncio.run(left()) == odd
