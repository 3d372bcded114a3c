"""did:web: where an agent's DID document is, and the keys in it (W3C did:web §3, DID Core §5).

An address is made by the method's rules and by no others: https, the domain, `%3A` for the port's
colon, the rest of the DID as a path. IP addresses are no domains, and no segment leads elsewhere.
A document is read strictly: its `id` is the DID, and a key counts if `authentication` or
`assertionMethod` names it, for a method that stands in no relationship may not be used (DID Core
§5.3). What is of a kind that badges do not know is passed over, and a method that cannot be used
takes no other with it. No I/O.
"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from rescind_guard import jwk, multikey
from rescind_guard.issuers import IssuerKey, KeySet
from rescind_protocol.encoding import check_document
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_ID_CHARS
from rescind_protocol.targets import canonical_did

PREFIX = "did:web:"
WELL_KNOWN = "/.well-known"
"""Where the document of a bare domain is (did:web §3.2)."""
MAX_METHODS = 64
"""Of a document, and in a relationship of it."""
RELATIONSHIPS = ("authentication", "assertionMethod")
MAX_PORT = 65_535
_MAX_DOMAIN_CHARS = 253
_DOMAIN = re.compile(
    r"((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    r"(?:%3A([1-9][0-9]{0,4}))?"
)
"""RFC 1123 §2.1, and a port."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""As its last label, an IPv4 address in one of its spellings (WHATWG URL §3.5)."""
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
"""Of a path, decoded."""


class Named(msgspec.Struct, frozen=True, gc=False):
    """What `cnf.kid` names: a key of a DID's document, which must be the badge's."""

    did: str
    kid: str
    """Its DID URL; the DID alone: any of its keys."""
    public: bytes


def named(kid: str, public: bytes) -> Named:
    """Take a `cnf.kid` of did:web apart; raises `Malformed`."""
    did, fragment, key = kid.partition("#")
    did = canonical_did(did)
    if len(kid) > MAX_ID_CHARS or (fragment and not key):
        raise Malformed("cnf.kid is no DID URL")
    url_of(did)
    return Named(did, did + fragment + key, public)


def domain_of(did: str) -> str:
    """Return the domain of a did:web, with its port if it names one."""
    return did.removeprefix(PREFIX).partition(":")[0].replace("%3A", ":")


@lru_cache(maxsize=4096)
def url_of(did: str) -> str:
    """Return the address of a DID's document, else raise `Malformed` (did:web §3.2)."""
    domain, *path = did.removeprefix(PREFIX).split(":")
    found = _DOMAIN.fullmatch(domain)
    if not did.startswith(PREFIX) or found is None or len(found[1]) > _MAX_DOMAIN_CHARS:
        raise Malformed("not a did:web of a domain")
    if _NUMBER.fullmatch(found[1].rpartition(".")[2]):
        raise Malformed("a did:web names a domain, not an IP address")
    if found[2] is not None and int(found[2]) > MAX_PORT:
        raise Malformed("a did:web's port is beyond 65535")
    if not all(_is_segment(each) for each in path):
        raise Malformed("a did:web's path has a part that leads elsewhere")
    where = "".join(f"/{each}" for each in path) or WELL_KNOWN
    return f"https://{domain.replace('%3A', ':')}{where}/did.json"


def _is_segment(text: str) -> bool:
    plain = unquote(text)  # what is no UTF-8 becomes U+FFFD
    return _SEGMENT.fullmatch(plain) is not None and plain.strip(".") != ""


def read_document(did: str, raw: bytes) -> KeySet:
    """Return the keys of a DID document, `kid` a DID URL each; raises `Malformed`."""
    found = check_document(raw)
    if not isinstance(found, dict) or found.get("id") != did:
        raise Malformed("the DID document is of another DID")
    ignored: list[str] = []
    methods: dict[str, list[dict[str, Any]]] = {}
    for method in _listed(found, "verificationMethod", ignored):
        if isinstance(method, dict) and (name := _name(did, method, ignored)) is not None:
            methods.setdefault(name, []).append(method)
    keys: list[IssuerKey] = []
    for relationship in RELATIONSHIPS:
        for entry in _listed(found, relationship, ignored):
            named = methods.get(_absolute(did, entry), []) if isinstance(entry, str) else [entry]
            keys += filter(None, (_key(did, method, ignored) for method in named))
    return KeySet(keys, dict.fromkeys(ignored))


def _listed(document: dict[str, Any], name: str, ignored: list[str]) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > MAX_METHODS:
        raise Malformed(f"{name} is not a list of at most {MAX_METHODS}")
    fit = [each for each in found if isinstance(each, str | dict)]
    if len(fit) != len(found):
        ignored.append(f"{name} has what is neither a reference nor a verification method")
    return fit


def _name(did: str, method: dict[str, Any], ignored: list[str]) -> str | None:
    name = method.get("id")
    if not isinstance(name, str) or not name or len(name) > MAX_ID_CHARS:
        ignored.append("a verification method has no id")
        return None
    return _absolute(did, name)


def _absolute(did: str, name: str) -> str:
    """Return a DID URL; a fragment alone is relative to the document (DID Core §3.2.2)."""
    return did + name if name.startswith("#") else name


def _key(did: str, method: dict[str, Any], ignored: list[str]) -> IssuerKey | None:
    """Return the key of a method, None for one of a kind that badges do not know."""
    kid = _name(did, method, ignored)
    if kid is None or not kid.startswith(f"{did}#"):
        return None  # another DID's, which this document does not speak for
    try:
        public = _public(method)
    except Malformed as error:
        ignored.append(f"{kid[len(did) : len(did) + 60]}: {error}")
        return None
    return None if public is None else IssuerKey(kid, public, jwk.thumbprint(public))


def _public(method: dict[str, Any]) -> bytes | None:
    members = method.get("publicKeyJwk")
    if members is None:
        return _multibase(method.get("publicKeyMultibase"))
    if not isinstance(members, dict):
        raise Malformed("publicKeyJwk is not a JWK")
    return jwk.read_public(members) if jwk.is_ours(members) else None


def _multibase(text: object) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise Malformed("publicKeyMultibase is not text")
    if len(text) > multikey.MAX_CHARS:
        return None  # of another kind: those of P-384 and RSA are longer
    return multikey.read_public(text)
