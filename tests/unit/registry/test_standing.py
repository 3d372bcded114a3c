"""Who is suspended or killed comes from the view, and from nowhere else."""

from pathlib import Path

import pytest

from rescind.testing.badges import ISSUER
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_registry.errors import CannotTell
from rescind_registry.standing import Standing, State
from tests.fakes.registry import Bench

DID = "did:web:acme.example:x7"
KEY = "A" * 43


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give a node."""
    return Bench(tmp_path)


def stands(bench: Bench) -> Standing:
    """Ask of the one agent."""
    return bench.node.look.agent(DID, iss=ISSUER, key_thumbprint=KEY)


def test_an_agent_nobody_named_is_active(bench: Bench) -> None:
    """And has no floor."""
    assert stands(bench) == Standing(State.ACTIVE, None, -1)


def test_a_kill_disables_and_a_suspension_suspends(bench: Bench) -> None:
    """Until each is ended; a kill is the stronger word."""
    bench.fabric.kill(targets.agent(DID), effect=Effect.ISSUANCE)
    assert stands(bench).state is State.SUSPENDED
    bench.fabric.kill(targets.agent(DID))
    assert stands(bench).state is State.DISABLED
    bench.fabric.reinstate(targets.agent(DID))
    assert stands(bench).state is State.ACTIVE
    assert stands(bench).floor == int(bench.fabric.now)


@pytest.mark.parametrize(
    "wide", [targets.issuer(ISSUER), targets.key(KEY), targets.everyone()], ids=lambda t: t.kind
)
def test_a_kill_of_issuer_key_or_everyone_disables_too(bench: Bench, wide: targets.Target) -> None:
    """A badge that every guard would deny is not issued."""
    bench.fabric.kill(wide)
    assert stands(bench).state is State.DISABLED


def test_a_kill_of_older_badges_spares_the_next(bench: Bench) -> None:
    """What was issued before is dead; the agent is not."""
    bench.fabric.kill(targets.session("s1"))
    assert stands(bench).state is State.ACTIVE


def test_a_view_that_is_not_fresh_cannot_tell(bench: Bench) -> None:
    """Neither yes nor no; and what it knew, it knows still when it is fresh again."""
    bench.fresh = False
    with pytest.raises(CannotTell):
        stands(bench)
    bench.fresh = True
    assert stands(bench).state is State.ACTIVE


def test_a_known_kill_is_told_also_while_the_view_is_not_fresh(bench: Bench) -> None:
    """As guards do (I3): what is known is refused, what is not known is not issued."""
    bench.fabric.kill(targets.agent(DID))
    bench.fresh = False
    assert stands(bench).state is State.DISABLED
