"""When a cursor is given up."""

from rescind_subscriber.pace import Rescan


def test_what_is_missing_for_long_asks_for_a_rescan_and_then_not_at_once_again() -> None:
    """Once for each such time: a kill that no broker has yet must not be a storm of readings."""
    rescan = Rescan(180)
    asked = [rescan.due(now, missing=True) for now in (0, 5, 179, 180, 181, 359, 360)]
    assert asked == [False, False, False, True, False, False, True]


def test_what_came_in_time_asks_for_none() -> None:
    """The time begins anew with the next thing that is missing."""
    rescan = Rescan(180)
    assert not rescan.due(0, missing=True)
    assert not rescan.due(170, missing=False)
    assert not rescan.due(200, missing=True)
    assert not rescan.due(379, missing=True)
    assert rescan.due(380, missing=True)
