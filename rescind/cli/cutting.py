"""Where a publisher's logs stand, read from the brokers: what a revocation of its key names."""

from rescind.cli.following import following
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_protocol.positions import Position, to_text
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.subscriber import Subscriber

Cuts = dict[str, tuple[int, str]]


def cuts_of(loaded: Loaded, key: str, before: tuple[str, ...], timeout_s: float) -> Cuts:
    """Return number and digest of the last event of each log of a key.

    `before`: "LOG=N" ends a log before event N. Raises `SourceUnavailable`, `BadConfig`.
    """
    wanted = dict(map(_parse, before))
    with following(loaded, reads_all=bool(wanted)) as subscriber:
        subscriber.wait_synced(timeout_s)
        known = subscriber.known()
        if known is None or known.problems:
            why = "; ".join(known.problems) if known else "the subscriber starts anew"
            raise SourceUnavailable(f"what is stored was not read whole: {why}")
        stands = {
            log: at
            for log, at in known.positions.vector.items()
            if log.startswith(key[:LOG_PREFIX_CHARS])
        }
        if unknown := [log for log in wanted if log not in stands]:
            raise BadConfig(f"log {unknown[0]} is not one of this key's, or has no events")
        ends = {log: _end(subscriber, log, at, wanted) for log, at in stands.items()}
    return to_text({log: at for log, at in ends.items() if at is not None})


def _parse(said: str) -> tuple[str, int]:
    log, _, number = said.rpartition("=")
    if not (log and number.isdecimal() and int(number) > 0):
        raise BadConfig(f"--before {said!r}: write LOG=N, N the first event that is void")
    return log, int(number)


def _end(subscriber: Subscriber, log: str, at: Position, wanted: dict[str, int]) -> Position | None:
    """Return where to cut a log, None where nothing of it is left."""
    last = min(at.seq, wanted.get(log, at.seq + 1) - 1)
    if last == 0:
        return None
    digest = subscriber.digest_of(log, last)
    if digest is None:
        raise BadConfig(f"event {last} of log {log} is too long ago: cut it at its end")
    return Position(last, digest)
