"""The trust file as a chain: each version follows from the one before, and none is taken back."""

import msgspec
import pytest

from rescind_protocol import events, trust
from rescind_protocol.changes import Kill
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import (
    Malformed,
    RescindError,
    TrustBroken,
    TrustGap,
    Untrusted,
)
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import agent, everyone
from rescind_protocol.trust import ALL_RIGHTS, Rights, Trust
from tests.fakes.fabric import (
    APPROVER,
    FABRIC,
    PUBLISHER,
    ROOT,
    SECOND,
    STRANGER,
    Log,
    key_of,
    make_trust,
    next_trust,
    trust_file,
    trusted,
)

NEW_ROOT = key_of("root 2")
KILL = Kill(target=agent("did:web:acme.example:x1"))


def chain(*raws: bytes, first: Trust | None = None) -> Trust:
    """Return the trust after these versions."""
    at = first or make_trust()
    for raw in raws:
        at = trust.extend(at, raw)
    return at


def reread(at: Trust, root: SigningKey = ROOT) -> Trust:
    """Return the same from its file."""
    return trust.read(b"\n".join(at.raws), root=root.public, fabric=FABRIC)


def test_versions_follow_each_other_and_a_file_holds_them_all() -> None:
    """Three versions, one by one or from the file: the same trust, and the same digest."""
    at = chain(next_trust(make_trust()))
    at = chain(next_trust(at, keys={SECOND.kid: None}), first=at)
    assert at.version == 3
    assert SECOND.kid not in at.signers
    assert reread(at).digest == at.digest
    assert [trust.is_version(raw) for raw in at.raws] == [True] * 3


def test_an_older_version_is_refused_and_so_is_the_one_that_is_gone_by() -> None:
    """Rollback: the root's own signature does not help (attack D)."""
    first = make_trust()
    second = chain(next_trust(first))
    for raw in second.raws:
        with pytest.raises(TrustBroken, match="no version is ever taken back"):
            trust.extend(second, raw)


def test_a_version_that_skips_one_has_to_wait() -> None:
    """Without the version in between nobody could tell what became of a key."""
    first = make_trust()
    second = chain(next_trust(first))
    third = next_trust(second)
    with pytest.raises(TrustGap, match="in between"):
        trust.extend(first, third)
    assert chain(second.raws[1], third).version == 3


def test_two_histories_of_one_root_are_told_apart() -> None:
    """Whoever went by one version 2 does not go by the successor of another."""
    first = make_trust()
    here, there = chain(next_trust(first)), chain(next_trust(first, keys={SECOND.kid: None}))
    with pytest.raises(TrustBroken, match="two histories"):
        trust.extend(here, next_trust(there))
    with pytest.raises(TrustBroken, match="two trust versions 2"):
        trust.catch_up(here, there.raws)


def test_a_version_by_another_root_or_for_another_fabric_is_refused() -> None:
    """As the first one is."""
    first = make_trust()
    file = msgspec.structs.replace(first.file, version=2)
    with pytest.raises(Untrusted, match="not signed"):
        trust.extend(first, trust.sign(file, STRANGER).splitlines()[-1])
    other = make_trust(fabric="staging")
    with pytest.raises(Untrusted, match="fabric 'staging'"):
        trust.extend(first, next_trust(other))


def test_a_new_root_signs_together_with_the_old_one() -> None:
    """From the version after that it signs alone, and the old one no more."""
    first = make_trust()
    second = chain(next_trust(first, new_root=NEW_ROOT))
    third = chain(next_trust(second, root=NEW_ROOT), first=second)
    assert reread(third).version == 3
    with pytest.raises(Untrusted, match="not signed"):
        trust.extend(second, _signed(second, ROOT, ROOT))


def _signed(before: Trust, key: SigningKey, root: SigningKey) -> bytes:
    """Return the next version naming `root`, signed by `key` alone."""
    file = msgspec.structs.replace(
        before.file, version=before.version + 1, prev=before.digest, root=b64url_encode(root.public)
    )
    return trust._signed(file, key)


def test_a_new_root_that_has_not_signed_is_refused() -> None:
    """A key that nobody has would end the chain, and one that was forced in needs its owner."""
    first = make_trust()
    with pytest.raises(Untrusted, match="new root that has not signed"):
        trust.extend(first, _signed(first, ROOT, NEW_ROOT))
    forged = _signed(first, ROOT, NEW_ROOT) + b" " + _signed(first, STRANGER, NEW_ROOT)
    with pytest.raises(Untrusted, match="new root that has not signed"):
        trust.extend(first, forged)
    with pytest.raises(Malformed, match="no new root"):
        trust.extend(first, _signed(first, ROOT, ROOT) + b" " + _signed(first, ROOT, ROOT))


def test_a_revoked_key_stays_revoked() -> None:
    """Else what it was cut for would count again."""
    log = Log(SECOND, "soc-b")
    log.write(KILL)
    second = chain(next_trust(make_trust(), cuts={SECOND.kid: {log.id: log.cut(1)}}))
    assert second.signers[SECOND.kid].revoked
    with pytest.raises(TrustBroken, match="trusted again"):
        next_trust(second, keys={SECOND.kid: trusted(SECOND, "soc-b")})


def test_a_line_says_since_when_its_key_is_read_so() -> None:
    """`sign` writes it, and a version that says otherwise is refused."""
    first = make_trust()
    less = trusted(SECOND, "soc-b", Rights(kill=ALL_RIGHTS.kill))
    second = chain(next_trust(first, keys={SECOND.kid: less}))
    assert second.signers[SECOND.kid].since == 2
    assert second.signers[PUBLISHER.kid].since == 1
    lie = msgspec.structs.replace(
        second.file,
        keys=tuple(msgspec.structs.replace(key, since=1) for key in second.file.keys),
    )
    with pytest.raises(TrustBroken, match="change"):
        trust.extend(first, trust._signed(lie, ROOT))


def test_only_events_up_to_the_cut_count_of_a_revoked_key() -> None:
    """By number and digest, whatever time they carry; logs not named are void wholly."""
    log, other = Log(SECOND, "soc-b"), Log(SECOND, "soc-b", "run 2")
    for each in (log, other):
        each.write(KILL)
        each.write(KILL)
    at = chain(next_trust(make_trust(), cuts={SECOND.kid: {log.id: log.cut(1)}}))
    assert trust_of_event(log.raws[0], at) == "APPLIED"
    assert trust_of_event(log.raws[1], at) == "BEYOND_CUT"
    assert trust_of_event(log.branch(0).write(KILL, at=5), at) == "BEYOND_CUT"
    assert trust_of_event(other.raws[0], at) == "BEYOND_CUT"


def trust_of_event(raw: bytes, at: Trust) -> str:
    """Return what becomes of an event."""
    try:
        return Replica(at.cut).apply(events.authenticate(raw, at)).name
    except RescindError as error:
        return error.code


def test_an_approval_by_a_revoked_key_counts_up_to_its_cut() -> None:
    """The cut names the log that was approved in; a wide kill beyond it is void."""
    log = Log(approver=APPROVER)
    for _ in range(2):
        log.write(Kill(target=everyone()))
    at = chain(next_trust(make_trust(), cuts={APPROVER.kid: {log.id: log.cut(1)}}))
    assert [events.authenticate(raw, at).void for raw in log.raws] == [0, 1]


# --- whether a state still holds ---


def image_of(*logs: Log, at: Trust | None = None) -> Image:
    """Return the state that these logs make."""
    replica = Replica()
    for log in logs:
        for raw in log.raws:
            replica.apply(events.authenticate(raw, at or make_trust()))
    return replica.image()


def two_kills(key: SigningKey = SECOND, name: str = "soc-b") -> Log:
    """Return a log with two kills."""
    log = Log(key, name)
    log.write(KILL)
    log.write(KILL)
    return log


def test_a_state_holds_while_the_keys_of_its_logs_are_read_the_same() -> None:
    """A new key, another quota, a head's right: nothing that has been read means anything else."""
    image, log = image_of(two_kills()), two_kills()
    new = trusted(STRANGER, "new")
    more = msgspec.structs.replace(ALL_RIGHTS, quota=7, head=False, snapshot=False)
    at = chain(next_trust(make_trust(), keys={"new": new}))
    at = chain(next_trust(at, keys={SECOND.kid: trusted(SECOND, "soc-b", more)}), first=at)
    assert at.reads_alike(image, 1)
    at = chain(next_trust(at, cuts={SECOND.kid: {log.id: log.cut(2)}}), first=at)
    assert at.reads_alike(image, 1)


def test_a_state_does_not_hold_where_a_right_has_come_or_gone() -> None:
    """What was void counts now, or the reverse: it has to be read again."""
    image = image_of(two_kills())
    less = trusted(SECOND, "soc-b", Rights(kill=ALL_RIGHTS.kill))
    at = chain(next_trust(make_trust(), keys={SECOND.kid: less}))
    assert not at.reads_alike(image, 1)
    assert at.reads_alike(image, 2)
    assert at.reads_alike(image_of(two_kills(PUBLISHER, "soc")), 1)


def test_a_state_does_not_hold_beyond_a_cut_nor_without_its_key() -> None:
    """Whatever version it was made by; and a newer version's state is not ours to judge."""
    log = two_kills()
    image = image_of(log)
    at = chain(next_trust(make_trust(), cuts={SECOND.kid: {log.id: log.cut(1)}}))
    assert not at.reads_alike(image, 1)
    assert not at.reads_alike(image, 2)
    assert not chain(next_trust(make_trust(), keys={SECOND.kid: None})).reads_alike(image, 1)
    assert not make_trust().reads_alike(image, 2)


def test_a_revoked_approver_makes_every_older_state_doubtful() -> None:
    """Its approvals may be in any log."""
    image = image_of(two_kills())
    at = chain(next_trust(make_trust(), cuts={APPROVER.kid: {}}))
    assert not at.reads_alike(image, 1)
    assert at.reads_alike(image, 2)


def test_trust_may_not_require_a_publisher_whose_key_is_revoked() -> None:
    """Nothing would ever be fresh."""
    with pytest.raises(Malformed, match="no key for heads"):
        next_trust(make_trust(), cuts={PUBLISHER.kid: {}})


def test_a_file_without_its_end_or_with_noise_is_refused() -> None:
    """Each line is a version, and none is skipped."""
    at = chain(next_trust(make_trust()))
    with pytest.raises(RescindError):
        trust.read(b"\n".join(at.raws)[:-9], root=ROOT.public, fabric=FABRIC)
    with pytest.raises(RescindError):
        trust.read(at.raws[0] + b"\nnoise", root=ROOT.public, fabric=FABRIC)
    assert trust.sign(trust_file(), ROOT) == make_trust().raws[0]
