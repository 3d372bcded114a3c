"""The event stream format: the standard's own examples, every way to cut it, and limits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol.errors import Malformed
from rescind_subscriber.sse_parser import MAX_LINE_BYTES, SseParser


def parsed(*pieces: bytes) -> list[tuple[str, bytes, str]]:
    """Return what is dispatched."""
    parser = SseParser()
    return [(e.kind, e.data, e.last_id) for piece in pieces for e in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third event",
            [("message", b"first", "1"), ("message", b"second", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", b"", ""), ("message", b"\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("message", b"test", ""), ("message", b"test", "")]),
        (b"event: add\ndata: 73857293\n\n", [("add", b"73857293", "")]),
        (b"id: 7\n\ndata: x\n\n", [("message", b"x", "7")]),
        (
            b"id: 7\ndata: x\n\nid: 8\0\ndata: y\n\n",
            [("message", b"x", "7"), ("message", b"y", "7")],
        ),
        (b"\xef\xbb\xbfdata: x\r\rdata: y\r\n\r\n", [("message", b"x", ""), ("message", b"y", "")]),
        (b"event: gone\n\ndata: x\n\n", [("message", b"x", "")]),
        (b"unknown: 1\nretry: 10\n:\n\n", []),
        (b"data: x\n", []),
    ],
)
def test_the_standard(stream: bytes, events: list[tuple[str, bytes, str]]) -> None:
    """What WHATWG HTML §9.2.6 says of these streams, and of every way to cut them in two."""
    assert parsed(stream) == events
    for at in range(len(stream)):
        assert parsed(stream[:at], stream[at:]) == events
    assert parsed(*(bytes([byte]) for byte in stream)) == events


@given(
    st.lists(st.sampled_from([b"data", b"id", b"event", b":", b" ", b"\n", b"\r", b"x", b"\0"])),
    st.lists(st.integers(0, 40)),
)
def test_cutting_changes_nothing(words: list[bytes], cuts: list[int]) -> None:
    """Any bytes in any pieces give the same events."""
    stream = b"".join(words)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert parsed(*pieces) == parsed(stream)


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"y" * 900 + b"\n", b"data\n" * 200])
def test_what_has_no_end_is_given_up(piece: bytes) -> None:
    """An endless line, and an event of endless lines, are refused near the limit."""
    parser = SseParser()
    with pytest.raises(Malformed, match="beyond"):
        feed_on(parser, piece)


def feed_on(parser: SseParser, piece: bytes) -> None:
    """Feed the same piece until it is refused, or six times as much as the limit was taken."""
    for _ in range(6 * MAX_LINE_BYTES // len(piece)):
        parser.feed(piece)
