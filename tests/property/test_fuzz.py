"""Mutated bytes of everything that is read: an answer or a `RescindError`, never another exception.

Any change to signed bytes must be refused, too. `HYPOTHESIS_PROFILE=fuzz` runs many more examples.
"""

import json
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import events, heads, jws, snapshots, trust
from rescind_protocol.changes import Kill, Reinstate, Retract, RevocationId
from rescind_protocol.errors import RescindError
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.targets import agent, badge, everyone
from tests.fakes.fabric import (
    APPROVER,
    FABRIC,
    NOW,
    PUBLISHER,
    ROOT,
    Log,
    head_of,
    make_trust,
    sign_claims,
    sign_head,
    trust_file,
)

TRUST = make_trust()
AGENT = agent("did:web:acme.example:x7")


def _snapshot() -> bytes:
    log, replica = Log(), Replica()
    replica.apply(log.event(Kill(target=AGENT, expires_at=NOW)))
    return snapshots.make(
        replica.image(), key=PUBLISHER, publisher="soc", fabric=FABRIC, trust=1, at=NOW
    )


def _event() -> bytes:
    log = Log(approver=APPROVER)
    name = RevocationId(log.id, 1, 0)
    return log.write(
        Kill(target=badge("https://reg.example", "1"), reason_admin="INC-412"),
        Kill(target=everyone(), issued_before=NOW),
        Reinstate(target=AGENT, names=(name,), floor=NOW),
        Retract(target=AGENT, names=(name,)),
    )


def _head() -> bytes:
    log = Log()
    log.write(Kill(target=AGENT))
    return sign_head(head_of(log, horizon=NOW - 60, live=2**127))


Reader = Callable[[bytes], object]
READERS: dict[str, tuple[bytes, Reader]] = {
    "event": (_event(), lambda raw: events.authenticate(raw, TRUST)),
    "head": (_head(), lambda raw: heads.authenticate(raw, TRUST)),
    "snapshot": (_snapshot(), lambda raw: snapshots.authenticate(raw, TRUST)),
    "trust": (
        trust.sign(trust_file(), ROOT),
        lambda raw: trust.read(raw, root=ROOT.public, fabric=FABRIC),
    ),
}
TYPS = {"event": events.TYP, "head": heads.TYP, "snapshot": snapshots.TYP, "trust": trust.TYP}
_mutations = st.lists(
    st.tuples(st.integers(0, 2**20), st.integers(0, 8), st.binary(max_size=8)),
    min_size=1,
    max_size=3,
)


def mutate(raw: bytes, mutations: list[tuple[int, int, bytes]]) -> bytes:
    """Return `raw` with some bytes cut and others put in their place."""
    for where, cut, put in mutations:
        place = where % (len(raw) + 1)
        raw = raw[:place] + put + raw[place + cut :]
    return raw


@pytest.mark.parametrize("kind", list(READERS))
@given(mutations=_mutations)
def test_mutated_bytes_are_refused_by_type(
    kind: str, mutations: list[tuple[int, int, bytes]]
) -> None:
    """Whatever a broker does to the bytes."""
    good, reader = READERS[kind]
    assert reader(good)
    bent = mutate(good, mutations)
    if bent.strip() != good:  # a trust file may stand between blanks
        with pytest.raises(RescindError):
            reader(bent)


@pytest.mark.parametrize("kind", list(READERS))
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused_by_type(kind: str, raw: bytes) -> None:
    """Nothing at all is expected of what comes from outside."""
    with pytest.raises(RescindError):
        READERS[kind][1](raw)


@pytest.mark.parametrize("kind", list(READERS))
@given(mutations=_mutations)
def test_mutated_claims_signed_by_the_right_key_raise_by_type(
    kind: str, mutations: list[tuple[int, int, bytes]]
) -> None:
    """A trusted key with a broken program, or a thief's: it must not end the one writer."""
    good, reader = READERS[kind]
    line, _, body = good.partition(b"\n")
    payload = mutate(jws.read(line, limit=2**20).payload, mutations)
    key = ROOT if kind == "trust" else PUBLISHER
    raw = sign_claims(payload, key=key, typ=TYPS[kind])
    with suppress(RescindError):
        reader(raw + b"\n" + body if body else raw)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63, 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["test", "soc", "kill", "agent", Log().id, "A" * 43]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", list(READERS))
@given(data=st.data())
def test_any_value_in_any_member_raises_by_type(kind: str, data: st.DataObject) -> None:
    """Each member, at any depth, replaced by any JSON value; then the result is used, too."""
    good, reader = READERS[kind]
    line, _, body = good.partition(b"\n")
    claims = msgspec.json.decode(jws.read(line, limit=2**20).payload)
    spot, name = claims, data.draw(st.sampled_from(sorted(claims)))
    while isinstance(spot[name], dict | list) and spot[name] and data.draw(st.booleans()):
        spot = spot[name]
        name = data.draw(
            st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot)))
        )
    spot[name] = data.draw(_json)
    key = ROOT if kind == "trust" else PUBLISHER
    raw = sign_claims(_dump(claims), key=key, typ=TYPS[kind])
    with suppress(RescindError):
        _use(reader(raw + b"\n" + body if body else raw))


def _dump(value: object) -> bytes:
    """Integers of any size, which msgspec does not write."""
    return json.dumps(value).encode()


def _use(found: object) -> None:
    """What a subscriber does with it: none of this may fail either."""
    replica = Replica()
    if isinstance(found, events.Event):
        replica.apply(found)
    elif isinstance(found, heads.Head):
        replica.covers(found)
        replica.advance_horizon(found)
        replica.agrees(found)
    elif isinstance(found, Image):
        replica.merge(found)
    loaded = Replica()
    loaded.merge(snapshots.decode(snapshots.encode(replica.image())))
    assert loaded.image().vector == replica.vector
