"""Says kill: sign, spool, sinks."""

from importlib import import_module as _import_module
from typing import Any

_HOME = {
    "Ask": "asks",
    "AsyncKillSwitch": "async_switch",
    "ControlClient": "control_client",
    "KillSwitch": "switch",
    "Publisher": "engine",
    "PublisherConfig": "config",
    "Receipt": "receipts",
}
__all__ = sorted(_HOME)  # noqa: PLE0605 - `__init__.pyi` says the same to type checkers


def __getattr__(name: str) -> Any:
    """Load a name's module at its first use: whoever hands a kill over needs no engine."""
    if name not in _HOME:
        raise AttributeError(f"module 'rescind_publisher' has no attribute {name!r}")
    return getattr(_import_module(f"rescind_publisher.{_HOME[name]}"), name)
