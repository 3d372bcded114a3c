"""`guard`: what one check costs, beside the bare signature that no checker can do without.

Floor: one Ed25519 verification by libsodium of the same badge's bytes, already taken apart.
Cold: `Guard.check` of a badge never seen before, of an agent never seen before, with every check in
place: audience, issuer, times, claim rules, the view with kills in it, the freshness rule, a
recorder. Cached: the same badges again, each time as a new string object, as a server gets them.
PyJWT: `jwt.decode` of the same badge with audience, issuer and required claims; no revocation.

Blocks of the four alternate within each round, so that what disturbs one disturbs all. Each call is
timed by itself, and the timer's own cost taken off.
"""

import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import jwt
import msgspec
from nacl.bindings import crypto_sign_open

from benchmarks.material import AUDIENCE, ISSUER, Publisher, Registry
from benchmarks.stats import US, Row, Spread, over_rounds, progress, spread, timer_cost_ns
from rescind_guard import Guard, View
from rescind_guard.freshness import SystemClock
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
    cold_us: Spread
    floor_verify_us: Spread
    pyjwt_us: Spread
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
            Row("PyJWT decode of the same badge, no revocation", self.pyjwt_us, "µs"),
            Row(
                f"  {self.rounds} rounds; samples: "
                + ", ".join(f"{name} {count:,}" for name, count in self.samples.items()),
                f"badge {self.badge_bytes} B",
                note=f"{self.view_entries:,} kills in the view",
            ),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    registry, view = Registry(), _filled_view(plan.entries)
    log: deque[object] = deque(maxlen=1000)
    guard = Guard(
        view,
        registry.issuers,
        audience=AUDIENCE,
        recorder=lambda decision, tool, _: log.append((decision, tool)),
    )
    gc.collect()
    gc.freeze()  # as a subscriber that has loaded a snapshot
    rounds = []
    for number in range(plan.rounds):
        progress(f"guard: round {number + 1} of {plan.rounds}")
        first = number * plan.badges
        tokens = [registry.badge(first + i) for i in range(plan.badges)]
        rounds.append(_round(guard, registry, tokens))
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


def _round(guard: Guard, registry: Registry, tokens: Sequence[str]) -> Samples:
    samples: Samples = {"cached": [], "cold": [], "floor": [], "pyjwt": []}
    key, decode = jwt.PyJWK(jwk(registry.key.public)), jwt.decode
    options: Any = {"require": ["exp", "iat", "nbf", "jti"]}

    def check(token: str) -> bool:
        return bool(guard.check(token, tool="orders.create"))

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
    for token in tokens:
        begun = clock()
        check(token, tool="orders.create")
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
        cold_minus_floor_us=median(cold.p50 - floor.p50 for cold, floor in pairs),
        rounds=plan.rounds,
        samples={name: sum(len(r[name]) for r in rounds) for name in rounds[0]},
        badge_bytes=badge_bytes,
        view_entries=len(view.published.table),
    )
