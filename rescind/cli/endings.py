"""How a command that goes on until it is stopped ends: by SIGTERM as by Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rescind.cli.unblocked import unblocked

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def going_on(*, as_json: bool) -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C, and go on and end also where nobody reads what is written."""
    with interruptible(), unblocked(as_json=as_json):
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C."""
    before = {number: signal.getsignal(number) for number in _ENDINGS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shield() -> None:
    """Let what tidies up not be interrupted half-way."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
