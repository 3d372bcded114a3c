"""A target that nobody has ever heard of is said, with the nearest name."""

from pathlib import Path

import msgspec
import pytest

from rescind import config
from rescind.cli.known import strangers
from rescind_protocol.targets import agent, session
from rescind_publisher.applied import Applied
from tests.fakes.terminal import did

KNOWN = {"issued": {did("orders-7"): 1, did("billing"): 1}, "floors": {}, "floor": 0}


def loaded(home: Path) -> config.Loaded:
    """Return settings of a folder whose local issuer has issued to two agents."""
    (home / "issuer.ledger.json").write_bytes(msgspec.json.encode(KNOWN))
    return config.load({"home": str(home)}, {})


def test_a_misspelt_agent_is_said(tmp_path: Path) -> None:
    """With the nearest name where one is near, and as a question where none is."""
    at = loaded(tmp_path)
    assert strangers([agent(did("orders-7"))], at) == []
    (near,) = strangers([agent(did("order-7"))], at)
    assert near.endswith(f"is known to no registry here; did you mean {did('orders-7')}?")
    (far,) = strangers([agent("did:web:other.example:zzz")], at)
    assert far.endswith("is known to no registry here: is it spelt so?")


@pytest.mark.parametrize("target", [agent(did("stranger")), session("8d1f")])
def test_what_a_guard_remembers_is_known(tmp_path: Path, target: object) -> None:
    """Enrolled elsewhere, and it has called a service here: no doubt is left."""
    heard = Applied(done=2, known=2, listening_for_s=60.0)
    seen = msgspec.structs.replace(heard, seen=True)
    at = config.load({"home": str(tmp_path)}, {})
    assert strangers([target], at, seen) == []  # type: ignore[list-item]
    (doubt,) = strangers([target], at, heard)  # type: ignore[list-item]
    assert "no guard that answered remembers a call" in doubt


def test_nothing_is_claimed_where_nobody_could_know(tmp_path: Path) -> None:
    """No registry, no issuer, and no guard was waited for."""
    assert strangers([agent(did("x"))], config.load({"home": str(tmp_path)}, {})) == []
