"""What a request for a bundle asks for, read from its headers. Pure.

The path is the reference's, which answers JSON. An OPA says that it is one by its `Prefer`, or asks
for a path that ends in `.tar.gz`; our own subscribers by `Accept`.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from rescind_protocol.bundles import GZIP, JSON, MAX_WAIT_S, OPA, SIGNED

SUFFIX = ".tar.gz"
ANY = "*"
"""RFC 9110 §13.1.2: whatever there is, the client has it; it wants the heads alone."""
MAX_HEADER_CHARS = 8 * 1024
_MAX_KNOWN = 8
_TAG = re.compile(r'(?:W/)?"([^"]{1,128})"|([A-Za-z0-9_-]{1,128})')
_WAIT = re.compile(r"(?:^|[;,\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)
_MODES = re.compile(r"(?:^|[;,\s])modes\s*=\s*\"?([a-z, ]+)", re.IGNORECASE)


class Form(StrEnum):
    """In which form the state is wanted."""

    OPA = "opa"
    JSON = "json"
    SIGNED = "signed"


class Ask(msgspec.Struct, frozen=True):
    """One request."""

    form: Form
    known: tuple[str, ...] = ()
    """Revisions that the client has; `ANY` among them matches every one."""
    wait_s: float = 0.0
    delta: bool = False
    """Whether it can apply one."""


def read(headers: Mapping[str, str], *, suffixed: bool = False, delta: bool = True) -> Ask:
    """Read a request's headers, names in lower case; what makes no sense is not there (RFC 7240).

    `suffixed`: the path ends as an archive's. `delta`: False where the client said never.
    """
    prefer = headers.get("prefer", "")[:MAX_HEADER_CHARS]
    modes = _MODES.search(prefer)
    wait = _WAIT.search(prefer)
    wanted = [mode.strip().lower() for mode in modes[1].split(",")] if modes else []
    form = _form(headers.get("accept", ""), opa=suffixed or modes is not None)
    return Ask(
        form=form,
        known=_known(headers.get("if-none-match", "")[:MAX_HEADER_CHARS]),
        wait_s=min(float(wait[1]), MAX_WAIT_S) if wait else 0.0,
        delta=delta and (form is Form.SIGNED or "delta" in wanted),
    )


def _form(accept: str, *, opa: bool) -> Form:
    named = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if SIGNED in named:
        return Form.SIGNED
    if JSON in named and OPA not in named:
        return Form.JSON
    return Form.OPA if opa or named & {OPA, GZIP, "application/octet-stream"} else Form.JSON


def _known(value: str) -> tuple[str, ...]:
    if value.strip() == ANY:
        return (ANY,)
    found = [_TAG.fullmatch(part.strip()) for part in value.split(",")]
    return tuple(each[1] or each[2] for each in found if each)[:_MAX_KNOWN]
