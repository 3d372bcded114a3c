"""Publishers to test with: real spool, real loop, whatever sinks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import Target, agent
from rescind_publisher import trust_post
from rescind_publisher.chain import Voice
from rescind_publisher.config import PublisherConfig
from rescind_publisher.engine import Publisher
from rescind_publisher.sinks.base import Sink
from rescind_publisher.switch import KillSwitch
from tests.fakes.fabric import FABRIC, PUBLISHER, make_trust

VOICE = Voice(PUBLISHER, "soc", FABRIC, 1_000_000)


def target(number: int = 7) -> Target:
    """Return one of many agents."""
    return agent(f"did:web:acme.example:x{number}")


def config(tmp_path: Path, **changes: Any) -> PublisherConfig:
    """Return a configuration whose waits are short."""
    quick: dict[str, Any] = {
        "heartbeat_s": 0.05,
        "connect_timeout_s": 5.0,
        "retry_min_s": 0.01,
        "retry_max_s": 0.05,
        "close_timeout_s": 5.0,
    }
    names = {"fabric": FABRIC, "publisher": "soc", "spool": tmp_path / "spool"}
    return PublisherConfig(**{**names, **quick, **changes})


def publisher(
    tmp_path: Path, *sinks: Sink, key: SigningKey = PUBLISHER, trust: Any = None, **changes: Any
) -> Publisher:
    """Return a publisher, not started."""
    engine = {
        name: changes.pop(name)
        for name in ("approver", "follower", "clock", "listeners")
        if name in changes
    }
    return Publisher(
        config(tmp_path, **changes), key=key, trust=trust or make_trust(), sinks=sinks, **engine
    )


@contextmanager
def switched(tmp_path: Path, *sinks: Sink, **changes: Any) -> Iterator[KillSwitch]:
    """Give a kill switch on a running publisher."""
    with KillSwitch(publisher(tmp_path, *sinks, **changes)) as switch:
        yield switch


def posts_no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep publishers from storing the trust file: ten seconds after the start they would.

    A test that counts what a sink holds would count it too, on a machine that takes so long.
    """
    monkeypatch.setattr(trust_post, "FIRST_LOOK_AFTER_S", 1e6)
