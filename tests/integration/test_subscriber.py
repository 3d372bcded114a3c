"""A subscriber on a real nats-server: live, caught up, killed, restarted, forked, refused."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedServer
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from tests.fakes.following import victim
from tests.fakes.sidecar import Sidecar, denies, make_subscriber
from tests.fakes.waiting import alive, until, wait_until
from tests.fakes.wire import Wire

NOBODY = "nats://subscriber:x@127.0.0.1:9"
"""The discard port: no server there."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A running server whose store outlives it."""
    with EmbeddedServer(tmp_path / "store") as running:
        yield running


@pytest.fixture
def wire(server: EmbeddedServer) -> Iterator[Wire]:
    """A publisher's wire, silent until told."""
    with Wire(server) as opened:
        yield opened


def restart(server: EmbeddedServer) -> None:
    """End the server by SIGKILL and start it again on its store and port."""
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    server.start()


def keeps(folder: Path, number: int) -> bool:
    """Whether the local snapshot holds the kill of `victim(number)`."""
    path = folder / "subscriber.snapshot"
    return path.exists() and victim(number).id.encode() in path.read_bytes()


def test_a_kill_is_applied_live(server: EmbeddedServer, wire: Wire) -> None:
    """Fresh by heads, and a kill is in the view without any reading."""
    with make_subscriber(server.url_for("subscriber")) as at:
        wire.beat()
        at.wait_fresh(15)
        reads = at.status().reads
        number = wire.kill()
        wait_until(lambda: denies(at, number))
        assert at.status().reads == reads
        assert at.fresh


def test_stored_events_join_live_ones_without_a_gap(server: EmbeddedServer, wire: Wire) -> None:
    """3000 stored, and more while they are read: every one is applied, none waits in a gap."""
    wire.kill(3000)
    with make_subscriber(server.url_for("subscriber")) as at:
        wait_until(lambda: len(at.view.published.table) > 0)
        while not at.status().reads:
            wire.kill(10)
        last = wire.kill(10)
        wire.beat()
        at.wait_fresh(15)
        assert denies(at, *range(1, last + 1))
        assert at._follower is not None
        assert at._follower.reconciler.replica.vector[wire.log.id].seq == last
        assert at._follower.reconciler.replica.above == {}


def test_a_server_that_dies_is_found_again(server: EmbeddedServer, wire: Wire) -> None:
    """Kills stay while it is away; what is said afterwards is heard, and the view fresh again."""
    with make_subscriber(server.url_for("subscriber")) as at:
        first = wire.kill()
        wait_until(lambda: denies(at, first))
        wire.beat()
        at.wait_fresh(15)
        restart(server)
        wait_until(lambda: any(at.status().sources.values()))
        assert denies(at, first)
        second = wire.kill()
        wait_until(lambda: denies(at, second))
        proven = at.view.published.as_of_wall
        wait_until(lambda: at.view.published.as_of_wall > proven)
        assert at.status().sources == {"nats": ""}


def test_what_was_said_while_it_was_cut_off_is_read(server: EmbeddedServer, wire: Wire) -> None:
    """A restart of the subscriber reads from its cursor what it has missed."""
    first = wire.kill()
    folder = Path(server._given_store or "") / "state"
    with make_subscriber(server.url_for("subscriber"), folder) as at:
        wait_until(lambda: denies(at, first))
    second = wire.kill(5)
    with make_subscriber(server.url_for("subscriber"), folder) as at:
        wait_until(lambda: denies(at, *range(first, second + 1)))
        assert at.status().events == {"applied": 5}  # and nothing was read twice


def test_a_killed_process_remembers_with_no_broker_in_reach(
    server: EmbeddedServer, wire: Wire, tmp_path: Path
) -> None:
    """SIGKILL, restart without a server: it denies and is stale; then it catches up."""
    folder = tmp_path / "state"
    number = wire.kill(3)
    url = server.url_for("subscriber")
    with Sidecar(url, folder) as first:
        first.until(f"denies 1 2 {number}")
        wait_until(lambda: keeps(folder, number))
        first.kill()
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running)
    with Sidecar(url, folder) as second, Sidecar(url) as forgetful:
        assert second.ask(f"denies 1 2 {number}")
        assert not second.ask("fresh")
        assert not forgetful.ask("denies 1")  # negative control: no local snapshot
        server.stop()
        server.start()
        wire.beat()
        later = wire.kill()
        for sidecar in (second, forgetful):
            sidecar.until(f"denies 1 2 {number} {later}")
            sidecar.until("fresh")


def test_a_forked_child_follows_by_itself(
    server: EmbeddedServer, wire: Wire, tmp_path: Path
) -> None:
    """It keeps the kills, is stale at once, follows anew; the parent and its file are untouched."""
    folder = tmp_path / "state"
    wire.kill()
    wire.beat()
    with Sidecar(server.url_for("subscriber"), folder) as parent:
        parent.until("fresh")
        parent.until("denies 1")
        child = parent.ask("fork")
        assert parent.ask("child at_fork") == {"fresh": False, "denies": True}
        assert parent.ask("fresh")
        number = wire.kill()
        for who in ("", "child "):
            parent.until(f"{who}denies 1 {number}")
            parent.until(f"{who}fresh")
        assert parent.ask("child trouble") == {}
        assert parent.ask("trouble") == {}
        parent.ask("child end")
        wait_until(lambda: not alive(child))
        number = wire.kill()
        parent.until(f"denies {number}")


def test_a_parents_lock_dies_with_it_though_a_child_lives(
    server: EmbeddedServer, wire: Wire, tmp_path: Path
) -> None:
    """A worker that outlives its parent does not keep the next one from its snapshot."""
    folder = tmp_path / "state"
    wire.kill()
    url = server.url_for("subscriber")
    with Sidecar(url, folder) as parent:
        parent.until("denies 1")
        wait_until(lambda: keeps(folder, 1))
        child = parent.ask("fork")
        assert parent.ask("child denies 1")
        os.kill(child, signal.SIGSTOP)  # so that it does not take the writing over
        try:
            parent.kill()
            with Sidecar(url, folder) as after:
                assert after.ask("denies 1")
                assert after.ask("trouble") == {}
        finally:
            os.kill(child, signal.SIGKILL)


async def test_a_blocked_loop_delays_no_kill(server: EmbeddedServer, wire: Wire) -> None:
    """The subscriber's thread goes on while the program's loop stands still."""
    async with make_subscriber(server.url_for("subscriber")) as at:
        number = wire.kill()  # this line and the next block the loop
        wait_until(lambda: denies(at, number))


async def test_on_the_callers_loop(server: EmbeddedServer, wire: Wire) -> None:
    """Opted in, it follows without a thread."""
    wire.beat()
    at = make_subscriber(server.url_for("subscriber"), loop="caller")
    async with at:
        await at.wait_fresh_async(15)
        number = await asyncio.to_thread(wire.kill)
        await until(lambda: denies(at, number))
    assert at._thread is None


def test_wrong_credentials_are_said(server: EmbeddedServer) -> None:
    """One sentence, without the password, and no waiting for the deadline."""
    url = server.url_for("subscriber").replace(":p", ":wrong", 1)
    with make_subscriber(url) as at, pytest.raises(SourceRefused, match="credentials") as told:
        at.wait_fresh(15)
    assert "wrong" not in str(told.value)


def test_no_server_is_said() -> None:
    """The address is named."""
    with make_subscriber(NOBODY) as at:
        wait_until(lambda: "starting" not in at.status().sources.values())
        with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:9") as told:
            at.wait_fresh(0)
    assert "subscriber:x" not in str(told.value)


def test_a_hidden_kill_is_not_fresh(server: EmbeddedServer, wire: Wire) -> None:
    """A head that names what the broker does not show proves nothing."""
    with make_subscriber(server.url_for("subscriber")) as at:
        wire.kill()
        wire.hide()
        wire.beat()
        wait_until(lambda: at.status().heads.get("not_covered", 0) > 5)
        assert not at.fresh
        with pytest.raises(SourceUnavailable, match="no head of publisher 'soc' proves it yet"):
            at.wait_fresh(0)
