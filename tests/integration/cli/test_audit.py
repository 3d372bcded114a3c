"""One audit trail: every act of every face is in it, with who asked and who acted."""

import asyncio
import json
import os
import pwd
from typing import Any

import rescind
from tests.fakes.terminal import Running, Terminal, did

OURS = pwd.getpwuid(os.getuid()).pw_name


def acts(terminal: Terminal, name: str, *more: str) -> list[dict[str, Any]]:
    """Return what the trail says of an agent."""
    done = terminal.run("audit", "show", "--json", "--target", did(name), *more)
    assert done.code == 0, done
    return [json.loads(line) for line in done.out.splitlines()]


def test_every_face_reaches_the_trail(up: Running, terminal: Terminal) -> None:
    """The command line, Python and async Python; no registry ever ran in this folder."""
    del up
    words = ("--reason", "compromise", "--reason-admin", "INC-1", "--actor", "alice")
    assert terminal.run("kill", "agent", did("aud"), *words).code == 0
    with rescind.KillSwitch(home=str(terminal.home)) as switch:
        switch.reinstate(rescind.agent(did("aud")), reason_admin="INC-2")

    async def again() -> None:
        async with rescind.AsyncKillSwitch(home=str(terminal.home)) as other:
            await other.kill(rescind.agent(did("aud")), actor="bob")

    asyncio.run(again())
    first, second, third = acts(terminal, "aud")
    assert [each["what"] for each in (first, second, third)] == ["kill", "reinstate", "kill"]
    assert (first["who"], first["reason"], first["why"]) == ("alice", "compromise", "INC-1")
    assert third["who"] == "bob"
    for each in (first, second, third):
        assert each["by"].startswith(f"{OURS}@")  # whoever is named as asking
    assert terminal.run("audit", "verify").code == 0


def test_what_is_refused_is_written_down(up: Running, terminal: Terminal) -> None:
    """With its code."""
    del up
    assert terminal.run("reinstate", "agent", did("nobody")).code == 1
    (entry,) = acts(terminal, "nobody")
    assert entry["outcome"] == "refused: NOTHING_LIVE"


def test_the_signed_log_tells_the_same(up: Running, terminal: Terminal, tmp_path: Any) -> None:
    """Who asked, what, on whom and why, with no file of this host; and it verifies."""
    del up
    words = ("--reason", "compromise", "--reason-admin", "INC-9", "--actor", "alice")
    assert terminal.run("kill", "agent", did("log"), *words).code == 0
    (trail,), (log,) = acts(terminal, "log"), acts(terminal, "log", "--from", "log")
    assert {name: log[name] for name in ("who", "what", "targets", "reason", "why", "ids")} == {
        name: trail[name] for name in ("who", "what", "targets", "reason", "why", "ids")
    }
    copy = tmp_path / "log.jsonl"
    assert terminal.run("audit", "export", "--from", "log", str(copy)).code == 0
    assert terminal.run("audit", "verify", "--file", str(copy)).code == 0


def test_an_empty_trail_says_so(own: Terminal) -> None:
    """An empty table with exit code 0 looked like a fabric in which nobody was ever killed."""
    done = own.run("audit", "show")
    assert done.code == 0
    assert "no act was written down on this host yet" in done.err


def test_acts_fit_a_terminal(up: Running, terminal: Terminal) -> None:
    """Six columns were folded in the middle of words at 80 characters."""
    del up
    assert terminal.run("kill", "agent", did("fit"), "--reason-admin", "INC-412").code == 0
    done = terminal.run("audit", "show", "--target", did("fit"), COLUMNS="80")
    assert max(map(len, done.out.splitlines())) <= 80
    assert f"  on        {did('fit')}" not in done.out.splitlines()[0]
    assert any(line.split() == ["why", "INC-412"] for line in done.out.splitlines())
