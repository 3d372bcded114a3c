"""What a Redis must be set to: judged by its own words."""

import pytest

from rescind_publisher.redis_check import Persistence, refusals

GOOD = {"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "aof_enabled": "1"}


def test_the_shipped_settings_pass() -> None:
    """A server as it should be has nothing against it; Valkey says it is Redis 7.2.4."""
    assert refusals(GOOD) == []
    assert refusals(GOOD | {"redis_version": "7.2.4"}) == []


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"redis_version": "6.2.14"}, "redis_version is 6.2.14"),
        ({"redis_version": "unstable"}, "redis_version is unstable"),
        ({"maxmemory_policy": "allkeys-lru"}, "set `maxmemory-policy noeviction`"),
        ({"aof_enabled": "0"}, "set `appendonly yes`"),
    ],
)
def test_what_would_lose_kills_is_named(changed: dict[str, str], names: str) -> None:
    """One setting, one sentence, with the remedy."""
    found = refusals(GOOD | changed)
    assert len(found) == 1
    assert names in found[0]


def test_silence_is_no_consent() -> None:
    """A server that says nothing of itself is refused on every count."""
    assert len(refusals({})) == len(GOOD)


@pytest.mark.parametrize("fsync", ["everysec", "no", "unverified"])
def test_anything_but_always_is_said(fsync: str) -> None:
    """Only fsync before the acknowledgement goes without a word."""
    assert "Redis" in str(Persistence(fsync).caveat)  # type: ignore[arg-type]
    assert Persistence("always").caveat is None
