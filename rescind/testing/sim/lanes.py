"""One publisher's events on their way into one broker: sent, read back, sent again, looked after.

The model of `rescind_publisher.lane`, without its loop: the same order (spool first, then the
sinks), the same mistrust (an ack counts once the bytes were read back equal), the same repairs
(without a message id), the same look after each failure.
"""

from collections.abc import Iterable

from rescind.testing.clock import Time
from rescind.testing.sim.brokers import Answer, FencedBroker, StreamBroker
from rescind.testing.sim.network import Network
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.events import digest_of
from rescind_publisher.ledger import Ledger
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Mark, Marks

TIMEOUT_S = 2.0
RETRY_S = 3.0


class Lane:
    """All logs of one publisher into one broker. Lives as long as its publisher's process."""

    def __init__(
        self,
        src: str,
        broker: StreamBroker,
        *,
        ledger: Ledger,
        network: Network,
        time: Time,
        marks: dict[str, Mark],
    ) -> None:
        self.broker = broker
        self.alive = True
        self._src, self._ledger = src, ledger
        self._network, self._time = network, time
        self._done: dict[str, dict[int, int]] = {}
        """For each log, the numbers that were read back, and where they lie."""
        self._flying: dict[tuple[str, int], int] = {}
        self._repair: set[tuple[str, int]] = set()
        self._attempts = 0
        self._waits = False
        for log, mark in marks.items():
            self._done[log] = dict.fromkeys(range(1, mark.durable + 1), 0)
            self._done[log][mark.durable] = int(mark.position)

    def msg_id(self, record: Record) -> str:
        """Name an event by what it is: nobody can use the name for anything else."""
        return b64url_encode(digest_of(record.raw))

    def durable(self, log: str) -> int:
        """Up to where everything was read back."""
        done, at = self._done.get(log, {}), 0
        while at + 1 in done:
            at += 1
        return at

    def idle(self) -> bool:
        """Whether the broker has everything."""
        return all(self.durable(log) == at.seq for log, at in self._ledger.positions.items())

    def marks(self) -> Iterable[Marks]:
        """How far each log is, to be kept over a restart."""
        for log, done in self._done.items():
            if durable := self.durable(log):
                yield Marks(self.broker.name, log, Mark(durable, str(done[durable])))

    # --- sending ---

    def push(self, record: Record) -> None:
        """Send a new event at once where the broker takes any order; else it waits its turn."""
        if self.broker.any_order:
            self._send(record)
        else:
            self._time.after(0, self.pump)

    def pump(self) -> None:
        """Send what may be sent now."""
        if not self.alive:
            return
        for log, at in self._ledger.positions.items():
            done = self._done.setdefault(log, {})
            missing = [seq for seq in range(1, at.seq + 1) if seq not in done]
            for seq in missing if self.broker.any_order else missing[:1]:
                if (log, seq) not in self._flying:
                    self._send(*self._ledger.read(log, seq - 1, 1))

    def _send(self, record: Record) -> None:
        log, seq = record.log, record.seq
        self._attempts += 1
        attempt = self._flying[log, seq] = self._attempts

        def answered(answer: Answer) -> None:
            if self._current(log, seq, attempt):
                self._answered(record, attempt, answer)

        msg_id = "" if (log, seq) in self._repair else self.msg_id(record)
        broker = self.broker
        self._network.send(
            self._src, broker.name, broker.append, record, msg_id, self._src, answered
        )
        self._time.after(TIMEOUT_S, self._timed_out, log, seq, attempt)

    def _current(self, log: str, seq: int, attempt: int) -> bool:
        return self.alive and self._flying.get((log, seq)) == attempt

    def _timed_out(self, log: str, seq: int, attempt: int) -> None:
        if self._current(log, seq, attempt):
            self._fail(log, seq)

    def _fail(self, log: str, seq: int) -> None:
        """Try again later, and look whether the broker still has what it had."""
        self._flying.pop((log, seq), None)
        if not self._waits:
            self._waits = True
            self._time.after(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._waits = False
        if self.alive:
            self.look()
            self.pump()

    # --- answers ---

    def _answered(self, record: Record, attempt: int, answer: Answer) -> None:
        if answer.refused:
            self._refused(record, answer)
            return

        def confirmed(raw: bytes | None) -> None:
            if self._current(record.log, record.seq, attempt):
                self._confirmed(record, raw, answer)

        self._network.send(
            self._src,
            self.broker.name,
            self.broker.read_back,
            answer.position,
            self._src,
            confirmed,
        )

    def _confirmed(self, record: Record, raw: bytes | None, answer: Answer) -> None:
        if raw == record.raw:
            self.note(record, answer.position)
        else:
            self._repair.add((record.log, record.seq))
            self._fail(record.log, record.seq)

    def note(self, record: Record, position: int) -> None:
        """Count an event as held by the broker for certain."""
        self._flying.pop((record.log, record.seq), None)
        self._repair.discard((record.log, record.seq))
        self._done.setdefault(record.log, {})[record.seq] = position
        self.pump()

    def _refused(self, record: Record, answer: Answer) -> None:
        """A fenced store has less than we thought, or something else."""
        self._flying.pop((record.log, record.seq), None)
        if answer.refused == "fork" and isinstance(self.broker, FencedBroker):
            self.broker.move(record.log)
            answer = Answer(refused="gap", last=0)
        done = self._done[record.log]
        self._done[record.log] = {seq: at for seq, at in done.items() if seq <= answer.last}
        self.pump()

    # --- looking after what was sent ---

    def look(self) -> None:
        """Ask for what is stored; send again whatever of ours is not (the scrub)."""
        broker = self.broker
        self._network.send(self._src, broker.name, broker.digests, self._src, self._looked)

    def _looked(self, found: dict[bytes, int]) -> None:
        if not self.alive:
            return
        for log, done in self._done.items():
            for record in self._ledger.read(log, 0, len(done) + 1):
                if record.seq in done and digest_of(record.raw) not in found:
                    del done[record.seq]
                    self._repair.add((log, record.seq))
        self.pump()
