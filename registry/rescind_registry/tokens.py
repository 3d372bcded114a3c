"""API tokens: who may ask for what. Only a hash of each is stored."""

import hmac
import secrets
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec

from rescind_protocol.errors import Malformed
from rescind_registry.errors import ScopeMissing, TokenInvalid
from rescind_registry.store import Store

PREFIX = "rsc"
ID_BYTES = 6
SECRET_BYTES = 32
"""Beyond any guessing; so its hash need not be slow (OWASP ASVS 2.9 is about passwords)."""
MAX_NAME_CHARS = 64
MAX_CHARS = 128
_COLUMNS = "id, name, scopes, made_at, expires_at, revoked_at"


class Scope(StrEnum):
    """What a token may be used for; `admin` may do everything."""

    KILL = "kill"
    REINSTATE = "reinstate"
    READ = "read"
    ISSUE = "issue"
    ADMIN = "admin"


class Token(msgspec.Struct, frozen=True):
    """A token without its secret; times in unix seconds."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    made_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    def check(self, scope: Scope) -> None:
        """Raise `ScopeMissing` if it may not."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise ScopeMissing(f"this API token has no scope {scope!r}")


class Tokens:
    """The table of tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(
        self, name: str, scopes: tuple[Scope, ...], *, now: float, ttl_s: int | None = None
    ) -> tuple[str, Token]:
        """Return a new token, whose secret nobody can find out again, and what is stored."""
        if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise Malformed(f"a token's name has 1 to {MAX_NAME_CHARS} printable characters")
        if not scopes:
            raise Malformed(f"a token needs a scope: {', '.join(Scope)}")
        made = Token(
            secrets.token_hex(ID_BYTES),
            name,
            tuple(dict.fromkeys(scopes)),
            int(now),
            None if ttl_s is None else int(now) + ttl_s,
        )
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._store.change(
            "INSERT INTO tokens (id, name, scopes, made_at, expires_at, hash) VALUES (?,?,?,?,?,?)",
            (made.id, name, " ".join(made.scopes), made.made_at, made.expires_at, _hash(secret)),
        )
        return f"{PREFIX}_{made.id}_{secret}", made

    def check(self, said: str, now: float) -> Token:
        """Return whose token this is, or raise `TokenInvalid`."""
        prefix, _, rest = said.partition("_")
        ident, _, secret = rest.partition("_")
        if prefix != PREFIX or len(said) > MAX_CHARS or not secret.isascii():
            raise TokenInvalid(
                "an API token is needed: Authorization: Bearer TOKEN (`rescind token make`)"
            )
        rows = self._store.rows(f"SELECT {_COLUMNS}, hash FROM tokens WHERE id = ?", (ident,))  # noqa: S608
        known = rows[0][-1] if rows else b""
        if not hmac.compare_digest(_hash(secret), known):
            raise TokenInvalid("this API token is not known here")
        found = _token(rows[0][:-1])
        if found.revoked_at is not None or (found.expires_at or now) < now:
            raise TokenInvalid("this API token was revoked, or has expired")
        return found

    def all(self) -> list[Token]:
        """Return every token, oldest first."""
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM tokens ORDER BY made_at, id")  # noqa: S608
        return [_token(row) for row in rows]

    def revoke(self, ident: str, now: float) -> Token:
        """Make a token worthless; raises `TokenInvalid` where there is none."""
        self._store.change(
            "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
            (int(now), ident),
        )
        found = [each for each in self.all() if each.id == ident]
        if not found:
            raise TokenInvalid(f"there is no API token {ident[:40]!r}: `rescind token list`")
        return found[0]


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("ascii")).digest()


def _token(row: tuple[Any, ...]) -> Token:
    ident, name, scopes, made_at, expires_at, revoked_at = row
    known = tuple(Scope(each) for each in scopes.split())
    return Token(ident, name, known, made_at, expires_at, revoked_at)
