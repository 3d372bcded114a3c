"""Snapshots: signed by a key with that right, and whole, or refused."""

from contextlib import suppress
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import snapshots
from rescind_protocol.changes import Effect, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed, RescindError, Unreadable, Untrusted
from rescind_protocol.heads import Position
from rescind_protocol.image import Floor, Image, Link, Name
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import (
    MAX_CURSOR_CHARS,
    MAX_MANIFEST_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_SNAPSHOT_PARTS,
)
from rescind_protocol.targets import agent, session
from rescind_protocol.trust import Rights
from tests.fakes.fabric import (
    FABRIC,
    NOW,
    PUBLISHER,
    STRANGER,
    Log,
    key_of,
    log_id,
    make_trust,
    sign_claims,
    trusted,
)

TRUST = make_trust()


def image() -> Image:
    """Return the state after a kill, a reinstatement, a gap and a name to come."""
    log, replica = Log(), Replica()
    replica.apply(log.event(Kill(target=agent("did:web:acme.example"), expires_at=NOW + 60)))
    replica.apply(log.event(Kill(target=session("s"), reason_admin="INC-412")))
    log.write(Kill(target=session("never-arrives")))
    replica.apply(log.event(Reinstate(target=session("s"), names=(log.next_id(),), floor=NOW)))
    replica.apply(log.event(Retract(target=session("t"), names=(RevocationId(log.id, 9, 0),))))
    return replica.image()


def signed(key: SigningKey = PUBLISHER, fabric: str = FABRIC) -> bytes:
    """Return the signed snapshot of `image`."""
    return snapshots.make(image(), key=key, publisher="soc", fabric=fabric, trust=1, at=NOW)


def test_a_snapshot_reads_as_it_was_signed() -> None:
    """The whole state comes back, and a replica loaded from it is the same state."""
    found = snapshots.authenticate(signed(), TRUST)
    assert found == image()
    assert all((found.vector, found.above, found.named, found.revocations, found.floors))
    replica = Replica()
    replica.merge(found)
    assert replica.image() == found


def test_the_right_to_sign_snapshots_is_its_own() -> None:
    """A key that may only kill would reinstate silently by leaving kills out (attack A6)."""
    rights = Rights(kill=("agent",), reinstate=("agent",), head=True)  # type: ignore[arg-type]
    with pytest.raises(Untrusted):
        snapshots.authenticate(signed(key_of("x")), make_trust(trusted(key_of("x"), "x", rights)))
    assert snapshots.authenticate(signed(key_of("x")), make_trust(trusted(key_of("x"), "x"))).vector


def test_strangers_and_other_fabrics_are_untrusted() -> None:
    """As events are."""
    for raw in (signed(STRANGER), signed(fabric="staging")):
        with pytest.raises(Untrusted):
            snapshots.authenticate(raw, TRUST)


def _statement(**bent: object) -> bytes:
    body = snapshots.encode(image())
    good = {
        "iss": "soc",
        "aud": FABRIC,
        "ver": 1,
        "iat": NOW,
        "trust": 1,
        "size": len(body),
        "sha256": b64url_encode(sha256(body).digest()),
    }
    return sign_claims({**good, **bent}, typ=snapshots.TYP) + b"\n" + body


def test_a_newer_version_is_unreadable_and_a_bent_statement_malformed() -> None:
    """The unbent statement is the control."""
    assert snapshots.authenticate(_statement(), TRUST) == image()
    with pytest.raises(Unreadable):
        snapshots.authenticate(_statement(ver=2), TRUST)
    for bent in ({"size": 1}, {"sha256": "A" * 43}, {"extra": 1}, {"iat": "now"}):
        with pytest.raises(Malformed):
            snapshots.authenticate(_statement(**bent), TRUST)
    with pytest.raises(Malformed):
        snapshots.authenticate(sign_claims({}, typ="JWT") + b"\n", TRUST)


def test_a_cut_or_lengthened_snapshot_is_refused() -> None:
    """A half-written file never loads as an empty list (interop.md §5)."""
    raw = signed()
    for cut in (b"", b"\n", raw[:1], raw[:-1], raw[: len(raw) // 2], raw + b"\x00", b"\n" + raw):
        with pytest.raises(RescindError):
            snapshots.authenticate(cut, TRUST)


RAW = signed()


@given(st.integers(0, len(RAW) * 8 - 1))
def test_no_flipped_bit_is_taken(bit: int) -> None:
    """Anywhere: statement, line feed or body."""
    flipped = bytearray(RAW)
    flipped[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(RescindError):
        snapshots.authenticate(bytes(flipped), TRUST)


HERE = RevocationId(log_id(PUBLISHER), 1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        Image(floors=(Floor(b"", 1, HERE.log),)),
        Image(floors=(Floor(bytes(17), 1, HERE.log),)),
        Image(floors=(Floor(bytes(16), 2**60, HERE.log),)),
        Image(named=(Name(HERE, b"short"),)),
        Image(vector={HERE.log: Position(1, b"short")}),
        Image(vector={"not a log": Position(1, bytes(32))}),
        Image(vector={HERE.log: Position(-1, bytes(32))}),
        Image(above={HERE.log: {3: Link(b"", bytes(32))}}),
        Image(above={HERE.log: {-3: Link(bytes(32), bytes(32))}}),
        Image(horizons={HERE.log: -5}),
        Image(horizons={HERE.log: 2**60}),
    ],
)
def test_a_body_with_impossible_parts_is_malformed(wrong: Image) -> None:
    """A target of no bytes would end the one writer with an IndexError when it is merged."""
    with pytest.raises(Malformed):
        snapshots.decode(snapshots.encode(wrong))


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_are_malformed(body: bytes) -> None:
    """Never another exception."""
    with suppress(Malformed):
        Replica().merge(snapshots.decode(body))


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_mutated_body_decodes_to_something_mergeable_or_is_malformed(
    place: int, put: bytes
) -> None:
    """The local snapshot's body has no signature of a publisher: it must at least not crash."""
    body = bytearray(snapshots.encode(image()))
    place %= len(body)
    body[place : place + len(put)] = put
    with suppress(Malformed):
        replica = Replica()
        replica.merge(snapshots.decode(bytes(body)))
        msgspec.msgpack.encode(replica.image())


def carried(parts_of: int = 7) -> tuple[snapshots.Body, bytes]:
    """Return a body in many parts, and its signed statement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "SNAPSHOT_PART_BYTES", parts_of)
        body = snapshots.body_of(image())
    cursor = snapshots.Place("1834", "A" * 43)
    told = snapshots.sign(
        body, key=PUBLISHER, publisher="soc", fabric=FABRIC, trust=1, at=NOW, cursor=cursor
    )
    return body, told


def test_parts_come_together_in_any_order() -> None:
    """With others among them, each twice: what was signed comes out, and the cursor with it."""
    body, told = carried()
    statement = snapshots.read_statement(told, TRUST)
    assert len(body.parts) > 10
    assert statement.cursor == snapshots.Place("1834", "A" * 43)
    parts = [*reversed(body.parts), b"left over", *body.parts]
    assert snapshots.assemble(statement, parts) == image()


def test_a_part_missing_or_bent_is_malformed() -> None:
    """Whichever it is."""
    body, told = carried()
    statement = snapshots.read_statement(told, TRUST)
    for number, part in enumerate(body.parts):
        rest = [p for n, p in enumerate(body.parts) if n != number]
        for bad in (rest, [*rest, part + b"x"], [*rest, bytes([part[0] ^ 1]) + part[1:]]):
            if part in rest:  # two equal parts: the other one does for both
                continue
            with pytest.raises(Malformed):
                snapshots.assemble(statement, bad)


def test_a_statement_fits_into_a_brokers_message() -> None:
    """Of the largest snapshot there may be."""
    digests = tuple(f"{n:043d}" for n in range(MAX_SNAPSHOT_PARTS))
    body = snapshots.Body((), digests, MAX_SNAPSHOT_BYTES, "A" * 43)
    place = snapshots.Place("9" * MAX_CURSOR_CHARS, "A" * 43)
    told = snapshots.sign(
        body, key=PUBLISHER, publisher="p" * 32, fabric=FABRIC, trust=1, at=NOW, cursor=place
    )
    assert len(told) <= MAX_MANIFEST_BYTES
    assert snapshots.read_statement(told, TRUST).parts == digests
    longer = snapshots.Place("9" * (MAX_CURSOR_CHARS + 1), "A" * 43)
    told = snapshots.sign(
        body, key=PUBLISHER, publisher="soc", fabric=FABRIC, trust=1, at=NOW, cursor=longer
    )
    assert snapshots.read_statement(told, TRUST).cursor is None


def test_the_sums_of_a_loaded_state_are_those_of_a_joined_one() -> None:
    """A head's sum is compared with them; whether they were made at once or later."""
    log, joined, loaded = Log(), Replica(), Replica()
    for number in range(5):
        joined.apply(log.event(Kill(target=session(f"s{number}"), expires_at=NOW + number)))
    joined.apply(log.event(Kill(target=session("s0"), effect=Effect.ISSUANCE)))
    loaded.merge(joined.image())
    assert dict(loaded.table.items()) == dict(joined.table.items())
    assert len(loaded.table) == len(joined.table)
    assert loaded.live.count == joined.live.count
    end = log.event(Retract(target=session("s1"), names=(RevocationId(log.id, 2, 0),)))
    for replica in (joined, loaded):
        replica.apply(end)
    assert loaded.live_sum([log.id]) == joined.live_sum([log.id])
    assert loaded.image() == joined.image()
