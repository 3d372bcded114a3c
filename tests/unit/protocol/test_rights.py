"""Rights, approvals by a second key, and changes that are void."""

import msgspec
import pytest

from rescind_protocol import events
from rescind_protocol.approvals import Approval
from rescind_protocol.changes import Change, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import Kind, agent, badge, everyone, issuer, session
from rescind_protocol.trust import ALL_RIGHTS, Rights
from tests.fakes.fabric import (
    APPROVER,
    NOW,
    PUBLISHER,
    SECOND,
    STRANGER,
    Log,
    approval,
    event_claims,
    log_id,
    make_trust,
    sign_claims,
)

TRUST = make_trust()
AGENT = agent("did:web:acme.example:x7")
HERE = "https://reg.example"
NAMES = (RevocationId(log_id(SECOND), 7, 0),)


def said(*changes: Change, rights: Rights) -> tuple[int, int]:
    """Return how many changes by a key with `rights` count, and how many are void."""
    event = Log().event(*changes, trust=make_trust(rights=rights))
    return len(event.changes), event.void


def test_each_kind_and_each_direction_is_a_right_of_its_own() -> None:
    """A key that may kill agents may neither kill sessions nor reinstate agents."""
    only = Rights(kill=(Kind.AGENT,), head=True)
    assert said(Kill(target=AGENT), rights=only) == (1, 0)
    assert said(Kill(target=session("s")), rights=only) == (0, 1)
    assert said(Retract(target=AGENT, names=NAMES), rights=only) == (0, 1)
    assert said(Reinstate(target=AGENT, names=NAMES, floor=0), rights=only) == (0, 1)


def test_rights_end_at_the_issuers_named() -> None:
    """A key for one issuer touches neither another's badges nor another itself."""
    only = Rights(kill=(Kind.BADGE, Kind.AGENT), issuers=(HERE,), head=True)
    assert said(Kill(target=badge(HERE, "1")), rights=only) == (1, 0)
    assert said(Kill(target=badge("https://other.example", "1")), rights=only) == (0, 1)


def test_a_void_change_keeps_the_numbers_of_the_others() -> None:
    """Ids count all changes, so that every reader gives the same kill the same id."""
    only = Rights(kill=(Kind.AGENT,), head=True)
    event = Log().event(
        Kill(target=session("s")), Kill(target=AGENT), trust=make_trust(rights=only)
    )
    assert [index for index, _ in event.changes] == [1]
    assert event.void == 1


@pytest.mark.parametrize("target", [issuer(HERE), everyone()])
@pytest.mark.parametrize("approver", [None, PUBLISHER, STRANGER, SECOND])
def test_a_wide_kill_without_a_second_key_with_the_right_is_void(
    target: Kill, approver: SigningKey | None
) -> None:
    """No approval, one's own, a stranger's, or a key's that may kill but not approve."""
    event = Log(approver=approver).event(Kill(target=target), Kill(target=AGENT))  # type: ignore[arg-type]
    assert [change.target for _, change in event.changes] == [AGENT]
    assert event.void == 1


@pytest.mark.parametrize("target", [issuer(HERE), everyone()])
def test_a_wide_kill_with_an_approval_counts(target: Kill) -> None:
    """The control: the approver's key is what makes the difference."""
    assert Log(approver=APPROVER).event(Kill(target=target)).void == 0  # type: ignore[arg-type]


def test_an_approver_may_not_approve_itself() -> None:
    """Even a key with every right needs another one."""
    trust = make_trust(rights=msgspec.structs.replace(ALL_RIGHTS, approve=True))
    assert Log(approver=PUBLISHER).event(Kill(target=everyone()), trust=trust).void == 1


WIDE = [{"op": "kill", "target": {"kind": "everyone"}}]
RAW = msgspec.json.encode(WIDE)


@pytest.mark.parametrize(
    ("attached", "void"),
    [
        ([approval(RAW, Log())], 0),
        ([], 1),
        ([approval(RAW, Log(), seq=2)], 1),
        ([approval(RAW, Log(run="run 2"))], 1),
        ([approval(RAW, Log(fabric="staging"))], 1),
        ([approval(RAW + b" ", Log())], 1),
        ([approval(RAW, Log(), key=STRANGER)], 1),
        (["", "a.b.c", "\u00e9", "x" * 5000], 1),
        (["x", approval(RAW, Log())], 0),
    ],
)
def test_an_approval_serves_exactly_one_event(attached: list[str], void: int) -> None:
    """Another number, log, fabric or change, and it approves nothing."""
    raw = sign_claims({**event_claims(Log(), WIDE), "approvals": attached})
    assert events.authenticate(raw, TRUST).void == void


def test_an_approval_is_its_own_type() -> None:
    """The approver's signature under another typ approves nothing."""
    good = Approval(1, "test", Log().id, 1, b64url_encode(events.digest_of(RAW)))
    for typ, void in (("rescind-approval+jwt", 0), ("JWT", 1), (events.TYP, 1)):
        attached = sign_claims(good, key=APPROVER, typ=typ).decode()
        raw = sign_claims({**event_claims(Log(), WIDE), "approvals": [attached]})
        assert events.authenticate(raw, TRUST).void == void


def _denied(target: Change, approver: SigningKey | None) -> bool:
    replica = Replica()
    replica.apply(Log(approver=approver).event(target))
    found = replica.table.get(target.target.digest)
    return found is not None and found.cut >= NOW


def test_a_floor_on_everyone_needs_the_second_key_too() -> None:
    """A floor denies what was issued before it: one key's reinstatement must not be a wide kill."""
    reinstate = Reinstate(target=everyone(), names=NAMES, floor=NOW)
    assert not _denied(reinstate, None)
    assert _denied(reinstate, APPROVER)


def test_a_retraction_of_a_wide_kill_needs_one_key() -> None:
    """It denies nobody anything."""
    assert Log().event(Retract(target=everyone(), names=NAMES)).void == 0


def test_a_floor_far_ahead_is_void() -> None:
    """Nothing ends a floor: one in a far year would be a kill for good (attack A1.5)."""
    for floor, denied in (
        (NOW, True),
        (NOW + 300, True),
        (NOW + 86_400, False),
        (2**40 - 1, False),
    ):
        assert _denied(Reinstate(target=AGENT, names=NAMES, floor=floor), None) is denied
