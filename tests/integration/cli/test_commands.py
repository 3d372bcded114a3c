"""Kill, reinstate, ask, watch: each command against a fabric that runs."""

import json
import signal
import subprocess

from rescind_guard.parsing import read
from rescind_protocol.encoding import b64url_decode, b64url_encode
from rescind_protocol.limits import UNKNOWN_EXP_KILL_S
from tests.fakes.terminal import RESCIND, Running, Terminal, did
from tests.fakes.waiting import WITHIN_S

ISSUER = "https://issuer.rescind.local"


# --- the main job ---


def test_a_killed_badge_is_denied_and_a_fresh_one_is_not(terminal: Terminal) -> None:
    """A badge's kill says that its agent can fetch a new one, and so it is."""
    badge = terminal.issue("one-badge")
    assert terminal.verdict(badge) == "OK"
    done = terminal.run("kill", "badge", "-", given=badge)
    assert done.code == 0
    assert f"kill agent {did('one-badge')}" in done.err
    assert terminal.verdict(badge) == "BADGE_REVOKED"
    assert terminal.verdict(terminal.issue("one-badge")) == "OK"


def test_a_badge_is_killed_by_issuer_and_jti(terminal: Terminal) -> None:
    """Its name does what its token does."""
    badge = terminal.issue("by-name")
    jti = read(badge).payload.jti
    assert not terminal.killed("badge", ISSUER, jti)
    assert terminal.run("kill", "badge", ISSUER, jti).code == 0
    assert terminal.killed("badge", ISSUER, jti)
    assert terminal.verdict(badge) == "BADGE_REVOKED"


def test_after_a_reinstatement_new_badges_pass_at_once_and_old_ones_stay_dead(
    terminal: Terminal,
) -> None:
    """The local issuer's floor is what it has issued."""
    old = terminal.issue("back")
    assert terminal.run("kill", "agent", did("back")).code == 0
    meanwhile = terminal.issue("back")
    assert terminal.verdict(meanwhile) == "BADGE_REVOKED"
    done = terminal.run("reinstate", "agent", did("back"))
    assert done.code == 0
    assert "new badges" in done.out
    assert terminal.verdict(terminal.issue("back")) == "OK"
    assert terminal.verdict(old) == terminal.verdict(meanwhile) == "BADGE_REVOKED"
    assert not terminal.killed("agent", did("back"))


def test_a_retracted_kill_never_was(terminal: Terminal) -> None:
    """What it killed lives again; there is nothing to retract twice."""
    badge = terminal.issue("mistake")
    terminal.run("kill", "agent", did("mistake"))
    assert terminal.run("retract", "agent", did("mistake")).code == 0
    assert terminal.verdict(badge) == "OK"
    again = terminal.run("retract", "agent", did("mistake"))
    assert again.code == 1
    assert "no kill of" in again.error


def test_status_says_by_whom_since_and_until_when(terminal: Terminal) -> None:
    """Everything an admin asks about a kill."""
    done = terminal.run(
        *("kill", "agent", did("asked"), "--expires", "2h", "--actor", "ann@ops"),
        *("--reason", "compromise", "--reason-admin", "INC-412", "--reason-user", "ask ops"),
        "--json",
    )
    receipt = done.document
    assert receipt["sinks"]["nats"]["state"] == "durable"
    found = terminal.run("status", "agent", did("asked"), "--json").document
    (kill,) = found["kills"]
    assert kill["until"] - kill["since"] == 7200
    del kill["until"], kill["since"]
    assert kill == {
        "target": f"agent {did('asked')}",
        "effect": "use",
        "publisher": "local",
        "actor": "ann@ops",
        "reason": "compromise",
        "reason_admin": "INC-412",
        "reason_user": "ask ops",
        "id": receipt["ids"][0],
    }
    text = terminal.run("status", "agent", did("asked")).out
    assert all(word in text for word in ("KILLED", "ann@ops", "INC-412", "until", "since"))


def test_status_of_a_badge_given_as_token_knows_its_agents_kill(terminal: Terminal) -> None:
    """The name of a badge does not tell its agent; the badge does."""
    badge = terminal.issue("wider")
    terminal.run("kill", "agent", did("wider"))
    done = terminal.run("status", "badge", "-", "--check", "--json", given=badge)
    assert done.code == 1
    assert done.document["kills"][0]["target"] == f"agent {did('wider')}"


def test_status_of_a_badge_given_as_token_knows_its_keys_kill(terminal: Terminal) -> None:
    """It is found among those of the issuers trusted here; the control: one that none of them has.

    Then the answer says what was not looked up.
    """
    badge = terminal.issue("signed")
    home = terminal.home
    key = terminal.run("keys", "thumbprint", str(home / "issuer.key")).out.strip()
    foreign = terminal.run("status", "badge", "-", given=badge, RESCIND_ISSUERS="").err
    assert "no key that is known here has signed this badge" in foreign
    assert terminal.run("kill", "key", key, "--yes").code == 0
    try:
        assert terminal.verdict(badge) == "BADGE_REVOKED"
        done = terminal.run("status", "badge", "-", "--check", "--json", given=badge)
        assert done.code == 1
        assert done.document["kills"][0]["target"] == f"key {key}"
        assert "no key" not in done.err
    finally:
        assert terminal.run("retract", "key", key).code == 0


def forged(badge: str, **claims: int) -> str:
    """Return a badge with other claims: of the same name, and with a signature that is none."""
    header, payload, signature = badge.split(".")
    said = json.loads(b64url_decode(payload.encode())) | claims
    return ".".join((header, b64url_encode(json.dumps(said).encode()), signature))


def test_a_forged_token_shortens_nothing(terminal: Terminal) -> None:
    """Its kill outlives the real badge; nor does a forged `iat` make a killed badge look spared."""
    badge = terminal.issue("forged")
    said = read(badge).payload
    lowered = forged(badge, exp=said.iat - 1000, iat=said.iat - 2000)
    assert terminal.run("kill", "badge", "-", given=lowered).code == 0
    found = terminal.run("status", "badge", said.iss, said.jti, "--json").document["kills"][0]
    assert found["until"] - found["since"] == UNKNOWN_EXP_KILL_S
    other = terminal.issue("forged-iat")
    iat = read(other).payload.iat
    terminal.run("kill", "agent", did("forged-iat"), "--issued-before", str(iat))
    later = forged(other, iat=iat + 100, exp=iat + 200)
    assert terminal.run("status", "badge", "-", "--check", given=later).code == 1


def test_status_of_a_badge_says_what_a_guard_decides(terminal: Terminal) -> None:
    """Dead by its agent's floor, though no kill is left; spared by a kill of earlier badges."""
    old = terminal.issue("floored")
    terminal.run("kill", "agent", did("floored"))
    terminal.run("reinstate", "agent", did("floored"))
    earlier = str(read(terminal.issue("spared")).payload.iat - 1)
    terminal.run("kill", "agent", did("spared"), "--issued-before", earlier)
    for badge, code, verdict in (
        (old, 1, "BADGE_REVOKED"),
        (terminal.issue("floored"), 0, "OK"),
        (terminal.issue("spared"), 0, "OK"),
    ):
        assert terminal.run("status", "badge", "-", "--check", given=badge).code == code
        assert terminal.verdict(badge) == verdict


def test_a_suspension_refuses_the_next_badge_only(terminal: Terminal) -> None:
    """Its effect is on issuing: guards let the badge pass."""
    badge = terminal.issue("suspended")
    terminal.run("kill", "agent", did("suspended"), "--effect", "issuance")
    found = terminal.run("status", "agent", did("suspended"), "--json").document
    assert (found["killed"], found["suspended"]) == (False, True)
    assert terminal.verdict(badge) == "OK"
    assert terminal.run("reinstate", "agent", did("suspended")).code == 0
    found = terminal.run("status", "agent", did("suspended"), "--json").document
    assert not found["suspended"]
    assert terminal.verdict(badge) == "OK"  # it was never dead, and no floor makes it so


def test_several_targets_are_killed_at_once(terminal: Terminal) -> None:
    """All of them are accepted, or none."""
    done = terminal.run("kill", "agent", did("many-1"), did("many-2"), "--json")
    assert len(done.document["ids"]) == 2
    refused = terminal.run("kill", "agent", did("many-3"), "no did")
    assert refused.code == 2
    assert terminal.killed("agent", did("many-2"))
    assert not terminal.killed("agent", did("many-3"))


def test_everyone_takes_the_word_typed_or_yes(terminal: Terminal) -> None:
    """Nobody can be asked off a terminal; with --yes everybody is dead, until it is retracted."""
    badge = terminal.issue("anybody")
    assert terminal.run("kill", "everyone").code == 2
    assert terminal.verdict(badge) == "OK"
    assert terminal.run("kill", "everyone", "--yes").code == 0
    assert terminal.verdict(badge) == "BADGE_REVOKED"
    assert terminal.killed("agent", did("nobody-yet"))
    assert terminal.run("retract", "everyone").code == 0
    assert terminal.verdict(badge) == "OK"


def test_an_unknown_issuer_is_warned_about(terminal: Terminal) -> None:
    """A kill that means nobody must not look like one that worked."""
    done = terminal.run("kill", "issuer", "https://isuer.rescind.local", "--yes", "--json")
    assert done.code == 0
    assert "is not among the issuers" in done.document["warnings"][0]
    assert "is not among the issuers" in done.err
    known = terminal.run("kill", "badge", ISSUER, "some-jti", "--json")
    assert known.document["warnings"] == []


def test_explain_names_the_step_that_refuses(terminal: Terminal) -> None:
    """A badge with another signature fails at step 4; what follows is not reached."""
    head, payload, _ = terminal.issue("forged").split(".")
    signature = terminal.issue("forger").split(".")[2]
    done = terminal.run("explain", "--json", given=f"{head}.{payload}.{signature}")
    steps = {step["number"]: step["code"] for step in done.document["steps"]}
    assert done.code == 1
    assert steps[3] == "OK"
    assert steps[4] == "BADGE_SIGNATURE_INVALID"
    assert steps[7] == "NOT_REACHED"


# --- watching ---


def test_watch_shows_what_is_in_force_and_then_each_change(terminal: Terminal) -> None:
    """One line for each, as it is applied; nothing twice."""
    target = ("agent", did("watched"))
    terminal.run("kill", *target)
    with terminal.start("watch", "--since-start", "--json") as watch:
        watch.wait_for("in_force", target=" ".join(target))
        terminal.run("reinstate", *target)
        watch.wait_for("reinstate", target=" ".join(target))
        terminal.run("kill", *target, "--reason-admin", "INC-7")
        kill = watch.wait_for("kill", target=" ".join(target))
        assert kill["reason_admin"] == "INC-7"
        assert watch.events("state")[-1]["state"] == "LIVE"
        assert watch.end(signal.SIGINT) == 130


def test_up_shows_each_change_too(up: Running, terminal: Terminal) -> None:
    """Whoever looks at the publisher sees what it says."""
    terminal.run("kill", "agent", did("shown"))
    up.wait_for("kill", target=f"agent {did('shown')}")


def test_a_reader_that_goes_away_is_no_error(terminal: Terminal) -> None:
    """`rescind config show | head -1` says nothing on stderr."""
    show = subprocess.Popen(
        [RESCIND, "config", "show"],
        env=terminal.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert show.stdout is not None
    show.stdout.close()
    assert show.wait(WITHIN_S) == 141
    assert show.stderr is not None
    assert show.stderr.read() == b""
    show.stderr.close()


# --- the fabric ---


def test_status_shows_publisher_sinks_and_view(terminal: Terminal, up: Running) -> None:
    """How everything is, on one screen."""
    found = terminal.run("status", "--json").document
    assert found["fresh"]
    assert found["publisher"]["pid"] == up.process.pid
    assert found["publisher"]["sinks"][0]["ready"]
    assert found["subscriber"]["state"] == "LIVE"
    assert "publisher" in terminal.run("status").out


def test_scrub_compares_every_sink(terminal: Terminal) -> None:
    """What the broker holds is what the spool holds; a second one runs behind the first."""
    done = terminal.run("scrub", "--json")
    assert done.code == 0, done
    assert done.document["ended"]
    found = done.document["sinks"]["nats"]
    assert (found["lost"], found["forks"], found["problem"]) == (0, [], None)
    assert found["checked"] == found["total"]
    assert "0 were lost" in terminal.run("scrub").out


def test_config_check_passes_on_a_fabric_that_works(terminal: Terminal) -> None:
    """Every line is ok; no password is shown."""
    done = terminal.run("config", "check", "--json")
    assert done.code == 0, done
    checked = {line["what"] for line in done.document["checks"]}
    assert checked >= {"clock", "trust file", "publisher key", "NATS as publisher", "fresh view"}
    for words in (("config", "check"), ("config", "show"), ("config", "show", "--json")):
        text = terminal.run(*words).out
        assert not any(password in text for password in passwords(terminal))


def passwords(terminal: Terminal) -> list[str]:
    """Return the passwords in the settings."""
    lines = (terminal.home / "rescind.toml").read_text().splitlines()
    found = [line.partition("://")[2].partition("@")[0] for line in lines if "nats://" in line]
    assert len(found) == 3
    return [each.partition(":")[2] for each in found]
