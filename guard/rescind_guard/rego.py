"""Policy in Rego, evaluated in this process by rego-cpp (`pip install 'rescind[rego]'`).

- The folder's modules are read once, and compiled once a thread. One interpreter a thread: setting
  the input and asking are two calls on one object, and threads that shared one got each other's
  answers, with no error (ADR 25).
- The policy is asked for `data.capiscio.policy` with input `capiscio.pip.v1`; it answers `decision`
  (`ALLOW` or `DENY`), `reason`, `obligations`, `decision_id`. Anything else denies.
- `data.json` is for what a policy looks up, and small: it is copied on every call. Revocations have
  no place there: a kill is found before policy is asked.

A folder that cannot be read or compiled does not stop the service; every call is then refused with
`TOOL_POLICY_FAILED`, `fault` says why, and so does `rescind config check`.
"""

import threading
from pathlib import Path

from rescind_guard import policy_files, policy_input
from rescind_guard.badges import Claims
from rescind_guard.enforcement import Enforcement, row_of
from rescind_guard.freshness import SystemClock
from rescind_guard.policy import PolicyFailed, Ruling
from rescind_guard.policy_files import Modules
from rescind_guard.rego_engine import Evaluate, load, short
from rescind_protocol.clock import Clock

ALLOW, DENY = "ALLOW", "DENY"


class Rego:
    """A policy from a folder of `.rego` files and perhaps a `data.json`."""

    def __init__(
        self,
        folder: Path,
        *,
        enforcement_mode: str = Enforcement.STRICT,
        audience: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read and compile; the rest is said in the input. `BadGuard` for an unknown mode."""
        self._local = threading.local()
        self._context = policy_input.Context(row_of(enforcement_mode).mode, audience)
        self._wall = (clock or SystemClock()).wall
        self._modules = Modules((), None)
        self.fault: str | None = None
        """Why nothing can be evaluated, for operators; None if it can."""
        try:
            self._modules = policy_files.read(folder)
            load(self._modules)
        except PolicyFailed as error:
            self.fault = str(error)
        self.version = f"rego:{self._modules.digest}"

    def __call__(self, claims: Claims, tool: str | None) -> Ruling:
        """Ask the policy; raises `PolicyFailed` where it gives no answer."""
        if self.fault is not None:
            raise PolicyFailed(self.fault)
        document, txn_id = policy_input.document(claims, tool, self._context, self._wall())
        answer = self._evaluator()(document)
        if answer.decision not in (ALLOW, DENY):
            raise PolicyFailed(f"decision is neither ALLOW nor DENY: {answer.decision[:40]!r}")
        return Ruling(
            None if answer.decision == ALLOW else short(answer.reason) or "policy denies it",
            obligations=tuple(each.type for each in answer.obligations),
            decision_id=answer.decision_id or txn_id,
        )

    def _evaluator(self) -> Evaluate:
        """Return this thread's own; no other thread ever sees it."""
        found: Evaluate | None = getattr(self._local, "evaluate", None)
        if found is None:
            found = self._local.evaluate = load(self._modules)
        return found
