"""Addresses as they may be shown: no user, no password, no query. For output, never for connecting.

What cannot be told apart is hidden: of an address that somebody wrote wrongly, too much rather than
a part of a password.
"""

import re

HIDDEN = "********"
SHOWN_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Of a query; they name files."""
_SEPARATOR = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""Between two addresses of one setting; a comma that no scheme follows may be of a password."""
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+)\S*@")
_BEGINS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def address(text: str) -> str:
    """Return one or more addresses, with commas between them, without what may be secret."""
    return ",".join(map(_one, _SEPARATOR.split(text)))


def text(said: str) -> str:
    """Return any text; one that has an address in it as `address` does."""
    return address(said) if _BEGINS.search(said) else said


def hosts(said: str) -> str:
    """Return addresses without their schemes, for sentences: `a:4222,b:4222`."""
    shown = (_BEGINS.sub("", part, count=1) for part in _SEPARATOR.split(address(said)))
    return ",".join(part.rpartition("@")[2] for part in shown)


def sentence(said: str) -> str:
    """Return a sentence in which addresses are quoted, without what stands before their @."""
    return _USER.sub(rf"\1{HIDDEN}@", said)


def _one(said: str) -> str:
    """The user may hold any character where it was not encoded: all up to the last @ goes."""
    begin = found.end() if (found := _BEGINS.search(said)) else 0
    scheme, rest = said[:begin], said[begin:]
    _, at, rest = rest.rpartition("@")
    place, fragment, _ = rest.partition("#")
    place, question, query = place.partition("?")
    user = f"{HIDDEN}@" if at else ""
    asked = "?" + "&".join(map(_option, query.split("&"))) if question else ""
    return f"{scheme}{user}{place}{asked}{'#' + HIDDEN if fragment else ''}"


def _option(said: str) -> str:
    name, _, _ = said.partition("=")
    return said if name in SHOWN_OPTIONS else HIDDEN
