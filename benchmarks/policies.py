"""The policies that `guard` measures: built-in rules, a small policy in Rego, and Rego alone."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from regopy import Input, Interpreter

from rescind_guard.badges import Claims
from rescind_guard.enforcement import Enforcement
from rescind_guard.freshness import SystemClock
from rescind_guard.policy_input import VERSION, Context, Document, document
from rescind_guard.rego import Rego
from rescind_guard.rego_engine import PACKAGE
from rescind_guard.rules import Rules

TOOL = "orders.create"
SMALL = """
package capiscio.policy

import rego.v1

default decision := "DENY"

decision := "ALLOW" if {
	input.pip_version == "capiscio.pip.v1"
	input.subject.trust_level in {"1", "2", "3", "4"}
	not startswith(input.action.mcp_tool, "admin.")
}

reason := "level too low, or a tool of administrators" if decision == "DENY"
"""


def rules() -> Rules:
    """Return built-in rules of each kind."""
    return Rules(
        allowed=["orders.*", "search"], denied=["*.delete"], levels={"orders.*": 1, "*.refund": 3}
    )


def rego() -> Rego:
    """Return the small policy, as a guard asks it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.rego").write_text(SMALL)
        policy = Rego(Path(folder))
    assert policy.fault is None, policy.fault
    return policy


def document_of(claims: Claims) -> Document:
    """Return what a guard asks about a call of this badge, as fresh as if it asked now."""
    return document(claims, TOOL, Context(Enforcement.STRICT, None), SystemClock().wall())[0]


def bare() -> Callable[[Document], Sequence[Any]]:
    """Return the library alone: set the input, ask the bundle's entry point, read the answer.

    By its documented functions, as whoever has no guard would use it.
    """
    interpreter: Any = Interpreter()  # type: ignore[no-untyped-call]  # has no types
    interpreter.add_module("policy.rego", SMALL)
    bundle = interpreter.build("data.capiscio.policy", [PACKAGE])

    def ask(document: Document) -> Sequence[Any]:
        interpreter.set_input(Input(document))
        results: Sequence[Any] = interpreter.query_bundle_entrypoint(bundle, PACKAGE).results
        return results

    asked: Document = {"pip_version": VERSION, "subject": {"trust_level": "2"}}
    asked = {**asked, "action": {"operation": TOOL, "mcp_tool": TOOL}}
    assert ask(asked)[0].expressions[0]["decision"] == "ALLOW"
    return ask
