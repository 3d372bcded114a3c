"""The fabric's folder: made once by `rescind up`, everything that one machine needs.

rescind.toml      settings of this host, with the subscriber's password (0600)
root.key          signs the trust file; take it off this machine when you are done trying
publisher.key     signs kills          approver.key   second key, for wide kills
issuer.key        a local issuer for trying; issuer.jwks.json is its public part
trust.jws         who may say what, signed by the root
spool/  nats/  subscribers/  keys/  lists/  policies/  registry/  control/control.sock

All files of the first list are made in `.making/`, which then becomes `.made/` in one step; from
there each is moved to its place, the settings last. Wherever that is interrupted, the next start
makes them again or moves the rest.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rescind.config import FILE_NAME
from rescind.errors import BadConfig
from rescind_protocol import trust
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.keys import SigningKey, jwk
from rescind_protocol.subjects import check_fabric

LOCAL_ISSUER = "https://issuer.rescind.local"
APPROVER = "local-approver"
CONTROL = "control/control.sock"
SPOOL = "spool"
NATS = "nats"
TRAIL = "registry/audit.jsonl"
"""Who did what: written by the publisher of this host, and by a registry where there is one."""
ROLL = "fleet.msgpack"
"""The subscribers that the publisher of this host knows of."""
SUBSCRIBERS = "subscribers"
KEYS = "keys"
POLICIES = "policies"
LISTS = "lists"
REGISTRY = "registry"
_USERS = ("publisher", "subscriber", "system")
_KEYS = ("root", "publisher", "approver", "issuer")
_MAKING, _MADE = ".making", ".made"
FILES = (*(f"{name}.key" for name in _KEYS), "trust.jws", "issuer.jwks.json", FILE_NAME)
"""What `create` makes; the settings last, for without them the folder holds no fabric."""


def exists(home: Path) -> bool:
    """Whether the folder holds a fabric already."""
    return (home / FILE_NAME).exists()


def create(home: Path, *, fabric: str, publisher: str, port: int, now: int) -> None:
    """Make keys, trust file, passwords and settings; raises `BadConfig` if any is there already."""
    check_fabric(fabric)
    with _alone(home):
        _complete(home)
        if exists(home):
            raise BadConfig(f"{home} holds a fabric already")
        there = [name for name in FILES if (home / name).exists()]
        if there:
            raise BadConfig(
                f"{home} holds {', '.join(there)}, and no {FILE_NAME} that says what they are: "
                "write one, or move them away for a new fabric"
            )
        shutil.rmtree(home / _MAKING, ignore_errors=True)  # of a start that was interrupted
        (home / _MAKING).mkdir(mode=0o700)
        _make(home / _MAKING, fabric, publisher, port, now)
        (home / _MAKING).rename(home / _MADE)
        _complete(home)


def complete(home: Path) -> bool:
    """Put in place what an interrupted start had made; return whether there was any."""
    if not (home / _MADE).is_dir():
        return False
    with _alone(home):
        return _complete(home)


def _complete(home: Path) -> bool:
    made = home / _MADE
    if not made.is_dir():
        return False
    for name in FILES:
        if (made / name).exists():
            (made / name).replace(home / name)
    made.rmdir()
    return True


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Make the folder, and let one process at a time fill it; raises `BadConfig`."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise BadConfig(f"cannot use {home}: {error.strerror}") from error


def _make(folder: Path, fabric: str, publisher: str, port: int, now: int) -> None:
    from rescind_publisher import keyfiles  # noqa: PLC0415 - guards read paths here, make no keys

    keys = {name: SigningKey.generate() for name in _KEYS}
    for name, key in keys.items():
        keyfiles.write_private(folder / f"{name}.key", key)
    root = keys["root"]
    signed = trust.sign(_trust_file(fabric, publisher, keys, now), root)
    keyfiles.write_trust(folder / "trust.jws", signed)
    jwks = msgspec.json.encode({"keys": [jwk(keys["issuer"].public)]})
    keyfiles.write_open(folder / "issuer.jwks.json", jwks + b"\n")
    settings = _settings_text(fabric, publisher, port, b64url_encode(root.public))
    keyfiles.write_secret(folder / FILE_NAME, settings.encode())


def _trust_file(
    fabric: str, publisher: str, keys: dict[str, SigningKey], now: int
) -> trust.TrustFile:
    return trust.TrustFile(
        ver=trust.VERSION,
        aud=fabric,
        version=1,
        iat=now,
        keys=(
            trust.TrustedKey(b64url_encode(keys["publisher"].public), publisher, trust.ALL_RIGHTS),
            trust.TrustedKey(
                b64url_encode(keys["approver"].public),
                APPROVER,
                trust.Rights(approve=True),
            ),
        ),
        required=(publisher,),
    )


def _settings_text(fabric: str, publisher: str, port: int, root: str) -> str:
    urls = {
        # A letter first: NATS reads a variable's value as it reads its file.
        user: f"nats://{user}:p{secrets.token_urlsafe(24)}@127.0.0.1:{port}"
        for user in _USERS
    }
    return f"""\
# Written by `rescind up`. Give guards on other hosts a copy of the first part only.
fabric = "{fabric}"
root_key = "{root}"
trust_file = "trust.jws"
nats_url = "{urls["subscriber"]}"

[issuers]
# A local issuer for trying things out; put yours here: origin = path of its JWKS.
"{LOCAL_ISSUER}" = "issuer.jwks.json"
""".replace(
        "\n[issuers]",
        f"""
# The publisher's part.
publisher = "{publisher}"
publisher_nats_url = "{urls["publisher"]}"
system_nats_url = "{urls["system"]}"
publisher_key = "publisher.key"
approver_key = "approver.key"
issuer_key = "issuer.key"

[issuers]""",
    )
