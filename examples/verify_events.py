"""Reads a fabric's kills from NATS and verifies them, without rescind: plain nats-py and PyJWT.

    rescind trust jwks --json > publishers.jwks.json
    python examples/verify_events.py publishers.jwks.json nats://USER:PASSWORD@127.0.0.1:4222 FABRIC

Prints one line of JSON for each change of each event that verifies. It is a reader, not a guard: it
does not join kills with their ends, proves no freshness, and knows no rights of keys.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import nats
from nats.js.errors import NotFoundError

EVENT_TYPES = (
    "https://w3id.org/rescind/secevent/changes",
    "urn:rescind:secevent:changes",  # written by 0.1
)


def verified(raw: bytes, keys: dict[str, jwt.PyJWK], fabric: str) -> dict[str, Any]:
    """Return the claims of a signed event (RFC 8417); raises `jwt.PyJWTError` or `KeyError`."""
    header = jwt.get_unverified_header(raw)
    if header.get("typ") != "secevent+jwt":
        raise jwt.InvalidTokenError("not a security event token")
    key = keys[header["kid"]]
    options: Any = {"require": ["iss", "iat", "aud", "jti"]}
    claims = jwt.decode(raw, key, algorithms=["EdDSA"], audience=fabric, options=options)
    ((name, body),) = claims["events"].items()
    if name not in EVENT_TYPES or not body["log"].startswith(f"{header['kid'][:11]}-"):
        raise jwt.InvalidTokenError("an event of another kind, or in the log of another key")
    return claims


async def read(server: str, fabric: str, keys: dict[str, jwt.PyJWK]) -> None:
    """Print what is stored, oldest first."""
    # The rights of a subscriber allow replies below this prefix alone.
    client = await nats.connect(server, inbox_prefix="_INBOX_sub")
    stream, subject, seq = f"RESCIND_{fabric}", f"rescind.{fabric}.log.*", 1
    try:
        while True:
            found = await client.jetstream().get_msg(stream, seq, subject, direct=True, next=True)
            seq = (found.seq or seq) + 1
            if (found.subject or "").endswith(".trust"):
                continue  # a version of the trust file, signed by the fabric's root
            try:
                claims = verified(found.data or b"", keys, fabric)
            except (jwt.PyJWTError, KeyError, ValueError) as error:
                print(json.dumps({"seq": seq - 1, "refused": type(error).__name__}))
                continue
            for change in next(iter(claims["events"].values()))["changes"]:
                print(json.dumps({"publisher": claims["iss"], "at": claims["iat"], **change}))
    except NotFoundError:
        return  # the end of the stream
    finally:
        await client.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("jwks", type=Path, help="the publishers' keys, as a JWK Set")
    parser.add_argument("server", help="the NATS server, with user and password of a subscriber")
    parser.add_argument("fabric", help="the fabric id")
    given = parser.parse_args()
    found = jwt.PyJWKSet.from_dict(json.loads(given.jwks.read_bytes()))
    keys = {key.key_id: key for key in found.keys if key.key_id is not None}
    asyncio.run(read(given.server, given.fabric, keys))


if __name__ == "__main__":
    main()
