"""The guard in front of a tool: one plain function, no lock, no wait, no I/O (I5).

`Guard.check` is a numbered procedure:

 1. this very token, seen under these keys → its claims
 2. parse strictly: size, duplicate keys, canonical base64url, typ, alg, crit; the claims' structure
 3. the issuer, from the allowlist, and its key; who has none that fits is noted for the fetcher
 4. the signature: Ed25519, or ES256
 5. times, 60 s of skew
 6. audience, key binding, trust level
 7. the view: one look-up for each target; a known kill denies whatever comes after, and so does an
    unsigned list; then, where asked for, a suspension
 8. the freshness rule; then the hops behind the caller, where there is a badge map
 9. policy
10. the decision, counted, remembered if it allows, and handed to the recorder

A cached badge keeps the result of 2 to 4 for as long as the keys stay the same, and that of 5 to 8
while the view's generation and both deadlines hold. Policy runs on every call.
"""

import logging
from collections.abc import Collection
from functools import partial
from itertools import count
from math import inf

from msgspec.structs import replace

from rescind_guard import badges, enforcement, hops, parsing, policy
from rescind_guard.admission import Admission
from rescind_guard.badges import Claims
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision, refusal
from rescind_guard.didweb import Named
from rescind_guard.enforcement import Enforcement
from rescind_guard.errors import BadGuard, Refused
from rescind_guard.exposition import Family
from rescind_guard.freshness import Mode, Rule, SystemClock
from rescind_guard.inflight import End, Work
from rescind_guard.issuers import Issuers
from rescind_guard.key_view import KeyView
from rescind_guard.lookup import (
    check_all,
    check_lists,
    check_suspension,
    check_view,
)
from rescind_guard.metrics import CHECK_SECONDS, SAMPLED, Counter, Times, families, steady_s
from rescind_guard.profiles import Profile, check_issuers, profile_of
from rescind_guard.recorders import Recorder, careful
from rescind_guard.verifier import Verifier
from rescind_guard.view import Published, View
from rescind_protocol.clock import Clock
from rescind_protocol.limits import SKEW_S

CACHED_BADGES = 10_000
MAX_CACHED_CHARS = 4096
"""A longer token is verified each time: whoever mints long ones shall not fill our memory."""
_ALLOW, _OK = Outcome.ALLOW, Code.OK  # an enum's member costs a look-up of its own
NOT_CHECKED = "revocation is not checked"
STALE_GRACE_S = 5.0
"""After a start, before a call that passes on a view which is not fresh is logged."""
STALE_SAID_EVERY_S = 600.0
log = logging.getLogger(__name__)


class Guard:
    """Checks badges against a view. Any number of threads may call it at once."""

    def __init__(
        self,
        view: View | None,
        issuers: Issuers | KeyView,
        *,
        audience: str | None = None,
        rule: Rule | None = None,
        minimum_level: int = 0,
        policy: policy.Policy | None = None,
        enforcement_mode: str = Enforcement.STRICT,
        profile: str = Profile.CONNECTED,
        accept_self_signed: bool = False,
        lenient: bool = False,
        revocation: str = "check",
        deny_suspended: bool = False,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
        cached_badges: int = CACHED_BADGES,
    ) -> None:
        """Raise `BadGuard` for what could not protect: no view, no issuers, an option amiss."""
        if revocation not in ("check", "skip"):
            raise BadGuard(f'revocation must be "check" or "skip", not {revocation!r}')
        if view is None and revocation != "skip":
            raise BadGuard('a guard needs a view; to go without, say revocation="skip"')
        keys = issuers if isinstance(issuers, KeyView) else KeyView(issuers)
        if not len(keys.published) and not accept_self_signed:
            raise BadGuard("no trusted issuers: an empty allowlist would refuse every badge")
        if type(minimum_level) is not int or minimum_level not in parsing.LEVELS.values():
            raise BadGuard(f"minimum_level must be a number from 0 to 4, not {minimum_level!r}")
        if audience is not None and not (isinstance(audience, str) and audience):
            raise BadGuard(f"audience must be one name that badges carry, not {audience!r}")
        kind = profile_of(profile)
        if accept_self_signed and kind is not Profile.DEV:
            raise BadGuard(
                f"profile {kind} does not accept an agent because it signed for itself: name each "
                f'agent as an issuer (in settings `"did:key:z6Mk…" = "self"`), or use profile dev'
            )
        check_issuers(kind, keys.published)
        self.verifier = Verifier(
            keys,
            accept_self_signed=accept_self_signed,
            lenient=lenient,
            keyless=kind is Profile.DEV,
        )
        """Does 2 to 4."""
        self._skip = revocation == "skip"
        self._deny_suspended = deny_suspended
        self._view = view or View()
        self._passed = self._view.passed.append
        self._keys = keys
        self._audience = audience
        self._rule = rule or Rule()
        self._minimum_level = minimum_level
        self._policy = policy
        self._enforced = enforcement.row_of(enforcement_mode)
        self._observes = self._rule.mode is Mode.OBSERVE or not self._enforced.badge
        self._recorder = None if recorder is None else careful(recorder)
        clock = clock or SystemClock()
        self._wall, self._boot = clock.wall, clock.boot
        self._say_stale_at = self._boot() + STALE_GRACE_S
        self._cache = TokenCache(cached_badges)
        self.decisions = Counter()
        self._view.counters.append(self.decisions)
        self._tick = count().__next__
        self._times = Times(CHECK_SECONDS)

    def __repr__(self) -> str:
        skipped = ", REVOCATION IS NOT CHECKED" if self._skip else ""
        return f"<Guard mode {self._rule.mode}, {self._view!r}{skipped}>"

    def metrics(self) -> list[Family]:
        """Return this guard's metrics as they are now, for a scrape."""
        return families(
            self.decisions.read(),
            self._times,
            checked=not self._skip,
            ready=policy.fault(self._policy) is None,
            current=policy.current(self._policy),
        )

    def check(
        self,
        token: str | None,
        *,
        tool: str | None = None,
        params: object = None,
        badge_map: str | None = None,
    ) -> Decision:
        """Decide whether the holder of `token` may call `tool` now. Never raises for bad input.

        `params`: what it is called with; its hash stands in the evidence, and it decides nothing.
        `badge_map`: the badges of the hops behind the caller, as they came; see `hops`.
        """
        begun = 0.0 if self._tick() % SAMPLED else steady_s()
        published = self._view.published
        kept = self._cache.get(token) if token.__class__ is str else None  # (1)
        if (
            kept is not None
            and kept.decision is not None
            and kept.generation == published.generation
            and kept.lists == self._view.lists.generation
            and self._wall() < kept.good_until_wall
            and (now := self._boot()) < kept.good_until_boot
            and kept.issuers is self._keys.published
        ):
            decision = kept.decision
        else:
            decision = self._decide(token, tool, kept, published)
            now = self._boot()
            claims = decision.claims
            if badge_map is None and claims is not None and claims.map_hash is not None:
                decision = self._follow(decision, None, published)
        if badge_map is not None:
            decision = self._follow(decision, badge_map, published)
        if self._policy is not None and decision.code is _OK:
            decision = self._ask_policy(decision, tool)  # (9)
        self.decisions.add(decision.code)  # (10)
        if decision.outcome is _ALLOW:
            self._passed((now, decision))
        if begun:
            self._times.add(steady_s() - begun)
        if self._recorder is not None:
            self._recorder(decision, tool, params)
        return decision

    def recheck(self, decision: Decision) -> Decision:
        """Look again when the call has returned (I3): deny if a kill has come meanwhile.

        Only a known kill counts here. A badge that merely expired, or a view that grew stale while
        the tool ran, was good when the work was admitted.
        """
        if self._skip:
            return decision
        try:
            check_all(decision, self._view.published.table, self._view.lists)
        except Refused as refused:
            return self._record(refusal(refused, decision.claims, ()), None)
        return decision

    def _follow(self, decision: Decision, badge_map: str | None, at: Published) -> Decision:
        """Judge the hops behind a caller. Freshness, audience and policy are the caller's alone."""
        if not decision:
            return decision
        standing, fault = hops.follow(
            decision.claims,
            badge_map,
            lambda token: self._verify_hop(token, at),
            lambda claims: self._judge_hop(claims, at),
        )
        if fault is None:
            return replace(decision, hops=standing, claims=hops.proven(decision.claims, standing))
        refused = refusal(fault, decision.claims, decision.warnings)
        return replace(self._soften(refused), hops=standing)

    def _judge_hop(self, claims: Claims, at: Published) -> None:
        self.check_revocation(claims, at)
        badges.check_key(claims)
        badges.check_times(claims, self._wall())
        badges.check_binding(claims, self._keys)

    def _verify_hop(self, token: str, at: Published) -> Claims:
        issuers, kept = self._keys.published, self._cache.get(token)
        if kept is not None and kept.issuers is issuers:
            return kept.claims
        try:
            claims = self.verifier.verify(self.verifier.read(token), issuers)
        except Refused as refused:
            killed = self.verifier.despite(token, refused)
            if killed is not None:
                self.check_revocation(killed, at)  # I3: no fault of form hides a kill
            raise
        self._keep(token, claims, None, at, (issuers, 0))
        return claims

    def watch(self, decision: Decision, end: End, *, until_expiry: bool = False) -> Work:
        """Have `end` called once, in a thread of the view's, when `decision` falls to a kill.

        With `until_expiry` also when its badge expires. Close what is returned when the work is
        done. Costs the calls nothing: the writer's swap wakes one watcher for all.
        """
        claims = decision.claims
        if self._skip or (claims is None and not decision.hops):
            return self._view.inflight.unwatched(end)

        def look() -> Decision | None:
            now = self.recheck(decision)
            if not now:
                return now
            return self._expired(decision) if until_expiry else None

        left = partial(self._left_s, claims) if until_expiry and claims is not None else None
        return self._view.inflight.add(look, end, left)

    def admit(
        self,
        token: str | None,
        *,
        tool: str | None = None,
        badge_map: str | None = None,
        until_expiry: bool = False,
        on_end: End | None = None,
    ) -> Admission:
        """Check, and run a block as `with` or `async with` that ends when the badge is killed.

        Entering raises `NotAdmitted`, leaving `WorkEnded`. `on_end` hears of it as it happens.
        """
        return Admission(
            self,
            token,
            tool=tool,
            badge_map=badge_map,
            until_expiry=until_expiry,
            on_end=on_end,
        )

    def _left_s(self, claims: Claims) -> float:
        return claims.exp + SKEW_S - self._wall()

    def _expired(self, decision: Decision) -> Decision | None:
        claims = decision.claims
        if claims is None or self._left_s(claims) > 0 or self._observes:
            return None
        refused = Refused(Code.BADGE_EXPIRED, "badge expired while it was used")
        return self._record(refusal(refused, claims, ()), None)

    def admits_exempt(self, token: str | None) -> Decision:
        """Decide for a method that needs no badge: only a killed one is refused.

        Policy is not asked: it has no say here, and need not know such methods.
        """
        decision = Decision(Outcome.ALLOW, Code.OK, "method needs no badge")
        if token is not None:
            kept = self._cache.get(token) if token.__class__ is str else None
            found = self._decide(token, None, kept, self._view.published)
            if found or found.code is Code.BADGE_REVOKED:
                decision = found
        return self._record(decision, None)

    def _record(self, decision: Decision, tool: str | None) -> Decision:
        self.decisions.add(decision.code)
        if self._recorder is not None:
            self._recorder(decision, tool, None)
        return decision

    def _decide(
        self, token: str | None, tool: str | None, kept: Kept | None, published: Published
    ) -> Decision:
        issuers = self._keys.published  # once: what is kept must name those that verified
        lists = self._view.lists.generation  # first: what is looked into later is no older
        try:
            if kept is not None and kept.issuers is issuers:
                claims = kept.claims  # (1)
            else:
                claims = self.verifier.verify(self.verifier.read(token), issuers)  # (2) to (4)
        except Refused as refused:
            return self._refuse(refused, self.verifier.despite(token, refused), published)
        decision: Decision | None = None
        try:
            warnings = self._judge(claims, tool, published)  # (5) to (8)
            decision = Decision(Outcome.ALLOW, Code.OK, "badge is good", claims, warnings=warnings)
        except Refused as refused:
            return self._refuse(refused, claims, published)
        finally:
            self._keep(token, claims, decision, published, (issuers, lists))
        return decision

    def _judge(self, claims: Claims, tool: str | None, published: Published) -> tuple[str, ...]:
        now = self._wall()
        badges.check_key(claims)  # (4)
        badges.check_times(claims, now)  # (5)
        self.check_rules(claims)  # (6)
        self.check_revocation(claims, published)  # (7)
        return self.check_fresh(claims, tool, published, now)  # (8)

    def check_rules(self, claims: Claims) -> None:
        """Apply audience, key binding and trust level (6); raises `Refused`."""
        badges.check_audience(claims, self._audience)
        badges.check_binding(claims, self._keys)
        if claims.level < self._minimum_level:
            raise Refused(
                Code.TOOL_TRUST_INSUFFICIENT,
                f"trust level {claims.level}; {self._minimum_level} is needed here",
            )

    def check_revocation(self, claims: Claims, published: Published) -> bool:
        """Look for a kill, then a suspension (7); raises `Refused`. False: told not to."""
        if self._skip:
            return False
        check_view(claims, published.table)
        check_lists(claims, self._view.lists)
        if self._deny_suspended:
            check_suspension(claims, published.table, self._view.lists)
        return True

    def check_fresh(
        self, claims: Claims, tool: str | None, published: Published, now: float
    ) -> tuple[str, ...]:
        """Apply the freshness rule (8): return warnings, or raise `Refused`: cannot tell."""
        if self._skip:
            return (NOT_CHECKED,)
        age = published.age_s(now, self._boot())
        if age < self._rule.stale_after_s:
            return ()
        what = "was never synced" if age == inf else f"is {age:.0f} s old"
        if self._rule.needs_fresh(claims.level, tool):
            raise Refused(
                Code.REVOCATION_CHECK_FAILED, f"cannot tell: the view of revocations {what}"
            )
        self._say_stale(what, claims.level)
        return ("view of revocations is stale",)

    def _say_stale(self, what: str, level: int) -> None:
        """Log that badges pass on a view that is not fresh: once in a while, not at each start."""
        boot = self._boot()
        if boot >= self._say_stale_at:
            self._say_stale_at = boot + STALE_SAID_EVERY_S
            log.error(
                "the view of revocations %s, and a badge of level %d passes as the freshness rule "
                "has it: a newer kill is not known here. Is the subscriber running, and does it "
                "hear its publishers? /readyz tells; mode 'strict' refuses such calls",
                what,
                level,
            )

    def check_policy(self, claims: Claims, tool: str | None) -> policy.Ruling:
        """Ask the policy (9); raises `Refused`."""
        if self._policy is None:
            return policy.ALLOWED
        ruling = policy.ask(self._policy, claims, tool)
        if ruling.obligations and self._enforced.obligation:
            raise Refused(
                Code.TOOL_POLICY_DENIED, policy.unmet(ruling), decision_id=ruling.decision_id
            )
        return ruling

    def about_policy(self) -> tuple[str, str | None]:
        """Return which policy is asked, and why that is not the newest, if it is not."""
        return policy.version_of(self._policy), policy.trouble(self._policy)

    def unmatched_rules(self, names: Collection[str]) -> list[str]:
        """Return the rules that can match none of these tools and routes, which are patterns."""
        return policy.unmatched(self._policy, names)

    def _keep(
        self,
        token: str | None,
        claims: Claims,
        decision: Decision | None,
        at: Published,
        known: tuple[Issuers, int],
    ) -> None:
        """Cache: for how long depends on the badge and on the proof of freshness (attack B1).

        A decision with a warning is not kept, since a newer head takes the warning away; nor one on
        a badge that is good with its badge map or its DID document alone. Nor is anything under a
        token that is not exactly a `str`: what it says of itself may differ.
        """
        if type(token) is not str or len(token) > MAX_CACHED_CHARS:
            return
        moves = claims.map_hash is not None or claims.binding.__class__ is Named
        if decision is not None and (moves or (decision.warnings and not self._skip)):
            decision = None
        limit = inf if self._skip else self._rule.stale_after_s
        self._cache.put(
            token,
            Kept(
                claims,
                known[0],
                at.generation,
                min(claims.exp + SKEW_S, inf if self._skip else at.as_of_wall + limit),
                inf if self._skip else at.as_of_boot + limit,
                decision,
                known[1],
            ),
        )

    def _ask_policy(self, decision: Decision, tool: str | None) -> Decision:
        claims = decision.claims
        if claims is None:
            return decision
        try:
            ruling = self.check_policy(claims, tool)
        except Refused as refused:
            found = refusal(refused, claims, decision.warnings)
            broke = refused.answer is Code.TOOL_POLICY_FAILED
            holds = self._enforced.broken if broke else self._enforced.policy
            return found if holds and not self._observes else self._pass(found)
        return decision if ruling is policy.ALLOWED else policy.noted(decision, ruling)

    def _refuse(self, refused: Refused, claims: Claims | None, published: Published) -> Decision:
        """I3: what else is wrong with a killed badge hides the kill in no mode."""
        if claims is not None and refused.answer is not Code.BADGE_REVOKED:
            try:
                self.check_revocation(claims, published)
            except Refused as found:
                refused = found if found.answer is Code.BADGE_REVOKED else refused
        return self._soften(refusal(refused, claims, ()))

    def _soften(self, decision: Decision) -> Decision:
        """Where badges are observed only a known kill denies; all else is recorded, and passes."""
        denies = not self._observes or decision.code is Code.BADGE_REVOKED
        return decision if denies else self._pass(decision)

    def _pass(self, decision: Decision) -> Decision:
        mode = self._rule.mode if self._rule.mode is Mode.OBSERVE else self._enforced.mode
        would = f"{mode}: would {decision.outcome}: {decision.reason}"
        return replace(
            decision,
            outcome=_ALLOW,
            revocation=None,
            warnings=(*decision.warnings, would),
            unsigned_list=None,
        )
