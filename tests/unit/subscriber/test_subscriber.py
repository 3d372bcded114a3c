"""`Subscriber`: its thread, its restarts, its sentences; without a network."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rescind_guard.view import View
from rescind_protocol.errors import Malformed, RescindError
from rescind_subscriber import subscriber as module
from rescind_subscriber.checkpoint import CheckpointFile
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.sources.base import Source
from rescind_subscriber.states import State
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import Log, make_trust
from tests.fakes.following import QUICK, kills, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until, wait_until


def subscriber(
    *sources: ScriptedSource,
    make: Callable[[], Sequence[Source]] | None = None,
    folder: Path | None = None,
    view: View | None = None,
    config: SubscriberConfig = QUICK,
    caller: bool = False,
) -> Subscriber:
    """Return a subscriber, not started, of these sources."""
    return Subscriber(
        make_trust(),
        make or (lambda: sources),
        view=view,
        config=config,
        state_dir=folder,
        clock=FakeClock(),
        loop="caller" if caller else "thread",
    )


def on_its_thread(at: Subscriber, call: Callable[[], None]) -> None:
    """Let a source speak as it would: on the subscriber's own loop."""
    done = threading.Event()

    def run() -> None:
        call()
        done.set()

    assert at._loop is not None
    at._loop.call_soon_threadsafe(run)
    wait_until(done.is_set)


def denies(at: Subscriber, number: int) -> bool:
    """Whether `victim(number)` is known to be killed."""
    return at.view.published.table.get(victim(number).digest) is not None


def test_follows_on_a_thread_of_its_own_and_stops() -> None:
    """Started and stopped twice; between, the view stays."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 2)
    at = subscriber(source)
    for round_ in (1, 2):
        with at:
            wait_until(lambda: at.status().reads and denies(at, 2))
            assert at.status().state is (State.SYNCING if round_ == 1 else State.LIVE)
            on_its_thread(at, lambda r=round_: source.head(log, time_s=at._clock.wall() + r))  # type: ignore[misc]
            assert at.status().state is State.LIVE
            assert at.fresh
    assert denies(at, 2)
    assert source.stops == 2
    assert not at.view._writer
    assert at.status().trouble == {"thread": "not running"}


def test_what_a_restart_remembers_is_there_when_start_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a moment in which a guard could let a known kill pass (I3, I7)."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 1)
    with subscriber(source, folder=tmp_path) as at:
        wait_until(lambda: denies(at, 1))
    source.stored = []
    source.outage = "no broker"
    load = CheckpointFile.load
    slowly = threading.Event()

    def late(self: CheckpointFile, fabric: str) -> object:
        slowly.wait(0.05)
        return load(self, fabric)

    monkeypatch.setattr(CheckpointFile, "load", late)
    with subscriber(source, folder=tmp_path) as at:
        assert denies(at, 1)
        assert not at.fresh


def test_sources_that_cannot_be_made_are_an_error_of_start() -> None:
    """And not a caller that waits for ever."""

    def make() -> Sequence[Source]:
        raise Malformed("no such file: nkey.seed")

    with pytest.raises(Malformed, match="nkey"):
        subscriber(make=make).start()


@pytest.mark.parametrize("caller", [False, True])
async def test_a_crash_restarts_loudly_stale_and_with_its_kills(
    caller: bool,  # noqa: FBT001 - the parameter of a test
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A follower that ends by surprise is replaced; the view keeps its kills and is stale."""
    monkeypatch.setattr(module, "RESTART_WAIT_S", 0.01)
    log, made = Log(), list[ScriptedSource]()
    stored = kills(log, 2)

    def make() -> Sequence[Source]:
        source = ScriptedSource()
        source.stored = stored if not made else []
        made.append(source)
        return [source]

    async with subscriber(make=make, caller=caller) as at:
        await until(lambda: denies(at, 2))
        if caller:
            made[0].head(log)
        else:
            await asyncio.to_thread(on_its_thread, at, lambda: made[0].head(log))
        assert at.status().state is State.LIVE
        made[0].breaks = RuntimeError("a bug")
        if caller:
            made[0].mend()
        else:
            await asyncio.to_thread(on_its_thread, at, made[0].mend)
        await until(lambda: len(made) == 2)
        await until(lambda: at.status().sources == {"memory": ""})
        assert str(at.status().state) == "STALE"
        assert denies(at, 1)
        assert denies(at, 2)
    assert "a bug" in caplog.text


def test_not_even_a_system_exit_ends_the_following(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would end a thread without a word."""
    monkeypatch.setattr(module, "RESTART_WAIT_S", 0.01)
    source, log = ScriptedSource(), Log()
    with subscriber(source) as at:
        wait_until(lambda: at.status().reads)
        on_its_thread(at, lambda: source.head(log))
        assert at.fresh
        source.breaks = SystemExit("a plug-in that means it")
        on_its_thread(at, source.mend)
        wait_until(lambda: source.starts == 2)
        assert at.status().age_s is None
        source.stored = kills(log, 1)
        wait_until(lambda: at.status().sources == {"memory": ""})
        on_its_thread(at, source.mend)
        wait_until(lambda: denies(at, 1))
    assert "it starts again" in caplog.text


def test_a_crash_finds_its_snapshot_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the one that crashed is free: the next one goes on from the cursor."""
    monkeypatch.setattr(module, "RESTART_WAIT_S", 0.01)
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 2)
    with subscriber(source, folder=tmp_path) as at:
        wait_until((tmp_path / "subscriber.snapshot").exists)
        source.breaks = RuntimeError("a bug")
        on_its_thread(at, source.mend)
        wait_until(lambda: len(source.reads) == 3)
        assert at.status().trouble == {}
        assert source.reads[-1] == source.cursor(2)


def test_one_view_has_one_subscriber(caplog: pytest.LogCaptureFixture) -> None:
    """The second says so and does no harm (B3)."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 1)
    with subscriber(source) as first:
        wait_until(lambda: denies(first, 1))
        with subscriber(ScriptedSource("b"), view=first.view) as second:
            wait_until(lambda: "one subscriber per view" in str(second.status().trouble))
        on_its_thread(first, lambda: source.head(log))
        assert first.fresh
        on_its_thread(first, lambda: source.say(*kills(log, 1)))
        assert denies(first, 2)
    assert "one subscriber per view" in caplog.text


def test_wait_fresh_says_why_not() -> None:
    """Refused, unreachable, no publisher: a sentence each, and the deadline holds."""
    source = ScriptedSource()
    source.refusal = SourceRefused("NATS refused our credentials")
    with subscriber(source) as at, pytest.raises(SourceRefused, match="credentials"):
        at.wait_fresh(100)
    source = ScriptedSource()
    with subscriber(source) as at:
        wait_until(lambda: at.status().reads)
        with pytest.raises(SourceUnavailable, match="no publisher's head was heard"):
            at.wait_fresh(0)
        source.outage = "no stream RESCIND_test"
        on_its_thread(at, source.mend)
        wait_until(lambda: at.status().trouble)
        with pytest.raises(SourceUnavailable, match="no stream RESCIND_test"):
            at.wait_fresh(0)
        on_its_thread(at, lambda: source.cut("connection refused"))
        with pytest.raises(SourceUnavailable, match="connection refused"):
            at.wait_fresh(0)
        assert not at.wait_synced(0)


def test_a_blocked_loop_of_the_caller_delays_no_kill() -> None:
    """The thread goes on applying while the program's own loop stands still."""
    source, log = ScriptedSource(), Log()

    async def program() -> None:
        async with subscriber(source) as at:
            wait_until(lambda: source.feed is not None)  # blocks this loop, as a handler might
            on_its_thread(at, lambda: source.say(*kills(log, 1)))
            assert denies(at, 1)

    asyncio.run(program())


def test_a_blocked_loop_is_deaf_where_the_caller_lends_it() -> None:
    """Negative control: on the caller's loop nothing is applied while it is blocked."""
    source, log = ScriptedSource(), Log()

    async def program() -> None:
        async with subscriber(source, caller=True) as at:
            assert at._loop is asyncio.get_running_loop()
            await until(lambda: source.feed is not None)
            at._loop.call_soon_threadsafe(lambda: source.say(*kills(log, 1)))
            with pytest.raises(AssertionError):
                wait_until(lambda: denies(at, 1), within_s=0.05)
            await until(lambda: denies(at, 1))

    asyncio.run(program())


def test_the_callers_mode_has_no_thread_to_start() -> None:
    """One sentence says what to write instead."""
    with pytest.raises(RescindError, match="async with"):
        subscriber(ScriptedSource(), caller=True).start()
