"""A node's settings contradict nothing, and open nothing."""

from pathlib import Path
from typing import Any

import pytest

from rescind_registry.config import RegistryConfig
from rescind_registry.errors import BadRegistryConfig

GOOD: dict[str, Any] = {"issuer": "https://registry.example", "folder": Path("registry")}
TLS: dict[str, Any] = {"tls_cert": Path("cert.pem"), "tls_key": Path("key.pem")}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_needs_no_tls(host: str) -> None:
    """Nobody else can connect."""
    assert RegistryConfig(**GOOD, host=host).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "registry.example"])  # noqa: S104
def test_beyond_the_loopback_only_with_tls(host: str) -> None:
    """A node that others reach in the clear is refused; with TLS it is not."""
    with pytest.raises(BadRegistryConfig, match="TLS certificate"):
        RegistryConfig(**GOOD, host=host)
    assert not RegistryConfig(**GOOD, **TLS, host=host).loopback


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"issuer": "registry"}, "neither an https origin"),
        ({"ttl_s": 59}, "60 to 3600"),
        ({"ttl_s": 3601}, "60 to 3600"),
        ({"tls_cert": Path("cert.pem")}, "both"),
    ],
)
def test_what_contradicts_itself_is_refused(bad: dict[str, Any], said: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(BadRegistryConfig, match=said):
        RegistryConfig(**{**GOOD, **bad})


def test_the_origin_is_how_agents_reach_it() -> None:
    """As it listens, unless somebody says otherwise."""
    assert RegistryConfig(**GOOD, port=8410).origin == "http://127.0.0.1:8410"
    assert RegistryConfig(**GOOD, **TLS, host="::1", port=1).origin == "https://[::1]:1"
    assert RegistryConfig(**GOOD, url="https://r.example/").origin == "https://r.example"
