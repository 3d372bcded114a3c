"""Where logs end: the deepest retirement counts, and a long log with two histories is followed."""

import pytest

from rescind_protocol import cuts, join
from rescind_protocol.changes import Kill
from rescind_protocol.cuts import Cuts
from rescind_protocol.join import Replica
from rescind_protocol.positions import Position
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.targets import agent
from tests.fakes.fabric import SECOND, Log, key_of

EVENTS = 30
MOST = 4


def test_two_keys_of_one_prefix_do_not_let_the_order_decide() -> None:
    """Whoever may retire can name a key that nobody has: the deepest cut counts all the same."""
    log = Log(SECOND, "soc-b").id
    invented = SECOND.kid[:LOG_PREFIX_CHARS] + "x" * (len(SECOND.kid) - LOG_PREFIX_CHARS)
    shallow = {invented: {log: Position(2, b"2" * 32)}}
    deep = {SECOND.kid: {log: Position(5, b"5" * 32)}}
    for told in ((shallow, deep), (deep, shallow)):
        known = Cuts()
        changed = [known.join(each) for each in told]
        assert known.of(log) == Position(5, b"5" * 32)
        assert list(known.retirements()) == [(log, Position(5, b"5" * 32))]
        assert changed == ([[log], [log]] if told[0] is shallow else [[log], []])


def test_a_retirement_ends_no_log_of_another_prefix() -> None:
    """It is checked where it is read, and once more here, for snapshots bring them as well."""
    log = Log(SECOND, "soc-b").id
    known = Cuts()
    assert known.join({key_of("third").kid: {log: Position(2, b"2" * 32)}}) == []
    assert known.of(log) is None


def test_a_log_longer_than_what_may_wait_is_followed_to_its_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read backwards from the cut, in as many readings as it takes; it was refused for ever."""
    monkeypatch.setattr(cuts, "MAX_ABOVE", MOST)
    monkeypatch.setattr(join, "MAX_ABOVE", MOST)
    log = Log()
    told = [log.event(Kill(target=agent(f"did:web:acme.example:{n}"))) for n in range(EVENTS)]
    replica = Replica(lambda _: log.position, forked=[log.id])
    readings = 0
    while not replica.completes(log.id, log.position):
        readings += 1
        assert readings <= EVENTS
        for event in told:
            replica.apply(event)
    assert replica.table.size == EVENTS
