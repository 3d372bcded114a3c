"""Which libraries have insides that this code does not know, and what is used instead.

Some parts of a library that are not its public interface are called or replaced here, for speed or
for limits. Where a version has others, the library's public interface serves: slower, or with less
protection, as the warning says. Nothing refuses to start for it.
"""

import inspect
import logging
import threading
from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

NAMES = ("nats-py", "redis", "uvicorn")
"""Those of which parts are used that may change with any version."""

_unknown: dict[str, str] = {}
_lock = threading.Lock()


def warn_unknown(name: str, what: str, instead: str) -> None:
    """Log once that `name` is not known here, and keep it for the metric. Any thread may call."""
    with _lock:
        if name in _unknown:
            return
        _unknown[name] = what
    log.warning(
        "this version of %s is not one that rescind knows (%s): %s. Install a version that the "
        "release names, or a newer rescind.",
        name,
        what,
        instead,
    )


def unknown() -> dict[str, float]:
    """Return 1 for each library whose public interface serves instead, 0 for the others."""
    return {name: float(name in _unknown) for name in NAMES}


def lacking(owner: type, known: Mapping[str, Sequence[str]]) -> str:
    """Return which method of `owner` is missing or lacks a parameter; "" if none."""
    for name, parameters in known.items():
        method = getattr(owner, name, None)
        if method is None or not set(parameters) <= set(inspect.signature(method).parameters):
            return f"{owner.__name__}.{name}"
    return ""


def changed(owner: type, known: Mapping[str, Sequence[str]]) -> str:
    """Return which method of `owner` is missing or takes other parameters; "" if none."""
    for name, parameters in known.items():
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != list(parameters):
            return f"{owner.__name__}.{name}"
    return ""
