"""Who does the work of a kill: the publisher that runs on this machine, or one of our own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from rescind.cli.common import Session
from rescind.cli.out import Out, Part, utc
from rescind.errors import (
    EXIT_CANNOT_TELL,
    EXIT_NOT_APPLIED,
    EXIT_OK,
    EXIT_PENDING,
    BadConfig,
)
from rescind_publisher.control_client import ControlClient
from rescind_publisher.errors import ControlAbsent, ControlSilent
from rescind_publisher.receipts import Receipt
from rescind_publisher.switch import KillSwitch

if TYPE_CHECKING:
    from rescind.config import Loaded
    from rescind.publishing import LocalPublisher
    from rescind_publisher.status import Status

CONTROL = "control/control.sock"
"""As in `rescind.home`, which loads cryptography."""


class Doer(msgspec.Struct, frozen=True):
    """Which publisher did it."""

    publisher: str
    pid: int
    own_log: bool
    """Whether this command was a publisher itself, with a log of its own."""

    def __str__(self) -> str:
        if self.own_log:
            return f"this command itself, as publisher {self.publisher!r} with a log of its own"
        return f"the running publisher {self.publisher!r} (pid {self.pid})"


@contextmanager
def switching(session: Session) -> Iterator[tuple[KillSwitch, Doer]]:
    """Give a kill switch to whoever does it; raises what the publisher's start raises."""
    with engine(session) as (found, status):
        if status is None:
            doer = Doer(session.loaded.settings.publisher, 0, own_log=True)
        else:
            doer = Doer(status.publisher, status.pid, own_log=False)
        yield KillSwitch(found), doer


@contextmanager
def engine(session: Session) -> "Iterator[tuple[ControlClient | LocalPublisher, Status | None]]":
    """Give the publisher that runs here and how it is, else one of our own and None.

    One of our own only where nobody listens: the spool of one that hangs is in use. Raises
    `ControlSilent` then.
    """
    loaded = session.loaded
    client = ControlClient(loaded.home / CONTROL)
    try:
        status = client.status()
    except ControlSilent as error:
        said = f"{unanswered(loaded, error)}: nothing was done; {_remedy(error)}"
        raise ControlSilent(said, error.pid) from error
    except ControlAbsent:
        with _own(session) as own:
            yield own, None
    else:
        yield client, status


def unanswered(loaded: "Loaded", error: ControlSilent) -> str:
    """Return who it is that runs here and does not answer."""
    pid = f" (pid {error.pid})" if error.pid else ""
    return f"publisher {loaded.settings.publisher!r}{pid} runs here and does not answer"


def _remedy(error: ControlSilent) -> str:
    how = f" (kill -9 {error.pid})" if error.pid else ""
    return f"end it{how} and say it again"


@contextmanager
def _own(session: Session) -> "Iterator[LocalPublisher]":
    loaded = session.loaded
    if not loaded.path(loaded.settings.publisher_key).exists():
        raise BadConfig(
            f"no publisher runs in {loaded.home} and there is no key to sign with: start "
            "`rescind up`, or name the fabric's folder with --home or RESCIND_HOME"
        )
    from rescind.publishing import LocalPublisher  # noqa: PLC0415 - only when none runs

    session.out.note("no publisher runs here: this command opens a log of its own")
    own = LocalPublisher(loaded)
    own.start()
    try:
        yield own
    finally:
        own.close()


def present(out: Out, verb: str, receipt: Receipt, doer: Doer, said: dict[str, Any]) -> int:
    """Write what is known of a request, and return the exit code."""
    pending = len(receipt.pending) == len(receipt.sinks)
    out.document({"done": verb, **receipt.to_dict(), "by": msgspec.to_builtins(doer), **said})
    colour = "yellow" if pending else "red" if verb == "killed" else "green"
    for target in receipt.targets:
        out.say((verb, colour), f" {target}")
    since = receipt.new_badges_from
    out.fields(
        ("receipt", (str(_bare(receipt)), "yellow" if pending else "")),
        ("applied", _applied_line(receipt)),
        ("new badges", f"pass if issued after {utc(since)}" if since is not None else None),
        ("id", ", ".join(map(str, dict.fromkeys(receipt.ids)))),
        ("ended", ", ".join(map(str, receipt.ended))),
        ("done by", str(doer)),
    )
    return EXIT_PENDING if pending else applied_code(receipt)


def present_warned(out: Out, verb: str, receipt: Receipt, doer: Doer) -> int:
    """Write what was warned of, and what is known of a request; return the exit code."""
    for sentence in receipt.warnings:
        out.warn(sentence)
    return present(out, verb, receipt, doer, {"warnings": list(receipt.warnings)})


def _applied_line(receipt: Receipt) -> Part | None:
    applied = receipt.applied
    return (
        None
        if applied is None
        else (
            applied.sentence(ends=bool(receipt.ended)),
            "" if applied.complete else "yellow",
        )
    )


def applied_code(receipt: Receipt) -> int:
    """Return the exit code of a kill that brokers have: whether the subscribers have it too."""
    applied = receipt.applied
    if applied is None or applied.complete:
        return EXIT_OK
    return EXIT_NOT_APPLIED if applied.known else EXIT_CANNOT_TELL


def _bare(receipt: Receipt) -> Receipt:
    """Return the receipt without what has a line of its own."""
    return msgspec.structs.replace(receipt, new_badges_from=None, warnings=(), applied=None)
