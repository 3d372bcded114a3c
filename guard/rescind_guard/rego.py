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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from rescind_guard import policy_files, policy_input
from rescind_guard.badges import Claims
from rescind_guard.enforcement import Enforcement, row_of
from rescind_guard.errors import BadGuard
from rescind_guard.freshness import SystemClock
from rescind_guard.policy import PolicyFailed, Ruling
from rescind_guard.policy_files import Modules
from rescind_protocol.clock import Clock

try:
    from regopy import Input, Interpreter
except ImportError as missing:
    raise BadGuard("policy in Rego needs more packages: pip install 'rescind[rego]'") from missing

PACKAGE = "capiscio/policy"
ALLOW, DENY = "ALLOW", "DENY"
MAX_REASON_CHARS = 512
Evaluate = Callable[[dict[str, Any]], Any]
"""Input document → the value of `data.capiscio.policy`, None where it is undefined."""


class _Obligation(msgspec.Struct, frozen=True):
    type: str


class Answer(msgspec.Struct, frozen=True):
    """What a policy document must say (RFC-005 §6.1); it may hold other rules beside."""

    decision: str
    reason: str = ""
    obligations: tuple[_Obligation, ...] = ()
    decision_id: str | None = None


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
            _interpreter(self._modules)
        except PolicyFailed as error:
            self.fault = str(error)
        self.version = f"rego:{self._modules.digest}"

    def __call__(self, claims: Claims, tool: str | None) -> Ruling:
        """Ask the policy; raises `PolicyFailed` where it gives no answer."""
        if self.fault is not None:
            raise PolicyFailed(self.fault)
        document = policy_input.document(claims, tool, self._context, self._wall())
        answer = _read(self._evaluator()(document))
        txn_id: str = document["context"]["txn_id"]
        return Ruling(
            None if answer.decision == ALLOW else _short(answer.reason) or "policy denies it",
            obligations=tuple(each.type for each in answer.obligations),
            decision_id=answer.decision_id or txn_id,
        )

    def _evaluator(self) -> Evaluate:
        """Return this thread's own; no other thread ever sees it."""
        found: Evaluate | None = getattr(self._local, "evaluate", None)
        if found is None:
            found = self._local.evaluate = _interpreter(self._modules)
        return found


def _read(value: Any) -> Answer:
    if value is None:
        raise PolicyFailed(
            f"data.{PACKAGE.replace('/', '.')} is undefined: no module has rules in it"
        )
    try:
        answer = msgspec.convert(value, Answer)
    except msgspec.ValidationError as error:
        raise PolicyFailed(f"the policy's answer cannot be read: {error}") from error
    if answer.decision not in (ALLOW, DENY):
        raise PolicyFailed(f"decision is neither ALLOW nor DENY: {answer.decision[:40]!r}")
    return answer


def _interpreter(modules: Modules) -> Evaluate:
    """Compile the modules; raises `PolicyFailed`, whatever it is that the library raises."""
    interpreter: Any = Interpreter()  # type: ignore[no-untyped-call]  # has no types
    try:
        for name, source in modules.sources:
            interpreter.add_module(name, source)
        if modules.data is not None:
            interpreter.add_data_json(modules.data)
        bundle = interpreter.build(f"data.{PACKAGE.replace('/', '.')}", [PACKAGE])
    except Exception as error:
        raise PolicyFailed(f"policy does not compile: {_short(error)}") from error
    if not bundle.ok():
        raise PolicyFailed("policy does not compile")

    def evaluate(document: dict[str, Any]) -> Any:
        try:
            interpreter.set_input(Input(document))
            output = interpreter.query_bundle_entrypoint(bundle, PACKAGE)
            # Two rules that disagree, for one, are an output that is not ok, and no exception.
            return _value(output) if output.ok() else _raise(output)
        except PolicyFailed:
            raise
        except Exception as error:
            raise PolicyFailed(f"policy cannot be evaluated: {_short(error)}") from error

    return evaluate


def _value(output: Any) -> Any:
    expressions = output.results[0].expressions if output.results else ()
    return expressions[0] if expressions else None


def _raise(output: Any) -> Any:
    raise PolicyFailed(f"policy cannot be evaluated: {_short(output)}")


def _short(said: object) -> str:
    """Return what fits a line of a log and harms no terminal: it may quote what a caller sent."""
    line = " ".join(str(said)[: 2 * MAX_REASON_CHARS].split())[:MAX_REASON_CHARS]
    return "".join(each if each.isprintable() else "?" for each in line)
