"""What a request asks for, in the one form that rules and exemptions are about: `GET /orders/7`.

- The path is the one that the framework routes by: decoded, and without the prefix that a server,
  a proxy or a mount put before it (`root_path` of ASGI, `SCRIPT_NAME` of WSGI).
- A path that can be read in two ways is refused with 403, for what stands behind might read it in
  the other (RFC 3986 §6.2.2). So is a prefix that frameworks take off in different ways.
- The method is in capitals, as Flask and Django run it, and HEAD is GET: the same handler runs (RFC
  9110 §9.3.2).
"""

import re
import string
from collections.abc import Iterable

from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision

GET, HEAD, OPTIONS = "GET", "HEAD", "OPTIONS"
WEBSOCKET = "WEBSOCKET"
"""In place of a method, in exemptions and in what the policy is told."""
_NOT_IN_PATHS = frozenset(
    ("\\", "#", ";", *map(chr, range(0x20)), "\x7f", "\N{REPLACEMENT CHARACTER}")
)
"""Some read a backslash as a slash, end a path at `#` (nginx its own, not what it passes on) or at
a control character, or take out what stands behind a semicolon (RFC 3986 §3.3). The last one stands
for bytes that are not UTF-8, which frameworks write in different ways."""
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
"""In a path that is decoded already: it was escaped twice, and may be decoded once more."""
_TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
"""RFC 9110 §5.6.2, of which methods are made."""


def asked(method: str, path: str) -> str | Decision:
    """Return what a policy is asked about; the refusal of a path that can be read in two ways.

    `path` is decoded.
    """
    first, *segments = path.split("/")
    one_way = first == "" and segments and not {".", ".."} & set(segments)
    if not one_way or "" in segments[:-1] or _NOT_IN_PATHS & set(path) or _ENCODED.search(path):
        return refusal(
            "the path must be in its plain form: no dot or empty segments, no \\ # ; %25"
        )
    if not method or not set(method) <= _TOKEN:
        return refusal("the method must be a token (RFC 9110 §9.1)")
    return f"{judged(method)} {path}"


def all_of(method: str, paths: Iterable[str]) -> tuple[str, ...] | Decision:
    """Return what is asked for by each of these paths, or the refusal of one that is not plain."""
    found = []
    for path in paths:
        one = asked(method, path)
        if isinstance(one, Decision):
            return one
        found.append(one)
    return tuple(found)


def without_slash(question: str) -> str:
    """Return what is asked for as it is judged where a slash at the end makes no difference."""
    return question if question.endswith(" /") else question.removesuffix("/")


def judged(method: str) -> str:
    """Return a method as rules have it."""
    method = method.upper()
    return GET if method == HEAD else method


def refusal(reason: str) -> Decision:
    """Return the refusal of a request that leaves open what it asks for."""
    return Decision(Outcome.DENY, Code.TOOL_POLICY_DENIED, reason)


def routed(path: str, root_path: str) -> str | None:
    """Return a path of ASGI less its prefix, None where frameworks do not agree on what is left.

    Servers give the path with its prefix or, by older specifications, without. Starlette takes the
    prefix off where a slash follows, Django always, and Litestar wherever it stands in the path.
    """
    if not root_path.strip("/"):
        return path or "/"
    rest = path.removeprefix(root_path)
    if len(rest) < len(path) and rest[:1] in ("", "/"):
        return rest or "/"
    return None if root_path in path else path or "/"
