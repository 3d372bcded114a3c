"""The rules of snapshots: when one is due, where it goes, and what two of them allow."""

import msgspec
import pytest

from rescind_protocol.heads import Position
from rescind_protocol.image import Image
from rescind_protocol.snapshots import Place, Statement
from rescind_publisher import shelf
from rescind_publisher.shelf import RENEW_S, SLOTS, Kept, Schedule
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, log_id

LOG = log_id(PUBLISHER)
SCHEDULE = Schedule(every_s=600, events=100)


def kept(events: int, *, at: int = NOW, slot: str = "0", position: int | None = None) -> Kept:
    """Return a snapshot that was read back."""
    cursor = None if position is None else Place(str(position), "A" * 43)
    statement = Statement("soc", FABRIC, 1, at, 1, 0, "A" * 43, (), cursor)
    return Kept(f"{shelf.writer(PUBLISHER.kid)}.{slot}", statement, {LOG: events})


def image(events: int) -> Image:
    """Return a state of so many events."""
    return Image(vector={LOG: Position(events, bytes(32))})


@pytest.mark.parametrize(
    ("new", "age_s", "expected"),
    [
        (0, 0, False),
        (1, 599, False),
        (1, 600, True),
        (0, 600, False),
        (99, 0, False),
        (100, 0, True),
        (0, RENEW_S - 1, False),
        (0, RENEW_S, True),
        (1, -600, True),
    ],
)
def test_when_one_is_due(new: int, age_s: float, *, expected: bool) -> None:
    """Time and anything new, or so much that a reader would notice, or the day's renewal."""
    have = [kept(50), kept(40)]
    assert shelf.due(have, image(50 + new), NOW + age_s, SCHEDULE) is expected


@pytest.mark.parametrize("count", [0, 1])
def test_with_fewer_than_two_one_is_due(count: int) -> None:
    """Whatever the clock says."""
    assert shelf.due([kept(50)] * count, image(50), NOW, SCHEDULE)


def test_those_without_a_cursor_are_replaced() -> None:
    """As soon as one is known: until both have one, by whichever a reader starts."""
    have = [kept(50, position=7), kept(50)]
    assert shelf.due(have, image(50), NOW, SCHEDULE, cursor=True)
    assert not shelf.due(have, image(50), NOW, SCHEDULE)
    assert not shelf.due([have[0], have[0]], image(50), NOW, SCHEDULE, cursor=True)


def test_the_slot_of_the_two_newest_is_never_written() -> None:
    """Control: any other rule would, sooner or later, write over the newest while it is needed."""
    have: list[Kept] = []
    for turn in range(10):
        place = shelf.next_place(PUBLISHER.kid, have)
        assert place not in {each.place for each in have}
        have = [kept(turn, slot=place[-1]), *have][: shelf.KEEP]
    assert len(SLOTS) == shelf.KEEP + 1


def test_nothing_is_trimmed_before_two_were_read_back() -> None:
    """One could be lost; and what only the newer one carries has to stay."""
    assert shelf.trimmable([]) is None
    assert shelf.trimmable([kept(9, position=90)]) is None
    assert shelf.trimmable([kept(9, position=90), kept(5)]) is None
    found = shelf.trimmable([kept(9, position=90), kept(5, position=50)])
    assert found is not None
    assert found.position == "50"


def test_the_spool_counts_on_two_in_every_sink() -> None:
    """The least of what any of them carries; a sink with one, or none, carries nothing."""
    full, part = [kept(9), kept(5)], [kept(8), kept(7)]
    assert shelf.shelved([full, part]) == {LOG: 5}
    assert shelf.shelved([full, [kept(9)]]) == {}
    assert shelf.shelved([full, []]) == {}
    assert shelf.shelved([]) == {}
    other = msgspec.structs.replace(kept(9), vector={log_id(PUBLISHER, "other"): 9})
    assert shelf.shelved([[kept(9), other]]) == {}


def test_an_image_has_to_have_all_that_we_accepted() -> None:
    """Else it would leave out our own kills, and others would start from it."""
    at = {LOG: Position(5, bytes(32)), log_id(PUBLISHER, "new"): Position(0, bytes(32))}
    assert shelf.carries(image(5), at)
    assert not shelf.carries(image(4), at)
    assert not shelf.carries(Image(), at)
