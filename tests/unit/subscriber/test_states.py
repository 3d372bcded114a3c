"""States, timings and waits: the small pure parts."""

from math import inf

import pytest

from rescind_protocol.errors import Malformed
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.pace import Pace
from rescind_subscriber.states import TABLE, Observed, State, derive


@pytest.mark.parametrize(
    ("age_s", "ever", "away", "state"),
    [
        (inf, False, 0, State.SYNCING),
        (inf, True, 0, State.STALE),
        (300.0, True, 0, State.STALE),
        (299.9, True, 0, State.LAGGING),
        (3.5, True, 1, State.LAGGING),
        (3.4, True, 1, State.FALLBACK),
        (0.0, True, 0, State.LIVE),
    ],
)
def test_the_first_row_that_holds_is_the_state(
    age_s: float,
    ever: bool,  # noqa: FBT001 - a column of the table
    away: int,
    state: State,
) -> None:
    """Each state by what it is derived from."""
    config = SubscriberConfig()
    seen = Observed(age_s, config.stale_after_s, config.lagging_after_s, ever, away)
    assert derive(seen) is state


def test_every_state_has_one_row() -> None:
    """None is forgotten, none said twice."""
    assert sorted(row.state for row in TABLE) == sorted(State)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"heartbeat_s": 100}, "3 heads must be less than"),
        ({"stale_after_s": 301}, "300 at most"),
        ({"name": "../x"}, "file name"),
        ({"name": ".hidden"}, "file name"),
        ({"name": ""}, "file name"),
    ],
)
def test_timings_that_cannot_work_are_refused(
    settings: dict[str, float | str], sentence: str
) -> None:
    """One sentence each."""
    with pytest.raises(Malformed, match=sentence):
        SubscriberConfig(**settings)  # type: ignore[arg-type]


def test_waits_double_up_to_a_limit_and_begin_anew() -> None:
    """For the same reason again; a new reason waits as little as the first did."""
    pace = Pace(1, 5)
    assert [pace.wait_s(0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert pace.wait_s(5.1) == 1
    pace.wait_s(0)
    pace.reset()
    assert pace.wait_s(0) == 1
