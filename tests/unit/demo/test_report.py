"""The demo's claims: each holds when all went well, and fails, named, when it did not."""

from typing import Any

import pytest

from rescind.demo.evidence import OK, REVOKED
from rescind.demo.report import CANNOT_TELL, Claim, Seen, claims, summarise
from tests.fakes.demo import (
    APPLIED_AT,
    RUNNING,
    agent_kill,
    alone,
    badge_kill,
    bent,
    both,
    call,
    calls,
    change,
    outage,
    reinstatement,
    restart,
    work,
)

GOOD = (work(), badge_kill(), restart(), agent_kill(), reinstatement(), outage(), alone())
LATE = call("server-2", APPLIED_AT + 0.001)
"""Allowed, though begun a millisecond after its server had applied the kill."""


def failing(seen: object) -> list[Claim]:
    """Return the claims of an act that do not hold."""
    return [each for each in claims(seen) if not each.held]


@pytest.mark.parametrize("seen", GOOD, ids=lambda seen: type(seen).__name__)
def test_all_hold(seen: object) -> None:
    """Every act claims something, and all of it holds when all went well."""
    assert claims(seen)
    assert failing(seen) == []


def more(good: Any, *made: Any) -> Any:
    """Return calls with some more made."""
    return calls(*good.made, *made)


BROKEN = {
    "a server that refuses a good badge": (
        bent(work(), calls=more(work().calls, call("server-1", 99.5, CANNOT_TELL))),
        "calls allowed",
        "also answered: REVOCATION_CHECK_FAILED",
    ),
    "a server that was never called": (
        bent(work(), calls=calls(call("server-1", 99.0))),
        "calls allowed",
        "no OK by server-2",
    ),
    "no acknowledgement": (
        bent(
            badge_kill(),
            change=bent(change(*RUNNING), acked={"NATS": 2.0, "Redis": None}, durable_ms=None),
        ),
        "durable",
        "not acknowledged; not read back",
    ),
    "a subscriber that does not apply": (
        bent(badge_kill(), change=change("server-1", "server-2")),
        "applied by 2 of 3",
        "not by sidecar-1",
    ),
    "a call allowed after its server applied": (
        bent(badge_kill(), calls=more(badge_kill().calls, LATE)),
        "2 denied, 1 allowed",
        "also answered: OK",
    ),
    "a server that was not tried after it applied": (
        bent(badge_kill(), calls=calls(*both(99.0, OK), call("server-1", 100.02, REVOKED))),
        "1 denied, 0 allowed",
        "no BADGE_REVOKED by server-2",
    ),
    "calls that broke": (
        bent(badge_kill(), calls=more(badge_kill().calls, call("server-1", 100.0, "TOOL_FAILED"))),
        "2 denied, 0 allowed",
        "answers of another kind: TOOL_FAILED",
    ),
    "a guard that says something else": (
        bent(badge_kill(), answers={"sidecar-1": OK}),
        "denied by all 3 guards",
        "not by sidecar-1",
    ),
    "a stopped subscriber that allows when it starts": (
        bent(restart(), code_before=OK),
        "cannot tell",
        "it said OK",
    ),
    "a stopped subscriber that does not replay": (
        bent(restart(), replayed_at=None, code_after=OK),
        "replayed",
        "it did not replay the kill; it said OK",
    ),
    "a fresh badge that never worked": (
        bent(agent_kill(), held=calls(*both(100.02, REVOKED))),
        "a fresh badge still works",
        "no OK by server-1, server-2",
    ),
    "a fresh badge allowed after the kill of its agent": (
        bent(agent_kill(), fetched=more(agent_kill().fetched, call("server-1", 101.5))),
        "next fresh badge",
        "also answered: OK",
    ),
    "a badge in hand allowed after the kill of its agent": (
        bent(agent_kill(), held=more(agent_kill().held, LATE)),
        "badge in hand",
        "also answered: OK",
    ),
    "a new badge that is refused": (
        bent(reinstatement(), new=calls(*both(101.0, REVOKED))),
        "a new badge",
        "no OK by server-1, server-2; also answered: BADGE_REVOKED",
    ),
    "a new badge not beyond the floor": (
        bent(reinstatement(), new_iat=1000),
        "a new badge",
        "its iat 1000 is not beyond the floor 1000",
    ),
    "an old badge that lives again": (
        bent(reinstatement(), old={"first": calls(*both(102.0, OK))}),
        "older ones",
        "no BADGE_REVOKED by server-1, server-2; also answered: OK",
    ),
    "a kill that came through a NATS that should be dead": (
        bent(outage(), durable=("nats", "redis"), pending=()),
        "durable on Redis",
        "durable on nats and redis; pending on none",
    ),
    "a kill that Redis did not carry to all": (
        bent(outage(), kill=bent(badge_kill(), change=change("server-1", "server-2"))),
        "applied by 2 of 3",
        "not by sidecar-1",
    ),
    "a restarted subscriber that has forgotten": (
        bent(alone(), code_killed=CANNOT_TELL),
        "from its own disk",
        "it said REVOCATION_CHECK_FAILED",
    ),
    "a restarted subscriber that allows what it cannot know": (
        bent(alone(), code_living=OK, fresh=True),
        "cannot tell",
        "it said OK; it called itself fresh",
    ),
    "no broker was killed": (bent(alone(), brokers=()), "from its own disk", "a broker runs"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_claim_fails(case: str) -> None:
    """What went wrong fails the claim about it, which says what was seen instead."""
    seen, said, instead = BROKEN[case]
    assert [each.instead for each in failing(seen) if said in each.said] == [instead]


def test_calls_are_told_apart() -> None:
    """Allowed before the kill, between kill and application, and after it: three things."""
    seen = bent(badge_kill(), calls=more(badge_kill().calls, LATE))
    assert (seen.allowed_before, seen.allowed_between, seen.allowed_after_apply) == (2, 2, 1)


def test_calls_of_a_server_that_never_applied_are_not_late() -> None:
    """Late is late by the server's own clock of knowledge; a deaf server fails another claim."""
    seen = bent(badge_kill(), change=change("server-1"), calls=calls(LATE))
    assert seen.allowed_after_apply == 0
    assert "not by server-2, sidecar-1" in [each.instead for each in failing(seen)]


def test_summary() -> None:
    """The figures are those that were seen."""
    summary = summarise(Seen(badge_kill(), restart(), reinstatement(), outage(), alone()), [])
    assert (summary.subscribers, summary.servers, summary.allowed_before) == (4, 2, 2)
    assert summary.kill_to_ack_ms == 3.0
    assert summary.kill_to_last_apply_ms == 10.0
    assert summary.kill_to_first_deny_ms == 25.0
    assert summary.allowed_after_apply == 0
    assert summary.restarted_denies
    assert summary.reinstated_new_badge_allowed
    assert summary.old_badge_still_denied
    assert summary.kill_without_nats_to_last_apply_ms == 10.0
    assert summary.restarted_alone_denies
    assert (summary.skipped, summary.failed) == ((), ())


def test_summary_of_a_failure() -> None:
    """What was not seen is no figure, and what did not hold is named."""
    kill = bent(badge_kill(), change=change("server-1"), calls=calls(*both(99.0, OK)))
    again = bent(restart(), replayed_at=None)
    end = bent(reinstatement(), new=calls(), old={"first": calls(call("server-1", 102.0))})
    seen = Seen(kill, again, end, None, bent(alone(), code_killed=OK))
    made = [Claim("held", held=True), Claim("broke", held=False)]
    summary = summarise(seen, made, "no redis-server")
    assert summary.kill_to_last_apply_ms is None
    assert summary.kill_to_first_deny_ms is None
    assert not summary.restarted_denies
    assert not summary.reinstated_new_badge_allowed
    assert not summary.old_badge_still_denied
    assert summary.kill_without_nats_to_last_apply_ms is None
    assert not summary.restarted_alone_denies
    assert summary.skipped == ("kill without NATS: no redis-server",)
    assert summary.failed == ("broke",)
