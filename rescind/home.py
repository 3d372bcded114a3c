"""The fabric's folder: made once by `rescind up`, everything that one machine needs.

rescind.toml      settings of this host, with the subscriber's password (0600)
root.key          signs the trust file; take it off this machine when you are done trying
publisher.key     signs kills          approver.key   second key, for wide kills
issuer.key        a local issuer for trying; issuer.jwks.json is its public part
trust.jws         who may say what, signed by the root
spool/  nats/  subscribers/  keys/  lists/  policies/  registry/  control/control.sock
"""

import os
import secrets
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
ROLL = "fleet.msgpack"
"""The subscribers that the publisher of this host knows of."""
SUBSCRIBERS = "subscribers"
KEYS = "keys"
POLICIES = "policies"
LISTS = "lists"
REGISTRY = "registry"
_USERS = ("publisher", "subscriber", "system")


def exists(home: Path) -> bool:
    """Whether the folder holds a fabric already."""
    return (home / FILE_NAME).exists()


def create(home: Path, *, fabric: str, publisher: str, port: int, now: int) -> None:
    """Make keys, trust file, passwords and settings; raises `BadConfig` if any is there already."""
    check_fabric(fabric)
    if exists(home):
        raise BadConfig(f"{home} holds a fabric already")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as error:
        raise BadConfig(f"cannot use {home}: {error.strerror}") from error
    from rescind_publisher import keyfiles  # noqa: PLC0415 - guards read paths here, make no keys

    root, keys = _make_keys(home)
    file = _trust_file(fabric, publisher, keys, now)
    keyfiles.write_trust(home / "trust.jws", trust.sign(file, root))
    jwks = msgspec.json.encode({"keys": [jwk(keys["issuer"].public)]})
    (home / "issuer.jwks.json").write_bytes(jwks + b"\n")
    settings = _settings_text(fabric, publisher, port, b64url_encode(root.public))
    handle = os.open(home / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(settings)


def _make_keys(home: Path) -> tuple[SigningKey, dict[str, SigningKey]]:
    from rescind_publisher import keyfiles  # noqa: PLC0415 - as above

    keys = {name: SigningKey.generate() for name in ("root", "publisher", "approver", "issuer")}
    for name, key in keys.items():
        keyfiles.write_private(home / f"{name}.key", key)
    return keys["root"], keys


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
