"""The view: one writer, whole states for readers, nothing of the past kept alive."""

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from rescind_guard import Code, Guard, View, native
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.errors import TwoWriters
from rescind_guard.view import Published
from rescind_protocol import targets
from rescind_protocol.changes import Kill, Revocation, RevocationId
from rescind_protocol.table import Entry, Table, TableEdit, entry
from tests.fakes.badges import AGENT, Scene
from tests.fakes.fabric import NOW, Log
from tests.fakes.threads import together
from tests.fakes.waiting import WITHIN_S

LOG = Log().id


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Let threads interleave as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def killed(name: str, seq: int = 1) -> tuple[bytes, Entry]:
    """Return the digest and the entry of a killed agent."""
    target = targets.agent(f"did:web:acme.example:{name}")
    found = entry((Revocation(RevocationId(LOG, seq, 0), Kill(target=target), NOW),), ())
    assert found is not None
    return target.digest, found


# --- one writer (attack B3) ---


def test_a_view_has_one_writer() -> None:
    """A second thread can neither claim a view nor write to it, in any way."""
    view = View()
    view.claim()
    view.claim()
    at = view.published
    for write in (
        view.claim,
        lambda: view.swap(Table()),
        lambda: view.freshen(1.0, 1.0),
        view.distrust,
    ):
        (error,) = together(write)
        assert isinstance(error, TwoWriters)
    assert view.published is at
    view.release()
    assert together(view.claim) == []


def test_nobody_writes_unclaimed() -> None:
    """A write without a claim is refused, in the thread that made the view too."""
    with pytest.raises(TwoWriters):
        View().swap(Table())


def test_two_that_claim_at_once_are_not_both_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second claim in the middle of the first one's is the only one that holds."""
    view = View()
    real = native.get_ident
    raised: list[BaseException] = []

    def while_another_claims() -> int:
        monkeypatch.setattr(native, "get_ident", real)
        raised.extend(together(view.claim))
        return real()

    monkeypatch.setattr(native, "get_ident", while_another_claims)
    try:
        view.claim()
    except TwoWriters as error:
        raised.append(error)
    assert len(raised) == 1


def test_a_writer_that_is_gone_is_replaced_by_releasing() -> None:
    """As in the child after a fork, where the writer's thread does not exist."""
    view = View()
    assert together(view.claim) == []
    view.release()
    view.claim()
    view.swap(Table())


WRITERS, EACH = 4, 400


def lost_kills(view: View) -> tuple[int, list[BaseException]]:
    """Let several threads write one kill after another; return how many are lost, and refusals."""

    def writer(number: int) -> None:
        view.claim()
        for count in range(EACH):
            edit = TableEdit(view.published.table)
            edit.put(*killed(f"{number}-{count}"))
            view.swap(edit.done())

    raised = together(*[partial(writer, number) for number in range(WRITERS)])
    written = EACH * (WRITERS - len(raised))
    return written - len(view.published.table), raised


def test_two_writers_are_refused_before_they_lose_a_kill() -> None:
    """Only one of four threads may write, and all that it writes is there."""
    lost, raised = lost_kills(View())
    assert all(isinstance(error, TwoWriters) for error in raised)
    assert len(raised) == WRITERS - 1
    assert lost == 0


def test_two_writers_unrefused_lose_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the check kills are lost."""
    monkeypatch.setattr(View, "claim", lambda _: None)
    monkeypatch.setattr(View, "_check_writer", lambda _: None)
    assert any(lost_kills(View())[0] > 0 for _ in range(20))


# --- what readers see ---


def write_both(edit: TableEdit, number: int) -> None:
    """Kill two agents by one event."""
    for name in ("left", "right"):
        edit.put(*killed(name, number))


def halves_seen(
    write: Callable[[View, int], None], rounds: int = 300, half: threading.Event | None = None
) -> int:
    """Read while `write` kills two agents, round by round; count the times half was done.

    `half` is set the first time.
    """
    half = half or threading.Event()
    view = View()
    done = threading.Event()
    halves: list[set[int]] = []

    def reader() -> None:
        digests = [killed(name)[0] for name in ("left", "right")]
        while not done.is_set():
            table = view.published.table
            found = [table.get(digest) for digest in digests]
            seen = {0 if one is None else next(iter(one.revocations)).id.seq for one in found}
            if len(seen) > 1:
                halves.append(seen)
                half.set()

    def writer() -> None:
        view.claim()
        try:
            for number in range(1, rounds + 1):
                write(view, number)
        finally:
            done.set()

    assert together(writer, reader, reader) == []
    return len(halves)


def test_readers_never_see_half_of_a_change() -> None:
    """Two kills of one event are seen both or neither, by every reader at every moment."""

    def write(view: View, number: int) -> None:
        edit = TableEdit(view.published.table)
        write_both(edit, number)
        view.swap(edit.done())

    assert halves_seen(write) == 0


def test_readers_of_a_table_changed_in_place_would() -> None:
    """Negative control: leaves that are changed where they stand are seen half done."""
    half = threading.Event()

    def write(view: View, number: int) -> None:
        table = view.published.table
        if number == 1:  # leaves of its own: those of the empty table belong to every table
            edit = TableEdit(table)
            write_both(edit, number)
            view.swap(edit.done())
            return
        for name in ("left", "right"):
            digest, found = killed(name, number)
            leaf = table.root[digest[0] >> 2][digest[1] >> 2]
            leaf[digest] = found
            if name == "left":
                half.wait(WITHIN_S)  # in the middle of the change, until a reader has looked

    assert halves_seen(write, rounds=2, half=half)


def test_a_reader_keeps_its_state_while_the_view_moves_on() -> None:
    """What was taken once does not change."""
    scene = Scene()
    at = scene.revocations.view.published
    scene.revocations.kill(targets.agent(AGENT))
    assert len(at.table) == 0
    assert len(scene.revocations.view.published.table) == 1


# --- generations ---


def test_a_head_changes_no_generation() -> None:
    """Heads come each second: cached decisions stay; a swap or distrust ends them."""
    view = View()
    view.claim()
    numbers = [view.published.generation]
    changes: list[Callable[[], None]] = [
        lambda: view.freshen(1.0, 1.0),
        lambda: view.swap(Table()),
        view.distrust,
    ]
    for change in changes:
        change()
        numbers.append(view.published.generation)
    assert numbers == [0, 0, 1, 2]


def test_age_is_the_greater_of_two() -> None:
    """By either clock; never synced is infinitely old."""
    assert Published(0, Table(), 100.0, 50.0).age_s(110.0, 55.0) == 10.0
    assert Published(0, Table(), 100.0, 50.0).age_s(101.0, 95.0) == 45.0
    assert View().published.age_s(0.0, 0.0) == float("inf")


# --- memory (attack B1) ---


def test_cached_badges_pin_no_old_table() -> None:
    """After a swap the table before it is gone, however many badges were cached under it."""
    scene = Scene()
    guard = scene.guard()
    scene.revocations.kill(targets.agent("did:web:acme.example:other"))
    assert old_table_dies(scene, guard)


def test_a_cache_that_keeps_the_view_would_pin_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: remembering the view beside the badge keeps the old table alive."""
    scene = Scene()
    guard = scene.guard()
    scene.revocations.kill(targets.agent("did:web:acme.example:other"))
    pins: list[Published] = []
    put = TokenCache.put

    def pinning(cache: TokenCache, token: str, kept: Kept) -> None:
        pins.append(scene.revocations.view.published)
        put(cache, token, kept)

    monkeypatch.setattr(TokenCache, "put", pinning)
    assert not old_table_dies(scene, guard)


def old_table_dies(scene: Scene, guard: Guard) -> bool:
    """Cache badges, kill somebody, and see whether the leaves of the old table are freed."""
    good, dead = scene.issuer.badge(), scene.issuer.badge(sub="did:web:acme.example:other")
    kept = guard.check(good), guard.check(dead)
    assert [one.code for one in kept] == [Code.OK, Code.BADGE_REVOKED]
    # A Table has slots and no weak references: its root tuple is looked for among all objects.
    root = id(scene.revocations.view.published.table.root)
    scene.revocations.kill(targets.agent(AGENT))
    gc.collect()
    return not any(id(one) == root for one in gc.get_objects())


def test_the_guard_holds_no_table() -> None:
    """A whole table is freed with its view's next swap."""

    class Watched(Table):
        """A table that can be watched."""

        __slots__ = ("__weakref__",)

    scene = Scene()
    guard = scene.guard()
    watched = Watched()
    seen = weakref.ref(watched)
    scene.revocations.view.swap(watched)
    del watched
    assert guard.check(scene.issuer.badge())
    assert seen() is not None
    scene.revocations.view.swap(Table())
    gc.collect()
    assert seen() is None
