"""The bundle's data and its revisions, without a server; and what a request's headers ask for."""

import json
import random
from typing import Any

import pytest

from rescind_protocol import targets
from rescind_protocol.changes import Kill, Retract
from rescind_protocol.join import Replica
from rescind_protocol.table import Table, differences
from rescind_protocol.targets import Kind, Target
from rescind_registry.bundle import document
from rescind_registry.bundle.asking import Ask, Form, read
from rescind_registry.bundle.document import Document, data_of
from rescind_subscriber.memory import positions_of
from tests.fakes.fabric import FABRIC, NOW, Log, head_of
from tests.fakes.opa import canonical

DID = "did:web:acme.example:x{}"


class State:
    """A replica and the document of it."""

    def __init__(self) -> None:
        self.log, self.replica, self.document = Log(), Replica(), Document(FABRIC)

    def kill(self, number: int, **more: Any) -> None:
        """Kill an agent."""
        self.replica.apply(self.log.event(Kill(target=targets.agent(DID.format(number)), **more)))

    def advance(self) -> str:
        """Bring the document up to date; return its revision."""
        self.document.advance(self.replica.table, positions_of(self.replica))
        return self.document.revision

    def operations(self, since: str) -> list[tuple[str, str]]:
        """Return what a delta does, and where."""
        found = self.document.delta(since)
        assert found is not None
        return [(each["op"], each["path"]) for each in json.loads(found)["data"]]


def test_what_expires_is_another_revision() -> None:
    """When a signed horizon ends a kill, the data changes without an event, and so the revision."""
    state = State()
    state.kill(1, expires_at=NOW + 10)
    state.kill(2)
    before = state.advance()
    state.replica.advance_horizon(head_of(state.log, horizon=NOW + 11))
    assert state.advance() != before
    did = DID.format(1)
    assert state.operations(before) == [
        ("upsert", document.REVISION),
        ("remove", f"/rescind/agents/{did}"),
        ("remove", f"/revocations/agent/{did}"),
        ("upsert", document.LISTED),
    ]


def test_a_kill_above_a_gap_is_another_revision() -> None:
    """A kill whose predecessor has not come is in force, and must be fetched."""
    state = State()
    missing = state.log.event(Kill(target=targets.agent(DID.format(1))))
    before = state.advance()
    state.kill(2)
    between = state.advance()
    assert between != before
    assert DID.format(2) in json.loads(data_of(state.document.capture()))["rescind"]["agents"]
    state.replica.apply(missing)
    assert state.advance() not in (before, between)


def test_the_same_kill_again_is_another_revision() -> None:
    """Every kill changes the revision, also one that changes no line of the data."""
    state, seen = State(), set()
    for _ in range(3):
        state.kill(1)
        seen.add(state.advance())
    assert len(seen) == 3


def test_data_is_written_as_opa_hashes_it() -> None:
    """Bytes and value have one hash, whatever is in the names and reasons."""
    state = State()
    odd = 'a"b\\c/d\u2028\u2029é\U0001f600<&>'
    for reason in ("r\x00\x08\x0c\x1f\x7f\n", odd):
        kill = Kill(target=Target(Kind.SESSION, id=odd), reason=reason)  # as 0.1.0 took it
        state.replica.apply(state.log.event(kill))
    state.advance()
    raw = data_of(state.document.capture())
    assert canonical(json.loads(raw)) == raw


def test_a_revision_too_long_ago_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are bounded; whoever is behind them gets the whole."""
    monkeypatch.setattr(document, "MAX_STEPS", 2)
    state = State()
    revisions = [state.advance()]
    for number in range(4):
        state.kill(number)
        revisions.append(state.advance())
    known = [state.document.delta(each) is not None for each in revisions]
    assert known == [False, False, True, True, False]  # the last is what there is


def test_a_delta_of_many_steps_removes_only_what_was_there() -> None:
    """What came after a revision and went again is not in the delta from there."""
    state = State()
    before = state.advance()
    name = state.log.next_id()
    state.kill(1)
    between = state.advance()
    state.replica.apply(
        state.log.event(Retract(target=targets.agent(DID.format(1)), names=(name,)))
    )
    state.advance()
    assert "remove" not in dict(state.operations(before))
    assert ("remove", f"/rescind/agents/{DID.format(1)}") in state.operations(between)


@pytest.mark.parametrize("seed", range(20))
def test_differences_are_what_differs(seed: int) -> None:
    """What two tables share is passed over, and nothing else."""
    choose = random.Random(seed)  # noqa: S311 - a test that can be run again
    state, tables = State(), [Table()]
    for number in range(60):
        state.kill(choose.randrange(30), expires_at=NOW + number + 1)
        if choose.random() < 0.2:
            state.replica.advance_horizon(head_of(state.log, horizon=NOW + number))
        tables.append(state.replica.table)
    old, new = choose.choice(tables), choose.choice(tables)
    found = {digest: (was, now) for digest, was, now in differences(old, new)}
    every = {digest for table in (old, new) for digest, _ in table.items()}
    assert found == {
        digest: (old.get(digest), new.get(digest))
        for digest in every
        if old.get(digest) != new.get(digest)
    }


OPA = Ask(Form.OPA, delta=True)


@pytest.mark.parametrize(
    ("headers", "ask"),
    [
        ({}, Ask(Form.JSON)),
        ({"accept": "*/*"}, Ask(Form.JSON)),
        ({"accept": "application/json"}, Ask(Form.JSON)),
        ({"accept": "application/gzip;q=1"}, Ask(Form.OPA)),
        ({"accept": "application/vnd.rescind.bundle"}, Ask(Form.SIGNED, delta=True)),
        ({"prefer": "modes=snapshot,delta", "if-none-match": ""}, OPA),
        ({"prefer": "modes=snapshot"}, Ask(Form.OPA)),
        ({"prefer": "modes=snapshot,delta;wait=9"}, Ask(Form.OPA, wait_s=9, delta=True)),
        ({"prefer": "wait=9, respond-async"}, Ask(Form.JSON, wait_s=9)),
        ({"prefer": "modes=snapshot,delta;wait=99999"}, Ask(Form.OPA, wait_s=60, delta=True)),
        ({"prefer": "modes=snapshot,delta;wait=-1"}, OPA),
        ({"prefer": "modes=snapshot,delta;await=5"}, OPA),
        ({"if-none-match": '"r1"'}, Ask(Form.JSON, ("r1",))),
        ({"if-none-match": 'W/"r1", "r2"'}, Ask(Form.JSON, ("r1", "r2"))),
        ({"if-none-match": "r1"}, Ask(Form.JSON, ("r1",))),
        ({"if-none-match": "*"}, Ask(Form.JSON, ("*",))),
        ({"if-none-match": '"' + "x" * 5000 + '"'}, Ask(Form.JSON)),
    ],
)
def test_what_a_request_asks_for(headers: dict[str, str], ask: Ask) -> None:
    """OPA, the reference's clients and ours are told apart by what they send."""
    assert read(headers) == ask


def test_a_path_may_say_that_an_archive_is_wanted() -> None:
    """As files on a static server are named; JSON is still JSON where it is asked for."""
    assert read({}, suffixed=True) == Ask(Form.OPA)
    assert read({"accept": "application/json"}, suffixed=True).form is Form.JSON
    assert not read({"prefer": "modes=snapshot,delta"}, suffixed=True, delta=False).delta
