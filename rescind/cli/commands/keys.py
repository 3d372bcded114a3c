"""`rescind keys`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescind.cli.common import Session, common
from rescind.cli.out import Out, plain, utc
from rescind.errors import EXIT_OK, BadConfig

if TYPE_CHECKING:
    from rescind_protocol.trust import Trust

FILE = click.Path(dir_okay=False, path_type=Path)
PUBLIC_SUFFIX = ".pub.json"

HELP = """Make keys, and say who is trusted.

\b
To run publishers on hosts of their own, with a NATS of your own:
  rescind keys new root.key           once, on a machine that stays offline
  rescind keys new east.key           on each publisher's host; give its
                                      east.key.pub.json to the root's machine
  rescind keys sign trust.toml --root root.key --out trust.jws
  rescind keys verify trust.jws --root root.key.pub.json --fabric prod
Then copy trust.jws to every host, and write the root's public key (`x` in
root.key.pub.json) into setting root_key.

\b
trust.toml:
  fabric = "prod"
  version = 1                      # the next number each time
  required = ["east"]              # nothing is fresh without their heads
  [[keys]]
  publisher = "east"
  file = "east.key.pub.json"       # or x = "the public key"
  kill = "all"                     # or a list: ["badge", "agent", "session"]
  reinstate = "all"
  head = true
  [[keys]]
  publisher = "second"             # the second key that wide kills need
  file = "second.key.pub.json"
  approve = true
Also: snapshot, retire, issuers = [...], quota = N, not_after = a time,
cuts = {"LOG" = [N, "DIGEST"]} of a revoked key (see `rescind trust --help`).
"""


@click.group(help=HELP)
def keys() -> None:
    """See HELP."""


@keys.command("list", short_help="Show whom this host trusts.")
@common
def list_(session: Session) -> int:
    """Show whom the trust file of this host trusts, and with what."""
    from rescind import compose  # noqa: PLC0415 - help needs none

    return present(session.out, compose.make_trust(session.loaded))


@keys.command(short_help="Make a private key and its public part.")
@click.argument("file", type=FILE)
@common
def new(session: Session, file: Path) -> int:
    """Make a private key FILE (0600) and its public part FILE.pub.json."""
    from rescind_protocol.keys import SigningKey, jwk  # noqa: PLC0415 - help needs none
    from rescind_publisher.keyfiles import write_private, write_public  # noqa: PLC0415

    key = SigningKey.generate()
    public = file.with_name(file.name + PUBLIC_SUFFIX)
    if public.exists():
        raise BadConfig(f"{public} exists; it is not replaced")
    write_private(file, key)
    write_public(public, key.public)
    document = {"private": str(file), "public": str(public), "thumbprint": key.kid}
    session.out.document(document | {"x": jwk(key.public)["x"]})
    session.out.say(("made", "green"), f" {file}: keep it secret; anybody who has it can sign")
    session.out.fields(
        ("public", str(public)), ("x", jwk(key.public)["x"]), ("thumbprint", key.kid)
    )
    return EXIT_OK


@keys.command(short_help="Give the registry a new signing key.")
@click.option(
    "--overlap",
    "overlap_s",
    type=click.IntRange(0, 86_400),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long it is published before it signs.",
)
@common
def rotate(session: Session, *, overlap_s: int) -> int:
    """Give this host's registry a new key: published at once, signing after --overlap.

    Old keys stay published, so that their badges are found to be revoked or expired, and nothing
    else. To believe a key no longer, `rescind kill key THUMBPRINT`. Nodes on other hosts need a
    copy of the folder registry/keys; guards, of /.well-known/jwks.json.
    """
    from rescind.cli.registry import keyring_of, note  # noqa: PLC0415 - help needs none
    from rescind_protocol.keys import SigningKey  # noqa: PLC0415

    ring = keyring_of(session.loaded)
    if not ring.times():
        raise BadConfig("there is no registry here yet: start `rescind serve` once")
    key, since = SigningKey.generate(), int(time.time()) + overlap_s
    ring.add(key, since=since)
    note(session.loaded, "key.rotate", f"key {key.kid}")
    session.out.document({"thumbprint": key.kid, "signs_from": since, "keys": len(ring.times())})
    session.out.say(("made", "green"), f" key {key.kid}")
    session.out.fields(("signs from", utc(since)), ("published", f"{len(ring.times())} keys"))
    return EXIT_OK


@keys.command(short_help="Show a key's thumbprint.")
@click.argument("file", type=FILE)
@common
def thumbprint(session: Session, file: Path) -> int:
    """Show the RFC 7638 thumbprint of the key in FILE, private (PEM) or public (JWK)."""
    from rescind_protocol.keys import thumbprint as print_of  # noqa: PLC0415 - help needs none
    from rescind_publisher.keyfiles import read_private  # noqa: PLC0415

    found = print_of(_public(file)) if _is_json(file) else read_private(file).kid
    session.out.document({"file": str(file), "thumbprint": found})
    session.out.say(found)
    return EXIT_OK


@keys.command(short_help="Sign a trust file from a description.")
@click.argument("description", type=FILE)
@click.option("--root", type=FILE, required=True, help="The root's private key.")
@click.option("--out", type=FILE, required=True, help="The trust file to write.")
@common
def sign(session: Session, description: Path, root: Path, out: Path) -> int:
    """Sign a trust file from a description in TOML (see `rescind keys --help`)."""
    from rescind.cli.trustfile import (  # noqa: PLC0415 - help needs none
        check_snapshot_rights,
        read_description,
    )
    from rescind_protocol import trust  # noqa: PLC0415
    from rescind_publisher.keyfiles import read_private, read_trust, write_trust  # noqa: PLC0415

    key = read_private(root)
    file = read_description(description, now=int(time.time()))
    before = None
    if out.exists():
        before = trust.read(read_trust(out), root=key.public, fabric=file.aud)
        if file.version != before.version + 1:
            raise BadConfig(
                f"{out} has version {before.version} already: write version "
                f"{before.version + 1} into {description}"
            )
        check_snapshot_rights(before.file, file)
    signed = trust.sign(file, key, before=before)
    write_trust(out, signed)
    session.out.note(f"signed {out}")
    return present(session.out, trust.read(signed, root=key.public, fabric=file.aud))


@keys.command(short_help="Verify a trust file by its root.")
@click.argument("file", type=FILE)
@click.option("--root", type=FILE, required=True, help="The root's public key (FILE.pub.json).")
@click.option("--fabric", help="The fabric it must be for. [default: the setting]")
@common
def verify(session: Session, file: Path, root: Path, fabric: str | None) -> int:
    """Verify that a trust file is signed by the root, and show whom it trusts."""
    from rescind_protocol import trust  # noqa: PLC0415 - help needs none
    from rescind_publisher.keyfiles import read_trust  # noqa: PLC0415

    name = fabric or session.loaded.settings.fabric
    found = trust.read(read_trust(file), root=_public(root), fabric=name)
    session.out.note(f"{file} is signed by this root")
    return present(session.out, found)


def _is_json(file: Path) -> bool:
    return file.suffix in (".json", ".jwk")


def _public(file: Path) -> bytes:
    from rescind_publisher.keyfiles import read_public  # noqa: PLC0415 - help needs none

    return read_public(file)


def present(out: Out, found: "Trust") -> int:
    """Write whom a trust file trusts."""
    from rescind.cli.trustfile import describe_rights  # noqa: PLC0415 - help needs none

    signers = list(found.signers.values())
    out.document(
        {
            "fabric": found.fabric,
            "version": found.version,
            "required": list(found.required),
            "keys": [
                {
                    "publisher": signer.publisher,
                    "thumbprint": signer.kid,
                    "rights": plain(signer.rights),
                    "not_after": signer.not_after,
                    "required": found.heading(signer.publisher) == signer.kid
                    and signer.publisher in found.required,
                    "revoked": signer.revoked,
                }
                for signer in signers
            ],
        }
    )
    out.say(f"fabric {found.fabric}, trust version {found.version}")
    for signer in signers:
        out.say()
        required = found.heading(signer.publisher) == signer.kid
        required = required and signer.publisher in found.required
        colour = "red" if signer.revoked else "green"
        note = "  revoked" if signer.revoked else "  required" if required else ""
        out.say((signer.publisher, colour), note)
        out.fields(
            ("key", signer.kid),
            ("may", describe_rights(signer.rights)),
            ("until", utc(signer.not_after) if signer.not_after is not None else None),
        )
    return EXIT_OK
