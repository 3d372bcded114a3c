"""The embedded server of `rescind up`: its address, its port, its restarts."""

import socket
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from rescind import config
from rescind.cli import serving
from rescind.cli.common import Session
from rescind.cli.out import Out
from rescind.cli.serving import Keeper, addresses, check_port, free_port, move
from rescind.cli.settling import settle
from rescind.embedded import EmbeddedServer, EmbeddedServerError
from rescind.errors import BadConfig


def load(folder: Path, **settings: object) -> config.Loaded:
    """Read a folder's settings."""
    return config.load({"home": str(folder), **settings}, env={})


def test_the_addresses_of_a_new_fabric_are_its_servers(folder: Path) -> None:
    """Three users, one port of the loopback, a password each."""
    found = addresses(load(folder))
    assert set(found) == {"publisher", "subscriber", "system"}
    assert {(url.hostname, url.port) for url in found.values()} == {("127.0.0.1", 1)}
    assert len({url.password for url in found.values()}) == 3


@pytest.mark.parametrize(
    "url",
    [
        "nats://subscriber:word@nats.example:4222",
        "nats://subscriber@127.0.0.1:1",
        "nats://subscriber:word@127.0.0.1",
        "nats://admin:word@127.0.0.1:1",
        "nats://subscriber:word@127.0.0.1:2",
    ],
)
def test_an_address_that_is_no_embedded_servers_is_refused(folder: Path, url: str) -> None:
    """Another host, no password, no port, another user, another port than the others."""
    with pytest.raises(BadConfig):
        addresses(load(folder, nats_url=url))


def test_a_port_is_written_where_every_command_finds_it(folder: Path) -> None:
    """All three addresses move, passwords stay, and the file stays private."""
    before = addresses(load(folder))
    move(load(folder), 4333)
    after = addresses(load(folder))
    assert {url.port for url in after.values()} == {4333}
    assert [url.password for url in after.values()] == [url.password for url in before.values()]
    assert (folder / "rescind.toml").stat().st_mode & 0o777 == 0o600


def test_a_settings_file_elsewhere_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    """It belongs to whoever named it."""
    elsewhere = tmp_path / "mine.toml"
    elsewhere.write_text((folder / "rescind.toml").read_text())
    env = {"RESCIND_CONFIG": str(elsewhere), "RESCIND_HOME": str(folder)}
    with pytest.raises(BadConfig, match="cannot change"):
        move(config.load(env=env), 4333)


def test_a_taken_port_is_told_from_a_free_one() -> None:
    """The sentence names the option."""
    check_port(free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadConfig, match="--port"):
            check_port(taken.getsockname()[1])


def test_a_folder_keeps_its_fabric(folder: Path) -> None:
    """Its trust file is signed for one name."""
    session = Session(Out(as_json=True), str(folder))
    session.overrides["fabric"] = "other"
    with pytest.raises(BadConfig, match="holds fabric 'default'"):
        settle(session, "other", None, external=False)


class Server:
    """What the keeper needs of a server."""

    def __init__(self) -> None:
        self.running = True
        self.starts = 0
        self.fails = False
        self.pid = 7

    def stop(self) -> None:
        """Forget the dead one."""

    def start(self) -> None:
        """Run again, unless told to fail."""
        self.starts += 1
        if self.fails:
            raise EmbeddedServerError("no disk")
        self.running = True


class Clock:
    """`time.monotonic` that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the keeper goes by."""
    made = Clock()
    monkeypatch.setattr(serving, "time", made)
    return made


def keep(server: Server) -> tuple[Keeper, list[str]]:
    """Return a keeper and what it says."""
    said: list[str] = []
    keeper = Keeper(cast("EmbeddedServer", server), lambda word, _: said.append(word))
    return keeper, said


def test_a_server_that_runs_is_left_alone(clock: Clock) -> None:
    """Nothing is said of it."""
    server = Server()
    keeper, said = keep(server)
    keeper.look()
    clock.now += 3600
    keeper.look()
    assert (server.starts, said) == (0, [])


def test_a_server_that_ran_long_starts_again_at_once(clock: Clock) -> None:
    """One accident is no reason to wait."""
    server = Server()
    keeper, said = keep(server)
    clock.now += serving.STEADY_S
    server.running = False
    keeper.look()
    assert server.running
    assert said == ["nats down", "nats up"]


def test_a_server_that_keeps_dying_is_started_ever_more_rarely(clock: Clock) -> None:
    """Each attempt waits twice as long, up to a limit; each failure is said."""
    server = Server()
    keeper, said = keep(server)
    server.running, server.fails = False, True
    began = clock.now
    attempts: list[float] = []
    while len(attempts) < 9:
        before = server.starts
        keeper.look()
        if server.starts > before:
            attempts.append(clock.now - began)
        clock.now += 0.25
    waits = [after - before for before, after in pairwise(attempts)]
    assert waits == sorted(waits)
    assert waits[0] < 2
    assert serving.BACKOFF_MAX_S <= waits[-1] <= serving.BACKOFF_MAX_S + 1
    assert "nats up" not in said
