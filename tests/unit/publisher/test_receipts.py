"""Receipts say what is known, and no more."""

import pytest

from rescind_protocol.changes import RevocationId
from rescind_publisher.receipts import Progress, Receipt, SinkReceipt, State

DOWN = SinkReceipt(State.ACCEPTED, problem="nats: cannot be reached")
KEPT = "it is kept in the spool and sent as soon as that is possible"
DURABLE = SinkReceipt(State.DURABLE, 1.04, 2.11)
ID = RevocationId("a" * 11 + "-" + "b" * 22, 3, 0)


def receipt(**sinks: SinkReceipt) -> Receipt:
    """Return a receipt of one kill."""
    return Receipt((ID,), ("agent did:web:x",), 1_800_000_000.0, 0.5, sinks)


@pytest.mark.parametrize(
    ("sinks", "says"),
    [
        ({"nats": DURABLE}, "accepted, durable on nats after 2.1 ms"),
        ({"nats": SinkReceipt(State.ACKED, 1.04)}, "accepted, acked on nats after 1.0 ms"),
        (
            {"nats": DOWN},
            f"accepted and PENDING: no broker has it yet; nats: cannot be reached; {KEPT}",
        ),
        (
            {"nats": DOWN, "redis": DURABLE},
            f"accepted, durable on redis after 2.1 ms; PENDING on nats; {DOWN.problem}; {KEPT}",
        ),
        ({}, "accepted and PENDING: no broker is configured"),
    ],
)
def test_the_line_is_honest(sinks: dict[str, SinkReceipt], says: str) -> None:
    """One line for a person; pending is loud."""
    assert str(receipt(**sinks)) == says


def test_a_reinstatement_says_from_when_new_badges_pass() -> None:
    """The floor is part of the line."""
    line = str(Receipt((ID,), (), 0.0, 0.0, {"nats": DURABLE}, new_badges_from=1_800_000_060))
    assert line.endswith("; badges issued after 2027-01-15 08:01:00 UTC pass")


def test_json_has_ids_and_pending() -> None:
    """The dictionary is plain JSON, with the sentence."""
    plain = receipt(nats=DOWN).to_dict()
    assert plain["ids"] == [str(ID)]
    assert plain["pending"] == ["nats"]
    assert plain["sinks"]["nats"] == {"state": "accepted", "problem": "nats: cannot be reached"}


def test_no_claim_before_the_last_event() -> None:
    """A request of two events is durable when both are, and acked when both are."""
    progress = Progress(["nats"], 2, 0.0)
    states = []
    for step in (progress.acked, progress.durable, progress.acked, progress.durable):
        step("nats")
        states.append(progress.sinks()["nats"].state)
    assert states == [State.ACCEPTED, State.ACCEPTED, State.ACKED, State.DURABLE]
    assert progress.complete


def test_waiting_ends_when_nothing_more_is_to_come_soon() -> None:
    """One sink durable and the other failing is settled; one silent is not."""
    progress = Progress(["nats", "redis"], 1, 0.0)
    progress.durable("nats")
    assert not progress._settled.is_set()
    progress.failing("redis", "down")
    assert progress._settled.is_set()
    assert not progress.complete


def test_nothing_to_wait_for() -> None:
    """Without sinks there is nothing to wait for, and a wait of 0 s returns."""
    Progress([], 1, 0.0).wait(60)
    Progress(["nats"], 1, 0.0).wait(0)
