"""Bad input gets one sentence and an exit code that is not zero, never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rescind.errors import EXIT_PENDING
from tests.fakes.terminal import Done, Running, Terminal, did, free_port, refused
from tests.fakes.waiting import WITHIN_S, wait_until


def test_no_nats_at_the_address(terminal: Terminal) -> None:
    """What is killed cannot be told; a check says which address."""
    nowhere = f"nats://subscriber:x@127.0.0.1:{free_port()}"
    done = terminal.run(*("status", "agent", did("x"), "--timeout", "1"), RESCIND_NATS_URL=nowhere)
    refused(done, 4, "cannot be reached")
    check = terminal.run("config", "check", "--timeout", "1", RESCIND_NATS_URL=nowhere)
    assert check.code == 1
    assert "FAIL  NATS as subscriber" in check.out


def test_wrong_credentials(terminal: Terminal, up: Running) -> None:
    """The sentence says whose fault it is, and does not repeat the password."""
    wrong = f"nats://subscriber:wrong-word@{up.wait_for('up')['nats']}"
    done = terminal.run("status", "agent", did("x"), RESCIND_NATS_URL=wrong)
    refused(done, 1, "refused our credentials")
    assert "wrong-word" not in done.err
    check = terminal.run("config", "check", RESCIND_NATS_URL=wrong)
    assert "FAIL  NATS as subscriber" in check.out
    assert "ok    NATS as publisher" in check.out


def test_a_key_that_others_can_read(terminal: Terminal, tmp_path: Path) -> None:
    """A publisher that starts with it is refused, and told what to do."""
    key = tmp_path / "open.key"
    key.write_bytes((terminal.home / "publisher.key").read_bytes())
    key.chmod(0o644)
    done = lone(terminal, tmp_path, RESCIND_PUBLISHER_KEY=str(key))
    refused(done, 2, f"chmod 600 {key}")
    check = terminal.run("config", "check", RESCIND_PUBLISHER_KEY=str(key))
    assert "FAIL  publisher key" in check.out


def test_a_key_that_cannot_be_read(terminal: Terminal, tmp_path: Path) -> None:
    """A folder is no key, and a missing one names the remedy."""
    refused(lone(terminal, tmp_path, RESCIND_PUBLISHER_KEY=str(tmp_path)), 2, "cannot be read")
    absent = lone(terminal, tmp_path, RESCIND_PUBLISHER_KEY=str(tmp_path / "absent.key"))
    refused(absent, 2, "rescind up")


def lone(terminal: Terminal, folder: Path, **more: str) -> Done:
    """Kill from a folder where no publisher runs, with the settings of the one that works."""
    settings = folder / "elsewhere.toml"
    text = (terminal.home / "rescind.toml").read_text()
    for name in ("trust.jws", "publisher.key", "approver.key", "issuer.key", "issuer.jwks.json"):
        text = text.replace(f'"{name}"', f'"{terminal.home / name}"')
    settings.write_text(text)
    settings.chmod(0o600)
    alone = Terminal(folder / "home")
    return alone.run("kill", "agent", did("lone"), RESCIND_CONFIG=str(settings), **more)


def test_without_a_publisher_the_command_is_one_itself(terminal: Terminal, tmp_path: Path) -> None:
    """It says so, opens a log of its own, and the kill counts all the same."""
    done = lone(terminal, tmp_path)
    assert done.code == 0, done
    assert "log of its own" in done.err
    wait_until(lambda: terminal.killed("agent", did("lone")))  # no head names its log


def test_a_publisher_that_hangs_is_named_and_not_stood_in_for(own: Terminal) -> None:
    """Neither a kill nor `up` takes its place, and `status` does not say that none runs."""
    with own.start("up", "--port", "0", "--json") as up:
        up.wait_for("state", state="LIVE")
        assert own.run("kill", "agent", did("before")).code == 0
        pid = up.process.pid
        up.process.send_signal(signal.SIGSTOP)
        try:
            hangs = f"publisher 'local' (pid {pid}) runs here and does not answer"
            killed = own.run("kill", "agent", did("hung"))
            refused(killed, 4, f"{hangs}: nothing was done; end it (kill -9 {pid}) and say it")
            assert "log of its own" not in killed.err
            assert hangs in own.run("status", "--timeout", "1").out
            refused(own.run("up"), 1, hangs)
        finally:
            up.process.send_signal(signal.SIGCONT)
        assert own.run("kill", "agent", did("hung")).code == 0
        up.end(signal.SIGKILL)
        assert hangs not in own.run("status", "--timeout", "1").out
        assert own.run("kill", "agent", did("hung"), "--timeout", "0").code == EXIT_PENDING


def test_an_untrusted_signer(terminal: Terminal, tmp_path: Path) -> None:
    """A kill that every subscriber would ignore is not accepted."""
    terminal.run("keys", "new", str(tmp_path / "other.key"))
    other = str(tmp_path / "other.key")
    done = lone(terminal, tmp_path, RESCIND_PUBLISHER_KEY=other)
    refused(done, 1, "not in the trust file")


def test_another_root(terminal: Terminal, tmp_path: Path) -> None:
    """A trust file of another root is trusted by nobody."""
    made = terminal.run("keys", "new", str(tmp_path / "root.key"), "--json").document
    done = terminal.run("status", RESCIND_ROOT_KEY=made["x"])
    refused(done, 2, "not signed by this fabric's root key")


def test_a_clock_that_was_never_set(terminal: Terminal) -> None:
    """A publisher with such a clock kills nothing; a check says so."""
    done = at_another_time(terminal, 86_400.0, "config", "check", "--timeout", "1")
    assert done.code == 1
    assert "FAIL  clock" in done.out
    assert "1970-01-02" in done.out


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_a_clock_far_off(terminal: Terminal, off_s: int) -> None:
    """Whichever way it is off, the view is not proven, and the sentence says why."""
    words = ("status", "agent", did("x"), "--timeout", "3")
    done = at_another_time(terminal, off_s, *words, relative=True)
    refused(done, 4, "clock")


def at_another_time(
    terminal: Terminal, seconds: float, *words: str, relative: bool = False
) -> Done:
    """Run a command in a process whose wall clock stands elsewhere."""
    now = f"real() + {seconds}" if relative else f"{seconds}"
    code = (
        f"import sys, time\nreal = time.time\ntime.time = lambda: {now}\n"
        "from rescind.cli.main import main\nmain(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=terminal.environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return Done(words, done.returncode, done.stdout, done.stderr)


def test_a_second_publisher_in_one_folder(terminal: Terminal, up: Running) -> None:
    """The first one is named, and goes on."""
    refused(terminal.run("up"), 1, f"pid {up.process.pid}")
    assert terminal.run("status").code == 0


def test_two_publishers_on_one_spool(terminal: Terminal) -> None:
    """Where the first one's socket is gone, its lock on the spool still holds."""
    control = terminal.home / "control" / "control.sock"
    hidden = control.with_name("hidden")
    control.rename(hidden)
    try:
        done = terminal.run("kill", "agent", did("spool"))
    finally:
        hidden.rename(control)
    refused(done, 1, "spool")
    assert not terminal.killed("agent", did("spool"))


def test_a_misspelt_variable_fails_the_check(terminal: Terminal) -> None:
    """It would be ignored otherwise; every command says it, and does its work."""
    sentence = "RESCIND_AUDIENC is no setting and does nothing; did you mean RESCIND_AUDIENCE?"
    done = terminal.run("config", "check", RESCIND_AUDIENC="https://orders")
    assert done.code == 1
    assert sentence in done.out
    shown = terminal.run("config", "show", RESCIND_AUDIENC="https://orders")
    assert shown.code == 0
    assert sentence in shown.err
