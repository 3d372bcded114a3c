"""The table: an immutable map, the same as a dict in all that can be asked of it."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol.changes import Effect, Kill, Revocation, RevocationId
from rescind_protocol.table import ALIVE, ALL, Entry, Table, TableEdit, entry
from rescind_protocol.targets import everyone
from tests.fakes.fabric import PUBLISHER, log_id

_digests = st.integers(0, 40).map(lambda n: bytes([n % 3 * 100, n % 2 * 4, n]) + bytes(13))
_edits = st.lists(
    st.lists(st.tuples(_digests, st.none() | st.integers(0, 5)), max_size=8), max_size=8
)


def _entry(cut: int | None) -> Entry | None:
    return None if cut is None else Entry(cut, ())


@given(_edits)
def test_it_is_a_dict_and_old_tables_never_change(
    edits: list[list[tuple[bytes, int | None]]],
) -> None:
    """After each edit: get, items and size; and every earlier table is as it was."""
    table, model = Table(), dict[bytes, Entry]()
    past = [(table, dict(model))]
    for changes in edits:
        edit = TableEdit(table)
        for digest, cut in changes:
            found = _entry(cut)
            edit.put(digest, found)
            if found is None:
                model.pop(digest, None)
            else:
                model[digest] = found
            assert edit.get(digest) == model.get(digest)
        table = edit.done()
        past.append((table, dict(model)))
    for old, expected in past:
        assert dict(old.items()) == expected
        assert len(old) == old.size == len(expected)
        assert all(old.get(digest) == found for digest, found in expected.items())


def test_an_edit_copies_only_what_it_touches() -> None:
    """One entry of ten thousand: one leaf and one branch are new, the rest is shared."""
    edit = TableEdit(Table())
    for n in range(10_000):
        edit.put(sha256(b"%d" % n).digest()[:16], Entry(n, ()))
    old = edit.done()
    edit = TableEdit(old)
    edit.put(bytes(16), Entry(1, ()))
    new = edit.done()
    branches = [a is b for a, b in zip(old.root, new.root, strict=True)]
    leaves = [a is b for a, b in zip(old.root[0], new.root[0], strict=True)]
    assert branches.count(False) == leaves.count(False) == 1
    assert old.get(bytes(16)) is None
    assert (old.size, new.size) == (10_000, 10_001)


def test_empty_tables_share_nothing_that_is_written() -> None:
    """All leaves of the empty table are one dict: an edit must never write into it."""
    edit = TableEdit(Table())
    edit.put(bytes(16), Entry(1, ()))
    assert edit.done().get(bytes(16)) == Entry(1, ())
    assert len(Table()) == 0
    assert list(Table().items()) == []


def _revocation(index: int, effect: Effect, before: int | None) -> Revocation:
    kill = Kill(target=everyone(), effect=effect, issued_before=before)
    return Revocation(RevocationId(log_id(PUBLISHER), 1, index), kill, 0)


@given(
    st.lists(st.tuples(st.sampled_from(Effect), st.none() | st.integers(0, 9)), max_size=4),
    st.lists(st.integers(0, 9), max_size=2),
    st.integers(0, 10),
)
def test_the_cut_is_what_any_kill_or_floor_says(
    kills: list[tuple[Effect, int | None]], floors: list[int], iat: int
) -> None:
    """A badge is dead if any kill of use covers its `iat`, or any floor does."""
    revocations = tuple(_revocation(i, *kill) for i, kill in enumerate(kills))
    found = entry(revocations, tuple((f"log {n}", floor) for n, floor in enumerate(floors)))
    if found is None:
        assert not kills
        assert not floors
        return
    use = [r for r in revocations if r.kill.effect is Effect.USE and r.covers(iat)]
    suspended = [r for r in revocations if r.kill.effect is Effect.ISSUANCE and r.covers(iat)]
    assert (iat <= found.cut) == bool(use or any(iat <= floor for floor in floors))
    assert (iat <= found.suspended) == bool(suspended)
    assert found.why(iat) == (use[0] if use else None)
    assert found.floor == max(floors, default=ALIVE)
    assert found.cut <= ALL
