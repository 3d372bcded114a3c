"""What the chaos suite and its processes say to each other: JSON lines over stdin and stdout.

Each order has a number and one answer; reports come unasked. Reports of one process arrive in the
order in which things happened there: the checker relies on that.
"""

import os
import sys
from collections.abc import Callable, Iterator

import msgspec

from rescind.testing.sim.checker import Seen
from rescind_protocol.changes import Revocation
from rescind_protocol.image import Floor

# --- how a process is to be ---


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What every process is told when it starts."""

    name: str
    folder: str
    nats: str | None
    redis: str | None
    publishers: tuple[str, ...]
    heartbeat_s: float
    limit_s: float
    without: str | None = None
    """The protection that is taken out."""
    passed_s: float = 0.0
    replicas: int = 1
    count: int = 1
    """How many subscribers a crowd is."""
    on_caller: bool = False
    """A subscriber that runs on its caller's loop instead of a thread of its own."""
    dies_at: str = ""
    """A publisher that is killed (SIGKILL, by itself): "commit", or the name of a sink that has
    just been found to hold an event for certain. A subscriber: "saving", half of a snapshot."""


# --- orders ---


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower):
    number: int = 0


class Kill(_Order, frozen=True):
    """To a publisher: kill these; the badge's token kills the badge."""

    tokens: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    timeout_s: float = 0.0
    expires_in_s: int | None = None


class End(_Order, frozen=True):
    """To a publisher: reinstate an agent, or retract its kills."""

    agent: str
    retract: bool = False


class Where(_Order, frozen=True):
    """To any: where it stands."""


class Probe(_Order, frozen=True):
    """To a subscriber: decide about these badges."""

    tokens: tuple[str, ...]


class Dump(_Order, frozen=True):
    """To a subscriber: the whole view."""


class Time(_Order, frozen=True):
    """To any: so much has passed for everybody, and the wall clock is so wrong."""

    passed_s: float
    wrong_s: float = 0.0


class Block(_Order, frozen=True):
    """To any: block the program's own event loop for so long."""

    seconds: float


class Fork(_Order, frozen=True):
    """To a subscriber: fork; the child reports `Forked` and ends once it denies the last badge."""

    tokens: tuple[str, ...]


Order = Kill | End | Where | Probe | Dump | Time | Block | Fork

# --- answers and reports ---


class Receipt(msgspec.Struct, frozen=True):
    """What a request came to; `refused` where nothing was accepted."""

    durable: tuple[str, ...] = ()
    refused: str = ""


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process stands."""

    logs: dict[str, int] = {}
    """A publisher's own, as accepted; a subscriber's, as applied without a gap."""
    horizon: int = 0
    pending: dict[str, int] = {}
    problems: dict[str, str] = {}
    fresh: bool = False
    state: str = ""
    counts: dict[str, int] = {}
    heads: dict[str, int] = {}


class View(msgspec.Struct, frozen=True):
    """Everything that a view says."""

    revocations: tuple[Revocation, ...]
    floors: tuple[Floor, ...]


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """To the order of that number."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"null")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process takes orders."""


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """A publisher's spool has these events; said before anybody can hear them."""

    raws: tuple[bytes, ...]
    at: float


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """A subscriber has swapped an event in; `at` is CLOCK_MONOTONIC, one for the machine."""

    log: str
    seq: int
    at: float


class Saving(msgspec.Struct, frozen=True, tag="saving"):
    """A subscriber begins to write its snapshot: what it denied up to here is in it."""


class Saved(msgspec.Struct, frozen=True, tag="saved"):
    """It is on the disk."""


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """What the child of a fork decides."""

    when: str
    denied: tuple[bool, ...]
    fresh: bool


Report = Answer | Ready | Committed | Applied | Saving | Saved | Forked

encode = msgspec.json.encode
read_report = msgspec.json.Decoder(Report).decode
_read_order = msgspec.json.Decoder(Order).decode
Send = Callable[[Report], None]


def open_reports() -> Send:
    """Take stdout for reports alone and return what sends one; whatever prints goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)

    def send(report: Report) -> None:
        line = encode(report) + b"\n"
        while line:  # a long one may be taken in parts; only `Answer`s are long
            line = line[os.write(out, line) :]

    return send


def orders() -> Iterator[Order]:
    """Yield what is asked for, until nobody asks any more."""
    for line in sys.stdin.buffer:
        yield _read_order(line)


__all__ = ["Seen"]
