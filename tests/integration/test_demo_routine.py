"""`rescind demo routine` as a person starts it; and its control, a registry that refuses nobody."""

import json
import subprocess

import pytest

from rescind.demo import routine
from rescind.demo.children import DemoFailed
from rescind_registry.standing import Look, Standing, State
from tests.fakes.terminal import RESCIND

WITHIN_S = 120.0


def test_every_claim_holds() -> None:
    """With real servers, over HTTP; exit code 0."""
    done = subprocess.run(
        [RESCIND, "demo", "routine", "--json"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"claims": 8, "failed": []}


def test_a_registry_that_refuses_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not end well then."""

    def active(*_: object, **__: object) -> Standing:
        return Standing(State.ACTIVE, None, -1)

    monkeypatch.setattr(Look, "agent", active)
    monkeypatch.setattr(routine, "TTL_S", 2)
    monkeypatch.setattr(routine, "WITHIN_S", 5.0)
    told: list[str] = []
    with pytest.raises(DemoFailed, match="did not happen"):
        routine.play(lambda act, _: told.append(act))
    assert told == ["A keeper renews badges of 2 s"]
