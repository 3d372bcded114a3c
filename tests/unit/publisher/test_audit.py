"""Comparing a sink's content with the spool: what is missing, forked, foreign."""

from collections.abc import Callable

from rescind_publisher.audit import MAX_FORKS, Audit, runs
from rescind_publisher.sinks.base import Record

KEPT = {seq: b"event %d" % seq for seq in range(1, 21)}


def audited(*held: Record, upto: int = 20) -> Audit:
    """Compare this content; what begins with "forged" our key has signed."""
    fork: Callable[[str, int, bytes], bool] = lambda _log, _seq, raw: raw.startswith(b"forged")  # noqa: E731
    audit = Audit("a", upto, fork)
    audit.take(held, KEPT)
    return audit


def held(*seqs: int) -> list[Record]:
    """Return these events as they should be."""
    return [Record("a", seq, KEPT[seq]) for seq in seqs]


def test_what_is_not_there_is_missing_wherever_it_lies() -> None:
    """At the front, in the middle, at the end; in any order, some twice."""
    audit = audited(*held(20, 3, 3, *range(5, 17), 19))
    assert list(audit.missing()) == [1, 2, 4, 17, 18]
    assert (audit.foreign, audit.forks) == (0, set())


def test_a_front_that_snapshots_carry_may_be_gone() -> None:
    """Trimmed, not lost: but no more than is carried, nothing behind it, and never all of it."""
    audit = audited(*held(*range(6, 11), *range(12, 21)))
    assert list(audit.missing(5)) == [11]
    assert list(audit.missing(20)) == [11]
    assert list(audit.missing(3)) == [4, 5, 11]
    assert list(audited().missing(20)) == list(range(1, 21))


def test_what_is_on_its_way_is_not_missing() -> None:
    """Only what the sink once held for certain is asked for; what came since is no fault."""
    audit = audited(*held(*range(1, 9)), upto=7)
    assert list(audit.missing()) == []
    assert audit.foreign == 0


def test_other_bytes_are_foreign_or_a_fork_and_never_ours() -> None:
    """The number alone says nothing: the event is missing all the same."""
    others = [Record("a", 2, b"garbage"), Record("a", 3, b"forged"), Record("a", 0, b"")]
    audit = audited(*held(1, *range(4, 21)), *others)
    assert list(audit.missing()) == [2, 3]
    assert (audit.foreign, audit.forks) == (2, {3})


def test_a_fork_beyond_the_spool_is_one() -> None:
    """Our key has signed a number that this spool has not reached: somewhere there is another."""
    assert audited(*held(*range(1, 21)), Record("a", 21, b"forged 21")).forks == {21}


def test_few_forks_are_named() -> None:
    """A store full of them does not fill the memory."""
    many = [Record("a", seq, b"forged") for seq in range(1, 10 * MAX_FORKS)]
    assert len(audited(*many).forks) == MAX_FORKS


def test_numbers_are_read_in_runs() -> None:
    """Neighbours in one reading, however they came."""
    assert runs([7, 1, 2, 3, 2, 9]) == [(1, 3), (7, 1), (9, 1)]
    assert runs([]) == []
