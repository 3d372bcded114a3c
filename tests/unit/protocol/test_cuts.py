"""Where logs end: the deepest retirement counts."""

from rescind_protocol.cuts import Cuts
from rescind_protocol.positions import Position
from rescind_protocol.rights import LOG_PREFIX_CHARS
from tests.fakes.fabric import SECOND, Log, key_of


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
