"""The cache: bounded, without a lock, and never a reason to serve what has changed."""

import sys
from collections.abc import Iterator
from functools import partial
from math import inf
from threading import Event

import pytest

from rescind_guard import Code, Decision, Issuers
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.metrics import Counter
from rescind_guard.verifier import Verifier
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene
from tests.fakes.threads import together
from tests.fakes.waiting import WITHIN_S


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Let threads interleave as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def kept() -> Kept:
    """Return something to keep."""
    scene = Scene()
    decision = scene.guard().check(scene.issuer.badge())
    assert decision.claims is not None
    return Kept(decision.claims, scene.issuers, 0, inf, inf, decision)


KEPT = kept()
SIZE = 50


def test_it_gives_back_what_was_put() -> None:
    """By the exact token, and nothing for another."""
    cache = TokenCache(SIZE)
    cache.put("a", KEPT)
    assert cache.get("a") is KEPT
    assert cache.get("b") is None


def test_it_is_bounded() -> None:
    """However many tokens come, at most twice the size is kept."""
    cache = TokenCache(SIZE)
    for number in range(SIZE * 20):
        cache.put(str(number), KEPT)
        assert len(cache) <= 2 * SIZE


def test_a_token_in_use_outlives_both_generations() -> None:
    """A hit in the old generation moves to the young; what is not asked for goes."""
    cache = TokenCache(SIZE)
    cache.put("used", KEPT)
    cache.put("unused", KEPT)
    for number in range(SIZE * 10):
        cache.put(str(number), KEPT)
        assert cache.get("used") is KEPT
    assert cache.get("unused") is None


def test_the_newest_are_kept() -> None:
    """A full young generation becomes the old one: the last `SIZE` tokens are all there."""
    cache = TokenCache(SIZE)
    for number in range(SIZE * 3 + SIZE // 2):
        cache.put(str(number), KEPT)
    for number in range(SIZE * 2 + SIZE // 2, SIZE * 3 + SIZE // 2):
        assert cache.get(str(number)) is KEPT


THREADS = 4


def test_threads_may_hammer_it() -> None:
    """No error, no wrong answer, and the bound holds but for one entry a thread."""
    cache = TokenCache(SIZE)
    mine = {str(number): kept() for number in range(SIZE)}
    most: list[int] = []

    def hammer(start: int) -> None:
        for turn in range(4000):
            name = str((start + turn * 7) % SIZE)
            found = cache.get(name)
            assert found is None or found is mine[name]
            cache.put(name, mine[name])
            cache.put(f"{start} {turn}", KEPT)
            most.append(len(cache))

    assert together(*[partial(hammer, number) for number in range(THREADS)]) == []
    assert max(most) <= 2 * SIZE + THREADS


def test_a_guard_under_threads_answers_as_alone() -> None:
    """Many threads, few places in the cache, a kill in the middle: each badge gets its own answer.

    A badge of the killed agent is never allowed after the kill was published.
    """
    scene = Scene()
    guard = scene.guard(cached_badges=4)
    alive = [scene.issuer.badge(sub=f"did:web:acme.example:{n}") for n in range(8)]
    dead = [scene.issuer.badge() for _ in range(8)]
    half_way, published = Event(), Event()

    def ask(start: int) -> None:
        for turn in range(600):
            after = published.is_set()
            assert guard.check(alive[(start + turn) % 8])
            code = guard.check(dead[(start + turn * 3) % 8]).code
            assert code is Code.BADGE_REVOKED or (code is Code.OK and not after)
            if turn == 300:
                half_way.set()

    def kill() -> None:
        scene.revocations.view.claim()
        assert half_way.wait(WITHIN_S)
        scene.revocations.kill(targets.agent(AGENT))
        published.set()

    scene.revocations.view.release()
    assert together(kill, *[partial(ask, number) for number in range(THREADS)]) == []
    assert published.is_set()
    assert not any(guard.check(badge) for badge in dead)


def test_other_keys_end_what_was_verified_under_the_old() -> None:
    """Issuers are immutable: with new ones every badge is verified again."""
    scene = Scene()
    guard = scene.guard()
    badge = scene.issuer.badge()
    assert guard.check(badge)
    guard._keys.swap(Issuers.from_jwks({scene.issuer.iss: scene.other.jwks()}))
    assert guard.check(badge).code is Code.BADGE_SIGNATURE_INVALID


def test_an_allowed_badge_is_not_judged_again() -> None:
    """A cached badge costs no look-up: the very decision comes back until something changes."""
    scene = Scene()
    guard = scene.guard()
    badge = scene.issuer.badge()
    first: Decision = guard.check(badge)
    assert guard.check(badge) is first
    scene.revocations.freshen()
    assert guard.check(badge) is first
    scene.revocations.kill(targets.agent("did:web:acme.example:other"))
    again = guard.check(badge)
    assert again == first
    assert again is not first


def test_a_long_token_is_not_kept() -> None:
    """Badges of 16 KiB pass, and are verified each time: a flood of them fills no memory."""
    scene = Scene()
    guard = scene.guard()
    assert guard.check(scene.issuer.badge(extra="x" * 4096))
    assert len(guard._cache) == 0
    assert guard.check(scene.issuer.badge())
    assert len(guard._cache) == 1


def test_a_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap drops the look-up's result, never the signature's; denied badges too (attack B1)."""
    scene = Scene()
    guard = scene.guard()
    verified: list[str] = []
    real = Verifier.verify

    def counting(one: Verifier, badge: object, issuers: object) -> object:
        verified.append("once")
        return real(one, badge, issuers)  # type: ignore[arg-type]

    monkeypatch.setattr(Verifier, "verify", counting)
    badge = scene.issuer.badge()
    for target in ("a", "b"):
        assert guard.check(badge)
        scene.revocations.kill(targets.agent(f"did:web:acme.example:{target}"))
    scene.revocations.kill(targets.agent(AGENT))
    assert not guard.check(badge)
    assert not guard.check(badge)
    assert len(verified) == 1


# --- the counter ---


def test_a_counter_is_exact_under_threads() -> None:
    """Threads that add at once, to labels old and new, lose none."""
    counter = Counter()

    def add() -> None:
        for turn in range(5000):
            counter.add(f"label {turn % 7}")
            counter.add("all")

    assert together(*[add for _ in range(THREADS)]) == []
    counts = counter.read()
    assert counts.pop("all") == THREADS * 5000
    assert sum(counts.values()) == THREADS * 5000
    assert len(counts) == 7


def test_a_plain_dict_of_numbers_would_lose_some() -> None:
    """Negative control: read, add, write is three steps."""
    counts = {"all": 0}

    def one_more(number: int) -> int:
        return number + 1

    def add() -> None:
        for _ in range(5000):
            counts["all"] = one_more(counts["all"])

    def lost() -> bool:
        counts["all"] = 0
        together(*[add for _ in range(THREADS)])
        return counts["all"] < THREADS * 5000

    assert any(lost() for _ in range(20))


def test_reading_while_others_add_raises_nothing() -> None:
    """A metrics endpoint reads at any time; counts never fall."""
    counter = Counter()

    def add() -> None:
        for turn in range(3000):
            counter.add(f"label {turn}")

    def read() -> None:
        before = 0
        for _ in range(300):
            now = sum(counter.read().values())
            assert now >= before
            before = now

    assert together(add, add, read) == []
