"""A subscriber for the time of one command: fresh or not, and why not."""

from collections.abc import Iterator
from contextlib import contextmanager

from rescind import compose
from rescind.config import Loaded
from rescind_protocol.limits import MAX_HEAD_AHEAD_S, SKEW_S
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.subscriber import Subscriber

TIMEOUT_S = 5.0


@contextmanager
def following(loaded: Loaded, *, reads_all: bool = False) -> Iterator[Subscriber]:
    """Follow the fabric without a local snapshot: nothing of another process is touched.

    `reads_all`: every event that is stored, for those of before a broker's snapshot are asked for.
    """
    with compose.make_subscriber(loaded, keep=False, reads_all=reads_all) as subscriber:
        yield subscriber


def wait_fresh(subscriber: Subscriber, timeout_s: float) -> None:
    """Return when the view is proven; raises `SourceRefused`, or `SourceUnavailable` saying why."""
    try:
        subscriber.wait_fresh(timeout_s)
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{error}{clock_doubt(subscriber)}") from error


def clock_doubt(subscriber: Subscriber) -> str:
    """Return what the heads say about clocks, or nothing."""
    now = subscriber.status()
    if now.heads.get("ahead"):
        return (
            f"; the publisher's clock is more than {MAX_HEAD_AHEAD_S} s ahead of this host's: "
            "set the one that is wrong"
        )
    if now.heads.get("covered") and now.age_s is not None and now.age_s > SKEW_S:
        return (
            f"; this host's clock is {now.age_s:.0f} s ahead of the publisher's: "
            "set the one that is wrong"
        )
    return ""
