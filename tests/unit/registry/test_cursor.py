"""Cursors: canonical, the same at every node, bounded, strict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_registry.feeds.cursor import (
    MAX_ABOVE,
    MAX_CURSOR_CHARS,
    Position,
    decode,
    encode,
    tag_of,
)
from rescind_registry.feeds.errors import BadCursor

A, B = tag_of("log a"), tag_of("log b")
tags = st.sampled_from([tag_of(str(n)) for n in range(5)])
places = st.lists(st.tuples(tags, st.integers(1, 12)))


@given(places, st.randoms())
def test_a_cursor_does_not_depend_on_the_order(had: list[tuple[str, int]], random: object) -> None:
    """Whoever has the same events has the same cursor, and it says exactly those."""
    one, other = Position(), Position()
    for tag, seq in had:
        one.add(tag, seq)
    random.shuffle(had)  # type: ignore[attr-defined]
    for tag, seq in had:
        other.add(tag, seq)
    assert encode(one) == encode(other)
    again = decode(encode(one))
    assert again == one
    for tag in map(tag_of, map(str, range(5))):
        for seq in range(1, 14):
            assert again.has(tag, seq) == ((tag, seq) in had)


@given(places, places)
def test_missing_is_what_the_other_has(
    had: list[tuple[str, int]], whole: list[tuple[str, int]]
) -> None:
    """What is missing is exactly the difference, in order, and nothing once it is added."""
    one, other = Position(), Position()
    for tag, seq in had:
        one.add(tag, seq)
    for tag, seq in whole:
        other.add(tag, seq)
    for tag in other.tags:
        missing = list(one.missing(tag, other))
        assert missing == sorted(
            {s for t, s in whole if t == tag} - {s for t, s in had if t == tag}
        )
        for seq in missing:
            one.add(tag, seq)
    assert one.covers(other)


def test_a_cursor_is_written_as_documented() -> None:
    """One log without a gap, one with two single events above it."""
    position = Position({A: 41, B: 7}, {B: [9, 10, 13]})
    logs = sorted([f"~{A}.41", f"~{B}.7.9-10.13"])
    assert encode(position) == "v1" + "".join(logs)
    assert encode(Position()) == "v1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v2",
        "v1~",
        "v1 ",
        "1834",
        f"v1~{A}",
        f"v1~{A}.041",
        f"v1~{A}.-1",
        f"v1~{A}.1~{A}.2",
        f"v1~{A}.1.2",
        f"v1~{A}.1.5-4",
        f"v1~{A}.1.9.7",
        f"v1~{A}.0",
        f"v1~{A}.{2**53}",
        f"v1~{A}.1.3-{MAX_ABOVE + 3}",
        f"v1~{A}.1.3-9007199254740990",
        f"v1~{A[:-1]}.1",
        f"v1~{A}.\u0661",
        "v1" + "~" * MAX_CURSOR_CHARS,
        "v1" + "".join(f"~{tag_of(str(n))}.1" for n in range(1000)),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Anything but a cursor as we write it is a typed refusal, quickly, whatever its size."""
    with pytest.raises(BadCursor):
        decode(text)


def test_a_cursor_of_many_logs_leaves_out_what_is_cheapest_to_hear_again() -> None:
    """It stays within its limit, keeps the longest logs, and names no event it does not have."""
    many = Position({tag_of(str(n)): n for n in range(1, 1001)})
    text = encode(many)
    assert MAX_CURSOR_CHARS - 32 < len(text) <= MAX_CURSOR_CHARS
    read = decode(text)
    assert many.covers(read)
    kept = {read.upto(tag) for tag in read.tags}
    assert kept == set(range(1001 - len(kept), 1001))


def test_a_cursor_of_many_gaps_stays_within_its_limits() -> None:
    """Single events beyond the limits are left out of it: they come a second time."""
    gappy = Position({A: 1, B: 1}, {A: range(3, 5000, 2), B: range(3, 5000)})
    read = decode(encode(gappy))
    assert gappy.covers(read)
    assert not read.covers(gappy)
    assert read.upto(A) == read.upto(B) == 1
