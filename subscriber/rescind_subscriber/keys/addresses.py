"""Where an issuer's keys may be fetched from (RFC-002 §8.4). No I/O.

Names decide nothing: what a name resolves to can change between a check and a connection. So the
address itself is judged, and then connected to.
"""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

WELL_KNOWN = "/.well-known/jwks.json"
"""RFC-002 §11."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052 §2.1: an IPv4 address in its last 32 bits."""

_UNICAST = ipaddress.ip_network("2000::/3")
"""What IANA has given out of IPv6 (RFC 4291 §2.4): all else is local, reserved or translated."""


def url_of(iss: str) -> str:
    """Return where an issuer, as canonical origin, publishes its keys."""
    return iss + WELL_KNOWN


def is_plain(url: str) -> bool:
    """Whether a URL goes without TLS."""
    return not url.startswith("https://")  # as a canonical issuer begins


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one of the Internet's; what cannot be read is not."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(each) for each in (found, *_inside(found)))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return address.is_global and (address in _UNICAST or address in _NAT64)
    return address.is_global and not address.is_multicast


def _inside(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
