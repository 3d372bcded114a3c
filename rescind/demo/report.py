"""From what was seen to claims that hold or do not, and to one line of JSON."""

from collections.abc import Iterable, Sequence
from functools import singledispatch

import msgspec

from rescind.demo.evidence import (
    OK,
    REVOKED,
    AgentKill,
    Alone,
    BadgeKill,
    Calls,
    Change,
    Outage,
    Reinstatement,
    Restart,
    Work,
    denied_everywhere,
)

CANNOT_TELL = "REVOCATION_CHECK_FAILED"
Act = Work | BadgeKill | Restart | AgentKill | Reinstatement | Outage | Alone


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
    return [_durable(seen.change), _applied(seen.change, seen.running), *_denied(seen)]


def _denied(seen: BadgeKill) -> list[Claim]:
    """What a kill of a badge at work does, whichever way it came."""
    late, stray = seen.calls.started_after(seen.change.applied), seen.calls.others(OK, REVOKED)
    refused = late.coded(REVOKED)
    silent = [name for name, code in seen.answers.items() if code != REVOKED]
    silent += refused.servers_without()
    return [
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


@claims.register
def _(seen: Outage) -> list[Claim]:
    change = seen.kill.change
    return [
        claim(
            "durable on Redis, pending on NATS",
            (seen.durable != ("redis",), f"durable on {' and '.join(seen.durable) or 'none'}"),
            (seen.pending != ("nats",), f"pending on {' and '.join(seen.pending) or 'none'}"),
        ),
        _applied(change, seen.kill.running),
        *_denied(seen.kill),
    ]


@claims.register
def _(seen: Alone) -> list[Claim]:
    return [
        claim(
            f"{' and '.join(seen.brokers)} gone: the killed badge is denied, from its own disk",
            (not seen.brokers, "a broker runs"),
            (seen.code_killed != REVOKED, f"it said {seen.code_killed}"),
        ),
        claim(
            "a badge that nobody killed: cannot tell, so refused",
            (seen.code_living != CANNOT_TELL, f"it said {seen.code_living}"),
            (seen.fresh, "it called itself fresh"),
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
    kill_without_nats_to_last_apply_ms: float | None
    """Through Redis alone; compare `kill_to_last_apply_ms`."""
    restarted_alone_denies: bool
    skipped: tuple[str, ...]
    """Acts that were left out, and why."""
    failed: tuple[str, ...]
    """Claims that did not hold."""


class Seen(msgspec.Struct, frozen=True):
    """The acts that the summary's figures come from."""

    kill: BadgeKill
    restart: Restart
    end: Reinstatement
    outage: Outage | None
    """None: it was skipped."""
    alone: Alone


def summarise(seen: Seen, made: Sequence[Claim], skipped: str = "") -> Summary:
    """Return the figures of one performance, from what was seen alone."""
    kill, restart, end, outage = seen.kill, seen.restart, seen.end, seen.outage
    change, first = kill.change, kill.first_denied_at
    new = end.new
    return Summary(
        subscribers=len(end.running),
        servers=len(kill.calls.servers),
        allowed_before=kill.allowed_before,
        kill_to_ack_ms=_rounded(change.acked_ms),
        kill_to_last_apply_ms=_last_apply(kill),
        kill_to_first_deny_ms=None if first is None else _rounded(change.ms(first)),
        allowed_after_apply=kill.allowed_after_apply,
        restarted_denies=restart.replayed_at is not None and restart.code_after == REVOKED,
        reinstated_new_badge_allowed=not new.coded(OK).servers_without() and not new.others(OK),
        old_badge_still_denied=bool(end.old) and denied_everywhere(end.old.values()),
        kill_without_nats_to_last_apply_ms=None if outage is None else _last_apply(outage.kill),
        restarted_alone_denies=seen.alone.code_killed == REVOKED,
        skipped=(f"kill without NATS: {skipped}",) if skipped else (),
        failed=tuple(each.said for each in made if not each.held),
    )


def _last_apply(kill: BadgeKill) -> float | None:
    """Return when the last of all had it, None if one had not."""
    everyone = not set(kill.running) - set(kill.change.applied)
    return _rounded(max(kill.change.applied_ms)) if everyone else None


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
