"""The paths of routes as frameworks write them (`/orders/{number:int}`), as patterns of text."""

import re
from collections.abc import Iterator

_PARAMETER = re.compile(r"\{[^{}:]*:?(?P<after>[^{}]*)\}|<(?:(?P<before>[^<>:]*):)?[^<>]*>")
_NOT_TEXT = re.compile(r"[(\[\\|$*+?]")
"""Where `re_path` of Django is more than text, and where anything may stand below a mount."""
_ONE_SEGMENT = "[^/]+"
_KINDS = {
    "path": ".*",
    "int": "[0-9]+",
    "float": "[0-9]+([.][0-9]+)?",
    "uuid": "[0-9a-fA-F-]{36}",
    "slug": "[-a-zA-Z0-9_]+",
}


def glob(route: str) -> str:
    """Return the path of a route as a pattern of a shell: what stands for something is `*`."""
    return "".join(text if regex is None else "*" for text, regex in _parts(route))


def matches(route: str, path: str) -> bool:
    """Return whether the path of a route may match this one, which has no parameters."""
    regex = "".join(re.escape(text) if kind is None else kind for text, kind in _parts(route))
    return re.fullmatch(regex, path, re.DOTALL) is not None


def _parts(route: str) -> Iterator[tuple[str, str | None]]:
    """Yield text as it stands, and for what is none the regular expression that it may match."""
    at, route = 0, route.replace("^", "")
    for found in _PARAMETER.finditer(route):
        if _NOT_TEXT.search(route, at, found.start()):
            break
        yield route[at : found.start()], None
        kind = found["after"] or found["before"] or ""
        yield "", _KINDS.get(kind.partition("(")[0], _ONE_SEGMENT)
        at = found.end()
    rest = route[at:].removesuffix("$")
    cut = _NOT_TEXT.search(rest)
    yield rest if cut is None else rest[: cut.start()], None
    if cut is not None:
        yield "", ".*"
