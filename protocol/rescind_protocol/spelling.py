"""Refuses names that another spelling would also name: a kill of the one would not stop the other.

Targets are compared as strings. Where a standard calls two strings the same name, one of them is
the plain form and the other is refused, wherever a name comes in: what people type, what badges
carry, what registries enrol. Nothing is rewritten here, since a rewritten name is a name that
nobody signed. The rules: RFC 3986 §6.2.2 (percent-encoding, dot segments) and §6.2.3 (ports),
did:web §3.2, RFC 8265 §4.2.1 (NFC for opaque strings), UAX #44 (default ignorable characters).
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable

from rescind_protocol.errors import Malformed

_SHOWN = 60
_PERCENT = re.compile(r"%(..?|$)")
_UPPER_HEX = re.compile(r"[0-9A-F]{2}")
_UNRESERVED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
)
"""RFC 3986 §2.3: with and without percent-encoding these are the same character."""
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
"""As the last label of a host: an IPv4 address in one of its spellings (WHATWG URL §3.5)."""
_MULTIBASE = re.compile(r"z[1-9A-HJ-NP-Za-km-z]+")
"""Base58btc, the one encoding of did:key v0.7 §3.1."""
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Default ignorable code points (UAX #44) that no general category below covers."""
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Control, format, unassigned, private use, surrogates, and every kind of blank."""


def check_text(what: str, value: str) -> str:
    """Return an opaque identifier that is in NFC and has visible characters only.

    Raises `Malformed`. What looks the same and differs as bytes is another target.
    """
    if value.isascii():
        return value
    if not unicodedata.is_normalized("NFC", value):
        raise Malformed(
            f"{what} {value[:_SHOWN]!a} is not in plain form: write it in Unicode form NFC"
        )
    hidden = _INVISIBLE.search(value) or next(
        (letter for letter in value if unicodedata.category(letter) in _REFUSED_CATEGORIES), None
    )
    if hidden is not None:
        raise Malformed(
            f"{what} {value[:_SHOWN]!a} is not in plain form: it has an invisible character"
        )
    return value


def check_did(did: str, method: str, ident: str) -> str:
    """Return `did` if no other DID names the same document, else raise `Malformed`.

    `method` and `ident` are its parts, in lower case as far as canonical form asks for it.
    """
    try:
        _check_identifier(method, ident)
    except Malformed as error:
        raise Malformed(f"agent {did[:_SHOWN]!a} is not in plain form: {error}") from None
    return did


def check_issuer(iss: str, host: str, path: str) -> str:
    """Return an issuer's URL if no other URL names the same place, else raise `Malformed`."""
    try:
        _check_host(host)
        _check_path(path)
    except Malformed as error:
        raise Malformed(f"issuer {iss[:_SHOWN]!a} is not in plain form: {error}") from None
    return iss


def _check_identifier(method: str, ident: str) -> None:
    _check_percent(ident)
    if ident.endswith(":"):
        raise Malformed("it ends in a colon (DID Core §3.1)")
    if method == "web":
        _check_web(*ident.split(":"))
    elif method == "key" and not _MULTIBASE.fullmatch(ident):
        raise Malformed("a did:key is `z` and base58btc, without a version")


def _check_path(path: str) -> None:
    if not path.isascii():
        raise Malformed("write its path in ASCII, percent-encoded")
    _check_percent(path)
    if path:
        _check_segments(path.removeprefix("/").split("/"))


def _check_web(domain: str, *path: str) -> None:
    """did:web §3.2: a domain, perhaps `%3A` and a port, and the path's segments."""
    host, percent, rest = domain.partition("%")
    port = rest.removeprefix("3A")
    if percent and (port == rest or not port.isdecimal()):
        raise Malformed("a domain is in ASCII (punycode), and only its port follows as %3A")
    if percent and (port.startswith("0") or port == "443"):
        raise Malformed("leave out port 443 and leading zeros: https has that port by itself")
    _check_host(host)
    if path == (".well-known",):
        raise Malformed("that is the document of the domain alone")
    _check_segments(path)
    if any("%2F" in each or "%5C" in each for each in path):
        raise Malformed("a segment of its path has an encoded slash")


def _check_host(host: str) -> None:
    if not host.isascii() or "%" in host:
        raise Malformed("write its domain in ASCII (punycode)")
    if ":" in host:
        _check_address(host)
        return
    labels = host.split(".")
    if not all(labels):
        raise Malformed("its domain has an empty label, or the root's dot at its end")
    if _NUMBER.fullmatch(labels[-1]):
        _check_address(host)


def _check_address(host: str) -> None:
    """An IP address in the one spelling that `ipaddress` writes (RFC 5952 §4, RFC 3986 §3.2.2)."""
    try:
        plain = str(ipaddress.ip_address(host))
    except ValueError as error:
        raise Malformed("its domain is a number that is not an IP address") from error
    if plain != host:
        raise Malformed(f"write its address as {plain}")


def _check_segments(segments: Iterable[str]) -> None:
    if any(each in ("", ".", "..") for each in segments):
        raise Malformed("its path has an empty segment or a dot segment")


def _check_percent(text: str) -> None:
    """RFC 3986 §6.2.2.1 and §6.2.2.2: upper-case digits, and only for what needs encoding."""
    for found in _PERCENT.finditer(text):
        code = found[1]
        if not _UPPER_HEX.fullmatch(code):
            raise Malformed(f"%{code} is not two hexadecimal digits in upper case")
        if int(code, 16) in _UNRESERVED:
            raise Malformed(f"%{code} stands for {chr(int(code, 16))!r}: write that")
