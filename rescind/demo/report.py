"""From what was seen to claims that hold or do not, and to one line of JSON."""

from collections.abc import Iterable, Sequence
from functools import singledispatch

import msgspec

from rescind.demo.evidence import (
    OK,
    REVOKED,
    AgentKill,
    BadgeKill,
    Calls,
    Change,
    Reinstatement,
    Restart,
    Work,
    denied_everywhere,
)

CANNOT_TELL = "REVOCATION_CHECK_FAILED"
Act = Work | BadgeKill | Restart | AgentKill | Reinstatement


class Claim(msgspec.Struct, frozen=True):
    """One sentence, whether it held, and if not, what was seen instead."""

    said: str
    held: bool
    instead: str = ""


def claim(said: str, *against: tuple[bool, str]) -> Claim:
    """Make a claim that holds unless one of `against` (whether, what) was seen."""
    seen = [what for is_seen, what in against if is_seen]
    return Claim(said, not seen, "; ".join(seen))


@singledispatch
def claims(seen: object) -> list[Claim]:
    """Return what an act claims."""
    raise TypeError(type(seen).__name__)


@claims.register
def _(seen: Work) -> list[Claim]:
    allowed, servers = len(seen.calls.coded(OK)), len(seen.calls.servers)
    return [claim(f"{allowed} calls allowed by {servers} servers", *_answers(seen.calls, OK))]


@claims.register
def _(seen: BadgeKill) -> list[Claim]:
    late, stray = seen.calls.started_after(seen.change.applied), seen.calls.others(OK, REVOKED)
    refused = late.coded(REVOKED)
    silent = [name for name, code in seen.answers.items() if code != REVOKED]
    silent += refused.servers_without()
    return [
        _durable(seen.change),
        _applied(seen.change, seen.running),
        claim(
            f"denied by all {len(seen.running)} guards",
            (bool(silent), f"not by {', '.join(silent)}"),
        ),
        claim(
            f"calls begun after their server applied it: {len(refused)} denied, "
            f"{seen.allowed_after_apply} allowed",
            *_answers(late, REVOKED),
            (bool(stray), f"answers of another kind: {', '.join(stray)}"),
        ),
    ]


@claims.register
def _(seen: Restart) -> list[Claim]:
    took = 0.0 if seen.replayed_at is None else (seen.replayed_at - seen.followed_at) * 1000
    return [
        claim(
            "not caught up yet: cannot tell, so refused",
            (seen.code_before != CANNOT_TELL, f"it said {seen.code_before}"),
        ),
        claim(
            f"replayed in {took:.0f} ms: denied",
            (seen.replayed_at is None, "it did not replay the kill"),
            (seen.code_after != REVOKED, f"it said {seen.code_after}"),
        ),
    ]


@claims.register
def _(seen: AgentKill) -> list[Claim]:
    late = seen.held.started_after(seen.change.applied)
    return [
        claim("a fresh badge still works", *_answers(seen.worked, OK)),
        _durable(seen.change),
        _applied(seen.change, seen.running),
        claim("badge in hand: denied", *_answers(late, REVOKED)),
        claim("next fresh badge: denied too", *_answers(seen.fetched, REVOKED)),
    ]


@claims.register
def _(seen: Reinstatement) -> list[Claim]:
    early = f"its iat {seen.new_iat} is not beyond the floor {seen.floor}"
    return [
        _durable(seen.change),
        _applied(seen.change, seen.running),
        claim("a new badge: allowed", *_answers(seen.new, OK), (seen.new_iat <= seen.floor, early)),
        claim(
            f"the {len(seen.old)} older ones: still denied",
            *(each for calls in seen.old.values() for each in _answers(calls, REVOKED)),
        ),
    ]


def _durable(change: Change) -> Claim:
    return claim(
        "durable",
        (change.acked_ms is None, "not acknowledged"),
        (change.durable_ms is None, "not read back"),
    )


def _applied(change: Change, running: Sequence[str]) -> Claim:
    missing = [name for name in running if name not in change.applied]
    done, last = len(running) - len(missing), max(change.applied_ms, default=0.0)
    return claim(
        f"applied by {done} of {len(running)} in {last:.1f} ms",
        (bool(missing), f"not by {', '.join(missing)}"),
    )


def _answers(calls: Calls, code: str) -> Iterable[tuple[bool, str]]:
    """What speaks against: a server without that answer, or any other answer."""
    silent, others = calls.coded(code).servers_without(), calls.others(code)
    yield bool(silent), f"no {code} by {', '.join(silent)}"
    yield bool(others), f"also answered: {', '.join(others)}"


class Summary(msgspec.Struct, frozen=True):
    """What `--json` ends with; times in ms since the kill was called."""

    subscribers: int
    servers: int
    allowed_before: int
    kill_to_ack_ms: float | None
    kill_to_last_apply_ms: float | None
    kill_to_first_deny_ms: float | None
    allowed_after_apply: int
    restarted_denies: bool
    reinstated_new_badge_allowed: bool
    old_badge_still_denied: bool
    failed: tuple[str, ...]
    """Claims that did not hold."""


def summarise(
    kill: BadgeKill, restart: Restart, end: Reinstatement, made: Sequence[Claim]
) -> Summary:
    """Return the figures of one performance, from what was seen alone."""
    change, first = kill.change, kill.first_denied_at
    everyone = not set(kill.running) - set(change.applied)
    new = end.new
    return Summary(
        subscribers=len(end.running),
        servers=len(kill.calls.servers),
        allowed_before=kill.allowed_before,
        kill_to_ack_ms=_rounded(change.acked_ms),
        kill_to_last_apply_ms=_rounded(max(change.applied_ms)) if everyone else None,
        kill_to_first_deny_ms=None if first is None else _rounded(change.ms(first)),
        allowed_after_apply=kill.allowed_after_apply,
        restarted_denies=restart.replayed_at is not None and restart.code_after == REVOKED,
        reinstated_new_badge_allowed=not new.coded(OK).servers_without() and not new.others(OK),
        old_badge_still_denied=bool(end.old) and denied_everywhere(end.old.values()),
        failed=tuple(each.said for each in made if not each.held),
    )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
