"""Trust over restarts: what was gone by is kept, and a subscriber that runs takes the next one."""

import logging
from math import inf
from pathlib import Path

import pytest

from rescind_guard.metrics import Counter
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Kill, Retract, RevocationId
from rescind_protocol.errors import TrustBroken
from rescind_protocol.trust import Trust
from rescind_subscriber.errors import TrustUnkept
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.joined import Joined
from rescind_subscriber.subscriber import Subscriber
from rescind_subscriber.trust_file import FILE_NAME, TrustKept
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, ROOT, SECOND, Log, make_trust, next_trust
from tests.fakes.following import QUICK, following, victim
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until


def extended(trust: Trust, count: int = 1) -> Trust:
    """Return the trust with so many more versions."""
    for _ in range(count):
        trust = trusts.extend(trust, next_trust(trust))
    return trust


def test_the_longest_chain_is_kept_and_gone_by(tmp_path: Path) -> None:
    """Whatever is given at the next start, and whoever keeps an older one after it."""
    kept, first = TrustKept(tmp_path), make_trust()
    third = extended(first, 2)
    assert kept.newest(first) is first
    kept.keep(third)
    kept.keep(first)
    assert kept.newest(first).version == 3
    assert kept.newest(third).digest == third.digest
    longer = extended(third)
    assert TrustKept(tmp_path).newest(longer) is longer


def test_another_history_and_one_with_a_gap_are_refused(tmp_path: Path) -> None:
    """An operator's mistake, or an attack: it is said, and what to do."""
    kept, first = TrustKept(tmp_path), make_trust()
    kept.keep(extended(first))
    fork = trusts.extend(first, next_trust(first, keys={SECOND.kid: None}))
    with pytest.raises(TrustBroken, match=r"two trust versions 2.*remove that one"):
        kept.newest(fork)
    alone = extended(first, 3).raws[-1]
    with pytest.raises(TrustBroken, match="none in common"):
        kept.newest(trusts.read(alone, root=ROOT.public, fabric=FABRIC))


def test_what_was_never_signed_is_not_kept(tmp_path: Path) -> None:
    """A trust that a program made of its own: an empty file would refuse the next start."""
    kept, signed = TrustKept(tmp_path), make_trust()
    kept.keep(Trust(signed.file))
    assert kept.newest(signed) is signed
    assert not (tmp_path / FILE_NAME).exists()


def test_without_a_folder_nothing_is_kept() -> None:
    """And nothing fails."""
    kept = TrustKept(None)
    kept.keep(make_trust())
    assert kept.newest(make_trust()).version == 1


def test_what_is_kept_is_private_and_whole(tmp_path: Path) -> None:
    """A file that was cut is refused, not read up to there."""
    TrustKept(tmp_path).keep(extended(make_trust()))
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(TrustUnkept, match=r"trust\.jws is damaged"):
        TrustKept(tmp_path).newest(make_trust())


@pytest.mark.parametrize("damage", [b"\xff\n", b"a.b.c\n", b"e30.e30.e30\n"])
def test_a_damaged_file_keeps_no_version_from_being_gone_by(tmp_path: Path, damage: bytes) -> None:
    """It ended the subscriber in the midst of the version that revokes a stolen key."""
    first = make_trust()
    kept = TrustKept(tmp_path)
    kept.keep(first)
    joined = Joined(first, Counter(), Faults(FakeClock()))
    said: list[str] = []

    def keep(trust: Trust) -> None:
        try:
            kept.keep(trust)
        except TrustUnkept as error:  # as the subscriber does
            said.append(str(error))

    joined.on_trust = [keep]
    (tmp_path / FILE_NAME).write_bytes(damage)
    joined.take_version(next_trust(first, cuts={SECOND.kid: {}}))
    assert joined.trust.version == 2
    assert "is damaged" in said[0]
    with Subscriber(first, list, config=QUICK, state_dir=tmp_path) as at:
        assert at.trust.version == 1
        assert at.status().faults[Fault.TRUST_UNKEPT]


def test_a_subscriber_that_was_given_an_older_file_goes_by_what_it_had(tmp_path: Path) -> None:
    """Rollback of the configured file: no key that was revoked is trusted again."""
    first = make_trust()
    revoked = trusts.extend(first, next_trust(first, cuts={SECOND.kid: {}}))
    with Subscriber(revoked, list, config=QUICK, state_dir=tmp_path):
        pass
    again = Subscriber(first, list, config=QUICK, state_dir=tmp_path)
    with again:
        assert again.trust.version == 2
        assert again.trust.signers[SECOND.kid].revoked


async def test_a_running_subscriber_takes_the_next_version_and_what_was_void_by_it() -> None:
    """Without a restart: the key's new kill is nothing, its cut reinstatement is undone."""
    source, soc, thief = ScriptedSource(), Log(), Log(SECOND, "soc-b")
    source.stored = [soc.write(Kill(target=victim(1)))]
    source.stored.append(thief.write(Kill(target=victim(2))))
    undo = Retract(target=victim(1), names=(RevocationId(soc.id, 1, 0),))
    source.stored.append(thief.write(undo))
    async with following(source) as at:
        await until(lambda: at.denies(victim(2)))
        assert not at.denies(victim(1))
        version = next_trust(make_trust(), cuts={SECOND.kid: {thief.id: thief.cut(1)}})
        source.stored.append(version)
        source.say(version)
        source.head(soc)
        await until(lambda: at.denies(victim(1)))
        assert at.denies(victim(2))
        assert not at.follower.trouble
        source.say(thief.write(Kill(target=victim(3))))
        assert not at.denies(victim(3))
        captured = at.follower.capture()
        assert captured is not None
        assert captured.trust == 2


async def test_a_restart_in_the_middle_of_rebuilding_rebuilds_again(tmp_path: Path) -> None:
    """What serves is kept as what it is: read by the version before."""
    source, soc, thief = ScriptedSource(), Log(), Log(SECOND, "soc-b")
    source.stored = [soc.write(Kill(target=victim(1)))]
    undo = Retract(target=victim(1), names=(RevocationId(soc.id, 1, 0),))
    source.stored.append(thief.write(undo))
    version = next_trust(make_trust(), cuts={SECOND.kid: {}})
    async with following(source, folder=tmp_path) as at:
        await until(lambda: len(at.follower.reconciler.replica.vector) == 2)
        source.outage = "no broker"
        source.say(version)
        assert at.follower.trouble["rebuild"]
    trust = trusts.extend(make_trust(), version)
    async with following(source, folder=tmp_path, trust=trust) as at:
        await until(lambda: at.follower.reconciler.joined.rebuilding)
        assert not at.denies(victim(1))
        source.outage = ""
        source.mend()
        await until(lambda: source.reads[-1] is None)
        source.head(soc)
        await until(lambda: at.denies(victim(1)))
        assert at.age_s == 0


async def test_an_older_trust_than_before_makes_nothing_fresh(tmp_path: Path) -> None:
    """The file of the newer one is gone, but not the memory that there was one."""
    source, soc = ScriptedSource(), Log()
    source.stored = [soc.write(Kill(target=victim(1)))]
    trust = extended(make_trust())
    async with following(source, folder=tmp_path, trust=trust) as at:
        await until(lambda: at.denies(victim(1)))
    async with following(source, folder=tmp_path) as at:
        await until(lambda: source.feed)
        source.head(soc)
        assert at.age_s == inf
        source.say(trust.raws[1])
        source.head(soc, time_s=1_800_000_001)
        await until(lambda: at.follower.reconciler.joined.settled)


def test_trust_that_cannot_be_kept_is_gone_by_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk must not keep a stolen key in force."""
    (tmp_path / "file").touch()
    with (
        caplog.at_level(logging.ERROR),
        Subscriber(make_trust(), list, config=QUICK, state_dir=tmp_path / "file") as at,
    ):
        assert at.trust.version == 1
        assert at.status().faults[Fault.TRUST_UNKEPT] == 1
    assert "will not remember trust version 1" in caplog.text
