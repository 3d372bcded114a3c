"""The control socket: the running publisher takes kills of other programs on this host."""

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from rescind_protocol import reports
from rescind_protocol.targets import everyone
from rescind_publisher import control
from rescind_publisher.applied import Applied
from rescind_publisher.control_client import ControlClient
from rescind_publisher.engine import Publisher
from rescind_publisher.errors import (
    BadRequest,
    ControlBusy,
    ControlFailed,
    ControlInUse,
    ControlSilent,
    ControlUncertain,
    NothingLive,
    NotPermitted,
)
from rescind_publisher.requests import KillRequest, KillSpec
from rescind_publisher.switch import KillSwitch
from tests.fakes import reporting
from tests.fakes.publishing import publisher, switched, target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import WITHIN_S, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def running(tmp_path: Path, path: Path) -> Iterator[Publisher]:
    """A publisher that listens."""
    with publisher(tmp_path, FakeSink(), control=path) as engine:
        yield engine


def ask(path: Path, line: bytes) -> bytes:
    """Send raw bytes and return the answer, b"" where there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WITHIN_S)
        connection.connect(str(path))
        try:
            connection.sendall(line)
            return connection.makefile("rb").readline()
        except (BrokenPipeError, ConnectionResetError):
            return b""


def test_the_client_is_a_kill_switch(running: Publisher, path: Path) -> None:
    """Kill, reinstate and retract work through the socket, with the same receipts."""
    with KillSwitch(ControlClient(path)) as switch:
        receipt = switch.kill(target(), reason_admin="INC-412")
        assert receipt.durable == ("fake",)
        (found,) = running.live(target())
        assert (found.id, found.kill.reason_admin) == (receipt.ids[0], "INC-412")
        assert switch.reinstate(target()).ended == receipt.ids
        with pytest.raises(NothingLive, match="no kill of agent"):
            switch.retract(target())


def test_typed_errors_cross_with_their_sentence(running: Publisher, path: Path) -> None:
    """The client raises what the publisher raised."""
    del running
    with pytest.raises(NotPermitted, match="takes a second key"):
        KillSwitch(ControlClient(path)).kill(everyone())


def test_status(running: Publisher, path: Path) -> None:
    """The client sees the very status of the publisher."""
    client = ControlClient(path)
    KillSwitch(client).kill(target())
    status = client.status()
    assert (status.pid, status.live, status.log) == (os.getpid(), 1, running.status().log)
    assert status.sinks[0].ready


def test_only_its_user_can_connect(running: Publisher, path: Path) -> None:
    """The directory is 0700 and the socket 0600."""
    del running
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_directory_open_to_others_is_refused(tmp_path: Path, path: Path) -> None:
    """The publisher does not start, and names the command that mends it."""
    path.parent.mkdir(mode=0o755)
    with pytest.raises(ControlFailed, match=f"chmod 700 {path.parent}"):
        publisher(tmp_path, FakeSink(), control=path).start()
    with switched(tmp_path, FakeSink()) as switch:  # the spool was let go again
        assert switch.kill(target()).durable


def test_a_stale_socket_is_removed(tmp_path: Path, path: Path) -> None:
    """What a dead process left is no obstacle."""
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert not ControlClient(path).answers()
    with publisher(tmp_path, FakeSink(), control=path):
        assert ControlClient(path).answers()
    assert not path.exists()


def test_a_live_socket_is_an_error(running: Publisher, path: Path, tmp_path: Path) -> None:
    """A second publisher on one socket is refused, and the first one goes on."""
    del running
    with pytest.raises(ControlInUse, match="listens on"):
        publisher(tmp_path / "other", FakeSink(), control=path).start()
    assert ControlClient(path).answers()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path, path: Path) -> None:
    """Only sockets are removed."""
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(ControlFailed, match="not a socket"):
        publisher(tmp_path, FakeSink(), control=path).start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"[]\n",
        b'{"op":"drop"}\n',
        b'{"op":"kill","kills":[]}\n',
        b'{"op":"kill","kills":[{"target":{"kind":"agent","id":"x"}}],"timeout_s":1e9}\n',
        b'{"op":"status","extra":1}\n',
    ],
)
def test_bad_requests_get_one_sentence(running: Publisher, path: Path, line: bytes) -> None:
    """Nothing is accepted, and the publisher goes on."""
    assert b'"code":"BAD_REQUEST"' in ask(path, line)
    assert running.status().counters["rescind_publisher_events_accepted_total"] == 0


def test_a_request_that_is_too_long_is_cut_off(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server reads no more than the limit, and serves the next one."""
    monkeypatch.setattr(control, "MAX_REQUEST_BYTES", 1000)
    with publisher(tmp_path, FakeSink(), control=path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WITHIN_S)
            connection.connect(str(path))
            try:
                connection.sendall(b"x" * 100_000)
                assert connection.recv(1) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass  # it hung up in the middle
        assert ControlClient(path).answers()


def test_a_silent_client_is_let_go(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends nothing holds a connection for a bounded time only."""
    monkeypatch.setattr(control, "READ_TIMEOUT_S", 0.05)
    with publisher(tmp_path, FakeSink(), control=path):
        assert ask(path, b'{"op":"status"') == b""


class Held:
    """A connection that holds a place: a request of it was answered, and it says no more."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))

    def __enter__(self) -> Self:
        self._socket.sendall(b'{"op":"status"}\n')
        assert self._socket.recv(100_000).endswith(b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def said(self) -> bytes:
        """Return what it was told besides."""
        return self._socket.recv(100_000)


def test_busy_is_said_before_anything_is_read(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds no place is told so; the client says that nothing was done, and so it is."""
    monkeypatch.setattr(control, "MAX_PLACES", 1)
    monkeypatch.setattr(control, "SILENT_S", 1e9)
    monkeypatch.setattr("rescind_publisher.control_client.BUSY_FOR_S", 0.05)
    with publisher(tmp_path, FakeSink(), control=path) as engine, Held(path):
        assert b'"CONTROL_BUSY"' in ask(path, b"")
        with pytest.raises(ControlBusy, match="nothing was done"):
            KillSwitch(ControlClient(path)).kill(target())
        # Longer than a socket's buffer: the answer is there before the request could be sent.
        many = [target(n) for n in range(10_000)]
        with pytest.raises(ControlBusy, match="nothing was done"):
            KillSwitch(ControlClient(path)).kill_many(many)
        assert engine.live(target()) == ()


def test_busy_is_tried_again(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks until there is a place."""
    monkeypatch.setattr(control, "MAX_PLACES", 1)
    monkeypatch.setattr(control, "SILENT_S", 1e9)
    with publisher(tmp_path, FakeSink(), control=path), ThreadPoolExecutor(1) as pool:
        with Held(path):
            killing = pool.submit(KillSwitch(ControlClient(path)).kill, target())
            assert not killing.done()
        assert killing.result(15).durable == ("fake",)


def test_who_says_nothing_gives_its_place_away(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told that it lost it; a kill is done in the meantime."""
    monkeypatch.setattr(control, "MAX_PLACES", 1)
    monkeypatch.setattr(control, "SILENT_S", 0.0)
    with publisher(tmp_path, FakeSink(), control=path), Held(path) as held:
        assert KillSwitch(ControlClient(path)).kill(target()).durable == ("fake",)
        assert b'"CONTROL_BUSY"' in held.said()


def test_waits_hold_nothing_that_a_kill_needs(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more waiting than there are places and threads, a kill is answered as ever."""
    monkeypatch.setattr(control, "MAX_PLACES", 2)
    with publisher(tmp_path, FakeSink(), control=path) as engine, ThreadPoolExecutor(20) as pool:
        for n in range(20):
            wish = KillRequest((KillSpec(target(100 + n)),), wait_s=60)
            pool.submit(_until_closed, path, wish)
        wait_until(lambda: len(engine.roster.watchers) == 20)
        assert KillSwitch(ControlClient(path)).kill(target()).durable == ("fake",)
        assert len(engine.roster.watchers) == 20
        engine.close()


def _until_closed(path: Path, wish: KillRequest) -> None:
    assert ControlClient(path).submit(wish).ids


def test_beyond_the_most_waits_the_answer_comes_at_once(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill is done, and its receipt says that it did not wait."""
    monkeypatch.setattr(control, "MAX_WAITS", 0)
    with publisher(tmp_path, FakeSink(), control=path) as engine:
        receipt = ControlClient(path).submit(KillRequest((KillSpec(target()),), wait_s=60))
        assert receipt.warnings == (control.NO_WAIT,)
        assert [each.id for each in engine.live(target())] == list(receipt.ids)


def test_places_are_kept_for_kills(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests of another kind have taken all of theirs, a kill is done all the same."""
    monkeypatch.setattr(control, "MAX_OTHERS", 0)
    monkeypatch.setattr("rescind_publisher.control_client.BUSY_FOR_S", 0.05)
    with publisher(tmp_path, FakeSink(), control=path):
        switch = KillSwitch(ControlClient(path))
        assert switch.kill(target()).durable == ("fake",)
        with pytest.raises(ControlBusy):
            switch.reinstate(target())


def test_half_a_request_is_not_looked_at(running: Publisher, path: Path) -> None:
    """A line without its end was not sent whole, though it can be read."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(b'{"op":"kill","kills":[{"target":{"kind":"everyone"}}]}')
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert running.status().counters["rescind_publisher_requests_refused_total"] == 0


def test_an_answer_that_is_lost_is_not_called_refused(path: Path) -> None:
    """Once the request was sent, the client says that it may have been accepted."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)

        threading.Thread(target=hang_up).start()
        with pytest.raises(ControlUncertain, match="may have been accepted"):
            KillSwitch(ControlClient(path)).kill(target())


def test_nobody_there(path: Path) -> None:
    """No socket: one sentence that names it."""
    with pytest.raises(ControlFailed, match=f"no publisher answers on {path}"):
        KillSwitch(ControlClient(path)).kill(target())
    with pytest.raises(ControlFailed), KillSwitch(ControlClient(path)):
        pass


def test_one_that_hangs_is_not_taken_for_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named by its pid, so that it can be ended; also when its queue is full."""
    monkeypatch.setattr("rescind_publisher.control_client.ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr("rescind_publisher.control_client.BUSY_FOR_S", 0.05)
    path.parent.mkdir()
    client = ControlClient(path)
    assert not client.answers()
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        assert not client.answers()  # what one that was ended leaves behind
        hanging.listen(0)
        with pytest.raises(ControlSilent, match="did not answer") as raised:
            client.answers()
        assert raised.value.pid == os.getpid()
        with pytest.raises(ControlSilent, match="takes no connection"):
            client.answers()


def test_a_request_too_large_is_not_sent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused where it was made."""
    monkeypatch.setattr("rescind_publisher.control_client.MAX_REQUEST_BYTES", 10)
    with pytest.raises(BadRequest, match="limit 10"):
        ControlClient(path).status()


def apply_in(running: Publisher, name: str) -> threading.Timer:
    """Let a subscriber say, a little later, that it has applied whatever there is."""

    def say() -> None:
        (log,) = running._ledger.standing().logs
        said = reporting.report(name, logs={log: 1}, count=2)
        running.roster.heard(reports.make(said), time.perf_counter(), time.time())

    timer = threading.Timer(0.3, say)
    timer.start()
    return timer


def test_the_way_to_a_receipt_is_told_through_the_socket(running: Publisher, path: Path) -> None:
    """Lines of progress, then the receipt with everybody on it."""
    running.roster.listening(time.perf_counter() - 60, time.time())
    reporting.hears(running.roster, reporting.report("eu-1"), at=time.perf_counter())
    told: list[Applied] = []
    with KillSwitch(ControlClient(path)) as switch:
        saying = apply_in(running, "eu-1")
        receipt = switch.kill(target(), wait_s=30, told=told.append)
        saying.join()
    assert receipt.applied is not None
    assert receipt.applied.complete
    assert told
    assert all(each.done == 0 for each in told)
    assert told[0].missing[0].name == "eu-1"


def test_a_client_that_asks_for_no_wait_hears_of_none(running: Publisher, path: Path) -> None:
    """One line, and nothing about subscribers in it."""
    line = b'{"op":"kill","kills":[{"target":{"kind":"agent","id":"did:web:acme.example:x7"}}]}\n'
    answer = ask(path, line)
    assert b'"receipt"' in answer
    assert b"applied" not in answer
    assert running.roster.watchers == set()


def test_a_publisher_that_closes_lets_a_waiting_client_go(tmp_path: Path, path: Path) -> None:
    """Its wait is over at once, with what is known."""
    with publisher(tmp_path, FakeSink(), control=path) as engine, ThreadPoolExecutor(1) as pool:
        request = KillRequest((KillSpec(target()),), wait_s=60)
        waiting = pool.submit(ControlClient(path).submit, request)
        wait_until(lambda: engine.roster.watchers)
        engine.close()
        receipt = waiting.result(15)
    assert receipt.durable == ("fake",)
    assert receipt.applied is not None


def test_the_subscribers_are_known_through_the_socket(running: Publisher, path: Path) -> None:
    """As the publisher in this process knows them."""
    reporting.hears(running.roster, reporting.report("eu-1"), at=time.perf_counter())
    (member,) = ControlClient(path).fleet().members
    assert member.name == "eu-1"
    assert running.fleet().members[0].host == member.host
