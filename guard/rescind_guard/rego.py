"""Policy in Rego, evaluated in this process by rego-cpp (`pip install 'rescind[rego]'`).

- Modules are compiled once a thread. One interpreter a thread: setting the input and asking are two
  calls on one object, and threads that shared one got each other's answers, with no error (ADR 25).
- The policy is asked for `data.capiscio.policy` with input `capiscio.pip.v1`; it answers `decision`
  (`ALLOW` or `DENY`), `reason`, `obligations`, `decision_id`. Anything else denies.
- `data.json` is for what a policy looks up, and small: it is copied on every call. Revocations have
  no place there: a kill is found before policy is asked.
- `take` puts other modules in force: they are compiled beside and asked once before anybody sees
  them, then swapped with one assignment. Each thread follows at its next call (ADR 30).

Modules that cannot be used do not stop the service. Those in force stay, and `trouble` says why;
where there are none, every call is refused with `TOOL_POLICY_FAILED` and `fault` says why.
"""

import threading
from pathlib import Path

import msgspec

from rescind_guard import policy_files, policy_input
from rescind_guard.badges import Claims
from rescind_guard.enforcement import Enforcement, row_of
from rescind_guard.freshness import SystemClock
from rescind_guard.policy import PolicyFailed, Ruling
from rescind_guard.policy_files import Modules
from rescind_guard.rego_engine import Answer, Evaluate, load, short
from rescind_protocol.clock import Clock

ALLOW, DENY = "ALLOW", "DENY"
NOT_LOADED = "no policy was loaded yet"


class _InForce(msgspec.Struct, frozen=True):
    """What decides now. Replaced whole, never changed: a thread sees the old one or the new one."""

    generation: int
    modules: Modules
    version: str


class Rego:
    """A policy from `.rego` files and perhaps a `data.json`: a folder's, or those of `take`."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        enforcement_mode: str = Enforcement.STRICT,
        audience: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read and compile; the rest is said in the input. `BadGuard` for an unknown mode."""
        self._local = threading.local()
        self._context = policy_input.Context(row_of(enforcement_mode).mode, audience)
        self._wall = (clock or SystemClock()).wall
        self._in_force = _InForce(0, Modules((), None), "rego:none")
        self.fault: str | None = NOT_LOADED
        """Why nothing can be evaluated, for operators; None if it can."""
        self.trouble: str | None = None
        """Why what decides is not the newest there is; None while it is."""
        if folder is not None:
            try:
                self.take(policy_files.read(folder))
            except PolicyFailed as error:
                self.fail(str(error))

    @property
    def version(self) -> str:
        """What evidence calls the policy that is in force."""
        return self._in_force.version

    def take(self, modules: Modules) -> None:
        """Put these modules in force; raises `PolicyFailed`, and then nothing is changed.

        One thread alone calls this and `fail`: whoever keeps the policy up to date.
        """
        at = self._in_force
        if modules != at.modules or not at.generation:
            _decide(load(modules), policy_input.probe(self._context, self._wall()))
            self._in_force = _InForce(at.generation + 1, modules, f"rego:{modules.name}")
        self.fault = self.trouble = None

    def confirm(self) -> None:
        """Say that what is in force is the newest there is."""
        self.trouble = None

    def fail(self, why: str) -> None:
        """Say that a newer policy cannot be had, or not be used. What is in force stays so."""
        if self._in_force.generation:
            self.trouble = why
        else:
            self.fault = why

    def __call__(self, claims: Claims, tool: str | None) -> Ruling:
        """Ask the policy; raises `PolicyFailed` where it gives no answer."""
        if self.fault is not None:
            raise PolicyFailed(self.fault)
        document, txn_id = policy_input.document(claims, tool, self._context, self._wall())
        answer = _decide(self._evaluator(), document)
        return Ruling(
            None if answer.decision == ALLOW else short(answer.reason) or "policy denies it",
            obligations=tuple(each.type for each in answer.obligations),
            decision_id=answer.decision_id or txn_id,
        )

    def _evaluator(self) -> Evaluate:
        """Return this thread's own, of what is in force; no other thread ever sees it."""
        at = self._in_force  # once: what is compiled is what its generation says
        if getattr(self._local, "generation", None) != at.generation:
            self._local.evaluate = load(at.modules)
            self._local.generation = at.generation
        evaluate: Evaluate = self._local.evaluate
        return evaluate


def _decide(evaluate: Evaluate, document: policy_input.Document) -> Answer:
    answer = evaluate(document)
    if answer.decision not in (ALLOW, DENY):
        raise PolicyFailed(f"decision is neither ALLOW nor DENY: {answer.decision[:40]!r}")
    return answer
