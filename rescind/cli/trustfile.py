"""The trust file as people write it: TOML in, signed by the root; and the same TOML out.

fabric = "prod"
version = 2                       # one more than before
required = ["east", "west"]       # no view is fresh without their heads

[[keys]]
publisher = "east"
file = "east.pub.json"            # or x = "base64url of the public key"
kill = ["badge", "agent"]         # or "all"
reinstate = "all"
head = true
# also: snapshot, retire, approve (true), issuers = [...], quota = N, not_after = a time
"""

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rescind.errors import BadConfig
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_TRUST_BYTES
from rescind_protocol.subjects import check_fabric
from rescind_protocol.targets import Kind
from rescind_protocol.trust import VERSION, Rights, Trust, TrustedKey, TrustFile
from rescind_publisher.keyfiles import read_public


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    publisher: str
    file: str | None = None
    x: str | None = None
    kill: list[Kind] | str = []
    reinstate: list[Kind] | str = []
    issuers: tuple[str, ...] | None = None
    head: bool = False
    snapshot: bool = False
    retire: bool = False
    approve: bool = False
    quota: int | None = None
    not_after: datetime | None = None
    cuts: dict[str, tuple[int, str]] | None = None


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fabric: str
    version: int
    required: tuple[str, ...]
    keys: list[_Key]


def read_description(path: Path, *, now: int) -> TrustFile:
    """Read a description; `now` in unix seconds. Raises `BadConfig` naming what is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TRUST_BYTES).decode("utf-8")
        said = msgspec.convert(tomllib.loads(text), _Description)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise BadConfig(f"{path}: {error}") from error
    keys = tuple(_trusted(path, number, key) for number, key in enumerate(said.keys, 1))
    try:
        check_fabric(said.fabric)
        # Through its own decoder, for limits that a constructor does not check.
        made = TrustFile(VERSION, said.fabric, said.version, now, keys, said.required)
        Trust(msgspec.convert(msgspec.to_builtins(made), TrustFile))
    except (msgspec.ValidationError, Malformed) as error:
        raise BadConfig(f"{path}: {error}") from error
    return made


def _trusted(path: Path, number: int, key: _Key) -> TrustedKey:
    where = f"{path}: key {number} ({key.publisher})"
    if (key.file is None) == (key.x is None):
        raise BadConfig(f"{where} needs either `file` or `x`")
    x = key.x or b64url_encode(read_public(path.parent / str(key.file)))
    more: dict[str, Any] = {} if key.quota is None else {"quota": key.quota}
    rights = Rights(
        kill=_kinds(where, key.kill),
        reinstate=_kinds(where, key.reinstate),
        issuers=key.issuers,
        head=key.head,
        snapshot=key.snapshot,
        retire=key.retire,
        approve=key.approve,
        **more,
    )
    if key.not_after is not None and key.not_after.tzinfo is None:
        raise BadConfig(f"{where}: not_after has no zone: write it with a Z at its end")
    not_after = None if key.not_after is None else int(key.not_after.timestamp())
    return TrustedKey(x, key.publisher, rights, not_after, cuts=key.cuts)


def _kinds(where: str, said: list[Kind] | str) -> tuple[Kind, ...]:
    if isinstance(said, str):
        if said != "all":
            raise BadConfig(f'{where}: write "all" or a list of kinds, not {said!r}')
        return tuple(Kind)
    return tuple(said)


def check_snapshot_rights(before: TrustFile, after: TrustFile) -> None:
    """See that no key loses the right `snapshot`; raises `BadConfig` naming the one that would.

    A snapshot by a thief drops kills of any log and leaves no trace in its own. What it has left is
    built anew where a key is revoked that has the right in its line, and nowhere else (ADR 15).
    """
    stay = {key.x for key in after.keys if key.rights.snapshot}
    for key in before.keys:
        if key.rights.snapshot and key.x not in stay:
            raise BadConfig(
                f"the key of {key.publisher!r} would lose the right `snapshot` or its line, and no "
                "subscriber would build anew what its snapshots may have changed: leave the line "
                f"with `snapshot = true`, and revoke it (`rescind trust revoke {key.publisher}`)"
            )


def describe_rights(rights: Rights) -> str:
    """Return what a key may do, in words."""
    parts = [
        f"{verb} {'all' if set(kinds) == set(Kind) else ', '.join(kinds)}"
        for verb, kinds in (("kill", rights.kill), ("reinstate", rights.reinstate))
        if kinds
    ]
    parts += [name for name in ("head", "snapshot", "retire", "approve") if getattr(rights, name)]
    if rights.issuers is not None:
        parts.append(f"issuers {', '.join(rights.issuers)}")
    return "; ".join(parts) or "nothing"
