"""A required publisher that is silent is named everywhere, with what to do; the others are not."""

from math import inf

from rescind.monitor import health_of
from rescind_protocol import trust as trusts
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.metrics import HEAD_AGE, families
from rescind_subscriber.status import Status, status_of
from tests.fakes.fabric import PUBLISHER, SECOND, Log, make_trust, next_trust
from tests.fakes.following import Followed, following, kills
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

ONE, TWO = "soc", "soc-b"
LAGS_S = SubscriberConfig().lagging_after_s + 0.1


def both() -> trusts.Trust:
    """Return a trust that requires two publishers."""
    before = make_trust()
    return trusts.catch_up(before, [next_trust(before, required=(ONE, TWO))])


def status(at: Followed) -> Status:
    """Return what everybody is told."""
    return status_of(
        at.view,
        at.follower,
        clock=at.clock,
        config=SubscriberConfig(),
        ever_fresh=False,
        crash="",
        faults={},
    )


async def test_a_silent_required_publisher_is_named() -> None:
    """Of two that are required one is heard: "heads heard: {'covered': 5}" named neither."""
    source, heard = ScriptedSource(), Log(PUBLISHER, ONE)
    async with following(source, trust=both()) as at:
        await until(at.follower.reads.read)
        source.head(heard)
        assert at.follower.trouble == {}  # it may just not have come yet
        at.clock.pass_s(LAGS_S)
        source.head(heard, time_s=at.clock.wall())
        now = status(at)
    assert list(now.trouble) == [f"publisher {TWO}"]
    assert "none was heard since the start" in now.trouble[f"publisher {TWO}"]
    assert f"rescind retire {TWO}" in now.trouble[f"publisher {TWO}"]
    assert health_of(now).document()["trouble"] == now.trouble
    (ages,) = [each.values for each in families(now) if each.metric is HEAD_AGE]
    assert (ages[ONE], ages[TWO]) == (0.0, inf)


async def test_one_that_falls_silent_is_named_while_all_is_fresh_still() -> None:
    """Five minutes before the fleet is stale, and not after."""
    source, first, second = ScriptedSource(), Log(PUBLISHER, ONE), Log(SECOND, TWO)
    async with following(source, trust=both()) as at:
        await until(at.follower.reads.read)
        source.head(first)
        source.head(second)
        at.clock.pass_s(LAGS_S)
        source.head(first, time_s=at.clock.wall())
        now = status(at)
    assert now.seconds_until_stale > 0
    assert "the last is 4 s old" in now.trouble[f"publisher {TWO}"]


async def test_a_source_that_holds_too_little_is_said() -> None:
    """A cold start on the newest events alone is never fresh, and it says why."""
    source, log = ScriptedSource(), Log(PUBLISHER, ONE)
    kills(log, 2)
    async with following(source) as at:
        await until(at.follower.reads.read)
        source.head(log)
        await until(lambda: "start" in at.follower.trouble)
        assert "no longer holds" in at.follower.trouble["start"]
        source.stored = list(log.raws)
        source.head(log, time_s=at.clock.wall() + 1)
        await until(lambda: not at.follower.trouble)
