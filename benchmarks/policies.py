"""The policies that `guard` measures: built-in rules, a small policy in Rego, and Rego alone."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from regopy import Input, Interpreter

from rescind_guard.policy_input import VERSION
from rescind_guard.rego import PACKAGE, Rego
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


def documents(count: int) -> list[dict[str, Any]]:
    """Return input documents as fresh as those of new badges."""
    return [
        {
            "pip_version": VERSION,
            "subject": {
                "did": f"did:web:acme.example:{number}",
                "badge_jti": str(uuid4()),
                "ial": "0",
                "trust_level": "2",
            },
            "action": {"operation": TOOL, "mcp_tool": TOOL},
            "resource": {"identifier": ""},
            "context": {"txn_id": str(uuid4()), "enforcement_mode": "EM-STRICT"},
            "environment": {"time": "2026-01-01T00:00:00+00:00"},
        }
        for number in range(count)
    ]


def bare() -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return the library alone: set the input, ask the bundle's entry point, read the answer."""
    interpreter: Any = Interpreter()  # type: ignore[no-untyped-call]  # has no types
    interpreter.add_module("policy.rego", SMALL)
    bundle = interpreter.build("data.capiscio.policy", [PACKAGE])

    def ask(document: dict[str, Any]) -> Sequence[Any]:
        interpreter.set_input(Input(document))
        results: Sequence[Any] = interpreter.query_bundle_entrypoint(bundle, PACKAGE).results
        return results

    assert ask(documents(1)[0])[0].expressions[0]["decision"] == "ALLOW"
    return ask
