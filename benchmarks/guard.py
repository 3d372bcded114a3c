"""`guard`: what one check costs, beside the bare signature that no checker can do without.

Floor: one Ed25519 verification by libsodium of the same badge's bytes, already taken apart.
Cold: `Guard.check` of a badge never seen before, of an agent never seen before, with every check in
place: audience, issuer, times, claim rules, the view with kills in it, the freshness rule, a
recorder. Cached: the same badges again, each time as a new string object, as a server gets them.
Ruled: as cached, with built-in rules. Rego: as cold, with a small policy in Rego; regopy: that
policy asked by the library alone, each time with new input. What Rego adds is taken from a
cold check beside it: one after another they find as much, or as little, in the processor's caches;
the library is given the document of that very call with a new transaction id, in the same thread,
and every other time the three have their turns in the opposite order.
PyJWT: `jwt.decode` of the same badge with audience, issuer and required claims; no revocation.

Blocks of these alternate within each round, so that what disturbs one disturbs all. Each call is
timed by itself, and the timer's own cost taken off.
"""

import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import jwt
import msgspec
from nacl.bindings import crypto_sign_open

from benchmarks import policies
from benchmarks.material import AUDIENCE, ISSUER, Publisher, Registry
from benchmarks.stats import US, Row, Spread, over_rounds, progress, spread, timer_cost_ns
from rescind_guard import Guard, View
from rescind_guard.freshness import SystemClock
from rescind_guard.policy import Policy
from rescind_guard.policy_input import Document
from rescind_protocol.encoding import b64url_decode
from rescind_protocol.join import Replica
from rescind_protocol.keys import jwk

BLOCK = 50
"""Badges in a row before the next kind of work has its turn."""
REPEATS = 20
"""Cached checks of each badge."""
PYJWT_EVERY = 5
COLD_OVER_FLOOR_US = 25.0
CACHED_US = 1.5
RULED_US = 2.0
REGO_OVER_COLD = 1.3
"""Times the library alone."""
REGO_EVERY = 5
_TIMER_NS = timer_cost_ns()


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    entries: int = 100_000
    rounds: int = 9
    badges: int = 500
    """In each round, all of them new."""


QUICK = Plan(entries=500, rounds=2, badges=BLOCK)


class Result(msgspec.Struct, frozen=True):
    """Times in microseconds; medians over the rounds."""

    cached_us: Spread
    ruled_us: Spread
    """Cached, with built-in rules."""
    cold_us: Spread
    floor_verify_us: Spread
    pyjwt_us: Spread
    rego_us: Spread
    """Cold, with a small policy in Rego."""
    regopy_us: Spread
    """That policy by the library alone."""
    rego_over_cold: float
    """(rego - a cold check beside it) / regopy, of the medians of a round; their median."""
    cold_minus_floor_us: float
    """Of the medians of a round; median over the rounds."""
    rounds: int
    samples: dict[str, int]
    """In all rounds together."""
    badge_bytes: int
    view_entries: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        over = "on top of the floor"
        return [
            Row("one bare Ed25519 verification (the floor)", self.floor_verify_us, "µs"),
            Row("cold check: a badge never seen", self.cold_us, "µs"),
            Row(f"  {over}", self.cold_minus_floor_us, "µs", COLD_OVER_FLOOR_US),
            Row("repeated badge, a fresh string each time", self.cached_us, "µs", CACHED_US),
            Row("  the same with built-in rules", self.ruled_us, "µs", RULED_US),
            Row("cold check with a small policy in Rego", self.rego_us, "µs"),
            Row(
                "  what it adds, in times of regopy alone", self.rego_over_cold, "", REGO_OVER_COLD
            ),
            Row("regopy alone, new input each time", self.regopy_us, "µs"),
            Row("PyJWT decode of the same badge, no revocation", self.pyjwt_us, "µs"),
            Row(
                f"  {self.rounds} rounds; samples: "
                + ", ".join(f"{name} {count:,}" for name, count in self.samples.items()),
                f"badge {self.badge_bytes} B",
                note=f"{self.view_entries:,} kills in the view",
            ),
        ]


class Guards(NamedTuple):
    """Over one view; and the library alone."""

    plain: Guard
    ruled: Guard
    rego: Guard
    regopy: Callable[[Document], object]


def run(plan: Plan) -> Result:
    """Measure."""
    registry, view = Registry(), _filled_view(plan.entries)
    log: deque[object] = deque(maxlen=1000)

    def guard(policy: Policy | None) -> Guard:
        return Guard(
            view,
            registry.issuers,
            audience=AUDIENCE,
            policy=policy,
            recorder=lambda decision, tool, _: log.append((decision, tool)),
        )

    guards = Guards(guard(None), guard(policies.rules()), guard(policies.rego()), policies.bare())
    gc.collect()
    gc.freeze()  # as a subscriber that has loaded a snapshot
    rounds = []
    for number in range(plan.rounds):
        progress(f"guard: round {number + 1} of {plan.rounds}")
        first = 2 * number * plan.badges
        tokens = [registry.badge(first + i) for i in range(2 * plan.badges)]
        rounds.append(_round(guards, registry, tokens[: plan.badges], tokens[plan.badges :]))
    progress()
    return _result(plan, rounds, view, len(registry.badge(0)))


def _filled_view(entries: int) -> View:
    replica, view, clock = Replica(), View(), SystemClock()
    Publisher().fill(replica, entries)
    view.claim()
    view.swap(replica.table)
    view.freshen(clock.wall(), clock.boot())
    return view


Samples = dict[str, list[int]]


def _round(
    guards: Guards, registry: Registry, tokens: Sequence[str], others: Sequence[str]
) -> Samples:
    kinds = ("cached", "ruled", "cold", "floor", "pyjwt", "rego", "beside", "regopy")
    samples: Samples = {kind: [] for kind in kinds}
    guard = guards.plain
    key, decode = jwt.PyJWK(jwk(registry.key.public)), jwt.decode
    options: Any = {"require": ["exp", "iat", "nbf", "jti"]}

    def check(token: str) -> bool:
        return bool(guard.check(token, tool=policies.TOOL))

    def check_rego(token: str) -> bool:
        return bool(guards.rego.check(token, tool=policies.TOOL))

    def pyjwt(token: str) -> object:
        return decode(
            token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER, options=options
        )

    def bare(message: bytes) -> object:
        return crypto_sign_open(message, registry.key.public)

    for start in range(0, len(tokens), BLOCK):
        block = tokens[start : start + BLOCK]
        again = [_fresh(token) for _ in range(REPEATS) for token in block]
        for token in block:
            message = _signed_message(token)
            samples["floor"] += _each(bare, [message])
            samples["cold"] += _each(check, [token])
        samples["pyjwt"] += _each(pyjwt, block[::PYJWT_EVERY])
        samples["cached"] += _each_check(guard, again)
        assert all(guards.ruled.check(token, tool=policies.TOOL) for token in block)
        samples["ruled"] += _each_check(guards.ruled, list(map(_fresh, again)))
        new = others[start : start + BLOCK : REGO_EVERY]
        plain = others[start + 1 : start + BLOCK : REGO_EVERY]
        for at, (token, other) in enumerate(zip(new, plain, strict=True)):
            claims = guards.plain.verifier.verify(guards.plain.verifier.read(token))
            turns: list[tuple[str, Callable[[Any], object], Any]] = [
                ("rego", check_rego, token),
                ("beside", check, other),
                ("regopy", guards.regopy, policies.document_of(claims)),
            ]
            for kind, call, argument in turns[:: -1 if at % 2 else 1]:
                samples[kind] += _each(call, [argument])
        assert all(map(check_rego, new)), "a good badge was denied by policy"
        assert all(check(token) for token in block), "a good badge was denied"
    return samples


def _signed_message(token: str) -> bytes:
    signing_input, _, signature = token.encode().rpartition(b".")
    return b64url_decode(signature) + signing_input


def _fresh(token: str) -> str:
    """Return an equal string that was never hashed."""
    return token.encode().decode()


def _each(call: Callable[[Any], object], arguments: Sequence[Any]) -> list[int]:
    clock, cost, taken = time.perf_counter_ns, _TIMER_NS, []
    for argument in arguments:
        begun = clock()
        call(argument)
        taken.append(clock() - begun - cost)
    return taken


def _each_check(guard: Guard, tokens: Sequence[str]) -> list[int]:
    """Do as `_each`, calling the guard itself: a wrapper would be a tenth of the figure."""
    clock, cost, taken, check = time.perf_counter_ns, _TIMER_NS, [], guard.check
    tool = policies.TOOL
    for token in tokens:
        begun = clock()
        check(token, tool=tool)
        taken.append(clock() - begun - cost)
    return taken


def _result(plan: Plan, rounds: list[Samples], view: View, badge_bytes: int) -> Result:
    each = {name: [spread(r[name], US) for r in rounds] for name in rounds[0]}
    pairs = zip(each["cold"], each["floor"], strict=True)
    return Result(
        cached_us=over_rounds(each["cached"]),
        cold_us=over_rounds(each["cold"]),
        floor_verify_us=over_rounds(each["floor"]),
        pyjwt_us=over_rounds(each["pyjwt"]),
        ruled_us=over_rounds(each["ruled"]),
        rego_us=over_rounds(each["rego"]),
        regopy_us=over_rounds(each["regopy"]),
        rego_over_cold=median(
            (rego.p50 - cold.p50) / bare.p50
            for rego, cold, bare in zip(each["rego"], each["beside"], each["regopy"], strict=True)
        ),
        cold_minus_floor_us=median(cold.p50 - floor.p50 for cold, floor in pairs),
        rounds=plan.rounds,
        samples={name: sum(len(r[name]) for r in rounds) for name in rounds[0]},
        badge_bytes=badge_bytes,
        view_entries=len(view.published.table),
    )
