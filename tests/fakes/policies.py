"""Policies in Rego as people write them, and folders with what people get wrong."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMALL = """
package capiscio.policy

import rego.v1

default decision := "DENY"

decision := "ALLOW" if {
	input.pip_version == "capiscio.pip.v1"
	input.subject.trust_level in {"2", "3", "4"}
	not startswith(input.action.mcp_tool, "admin.")
}

decision := "ALLOW" if not input.action.mcp_tool

reason := "level too low, or a tool of administrators" if decision == "DENY"
"""
"""Levels 2 to 4 may call everything but `admin.*`."""

LEVEL_3 = """
package capiscio.policy
import rego.v1
default decision := "DENY"
decision := "ALLOW" if input.subject.trust_level == "3"
"""
"""Two callers of different levels get different answers: what a shared interpreter mixes up."""

BROKEN = {
    "does not compile": "package capiscio.policy\nx := {",
    "is undefined": "package somebody.else\ndecision := 1",
    "cannot be evaluated": (
        "package capiscio.policy\nimport rego.v1\n"
        'decision := "ALLOW" if input.subject\ndecision := "DENY" if input.action'
    ),
    "required field `decision`": "package capiscio.policy\nother := 1",
    "neither ALLOW nor DENY": 'package capiscio.policy\ndecision := "allow"',
    "Expected `str`, got `bool`": "package capiscio.policy\ndecision := true",
    "cannot be evaluated: ": 'package capiscio.policy\ndecision := nothing.such("x")',
}
"""What operators are told → a module that gives no answer."""


def folder(path: Path, source: str = SMALL, **files: str) -> Path:
    """Write a policy folder; `files` are more of it, `data_json` for `data.json`."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "policy.rego").write_text(source)
    for name, text in files.items():
        (path / name.replace("_", ".", 1)).write_text(text)
    return path


ANYBODY_UID = 65534
"""Not the superuser, who may read all."""


@contextmanager
def shut(path: Path) -> Iterator[None]:
    """Let nobody list a folder of this process's own for a while, whoever runs the tests."""
    uid, mode = os.geteuid(), path.stat().st_mode
    path.chmod(0)
    try:
        os.seteuid(uid or ANYBODY_UID)
        yield
    finally:
        os.seteuid(uid)
        path.chmod(mode)
