"""The trust file: each fault has its family, and nothing half right is taken."""

from collections.abc import Callable

import msgspec
import pytest

from rescind_protocol import trust
from rescind_protocol.changes import Kill
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed, RescindError, TooLarge, Unreadable, Untrusted
from rescind_protocol.limits import MAX_TRUST_BYTES
from rescind_protocol.targets import Kind, badge
from rescind_protocol.trust import ALL_RIGHTS, Rights, Trust
from tests.fakes.fabric import (
    APPROVER,
    FABRIC,
    PUBLISHER,
    ROOT,
    SECOND,
    STRANGER,
    key_of,
    log_id,
    make_trust,
    sign_claims,
    trust_file,
    trusted,
)


def read(raw: bytes) -> Trust:
    """Read a trust file as a member of the fabric does."""
    return trust.read(raw, root=ROOT.public, fabric=FABRIC)


def bent(**members: object) -> bytes:
    """Return a trust file signed by the root, with some members bent."""
    good = msgspec.json.decode(msgspec.json.encode(trust_file()))
    return sign_claims({**good, **members}, key=ROOT, typ=trust.TYP)


def keyed(**members: object) -> bytes:
    """Return a trust file whose first key has some members bent."""
    keys = msgspec.json.decode(msgspec.json.encode(trust_file().keys))
    return bent(keys=[{**keys[0], **members}, *keys[1:]])


def test_it_reads_as_it_was_signed() -> None:
    """Keys by thumbprint and by log, version, fabric, required publishers."""
    found = read(trust.sign(trust_file(version=7), ROOT))
    assert (found.fabric, found.version, found.required) == (FABRIC, 7, ("soc",))
    assert found.signer(PUBLISHER.kid).publisher == "soc"
    assert found.signer(APPROVER.kid).rights == Rights(approve=True)
    owner = found.owner(log_id(SECOND))
    assert owner is not None
    assert owner.publisher == "soc-b"
    assert found.owner(log_id(STRANGER)) is None
    assert read(b" " + trust.sign(trust_file(), ROOT) + b"\n").version == 1


@pytest.mark.parametrize(
    "kid", [None, "", "x", STRANGER.kid, PUBLISHER.kid + "=", PUBLISHER.kid[:11]]
)
def test_a_key_that_is_not_named_is_untrusted(kid: str | None) -> None:
    """A kid is looked up whole."""
    with pytest.raises(Untrusted):
        make_trust().signer(kid)


def test_only_the_root_is_believed() -> None:
    """A publisher's or a stranger's file, or a flipped bit, is untrusted."""
    for key in (PUBLISHER, STRANGER):
        with pytest.raises(Untrusted):
            read(trust.sign(trust_file(), key))
        with pytest.raises(Untrusted):
            read(sign_claims(trust_file(), key=key, typ=trust.TYP, kid=ROOT.kid))


def test_another_fabrics_file_is_untrusted() -> None:
    """One root may sign for staging and production; their files do not mix."""
    with pytest.raises(Untrusted):
        read(trust.sign(trust_file(fabric="staging"), ROOT))


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_a_newer_format_is_unreadable(version: object) -> None:
    """It may hold rules that this version would ignore."""
    with pytest.raises(Unreadable):
        read(bent(ver=version))


FAULTS: dict[str, Callable[[], bytes]] = {
    "another typ": lambda: sign_claims(trust_file(), key=ROOT, typ="JWT"),
    "not a token": lambda: b"{}",
    "duplicate keys": lambda: sign_claims(b'{"ver":1,"ver":1}', key=ROOT, typ=trust.TYP),
    "unknown member": lambda: bent(extra=1),
    "unknown right": lambda: keyed(rights={"everything": True}),
    "unknown kind": lambda: keyed(rights={"kill": ["model"], "head": True}),
    "negative quota": lambda: keyed(rights={"quota": -1, "head": True}),
    "issuer spelled otherwise": lambda: keyed(
        rights={"kill": ["badge"], "issuers": ["https://Reg.example/"], "head": True}
    ),
    "issuer that is none": lambda: keyed(rights={"issuers": ["reg.example"], "head": True}),
    "key too short": lambda: keyed(x="AAAA"),
    "key with padding": lambda: keyed(x=b64url_encode(PUBLISHER.public) + "="),
    "publisher with a dot": lambda: keyed(publisher="soc.a"),
    "publisher with a line feed": lambda: keyed(publisher="soc\n"),
    "version 0": lambda: bent(version=0),
    "no keys": lambda: bent(keys=[]),
    "nobody required": lambda: bent(required=[]),
    "required but unknown": lambda: bent(required=["soc", "ghost"]),
    "required but without heads": lambda: bent(required=["approver"]),
    "one key twice": lambda: bent(keys=[*trust_file().keys, trusted(PUBLISHER, "again")]),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_faulty_file_is_malformed(fault: str) -> None:
    """Each fault by itself; the unbent file is the control."""
    assert read(bent()).signers
    assert read(keyed()).signers
    with pytest.raises(Malformed):
        read(FAULTS[fault]())


def test_two_keys_with_one_log_prefix_are_refused() -> None:
    """A log id must name one key; 66 bits make it a forgery, not an accident."""
    file = trust_file()
    twin = msgspec.structs.replace(file, keys=(*file.keys, file.keys[0]))
    with pytest.raises(Malformed):
        Trust(twin)
    with pytest.raises(Malformed):
        trust.sign(twin, ROOT)


def test_one_name_two_heading_keys_is_refused() -> None:
    """Two hosts under one name would prove each other fresh (attack A3.2)."""
    with pytest.raises(Malformed, match="two hosts, two names"):
        make_trust(trusted(STRANGER, "soc"))
    retired = msgspec.structs.replace(ALL_RIGHTS, head=False)
    owner = make_trust(trusted(STRANGER, "soc", retired)).owner(log_id(STRANGER))
    assert owner is not None
    assert owner.publisher == "soc"


def test_a_file_beyond_the_limit_is_too_large() -> None:
    """1 MiB, before anything is decoded."""
    with pytest.raises(TooLarge):
        read(b"A" * (MAX_TRUST_BYTES + 1))


def test_rights_for_an_issuer_written_canonically_work() -> None:
    """The control for the issuer spelled otherwise: that right would never have matched."""
    raw = keyed(rights={"kill": ["badge"], "issuers": ["https://reg.example"], "head": True})
    rights = read(raw).signer(PUBLISHER.kid).rights
    kill = Kill(target=badge("https://REG.example/", "1"))
    assert rights.permit(kill)
    assert not ALL_RIGHTS.approve
    assert Kind.BADGE in rights.kill


def test_every_single_bit_matters() -> None:
    """No flipped bit of the file is taken."""
    raw = trust.sign(trust_file(trusted(key_of("x"), "x")), ROOT)
    for place in range(0, len(raw), 7):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << (place % 8)
        with pytest.raises(RescindError):
            read(bytes(flipped))
