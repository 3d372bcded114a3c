"""The fault tools do what they say: each is shown to bite, and to let go."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_guard.freshness import SystemClock
from tests.chaos.real_tier import load
from tests.fakes.waiting import WITHIN_S, alive, wait_until
from tests.faults.clock import ShiftedClock
from tests.faults.disk import can_mount, file_limit, small_disk
from tests.faults.packets import TABLE, Packets, private, rules
from tests.faults.processes import crash, frozen
from tests.faults.proxy import Network, Proxy
from tests.faults.relay import Relay

CROWD = 300
"""More than asyncio lets wait at a listener unless told how many: 100, and others are dropped."""
SILENCE_S = 0.2
"""How long a client listens before it says that nothing came."""


@pytest.fixture
def network() -> Iterator[Network]:
    """Give a network."""
    with Network() as network:
        yield network


@pytest.fixture
def way(network: Network, redis: EmbeddedRedis) -> Proxy:
    """Give a way to a real Redis: it answers what is sent, and keeps its connections."""
    return network.way(redis.port)


def connect(way: Proxy | Relay) -> socket.socket:
    """Return a client's connection."""
    return socket.create_connection(("127.0.0.1", way.port), 10)


def answers(client: socket.socket, within_s: float = WITHIN_S) -> bool:
    """Whether a PING is answered; a Redis that wants a log-in answers too, with an error."""
    client.settimeout(within_s)
    with suppress(TimeoutError):
        client.sendall(b"PING\r\n")
        return bool(client.recv(100))
    return False


def test_a_way_passes_both_ways(way: Proxy) -> None:
    """An honest one is not to be noticed."""
    with connect(way) as client:
        assert answers(client)
        assert answers(client)
    assert way.connections == 1


def test_a_delay_holds_every_answer(way: Proxy) -> None:
    """Each way takes so much longer."""
    way.delay_s = 0.15
    with connect(way) as client:
        begun = time.monotonic()
        assert answers(client)
        assert time.monotonic() - begun >= 2 * way.delay_s


def test_a_throttle_takes_its_time(way: Proxy) -> None:
    """So many bytes a second, and no more."""
    way.bytes_per_s = 30.0
    with connect(way) as client:
        begun = time.monotonic()
        assert answers(client)
        assert time.monotonic() - begun >= len(b"PING\r\n") / way.bytes_per_s


def test_a_cut_closes_and_refuses(way: Proxy) -> None:
    """Until it is mended."""
    with connect(way) as client:
        assert answers(client)
        way.cut()
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(way)
    way.mend()
    with connect(way) as client:
        assert answers(client)


def test_a_relay_passes_and_a_cut_closes_and_refuses(redis: EmbeddedRedis) -> None:
    """As the other way does; it says how many connections it has."""
    with Relay(redis.port) as way:
        with connect(way) as client:
            assert answers(client)
            assert answers(client)
            assert way.count() == 1
            way.cut()
            assert client.recv(1) == b""
            assert way.count() == 0
            with pytest.raises(ConnectionRefusedError):
                connect(way)
        way.mend()
        with connect(way) as client:
            assert answers(client)


def test_a_relay_closes_where_the_server_does(redis: EmbeddedRedis) -> None:
    """Neither end is kept from knowing about the other."""
    with Relay(redis.port) as way, connect(way) as client:
        assert answers(client)
        client.sendall(b"QUIT\r\n")
        client.settimeout(WITHIN_S)
        while client.recv(100):
            pass
        wait_until(lambda: way.count() == 0)


def test_a_relay_drops_nobody_of_a_crowd(redis: EmbeddedRedis) -> None:
    """All of them are connected while it has no time for one; a dropped one would come too late."""
    with ExitStack() as stack:
        way = stack.enter_context(Relay(redis.port))
        with frozen(way.pid):
            clients = [stack.enter_context(connect(way)) for _ in range(CROWD)]
        assert all(map(answers, clients))


def test_a_reset_is_a_reset(way: Proxy) -> None:
    """RST, not FIN; a new connection is welcome."""
    with connect(way) as client:
        assert answers(client)
        way.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(way) as client:
        assert answers(client)


def test_a_black_hole_keeps_what_was_sent(way: Proxy) -> None:
    """Nothing passes and nothing closes; when it is mended, all of it passes, in order."""
    with connect(way) as client:
        assert answers(client)
        way.black_hole()
        assert not answers(client, SILENCE_S)
        way.mend()
        client.settimeout(WITHIN_S)
        assert client.recv(100)


def test_a_half_open_connection_stays_so(way: Proxy, redis: EmbeddedRedis) -> None:
    """The server's end is gone, the client's is open and silent, for good; new ones work again."""
    with connect(way) as client:
        assert answers(client)
        before = connections(redis)
        way.half_open()
        wait_until(lambda: connections(redis) < before)
        assert not answers(client, SILENCE_S)
        way.mend()
        assert not answers(client, SILENCE_S)
        with connect(way) as another:
            assert answers(another)


def connections(redis: EmbeddedRedis) -> int:
    """Return how many established connections a server's port has, as the kernel counts them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f"0100007F:{redis.port:04X}"
    return sum(1 for row in rows if row[1] == local and row[3] == "01")


def test_one_way_is_no_other(network: Network, redis: EmbeddedRedis) -> None:
    """Each host has its own: one that is cut leaves the others alone."""
    one, other = network.way(redis.port), network.way(redis.port)
    one.cut()
    with connect(other) as client:
        assert answers(client)


def test_a_frozen_server_is_silent_and_goes_on(redis: EmbeddedRedis) -> None:
    """Its socket takes what is sent, and answers when it is thawed."""
    with socket.create_connection(("127.0.0.1", redis.port), 10) as client:
        assert answers(client)
        with frozen(redis.pid):
            assert not answers(client, SILENCE_S)
        client.settimeout(WITHIN_S)
        assert client.recv(100)


def test_a_crashed_server_comes_back_on_its_port(nats: EmbeddedServer) -> None:
    """SIGKILL, and a start on the same port and store."""
    pid, port = nats.pid, nats.port
    crash(nats)
    assert not alive(pid)
    nats.start()
    assert nats.port == port
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        assert client.recv(5) == b"INFO "


WRITER = """
import sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b"x" * 1000)
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def write(process: "subprocess.Popen[str]") -> str:
    """Have a process append to its file; return what it says."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Give a process that appends to a file when asked."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_a_file_limit_ends_writing_and_is_lifted(writer: "subprocess.Popen[str]") -> None:
    """EFBIG in a running process, without rights, and it lives on."""
    assert write(writer) == "ok"
    with file_limit(writer.pid, 1000):
        assert write(writer) == "27"
    assert write(writer) == "ok"


def test_a_small_disk_is_full(tmp_path: Path) -> None:
    """ENOSPC, the real thing, which only that process sees; where nothing may be mounted, EFBIG.

    The scenario on such a disk is not on the list there, and the other one of a full disk is.
    """
    assert ("publisher on a small disk" in load()) == can_mount()
    assert "publisher's disk full" in load()
    if not can_mount():
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*small_disk(disk, 8192), sys.executable, "-c", WRITER, str(disk / "file")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        said = [write(process) for _ in range(20)]
    assert said[0] == "ok"
    assert said[-1] == "28"
    assert not any(disk.iterdir())


def test_a_clock_can_be_shifted() -> None:
    """What has passed moves both clocks, what is wrong only the wall clock."""
    clock, system = ShiftedClock(), SystemClock()
    clock.passed_s, clock.wrong_s = 100.0, -30.0
    assert clock.wall() - system.wall() == pytest.approx(70, abs=5)
    assert clock.boot() - system.boot() == pytest.approx(100, abs=5)


def test_rules_on_packets_name_both_directions_and_nothing_else() -> None:
    """Only what goes to or comes from the ports is touched, and only in a namespace of our own."""
    assert rules([4222, 6379], "drop") == [
        f"add rule inet {TABLE} packets tcp {side} {{ 4222, 6379 }} drop"
        for side in ("dport", "sport")
    ]
    assert not private()
    with pytest.raises(RuntimeError, match="the host's own network"):
        Packets().__enter__()
