"""What an operator is told by exit codes and words, on a real fabric."""

from pathlib import Path

import pytest

from rescind import config
from rescind.cli.checks import publishes_only
from rescind.errors import BadConfig
from rescind_subscriber.redis_address import parse
from tests.fakes.terminal import Running, Terminal, did


def test_explain_that_cannot_tell_says_so(up: Running, terminal: Terminal) -> None:
    """Exit code 4, as documented; 1 is a denial."""
    del up
    badge = terminal.issue("x-tell")
    away = {"RESCIND_NATS_URL": "nats://127.0.0.1:1", "RESCIND_MODE": "strict"}
    done = terminal.run("explain", "--json", "--timeout", "0.1", given=badge, **away)
    assert (done.code, done.document["outcome"]) == (4, "cannot_tell")


def test_a_reinstatement_is_waited_for(up: Running, terminal: Terminal) -> None:
    """It says who has applied it, and nothing of calls before."""
    del up
    assert terminal.run("kill", "agent", did("waits")).code == 0
    done = terminal.run("reinstate", "agent", did("waits"), "--wait", "200ms")
    assert done.code in (0, 4)  # 4: no guard runs here
    assert "reinstated" in done.out
    assert "applied" in done.out
    assert "passed before" not in done.out


def test_a_kill_that_is_over_is_held_for_clocks(up: Running, terminal: Terminal) -> None:
    """The status named a time that was past as its end, while the kill went on."""
    del up
    assert terminal.run("kill", "agent", did("short"), "--expires", "1s").code == 0
    done = terminal.run("status", "agent", did("short"))
    assert "guards hold it up to 60 s longer" in done.out


def test_no_home_directory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user without an entry in /etc/passwd is no defect."""

    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(BadConfig, match="RESCIND_HOME"):
        config.load({}, {})


def test_a_host_that_only_publishes_is_checked_as_one(tmp_path: Path) -> None:
    """Without an address for guards none is tried; the default one is nobody's."""
    only = config.load({"home": str(tmp_path), "publisher_nats_url": "nats://a:4222"}, {})
    both = config.load({"home": str(tmp_path), "publisher_nats_url": "x", "nats_url": "y"}, {})
    assert publishes_only(only)
    assert not publishes_only(both)


def test_a_sentinel_has_a_password_of_its_own() -> None:
    """Apart from the servers', and only of Sentinels."""
    place = parse("redis+sentinel://u:p@s1:26379/main?sentinel_password=word&sentinel_user=me")
    assert (place.user, place.password) == ("u", "p")
    assert (place.sentinel_user, place.sentinel_password) == ("me", "word")
    assert "word" not in repr(place)
