"""The hand-over: who is woken for a kill, and when."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from rescind_protocol.changes import Kill
from rescind_publisher import hand as module
from rescind_publisher.chain import Chain, Numbered
from rescind_publisher.drain import Drain
from rescind_publisher.hand import Hand
from rescind_publisher.receipts import Progress
from rescind_publisher.sinks.base import Record
from tests.fakes.publishing import VOICE, target
from tests.fakes.waiting import WITHIN_S


class FakeDrain:
    """Sends at once, if it can, and keeps what is left to the loop."""

    def __init__(self, *, prompt: bool) -> None:
        self.prompt = prompt
        self.sent: list[int] = []
        self.left: list[Progress] = []

    def send(self, records: Sequence[Record]) -> bool:
        """Note it."""
        self.sent += [record.seq for record in records]
        return self.prompt

    def leave(self, records: Sequence[Record], progress: Progress) -> None:
        """Note it."""
        assert len(records) == 1
        self.left.append(progress)

    def take_left(self) -> None:
        """What the loop is woken for."""


class Bench:
    """A hand-over, and how often the loop was woken."""

    def __init__(self, *, prompt: bool) -> None:
        self.drain = FakeDrain(prompt=prompt)
        self.woken: list[Callable[..., None]] = []
        self.hand = Hand(("nats",), self._post, cast("Drain", self.drain), 0.0)
        self.hand.committed(made())

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        assert not args
        self.woken.append(call)


def made() -> list[Numbered]:
    """One signed event."""
    return Chain(VOICE).number([(Kill(target=target()),)], 1_800_000_000)


def test_where_all_was_sent_the_answer_wakes_the_loop() -> None:
    """Nobody wakes it before: the event is left to it, and it is there when the answer is."""
    bench = Bench(prompt=True)
    assert bench.drain.sent == [1]
    assert bench.drain.left == [bench.hand.progress]
    bench.hand.progress.durable("nats")
    bench.hand.wait(WITHIN_S)
    assert bench.woken == []


def test_where_something_could_not_be_sent_the_loop_is_woken_at_once() -> None:
    """It sends then; and nobody wakes it twice."""
    bench = Bench(prompt=False)
    assert bench.woken == [bench.drain.take_left]
    bench.hand.wait(0.001)
    assert bench.woken == [bench.drain.take_left]


@pytest.mark.parametrize("timeout_s", [0.0, 0.001])
def test_without_an_answer_the_loop_is_woken_all_the_same(
    timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection may be lost before it comes, and a caller may not wait for it at all."""
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 0.0005)
    bench = Bench(prompt=True)
    bench.hand.wait(timeout_s)
    assert bench.woken == [bench.drain.take_left]
    assert not bench.hand.progress.complete
