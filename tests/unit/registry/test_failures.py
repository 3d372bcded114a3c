"""The limit on failures: bounded memory, a window that ends, one address at a time."""

import pytest

from rescind_registry import failures
from rescind_registry.errors import TooManyFailures
from rescind_registry.failures import MOST, WINDOW_S, Failures


def fail(counted: Failures, address: str, times: int, now: float = 0) -> None:
    """Fail so often."""
    for _ in range(times):
        counted.failed(address, now)


def test_too_many_failures_are_refused_until_the_window_ends() -> None:
    """And the refusal says how long that is."""
    counted = Failures()
    fail(counted, "a", MOST - 1)
    with pytest.raises(TooManyFailures) as raised:
        counted.failed("a", 10)
    assert raised.value.retry_after_s == WINDOW_S - 10 + 1
    with pytest.raises(TooManyFailures):
        counted.failed("a", WINDOW_S - 1)
    counted.failed("a", WINDOW_S)


def test_each_address_has_its_own() -> None:
    """One that fails locks no other out."""
    counted = Failures()
    with pytest.raises(TooManyFailures):
        fail(counted, "a", MOST)
    counted.failed("b", 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that failed longest ago is forgotten."""
    monkeypatch.setattr(failures, "MAX_ADDRESSES", 3)
    counted = Failures()
    for address in "abcd":
        counted.failed(address, 0)
    assert list(counted._counts) == ["b", "c", "d"]
