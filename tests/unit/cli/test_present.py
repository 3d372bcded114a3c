"""What is said of a kill, of what is in force, and of changes as they come."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from msgspec.structs import replace

from rescind import compose, config
from rescind.cli import common, fleet
from rescind.cli.commands import kill as kill_command
from rescind.cli.feed import Feed, StateLine, _Once
from rescind.cli.inforce import standing
from rescind.cli.out import Out
from rescind.cli.switching import Doer, present
from rescind.cli.targets import doubts, read_targets
from rescind.errors import EXIT_CANNOT_TELL, EXIT_NOT_APPLIED, EXIT_OK, EXIT_PENDING
from rescind_protocol import targets
from rescind_protocol.changes import Effect, Kill, Reinstate, Revocation, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.table import Table, TableEdit, entry
from rescind_protocol.targets import Target
from rescind_protocol.trust import Trust
from rescind_publisher.applied import Applied
from rescind_publisher.fleet import Fleet, Member
from rescind_publisher.keyfiles import read_private
from rescind_publisher.receipts import Receipt, SinkReceipt, State
from rescind_subscriber.listeners import Merged
from rescind_subscriber.states import State as ViewState
from rescind_subscriber.status import Status
from tests.unit.cli.conftest import Run, error_of

AGENT = targets.agent("did:web:acme.example:x7")
BADGE = targets.badge("https://registry.example", "j1")
NOW = 1_800_000_000


@pytest.fixture
def trust(folder: Path) -> Trust:
    """The trust of a new folder."""
    return compose.make_trust(config.load({"home": str(folder)}, env={}))


def place(trust: Trust, seq: int = 1) -> RevocationId:
    """Return an id in a log of the folder's publisher."""
    kid = next(s.kid for s in trust.signers.values() if s.publisher == "local")
    return RevocationId(f"{kid[:11]}-{'B' * 22}", seq, 0)


def table(*revocations: Revocation, floors: dict[Target, int] | None = None) -> Table:
    """Return a table with these in force."""
    edit = TableEdit(Table())
    by_target: dict[Target, list[Revocation]] = {target: [] for target in floors or {}}
    for revocation in revocations:
        by_target.setdefault(revocation.kill.target, []).append(revocation)
    for target, found in by_target.items():
        floor = (floors or {}).get(target)
        edit.put(target.digest, entry(tuple(found), () if floor is None else (("L", floor),)))
    return edit.done()


# --- receipts ---


def receipt(**states: State) -> Receipt:
    """Return a receipt with one sink in each state."""
    return Receipt(
        ids=(),
        targets=(str(AGENT),),
        accepted_at=float(NOW),
        accepted_ms=1.0,
        sinks={name: SinkReceipt(state, 2.0, 3.0) for name, state in states.items()},
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({"nats": State.DURABLE}, EXIT_OK),
        ({"nats": State.ACKED}, EXIT_OK),
        ({"nats": State.ACCEPTED}, EXIT_PENDING),
        ({"nats": State.ACCEPTED, "redis": State.ACKED}, EXIT_OK),
        ({"nats": State.ACCEPTED, "redis": State.ACCEPTED}, EXIT_PENDING),
        ({}, EXIT_PENDING),
    ],
)
def test_the_exit_code_says_whether_any_broker_has_it(
    states: dict[str, State], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pending is a code of its own, and said loudly."""
    doer = Doer("local", 7, own_log=False)
    assert present(Out(as_json=False), "killed", receipt(**states), doer, {}) == code
    pending = State.ACCEPTED in states.values() or not states
    assert ("PENDING" in capsys.readouterr().out) is pending


@pytest.mark.parametrize(
    ("done", "known", "code"),
    [(2, 2, EXIT_OK), (1, 2, EXIT_NOT_APPLIED), (0, 2, EXIT_NOT_APPLIED), (0, 0, EXIT_CANNOT_TELL)],
)
def test_the_exit_code_says_whether_all_have_applied_it(
    done: int, known: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is not everybody; and a kill that no broker has is pending, whoever was heard."""
    said = Applied(done=done, known=known, listening_for_s=60.0)
    doer, out = Doer("local", 7, own_log=False), Out(as_json=False)
    made = replace(receipt(nats=State.DURABLE), applied=said)
    assert present(out, "killed", made, doer, {}) == code
    assert str(said) in capsys.readouterr().out
    made = replace(receipt(nats=State.ACCEPTED), applied=said)
    assert present(out, "killed", made, doer, {}) == EXIT_PENDING


def member(name: str, **changes: Any) -> Member:
    """Return a subscriber as the publisher knows it."""
    good: dict[str, Any] = {
        "host": "node-1",
        "pid": 7,
        "version": "0.1.0",
        "state": "LIVE",
        "unreachable": False,
        "lag": 0,
        "age_s": 0.5,
        "up_s": 60.0,
        "last_seen": NOW,
    }
    return Member(name=name, **(good | changes))


def test_subscribers_are_listed_with_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Out of reach, behind, of unknown lag; and how many there are."""
    away = member("eu-2", unreachable=True, away=1, state="LAGGING", lag=None)
    found = Fleet(NOW, (member("eu-1", lag=3), away), 0, None)
    assert fleet.line(found) == ("2 known, 1 out of reach, since 2027-01-15 08:00:00 UTC", "yellow")
    fleet.show(Out(as_json=False), found)
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:6] == ["eu-1", "node-1", "7", "LIVE", "3", "0.1.0"]
    assert "out of reach, was LAGGING  ?" in second


def test_a_publisher_that_hears_nobody_says_why() -> None:
    """No publisher, not yet listening, cut off."""
    assert fleet.line(None) is None
    assert fleet.line(Fleet(None, (), 0, None)) == ("not listened to yet", "yellow")
    assert fleet.line(Fleet(NOW, (), 0, "cut off")) == ("0 known; cut off", "yellow")


def test_it_is_said_who_did_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The running publisher, or the command itself."""
    made = receipt(nats=State.DURABLE)
    present(Out(as_json=False), "killed", made, Doer("local", 7, own_log=False), {})
    assert "the running publisher 'local' (pid 7)" in capsys.readouterr().out
    present(Out(as_json=False), "killed", made, Doer("local", 0, own_log=True), {})
    assert "a log of its own" in capsys.readouterr().out


# --- what is in force ---


def test_nothing_in_force_is_not_killed(trust: Trust) -> None:
    """An empty view kills nobody."""
    found = standing(AGENT, (), table(), trust)
    assert (found.killed, found.suspended, found.floor, found.kills) == (False, False, None, ())


@pytest.mark.parametrize(
    ("asked", "wider", "dead"),
    [
        (AGENT, (), AGENT),
        (AGENT, (), targets.everyone()),
        (BADGE, (), targets.issuer("https://registry.example")),
        (BADGE, (), targets.everyone()),
        (BADGE, (AGENT,), AGENT),
        (targets.everyone(), (), targets.everyone()),
    ],
)
def test_a_target_is_killed_by_what_is_wider(
    trust: Trust, asked: Target, wider: tuple[Target, ...], dead: Target
) -> None:
    """By a kill of itself, of its issuer, of everyone, and of what its badge names."""
    found = standing(asked, wider, table(Revocation(place(trust), Kill(target=dead), NOW)), trust)
    assert found.killed
    assert found.kills[0]["publisher"] == "local"
    assert found.kills[0]["since"] == NOW


def test_a_kill_of_another_issuer_is_none_of_this_badge(trust: Trust) -> None:
    """Issuers cannot kill each other's."""
    other = Revocation(place(trust), Kill(target=targets.issuer("https://other.example")), NOW)
    assert not standing(BADGE, (), table(other), trust).killed


def test_a_suspension_is_no_kill_and_a_floor_is_told(trust: Trust) -> None:
    """They are different things, each said on its own."""
    suspended = Revocation(place(trust), Kill(target=AGENT, effect=Effect.ISSUANCE), NOW)
    found = standing(AGENT, (), table(suspended, floors={AGENT: NOW - 5}), trust)
    assert (found.killed, found.suspended, found.floor) == (False, True, NOW - 5)


@pytest.mark.parametrize("target", [BADGE, AGENT, targets.everyone()])
@pytest.mark.parametrize(("iat", "dead"), [(NOW - 6, True), (NOW - 5, True), (NOW - 4, False)])
def test_a_badge_is_dead_up_to_the_floor_of_any_of_its_targets(
    trust: Trust,
    target: Target,
    iat: int,
    dead: bool,  # noqa: FBT001 - pytest's
) -> None:
    """As a guard decides: also where the kill has ended, and though the floor is its agent's."""
    found = standing(BADGE, (AGENT,), table(floors={target: NOW - 5}), trust, iat)
    assert (found.killed, found.floor, found.kills) == (dead, NOW - 5, ())
    assert not standing(BADGE, (AGENT,), table(floors={target: NOW - 5}), trust).killed


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize(("iat", "dead"), [(NOW, True), (NOW + 1, False)])
def test_a_kill_of_badges_issued_before_spares_a_later_one(
    trust: Trust,
    effect: Effect,
    iat: int,
    dead: bool,  # noqa: FBT001 - pytest's
) -> None:
    """The badge itself is judged; of its agent it is said that some badges are killed."""
    kill = Kill(target=AGENT, effect=effect, issued_before=NOW)
    there = table(Revocation(place(trust), kill, NOW))
    for found, expected in (
        (standing(BADGE, (AGENT,), there, trust, iat), dead),
        (standing(AGENT, (), there, trust), True),
    ):
        assert (found.suspended if effect is Effect.ISSUANCE else found.killed) is expected
        assert len(found.kills) == 1


# --- changes as they come ---


def event(trust: Trust, *changes: Kill | Reinstate, seq: int = 1) -> Event:
    """Return an event that says these."""
    log = place(trust).log
    return Event(log, seq, b"", b"", "local", 1, NOW, tuple(enumerate(changes)), 0)


def test_each_change_is_a_line_and_none_twice(
    trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was shown as in force is not shown again when its event comes."""
    feed = Feed(Out(as_json=True), trust)
    kill = Kill(target=AGENT, reason_admin="INC-412")
    feed.in_force(table(Revocation(place(trust), kill, NOW)))
    there = table(Revocation(place(trust), kill, NOW))
    feed.applied(event(trust, kill), there)
    end = Reinstate(target=AGENT, names=(place(trust),), floor=NOW)
    feed.applied(event(trust, end, seq=2), table())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["in_force", "reinstate"]
    assert lines[0]["reason_admin"] == "INC-412"
    assert lines[1] | {"names": [str(place(trust))], "floor": NOW, "publisher": "local"} == lines[1]


def test_a_kill_inside_a_snapshot_is_a_line_too(
    trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that the snapshot brought; what was in force before is no change."""
    at, kill = place(trust), Kill(target=AGENT, reason_admin="INC-412")
    there = table(Revocation(at, kill, NOW), Revocation(replace(at, seq=2), kill, NOW))
    Feed(Out(as_json=True), trust).applied(Merged({at.log: (range(2, 3),)}), there)
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["event"] == "kill"
    assert line["id"] == f"{at.log}/2/0"


def test_people_see_reason_and_actor(trust: Trust, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for the kill, and one for why."""
    kill = Kill(target=AGENT, reason="compromised", actor="ann@ops", expires_at=NOW)
    Feed(Out(as_json=False), trust).applied(event(trust, kill), table())
    first, second = capsys.readouterr().out.splitlines()
    assert str(AGENT) in first
    assert second.strip() == "compromised, by ann@ops, until 2027-01-15 08:00:00 UTC"


def status(state: ViewState, source: str = "") -> Status:
    """Return a subscription's status."""
    return Status(
        state=state,
        age_s=0.5,
        seconds_until_stale=299.5,
        generation=1,
        targets=3,
        sources={"nats": source},
        trouble={},
        events={},
        heads={},
        reads={},
    )


def test_a_state_is_said_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Once for each change, with the source that is away."""
    line = StateLine(Out(as_json=False))
    states = (ViewState.LIVE, ViewState.LIVE, ViewState.STALE, ViewState.STALE)
    shown = []
    for state in states:
        line.show(status(state))
        shown.append(capsys.readouterr().out)
    assert [state in text for state, text in zip(states, shown, strict=True)] == [
        *(True, False, True, False)
    ]
    line.show(status(ViewState.STALE, "refused"))
    assert "nats: refused" in capsys.readouterr().out


# --- what was meant ---


def test_a_doubtful_issuer_is_named(folder: Path) -> None:
    """Known ones are not, in whatever spelling; did:key is known where it is accepted."""
    loaded = config.load({"home": str(folder)}, env={})
    known = targets.badge("HTTPS://issuer.rescind.local/", "j")
    assert doubts((known, AGENT, targets.everyone()), loaded) == []
    (sentence,) = doubts((BADGE,), loaded)
    assert "https://registry.example" in sentence
    did = Target(targets.Kind.BADGE, "did:key:z6Mk", "j")
    assert len(doubts((did,), loaded)) == 1
    lax = config.load({"home": str(folder), "accept_self_signed": True}, env={})
    assert doubts((did,), lax) == []


def test_a_key_that_no_issuer_has_is_doubtful(folder: Path) -> None:
    """One of the issuers configured here is not; JWKS that cannot be read know none."""
    loaded = config.load({"home": str(folder)}, env={})
    known = targets.key(read_private(folder / "issuer.key").kid)
    strange = targets.key("a" * 43)
    (sentence,) = doubts((known, strange), loaded)
    assert strange.id in sentence
    (folder / "issuer.jwks.json").write_text("[]")
    assert len(doubts((known,), loaded)) == 1


def test_a_warning_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """However often it is logged; control characters in it reach no terminal."""
    handler = _Once()
    record = logging.makeLogRecord({"msg": "event rejected: %s", "args": ("\x1b[2J",)})
    for _ in range(3):
        handler.emit(record)
    text = capsys.readouterr().err
    assert text.count("event rejected") == 1
    assert "\x1b" not in text


def test_many_badges_of_one_issuer_are_named_at_once() -> None:
    """Issuer first, then each jti."""
    found = read_targets("badge", ("https://registry.example", "j1", "j2"))
    assert found.targets == (BADGE, targets.badge("https://registry.example", "j2"))


@pytest.mark.parametrize(("typed", "answer"), [("issuer", True), ("yes", False), ("", False)])
def test_only_the_word_itself_confirms(
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    answer: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """`yes` is typed without reading; the kind is not."""
    monkeypatch.setattr(sys, "stdin", type("Tty", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(click, "prompt", lambda *_, **__: typed)
    issuer = targets.issuer("https://registry.example")
    assert kill_command._confirmed("issuer", (issuer,)) is answer


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (common.until, "10m", timedelta(minutes=10)),
        (common.until, "3d", timedelta(days=3)),
        (common.until, "2031-01-31T12:00:00Z", datetime(2031, 1, 31, 12, tzinfo=UTC)),
        (common.moment, "1800000000", datetime.fromtimestamp(NOW, UTC)),
        (common.moment, "2031-01-31T14:00:00+02:00", datetime(2031, 1, 31, 12, tzinfo=UTC)),
        (common.moment, None, None),
    ],
)
def test_times_are_read_as_people_write_them(
    read: Callable[..., object], text: str | None, value: object
) -> None:
    """Durations, and moments with their zone."""
    assert read(None, None, text) == value


# --- settings ---


def test_config_show_says_where_each_setting_comes_from(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, environment or default; passwords stay hidden."""
    monkeypatch.setenv("RESCIND_AUDIENCE", "orders")
    result = run("config", "show", "--json")
    settings = json.loads(result.stdout)["settings"]
    assert settings["audience"] == {"value": "orders", "from": "environment"}
    assert settings["fabric"]["from"].endswith("rescind.toml")
    assert settings["mode"]["from"] == "default"
    assert settings["nats_url"]["value"] == "nats://********@127.0.0.1:1"


def test_an_option_wins_over_the_environment(run: Run, folder: Path, tmp_path: Path) -> None:
    """--home is an option of every command."""
    del folder
    result = run("config", "show", "--json", "--home", str(tmp_path / "other"))
    settings = json.loads(result.stdout)["settings"]
    assert settings["home"] == {"value": str(tmp_path / "other"), "from": "argument"}


def test_config_check_says_what_to_do_about_each_fault(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All faults at once, one line each; exit code 1."""
    (folder / "publisher.key").chmod(0o640)
    (folder / "rescind.toml").chmod(0o644)
    (folder / "issuer.jwks.json").write_text("{}")
    (folder / "trust.jws").write_text("x.y.z")
    monkeypatch.setenv("RESCIND_SNAPSHOT_EVENTS", "0")
    result = run("config", "check", "--timeout", "0.1", "--json")
    assert result.exit_code == 1
    lines = {line["what"]: line for line in json.loads(result.stdout)["checks"]}
    failed = {what for what, line in lines.items() if not line["ok"]}
    assert failed >= {"settings", "trust file", "guard", "publisher key", "NATS as subscriber"}
    assert lines["publisher settings"]["detail"] == "snapshot_events must be more than 0"
    assert "approver key" not in failed


def test_a_folder_without_settings_says_how_to_make_some(run: Run, tmp_path: Path) -> None:
    """`rescind up` makes them."""
    for words in (("kill", "agent", str(AGENT.id)), ("status",)):
        result = run(*words, "--home", str(tmp_path / "nothing"))
        assert result.exit_code == 2
        assert "rescind up" in error_of(result)
