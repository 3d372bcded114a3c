"""A key revoked with a cut, a publisher retired: what was void is rebuilt without losing a kill."""

from dataclasses import dataclass, field
from math import inf

import msgspec
import pytest

from rescind_protocol import events, snapshots
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Kill, Reinstate, Retract, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_HEAD_AHEAD_S, MAX_UNIX_S
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.targets import Target, agent
from rescind_protocol.trust import ALL_RIGHTS, Rights, Trust
from rescind_subscriber.listeners import Applied, Merged
from rescind_subscriber.rebuild import Rebuild
from tests.fakes.fabric import (
    PUBLISHER,
    SECOND,
    Log,
    head_of,
    key_of,
    make_trust,
    next_trust,
    retirement,
    sign_head,
    trusted,
)
from tests.fakes.step import Step

X, Y, Z = (agent(f"did:web:acme.example:{name}") for name in "xyz")
BOTH = ("soc", "soc-b")


def trust_of_two() -> Trust:
    """Return the trust of a fabric that requires two publishers."""
    return trusts.extend(make_trust(), next_trust(make_trust(), required=BOTH))


@dataclass
class Two(Step):
    """A subscriber of two publishers, and a broker that stores everything."""

    trust: Trust = field(default_factory=trust_of_two)
    other: Log = field(default_factory=lambda: Log(SECOND, "soc-b"))
    stored: list[bytes] = field(default_factory=list)

    def write(self, log: Log, *changes: Kill | Reinstate | Retract) -> None:
        """Publish one event, stored and heard."""
        self.publish(log.write(*changes))

    def publish(self, raw: bytes) -> None:
        """Store one message and hear it."""
        self.stored.append(raw)
        self.at.event(raw)

    def beat(self, *names: str, trust: int | None = None) -> None:
        """Hear a head of each publisher."""
        self.clock.pass_s(1)
        for log, key in ((self.log, PUBLISHER), (self.other, SECOND)):
            if log.publisher in (names or BOTH):
                said = head_of(
                    log, time_s=self.clock.wall(), trust=trust or self.at.joined.trust.version
                )
                self.at.head(sign_head(said, key))

    def read(self) -> None:
        """Read everything that is stored, until that brings nothing new to read."""
        rereads = -1
        while self.at.joined.rereads != rereads:
            rereads = self.at.joined.rereads
            self.at.batch(self.stored)

    def rebuilding(self) -> bool:
        """Whether the state is being built anew."""
        return self.at.joined.rebuilding

    def denies(self, target: Target, iat: int = 5) -> bool:
        """Whether the view denies a badge of the target."""
        found = self.view.published.table.get(target.digest)
        return found is not None and iat <= found.cut


def image(replica: Replica) -> bytes:
    """Return a state's bytes, without the order in which things arrived."""
    found = replica.image()
    return snapshots.encode(
        Image(
            vector=dict(sorted(found.vector.items())),
            named=found.named,
            revocations=tuple(sorted(found.revocations, key=lambda r: r.id)),
            floors=tuple(sorted(found.floors, key=lambda f: (f.target, f.log))),
            retired={k: dict(sorted(v.items())) for k, v in sorted(found.retired.items())},
        )
    )


def first_kill(log: Log) -> RevocationId:
    """Return the id of a log's first kill."""
    return RevocationId(log.id, 1, 0)


@pytest.fixture
def step() -> Two:
    """Return two publishers: one kills x and then y, the other takes the first kill back."""
    made = Two()
    made.write(made.log, Kill(target=X))
    made.write(made.log, Kill(target=Y))
    made.write(made.other, Kill(target=Z))
    made.write(made.other, Retract(target=X, names=(first_kill(made.log),)))
    made.beat()
    assert made.age_s == 0
    assert [made.denies(each) for each in (X, Y, Z)] == [False, True, True]
    return made


def revoke(step: Two, at: int) -> bytes:
    """Return the version that revokes the second publisher's key after its event `at`."""
    return next_trust(
        step.at.joined.trust,
        cuts={SECOND.kid: {step.other.id: step.other.cut(at)}},
        required=("soc",),
    )


def test_a_reinstatement_beyond_the_cut_is_void_and_its_kill_lives_again(step: Two) -> None:
    """Red-team A1.6: a join that had applied it could not take it back; built anew, it can."""
    step.publish(revoke(step, at=1))
    assert step.rebuilding()
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert [step.denies(each) for each in (X, Y, Z)] == [True, True, True]
    assert step.age_s == 0


def test_who_hears_of_the_revocation_first_has_the_same_state(step: Two) -> None:
    """Byte for byte: the order in which trust and events come decides nothing."""
    step.publish(revoke(step, at=1))
    step.read()
    step.beat("soc")
    early = Two()
    early.at.event(step.stored[-1])
    for raw in reversed(step.stored):
        early.at.event(raw)
    early.read()
    assert image(early.at.replica) == image(step.at.replica)


def test_until_it_is_built_anew_what_is_known_denies_and_nothing_is_fresh(step: Two) -> None:
    """The void reinstatement has ended a kill that nobody here knows: no proof until it is back."""
    step.publish(revoke(step, at=1))
    step.beat("soc")
    assert step.age_s == 1
    assert [step.denies(each) for each in (Y, Z)] == [True, True]
    step.write(step.log, Kill(target=X))
    assert step.denies(X)  # what comes meanwhile counts at once
    step.at.batch(step.stored[:2])
    step.beat("soc")
    assert step.rebuilding()  # the head is not covered by the new state
    step.read()
    assert not step.rebuilding()
    assert step.denies(X)


def test_without_waiting_for_all_that_it_had_a_rebuilt_state_would_lose_kills(step: Two) -> None:
    """A publisher that no head is required of: its kill is only in what the old state had."""
    third = Log(key_of("third"), "third")
    step.publish(next_trust(step.at.joined.trust, keys={"third": trusted(third.key, "third")}))
    step.write(third, Kill(target=agent("did:web:acme.example:w")))
    step.publish(revoke(step, at=1))
    without = [raw for raw in step.stored if raw not in third.raws]
    step.at.batch(without)
    step.beat("soc")
    assert step.rebuilding()  # everything required is covered, and a kill is missing
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert step.denies(agent("did:web:acme.example:w"))


def test_control_without_that_wait_the_kill_is_gone(
    step: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same scenario; the new state takes over as soon as the required heads are covered."""
    third = Log(key_of("third"), "third")
    step.publish(next_trust(step.at.joined.trust, keys={"third": trusted(third.key, "third")}))
    step.write(third, Kill(target=agent("did:web:acme.example:w")))
    monkeypatch.setattr(Rebuild, "has_all", lambda _: True)
    step.publish(revoke(step, at=1))
    step.at.batch([raw for raw in step.stored if raw not in third.raws])
    step.beat("soc")
    assert not step.rebuilding()
    assert not step.denies(agent("did:web:acme.example:w"))


def test_a_relay_is_not_told_again_what_is_read_again(step: Two) -> None:
    """Its readers have it; what is new meanwhile they get at once."""
    told: list[bytes] = []
    versions: list[int] = []

    class Recording:
        def event(self, event: Event, raw: bytes, /, *, fork: bool) -> None:
            del event, fork
            told.append(raw)

        def head(self, head: Head, raw: bytes, /) -> None: ...

        def version(self, number: int, raw: bytes, /) -> None:
            del raw
            versions.append(number)

        def merged(self, vector: object, above: object, /) -> None: ...

    step.at.relay = Recording()
    step.publish(revoke(step, at=1))
    step.read()
    step.write(step.log, Kill(target=X))
    step.beat("soc")
    assert not step.rebuilding()
    assert told == [step.log.raws[-1]]
    assert versions == [2, 3]


def test_kills_beyond_the_cut_go_and_kills_before_it_stay(step: Two) -> None:
    """And a log that the revocation does not name is void wholly."""
    unnamed = Log(SECOND, "soc-b", "run 2")
    step.write(unnamed, Kill(target=agent("did:web:acme.example:v")))
    step.write(step.other, Kill(target=agent("did:web:acme.example:w")))
    step.publish(revoke(step, at=2))
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert step.denies(Z)
    assert not step.denies(agent("did:web:acme.example:v"))
    assert not step.denies(agent("did:web:acme.example:w"))
    assert not step.denies(X)  # its retraction lies before the cut


def test_what_the_revoked_key_says_from_then_on_is_nothing(step: Two) -> None:
    """Events, heads and snapshots, and what nobody can read does not make the view stale."""
    step.publish(revoke(step, at=2))
    step.write(step.other, Kill(target=X))
    step.beat()
    assert not step.denies(X)
    assert step.at.heads.read()["untrusted"] == 1
    assert step.at.events.read()["beyond_cut"] == 1


def test_nothing_is_fresh_before_a_cut_log_is_complete() -> None:
    """A cut is the last head of its log: nobody else would prove what lies below it (I6)."""
    step = Two()
    step.other.write(Kill(target=Z))
    step.publish(revoke(step, at=1))
    step.beat("soc")
    assert step.age_s == inf
    step.publish(step.other.raws[0])
    step.beat("soc")
    assert step.age_s == 0


def test_a_stolen_key_that_forked_the_log_is_overruled_by_the_digest_of_the_cut() -> None:
    """The thief's branch was heard first; the root names the true one, and its kills come back."""
    step = Two()
    step.write(step.other, Kill(target=X))
    thief = step.other.branch(1)
    step.write(thief, Retract(target=X, names=(first_kill(step.other),)))
    step.write(step.other, Kill(target=Y))
    step.write(step.other, Kill(target=Z))
    step.beat()
    assert step.age_s == inf  # two histories: no head is covered
    step.publish(revoke(step, at=3))
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert step.age_s == 0
    assert [step.denies(each) for each in (X, Y, Z)] == [True, True, True]


def test_a_right_granted_later_revives_what_was_void() -> None:
    """The same machinery: what changes meaning is read again."""
    weak = trusted(SECOND, "soc-b", Rights(head=True))
    trust = make_trust()
    step = Two(trust=trusts.extend(trust, next_trust(trust, keys={SECOND.kid: weak})))
    step.write(step.other, Kill(target=X))
    step.beat()
    assert not step.denies(X)
    grown = trusted(SECOND, "soc-b", ALL_RIGHTS)
    step.publish(next_trust(step.at.joined.trust, keys={SECOND.kid: grown}))
    step.read()
    step.beat()
    assert step.denies(X)
    withdrawn = trusted(SECOND, "soc-b", Rights(head=True))
    step.publish(next_trust(step.at.joined.trust, keys={SECOND.kid: withdrawn}))
    assert step.denies(X)
    step.read()
    step.beat()
    assert not step.rebuilding()
    assert not step.denies(X)


# --- newer and older versions ---


def test_a_head_that_names_a_newer_version_proves_nothing_until_it_is_here(step: Two) -> None:
    """Freezing trust: the broker can hide a version as long as it can hide a kill (attack D)."""
    newer = next_trust(step.at.joined.trust)
    step.beat(trust=step.at.joined.trust.version + 1)
    assert step.age_s == 1
    assert step.at.heads.read()["newer_trust"] == 2
    step.publish(newer)
    step.beat()
    assert step.age_s == 0


def test_a_version_far_ahead_by_one_publisher_ends_with_the_version_that_revokes_it() -> None:
    """A stolen key can stop the proofs of its own publisher, not those of others, nor for ever."""
    step = Two()
    step.beat("soc")
    step.beat("soc-b", trust=10**9)
    step.beat("soc")
    assert step.age_s == inf
    step.publish(revoke_all(step, SECOND))
    step.beat("soc-b", trust=10**9)
    step.beat("soc")
    assert step.age_s == 0


def revoke_all(step: Two, key: SigningKey) -> bytes:
    """Return the version that revokes a key wholly."""
    return next_trust(step.at.joined.trust, cuts={key.kid: {}}, required=("soc",))


def test_older_and_forged_versions_change_nothing(step: Two) -> None:
    """Replayed, of another history, by a stranger: counted, and loud where the root signed them."""
    before = step.at.joined.trust
    fork = next_trust(make_trust(), keys={SECOND.kid: None})
    stranger = next_trust(before)[:-4] + b"AAAA"
    for raw in (before.raws[0], fork, stranger):
        step.at.event(raw)
    assert step.at.joined.trust is before
    counts = step.at.events.read()
    assert (counts["trust_known"], counts["trust_broken"]) == (1, 1)


def test_versions_that_come_out_of_order_are_read_again(step: Two) -> None:
    """A later one waits for the one before it, which lies in the store."""
    second = next_trust(step.at.joined.trust)
    third = next_trust(trusts.extend(step.at.joined.trust, second))
    assert step.at.event(third)
    assert step.at.joined.trust.version == 2
    step.at.batch([second, third])
    assert step.at.joined.trust.version == 4


# --- a publisher that is gone ---


def retire(step: Two, at: int | None = None) -> None:
    """Have the first publisher retire the second where it stands, or at number `at`."""
    step.publish(step.log.write(retires=(retirement(step.other, at=at),)))


def test_a_retired_publisher_is_not_waited_for(step: Two) -> None:
    """Without its heads the view would be stale; with the retirement it is proven by the others."""
    step.beat("soc")
    assert step.age_s == 1
    retire(step)
    step.beat("soc")
    assert step.age_s == 0
    assert [step.denies(each) for each in (X, Y, Z)] == [False, True, True]


def test_beyond_the_cut_of_a_retirement_all_is_void(step: Two) -> None:
    """What this one had heard, and who retired it had not: rebuilt without, like everywhere."""
    retire(step, at=1)
    assert step.rebuilding()
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert step.denies(X)
    late = Two()
    for raw in step.stored[::-1]:
        late.at.event(raw)
    late.read()
    assert image(late.at.replica) == image(step.at.replica)


def test_a_deeper_retirement_brings_back_what_a_shallower_one_made_void(step: Two) -> None:
    """It is read again, for the cursor has passed it; nothing is fresh before."""
    early = Two()
    retire(step, at=1)
    early.publish(step.stored[-1])
    third = Log(key_of("third"), "third")
    deeper = third.write(retires=(retirement(step.other, at=2),))
    added = next_trust(step.at.joined.trust, keys={"third": trusted(third.key, "third")})
    for each in (step, early):
        each.publish(added)
        each.publish(deeper)
        each.stored = [*step.stored]
        each.read()
    step.beat("soc")
    assert not step.denies(X)
    assert image(early.at.replica) == image(step.at.replica)


def test_a_retirement_that_names_what_nobody_has_stops_all_proofs_until_its_key_is_revoked() -> (
    None
):
    """As any required publisher could by its own heads; the root ends it."""
    step = Two()
    third = Log(key_of("third"), "third")
    step.publish(next_trust(step.at.joined.trust, keys={"third": trusted(third.key, "third")}))
    bogus = Log(SECOND, "soc-b", "nowhere")
    bogus.write(Kill(target=X))
    step.publish(third.write(retires=(retirement(bogus),)))
    step.beat()
    assert step.age_s == inf
    step.publish(next_trust(step.at.joined.trust, cuts={third.key.kid: {}}))
    step.read()
    step.beat()
    assert not step.at.joined.target.cuts.has_retired(SECOND.kid)
    assert step.age_s == 0


def test_who_retires_all_others_and_itself_is_retired_makes_nothing_fresh() -> None:
    """With nobody left whose heads are required, nothing is proven."""
    step = Two()
    step.publish(step.log.write(retires=(retirement(step.other),)))
    step.publish(step.other.write(retires=(retirement(step.log),)))
    step.beat()
    assert step.at.joined.required == []
    assert step.age_s == inf


def test_a_key_without_the_right_retires_nobody() -> None:
    """Nor may a key retire itself, by another name neither, or name the logs of a third."""
    step = Two()
    step.publish(
        next_trust(
            step.at.joined.trust,
            keys={
                PUBLISHER.kid: trusted(PUBLISHER, "soc", Rights(head=True, kill=ALL_RIGHTS.kill))
            },
        )
    )
    step.write(step.log, Kill(target=X))
    step.publish(step.log.write(retires=(retirement(step.other),)))
    itself = retirement(step.other)
    renamed = itself.key[:LOG_PREFIX_CHARS] + "x" * (len(itself.key) - LOG_PREFIX_CHARS)
    step.publish(step.other.write(retires=(itself,)))
    step.publish(step.other.write(retires=(msgspec.structs.replace(itself, key=renamed),)))
    step.read()
    assert not step.at.joined.target.cuts.retired


def test_a_retired_publisher_that_speaks_on_is_void_until_it_begins_a_new_log(step: Two) -> None:
    """Its heads that name what is beyond the cut say nothing; its new log counts."""
    retire(step)
    step.write(step.other, Kill(target=X))
    step.beat()
    assert not step.denies(X)
    assert step.at.heads.read()["beyond_cut"] == 1
    back = Log(SECOND, "soc-b", "run 2")
    step.write(back, Kill(target=X))
    assert step.denies(X)
    step.clock.pass_s(1)
    step.at.head(sign_head(head_of(back, time_s=step.clock.wall()), SECOND))
    assert step.at.replica.covers(head_of(back))


def test_the_heads_of_a_publishers_new_key_are_not_measured_by_the_stolen_one() -> None:
    """A thief's head from ahead made all later ones replays, and then old, until a restart."""
    step, new = Step(), key_of("new")
    assert not step.head(after_s=50)
    keys = {"new": trusted(new, "soc")}
    step.at.event(next_trust(step.trust, keys=keys, cuts={PUBLISHER.kid: {}}))
    step.clock.pass_s(1)
    said = head_of(Log(new), time_s=step.clock.wall(), trust=2)
    step.at.head(sign_head(said, new))
    step.clock.pass_s(MAX_HEAD_AHEAD_S)
    assert step.at.newest_heads() == {"soc": said.time_s}
    said = head_of(Log(new), time_s=step.clock.wall(), trust=2)
    step.at.head(sign_head(said, new))
    assert step.at.heard()["soc"].age_s == 0


def test_a_fork_that_nothing_cuts_keeps_the_kills_of_both_histories(step: Two) -> None:
    """Over-blocking until the root decides, also where no store has the second one any more."""
    fork = step.other.branch(1)
    step.at.event(fork.write(Kill(target=X)))
    assert step.denies(X)
    step.at.rebuild()
    step.publish(next_trust(step.at.joined.trust, required=("soc",)))
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert step.denies(X)
    assert step.at.replica.forked == {step.other.id}
    step.publish(revoke(step, at=1))
    for _ in range(3):
        step.read()
        step.beat("soc")
    assert not step.rebuilding()
    assert not step.at.replica.forked


# --- snapshots ---


def test_a_snapshot_that_holds_what_is_void_is_not_merged(step: Two) -> None:
    """Nor one by who did not know of the revocation: a thief's snapshot may have been merged."""
    log = step.other
    whole, part = step.at.replica.image(), Replica()
    part.apply(events.authenticate(log.raws[0], step.at.joined.trust))
    step.publish(revoke(step, at=1))
    assert not step.at.joined.usable(whole, 2)
    assert not step.at.joined.usable(whole, 3)
    assert not step.at.joined.usable(part.image(), 2)
    assert step.at.joined.usable(part.image(), 3)
    assert not step.at.joined.usable(part.image(), 4)


def test_what_a_snapshot_brings_to_a_rebuilt_state_is_told_when_it_serves(step: Two) -> None:
    """Until then no guard denies by it."""
    told: list[Applied] = []
    step.publish(revoke(step, at=1))
    step.log.write(Kill(target=agent("did:web:acme.example:v")))  # stored nowhere any more
    part = Replica()
    for raw in step.log.raws:
        part.apply(events.authenticate(raw, step.at.joined.trust))
    step.at.on_applied.append(told.append)
    step.at.merge(part.image())
    assert step.rebuilding()
    assert told == []
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert told == [Merged({step.log.id: (range(3, 4),)})]


def test_the_horizon_of_a_log_that_ended_goes_on_with_those_who_are_required(step: Two) -> None:
    """Nobody signs heads for it any more, and what expires has to go everywhere alike."""
    step.write(step.other, Kill(target=X, expires_at=int(step.clock.wall()) + 10))
    retire(step)
    assert step.denies(X)
    step.clock.pass_s(200)
    now = step.clock.wall()
    said: Head = head_of(step.log, time_s=now, horizon=int(now) - 60)
    step.at.head(sign_head(said))
    assert not step.denies(X)


def test_what_a_stolen_key_took_away_by_a_snapshot_comes_back(step: Two) -> None:
    """Its own log says nothing of it: kills dropped unnamed, and a horizon that ends them all."""
    step.write(step.log, Kill(target=X, expires_at=int(step.clock.wall()) + 1000))
    held = step.at.replica.image()
    poison = msgspec.structs.replace(held, revocations=(), horizons={step.log.id: MAX_UNIX_S - 1})
    assert step.at.joined.usable(poison, step.at.joined.trust.version)
    step.at.merge(poison)
    assert not any(map(step.denies, (X, Y, Z)))
    step.publish(revoke(step, at=len(step.other.raws)))
    assert step.rebuilding()
    assert not step.at.joined.usable(poison, step.at.joined.trust.version - 1)
    step.read()
    step.beat("soc")
    assert not step.rebuilding()
    assert [step.denies(each) for each in (X, Y, Z)] == [True, True, True]
    assert step.age_s == 0
