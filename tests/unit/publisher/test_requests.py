"""From what is said to the change that is signed: defaults, bad input, rights."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rescind_protocol import jws
from rescind_protocol.changes import Effect, Kill, Reinstate, Retract, Revocation, RevocationId
from rescind_protocol.targets import Kind, Target, badge, everyone
from rescind_protocol.trust import ALL_RIGHTS, Rights, Signer
from rescind_publisher import plans
from rescind_publisher.asks import Ask, badge_of, default_actor, to_spec
from rescind_publisher.errors import BadRequest, NothingLive, NotPermitted
from rescind_publisher.plans import Plan
from rescind_publisher.requests import EndRequest, KillRequest
from rescind_publisher.rights import check_approver, check_rights, signer_of
from tests.fakes.fabric import APPROVER, NOW, PUBLISHER, SECOND, STRANGER, make_trust
from tests.fakes.publishing import config, target

BADGE = badge("https://reg.example", "j-1")
LOG = "a" * 11 + "-" + "b" * 22


def kill_of(target: Target | str, **said: Any) -> Kill:
    """Return the kill that is signed for what was said."""
    request = KillRequest(kills=(to_spec(Ask(target=target, **said)),), actor="ann")
    (change,) = plans.kill(request, now=NOW + 0.5, horizon=NOW - 60).changes
    assert isinstance(change, Kill)
    return change


@pytest.mark.parametrize(
    ("on", "said", "expires_at"),
    [
        (BADGE, {}, NOW + 3900),
        (BADGE, {"badge_exp": NOW + 300}, NOW + 480),
        (BADGE, {"badge_exp": NOW + 86_400}, NOW + 3900),
        (target(), {}, None),
        (everyone(), {}, None),
        (target(), {"expires": 60}, NOW + 60),
        (target(), {"expires": timedelta(minutes=2)}, NOW + 120),
        (target(), {"expires": datetime.fromtimestamp(NOW + 9, tz=UTC)}, NOW + 9),
        (BADGE, {"expires": 60, "badge_exp": NOW + 300}, NOW + 60),
    ],
)
def test_when_a_kill_expires(on: Target, said: dict[str, Any], expires_at: int | None) -> None:
    """By default a badge's kill outlives the badge, and any other lasts until it is ended (I8)."""
    assert kill_of(on, **said).expires_at == expires_at


def test_a_kill_says_what_was_said() -> None:
    """Reasons, effect, actor and the spared badges are carried over."""
    kill = kill_of(
        target(),
        reason="exfiltration",
        reason_admin="INC-412",
        reason_user="call the desk",
        effect=Effect.ISSUANCE,
        issued_before=datetime.fromtimestamp(NOW, tz=UTC),
    )
    assert kill == Kill(
        target=target(),
        reason="exfiltration",
        reason_admin="INC-412",
        reason_user="call the desk",
        effect=Effect.ISSUANCE,
        issued_before=NOW,
        actor="ann",
    )


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"expires": 0}, "more than 0 seconds"),
        ({"expires": datetime(2027, 1, 1)}, "no zone"),  # noqa: DTZ001 - that is the point
        ({"expires": datetime.fromtimestamp(NOW - 1, tz=UTC)}, "over before it began"),
        ({"issued_before": -1}, "must not be negative"),
        ({"reason_admin": "x" * 1025}, "limit 1024"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], says: str) -> None:
    """One sentence that names what to change."""
    with pytest.raises(BadRequest, match=says):
        kill_of(target(), **said)


def test_a_target_that_is_not_canonical_is_refused() -> None:
    """A kill spelled differently from the badge it means would stop nothing."""
    with pytest.raises(BadRequest, match="canonical"):
        kill_of(Target(Kind.AGENT, "", "did:WEB:Acme.example"))


def token(**claims: Any) -> str:
    """Return a badge's token with these claims."""
    return jws.sign(msgspec.json.encode(claims), typ="JWT", key=STRANGER).decode()


@pytest.mark.parametrize("exp", [NOW - 150, NOW + 300, NOW + 10**9, "never", -1, None, 2.5])
def test_a_token_names_its_own_badge_and_its_exp_is_not_believed(exp: object) -> None:
    """Issuer and jti in canonical form; the kill outlives the longest badge there may be."""
    raw = token(iss="https://REG.example/", jti="j-1", exp=exp, iat=NOW - 9999, nbf=NOW - 9999)
    assert badge_of(raw) == BADGE
    assert kill_of(raw) == kill_of(BADGE)
    assert kill_of(raw).expires_at == NOW + 3900
    assert kill_of(raw, badge_exp=NOW + 300).expires_at == NOW + 480


@pytest.mark.parametrize(
    "raw", ["", "agent", "a.b.c", token(iss="https://reg.example"), token(jti=1)]
)
def test_what_is_no_token_is_refused_without_showing_it(raw: str) -> None:
    """The sentence holds nothing of what was given."""
    with pytest.raises(BadRequest) as caught:
        badge_of(raw)
    assert str(caught.value) == "this is neither a target nor a badge's token"


def live(*seqs: int) -> list[Revocation]:
    """Return live kills with these numbers."""
    return [Revocation(RevocationId(LOG, n, 0), Kill(target=target()), NOW) for n in seqs]


def end_of(found: list[Revocation], on: Target | None = None, **said: Any) -> Plan:
    """Plan the end of what is live."""
    return plans.end(EndRequest(target=on or target(), **said), found, now=NOW)


def test_a_reinstatement_names_every_live_kill_once() -> None:
    """Own and followed state may both hold a kill; the floor is a skew from now."""
    plan = end_of(live(2, 1, 2))
    names = (RevocationId(LOG, 1, 0), RevocationId(LOG, 2, 0))
    assert plan.changes == (Reinstate(target=target(), names=names, floor=NOW + 60),)
    assert (plan.ended, plan.floor) == (names, NOW + 60)


def test_the_end_of_a_suspension_kills_no_badge() -> None:
    """Where only the issuing was stopped no badge was dead, and none dies by the agent's return."""
    suspended = Kill(target=target(), effect=Effect.ISSUANCE)
    plan = end_of([Revocation(RevocationId(LOG, 1, 0), suspended, NOW)])
    assert [c.floor for c in plan.changes if isinstance(c, Reinstate)] == [0]
    assert plan.floor is None
    mixed = end_of([Revocation(RevocationId(LOG, 1, 0), suspended, NOW), *live(2)])
    assert mixed.floor == NOW + 60


def test_a_retraction_has_no_floor() -> None:
    """Every badge that it killed lives again."""
    plan = end_of(live(1), retract=True)
    assert plan.changes == (Retract(target=target(), names=(RevocationId(LOG, 1, 0),)),)
    assert plan.floor is None


def test_very_many_kills_are_ended_in_several_changes() -> None:
    """A change names 1024 kills at most."""
    plan = end_of(live(*range(1, 2000)), floor=NOW)
    assert [len(c.names) for c in plan.changes if isinstance(c, Reinstate)] == [1024, 975]


def test_nothing_live_is_an_error() -> None:
    """Reinstating what is not killed would be reported and mean nothing."""
    with pytest.raises(NothingLive, match=r"no kill of agent did:web:acme\.example:x7 is in force"):
        end_of([])


def test_a_badge_is_retracted_and_never_reinstated() -> None:
    """Its iat never changes, so that it would stay under the floor."""
    with pytest.raises(BadRequest, match="retract"):
        end_of(live(1), BADGE)
    assert end_of(live(1), BADGE, retract=True).changes


def test_a_floor_far_ahead_is_refused() -> None:
    """Subscribers would find it void, for nothing could ever end it."""
    with pytest.raises(BadRequest, match="300 s ahead"):
        end_of(live(1), floor=NOW + 301)


def signer(rights: Rights) -> Signer:
    """Return a signer with these rights."""
    return Signer(PUBLISHER.kid, PUBLISHER.public, "soc", rights, None)


NO_AGENTS = Rights(kill=(Kind.BADGE,), head=True)


@pytest.mark.parametrize(
    ("change", "rights", "approved", "says"),
    [
        (Kill(target=target()), NO_AGENTS, False, "does not let 'soc' kill agent"),
        (Kill(target=everyone()), ALL_RIGHTS, False, "to kill everyone takes a second key"),
        (end_of(live(1)).changes[0], NO_AGENTS, False, "does not let 'soc' reinstate agent"),
    ],
)
def test_what_subscribers_would_ignore_is_refused(
    change: Kill | Reinstate, rights: Rights, *, approved: bool, says: str
) -> None:
    """No receipt for a kill that is void everywhere."""
    with pytest.raises(NotPermitted, match=says):
        check_rights(Plan((change,)), signer(rights), approved=approved)


def test_a_second_key_makes_wide_kills_possible(tmp_path: Path) -> None:
    """An approver that the trust file knows as one."""
    found = signer_of(make_trust(), PUBLISHER, config(tmp_path))
    check_approver(make_trust(), APPROVER, found)
    check_rights(Plan((Kill(target=everyone()),)), found, approved=True)
    with pytest.raises(NotPermitted, match="approve"):
        check_approver(make_trust(), SECOND, found)


def test_a_key_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    """Also one that the trust file knows under another name."""
    with pytest.raises(NotPermitted, match="not in the trust file"):
        signer_of(make_trust(), STRANGER, config(tmp_path))
    with pytest.raises(NotPermitted, match="as 'soc-b' of fabric 'test', not as 'soc'"):
        signer_of(make_trust(), SECOND, config(tmp_path))
    with pytest.raises(NotPermitted, match="does not let 'soc' sign heads"):
        signer_of(_headless(), PUBLISHER, config(tmp_path))


def _headless() -> Any:
    trust = make_trust()
    trust.signers[PUBLISHER.kid] = signer(Rights(kill=(Kind.AGENT,)))
    return trust


def test_the_default_actor_is_user_and_host() -> None:
    """Somebody is always named."""
    assert "@" in default_actor()
