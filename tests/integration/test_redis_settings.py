"""Redis by settings: what is composed, checked and said."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rescind import compose, config
from rescind.cli import redis_checks
from rescind.config import Loaded
from rescind.embedded import EmbeddedRedis
from rescind.errors import BadConfig
from rescind_protocol.errors import RescindError
from tests.fakes.redis import FABRIC, redis_server


def settings(server: EmbeddedRedis | None = None, **more: Any) -> Loaded:
    """Return settings that name a server's users."""
    urls = {}
    if server is not None:
        urls = {
            "redis_url": server.url_for("subscriber"),
            "publisher_redis_url": server.url_for("publisher"),
            "system_redis_url": server.url_for("system"),
        }
    return config.load({"fabric": FABRIC, **urls, **more}, {})


def looked_at(loaded: Loaded) -> dict[str, str]:
    """Return what each check says, or its error."""
    said = {}
    for what, look in redis_checks.checks(loaded):
        try:
            said[what] = look()
        except RescindError as error:
            said[what] = f"NOT OK: {error}"
    return said


def test_without_redis_nats_stands_alone() -> None:
    """No setting, no source, no check."""
    assert [source.name for source in compose.make_sources(settings())] == ["nats"]
    assert looked_at(settings()) == {}


def test_every_source_is_followed_at_once(redis: EmbeddedRedis) -> None:
    """With one, both are sources of each subscriber."""
    assert [s.name for s in compose.make_sources(settings(redis))] == ["nats", "redis"]


def test_a_well_set_redis_passes_every_check(redis: EmbeddedRedis) -> None:
    """As shipped, nothing is wrong."""
    said = looked_at(settings(redis))
    assert len(said) == 3
    assert not any(line.startswith("NOT OK") for line in said.values()), said
    assert "password" not in str(said)


def test_each_fault_is_named(tmp_path: Path) -> None:
    """A policy that evicts, a late fsync, a wrong password: each on its own line."""
    loose = ("--maxmemory-policy", "allkeys-lru", "--appendfsync", "everysec")
    with redis_server(tmp_path / "redis", *loose) as server:
        wrong = f"redis://subscriber:wrong@127.0.0.1:{server.port}"
        said = looked_at(settings(server, redis_url=wrong))
    assert "refused our credentials" in said["Redis as subscriber"]
    assert "set `maxmemory-policy noeviction`" in said["Redis as publisher"]
    assert "appendfsync everysec" in said["Redis fsync"]


@pytest.mark.parametrize("setting", ["redis_url", "publisher_redis_url"])
def test_an_address_that_is_none_names_its_setting(setting: str) -> None:
    """The sentence says which setting, and shows no secret."""
    with pytest.raises(BadConfig, match=f"setting '{setting}': the address of Redis") as caught:
        compose.redis_options("redis://u:secret-word@h/name", setting, name="x")
    assert "secret-word" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis installed, the setting and the extra to install are named."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BadConfig, match=r"'redis_url' needs .* pip install 'rescind\[redis\]'"):
        compose.make_subscriber(settings(redis_url="redis://h", root_key="unused"))
