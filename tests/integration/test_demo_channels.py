"""`rescind demo channels` as a person starts it; and its control, badges that nobody kills."""

import json
import subprocess

import pytest

from rescind.demo import channels
from rescind.demo.channels import CHANNELS, Fabric
from rescind.demo.issuer import Badge
from rescind.demo.report import Claim
from rescind.embedded.redis import find_redis
from tests.fakes.terminal import RESCIND

WITHIN_S = 180.0
EACH = 4
"""Claims of one channel."""


def test_every_claim_holds() -> None:
    """Six channels where a redis-server is installed, each with its kill; exit code 0."""
    done = subprocess.run(
        [RESCIND, "demo", "channels", "--json"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    claims = EACH * len(CHANNELS) + 1 if find_redis() else EACH * (len(CHANNELS) - 1) + 2
    assert json.loads(done.stdout) == {"claims": claims, "failed": []}


def test_a_deny_that_does_not_come_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Badges of an agent that is not the killed one: the claim of the deny does not hold."""
    issue = Fabric.issue

    def of_another(fabric: Fabric, agent: str) -> Badge:
        return issue(fabric, f"not {agent}")

    monkeypatch.setattr(Fabric, "issue", of_another)
    monkeypatch.setattr(channels, "CHANNELS", {"NATS": CHANNELS["NATS"]})
    made: list[Claim] = []
    channels.play(lambda _, claims: made.extend(claims))
    assert [(each.said, each.instead) for each in made if not each.held] == [
        ("its guard denies it: BADGE_REVOKED", "OK")
    ]
