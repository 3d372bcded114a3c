"""Settings that contradict each other are refused when they are made."""

from pathlib import Path
from typing import Any

import pytest

from rescind_protocol.errors import Malformed
from rescind_publisher.config import PublisherConfig


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"heartbeat_s": 100.0}, "too slow for stale_after_s 300"),
        ({"retry_min_s": 9.0}, "retry_min_s"),
        ({"send_timeout_s": 0.0}, "send_timeout_s must be more than 0"),
        ({"heartbeat_s": float("nan")}, "heartbeat_s"),
        ({"fabric": "a.b"}, "fabric id"),
        ({"publisher": "a b"}, "publisher id"),
    ],
)
def test_contradictions(said: dict[str, Any], says: str) -> None:
    """The sentence names the setting."""
    with pytest.raises(Malformed, match=says):
        PublisherConfig(**{"fabric": "test", "publisher": "soc", "spool": Path("s"), **said})


def test_defaults_hold_together() -> None:
    """Nothing but names and a place must be said."""
    assert PublisherConfig(fabric="test", publisher="soc", spool=Path("s")).heartbeat_s == 1.0
