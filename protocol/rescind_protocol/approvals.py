"""A second key's approval of a wide kill or floor (issuer, everyone).

It names the log, the number and the digest of the changes, so that it serves exactly one event.
"""

from hashlib import sha256

import msgspec

from rescind_protocol import jws
from rescind_protocol.encoding import b64url_encode, check_json, to_type
from rescind_protocol.errors import RescindError
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_REASON_CHARS
from rescind_protocol.trust import Signer, Trust

TYP = "rescind-approval+jwt"


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the second key signs: `changes` is base64url SHA-256 of the member's exact bytes."""

    ver: int
    aud: str
    log: str
    seq: int
    changes: str


def statement(fabric: str, log: str, seq: int, changes: bytes) -> Approval:
    """Return what an approval of this one event must say."""
    return Approval(1, fabric, log, seq, b64url_encode(sha256(changes).digest()))


def sign(approval: Approval, key: SigningKey) -> str:
    """Return the approval as compact JWS."""
    return jws.sign(msgspec.json.encode(approval), typ=TYP, key=key).decode("ascii")


def approves(raw: str, wanted: Approval, *, signer: Signer, trust: Trust) -> bool:
    """Whether `raw` is an approval of `wanted` by a key that may, other than the signer's own."""
    try:
        token = jws.read(raw.encode("utf-8"), limit=4 * MAX_REASON_CHARS)
        second = trust.signer(token.header.kid)
        if token.header.typ != TYP or second.kid == signer.kid or not second.rights.approve:
            return False
        cut = second.cut(wanted.log)
        if cut is not None and wanted.seq > cut.seq:
            return False
        return jws.verify(token, second.public) and wanted == to_type(
            check_json(token.payload), Approval
        )
    except RescindError:
        return False
