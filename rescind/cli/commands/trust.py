"""`rescind trust`."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescind.cli.common import Session, common, timeout
from rescind.errors import EXIT_OK, EXIT_PENDING, BadConfig

if TYPE_CHECKING:
    from rescind_protocol.keys import SigningKey
    from rescind_protocol.trust import Trust, TrustedKey, TrustFile

FILE = click.Path(dir_okay=False, path_type=Path)

HELP = """Change who is trusted, while everything runs.

A trust file is a chain of versions, and none is ever taken back. `add`, `revoke` and `rotate` put
one more into a file, on the machine that has the root's key; `publish` hands the file to the
publisher that runs here, and brokers carry it to every subscriber.

\b
A stolen key:
  rescind trust cuts east > cuts.json       what counts of it, as known here
  rescind trust revoke east --cuts cuts.json --root root.key --file trust.jws
  rescind trust publish trust.jws
"""


@click.group(help=HELP)
def trust() -> None:
    """See HELP."""


def _desk(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of the root's machine."""
    command = click.option("--file", type=FILE, required=True, help="The trust file to extend.")(
        command
    )
    return click.option("--root", type=FILE, required=True, help="The root's private key.")(command)


@trust.command(short_help="Show whom this host trusts.")
@common
def show(session: Session) -> int:
    """Show whom this host trusts, by the newest version it has heard of."""
    from rescind import compose  # noqa: PLC0415 - help needs none
    from rescind.cli.commands.keys import present  # noqa: PLC0415

    return present(session.out, compose.make_trust(session.loaded))


@trust.command(short_help="Print the publishers' public keys as a JWK Set.")
@common
def jwks(session: Session) -> int:
    """Print the keys whose signed kills count, for programs that verify events by themselves.

    A node serves the same at /.well-known/publishers.jwks.json.
    """
    from rescind import compose  # noqa: PLC0415 - help needs none

    session.out.document({"keys": compose.make_trust(session.loaded).jwks()})
    return EXIT_OK


@trust.command(short_help="Trust one more key.")
@click.argument("publisher")
@click.argument("key", type=FILE)
@click.option("--like", required=True, metavar="PUBLISHER", help="Whose rights it gets.")
@click.option("--required", is_flag=True, help="Nothing is fresh without its heads.")
@_desk
@common
def add(
    session: Session,
    *,
    publisher: str,
    key: Path,
    like: str,
    required: bool,
    root: Path,
    file: Path,
) -> int:
    """Trust the public key in KEY (FILE.pub.json) as PUBLISHER's.

    For rights of its own, write a description: see `rescind keys --help`.
    """
    from rescind_protocol.encoding import b64url_encode  # noqa: PLC0415 - help needs none
    from rescind_protocol.trust import TrustedKey  # noqa: PLC0415
    from rescind_publisher.keyfiles import read_public  # noqa: PLC0415

    x = b64url_encode(read_public(key))

    def change(at: "TrustFile") -> "tuple[Iterable[TrustedKey], tuple[str, ...]]":
        model = _line(at, like)
        lines = (*at.keys, TrustedKey(x, publisher, model.rights))
        return lines, (*at.required, publisher) if required else at.required

    return _extend(session, root, file, change)


@trust.command(short_help="Revoke a key, with a cut.")
@click.argument("publisher")
@click.option("--cuts", type=FILE, help="What `rescind trust cuts` has written.")
@click.option("--all", "wholly", is_flag=True, help="Void all that it has ever said.")
@_desk
@common
def revoke(
    session: Session,
    *,
    publisher: str,
    cuts: Path | None,
    wholly: bool,
    root: Path,
    file: Path,
) -> int:
    """Revoke the key of PUBLISHER: what it said beyond the cuts is void, and all that it says now.

    Views do not wait for it any more. Everything it killed up to the cuts stays in force.
    """
    import msgspec  # noqa: PLC0415 - help needs none

    if wholly == (cuts is not None):
        raise click.UsageError(
            "give either --cuts FILE, or --all: then everything it killed lives again"
        )
    ends = _read_cuts(cuts) if cuts is not None else {}

    def change(at: "TrustFile") -> "tuple[Iterable[TrustedKey], tuple[str, ...]]":
        old = _line(at, publisher)
        new = msgspec.structs.replace(old, cuts=ends)
        left = tuple(name for name in at.required if name != publisher)
        if not left:
            raise BadConfig(
                f"{publisher!r} is the only publisher that is required: `add` another one first, "
                "with --required, for nothing would be fresh"
            )
        return (new if key is old else key for key in at.keys), left

    return _extend(session, root, file, change)


@trust.command(short_help="Have another root sign from now on.")
@click.option("--new-root", type=FILE, required=True, help="The new root's private key.")
@_desk
@common
def rotate(session: Session, *, new_root: Path, root: Path, file: Path) -> int:
    """Sign one more version by the old root and the new one, which signs alone from then on.

    Hosts that have the file keep their setting root_key; new ones may begin with either.
    """
    from rescind_publisher.keyfiles import read_private  # noqa: PLC0415 - help needs none

    successor = read_private(new_root)
    return _extend(session, root, file, lambda at: (at.keys, at.required), new_root=successor)


@trust.command(short_help="Write where a publisher's logs stand.")
@click.argument("publisher")
@click.option("--before", metavar="LOG=N", multiple=True, help="End this log before event N.")
@timeout(10, "How long to read.")
@common
def cuts(session: Session, *, publisher: str, before: tuple[str, ...], timeout_s: float) -> int:
    """Write, as JSON, the last event of each of PUBLISHER's logs, by number and digest.

    For `rescind trust revoke`. A log left out of it is void wholly.
    """
    import msgspec  # noqa: PLC0415 - help needs none

    from rescind import compose  # noqa: PLC0415
    from rescind.cli.cutting import cuts_of  # noqa: PLC0415

    key = compose.make_trust(session.loaded).heading(publisher)
    if key is None:
        raise BadConfig(f"the trust file knows no publisher {publisher!r} that signs heads")
    found = cuts_of(session.loaded, key, before, timeout_s)
    click.echo(msgspec.json.format(msgspec.json.encode(found)))
    return EXIT_OK


@trust.command(short_help="Hand the trust file to the running publisher.")
@click.argument("file", type=FILE)
@timeout(5, "How long to wait for the brokers.")
@common
def publish(session: Session, file: Path, *, timeout_s: float) -> int:
    """Have the publisher that runs here go by FILE, and put all its versions into the brokers."""
    from rescind.cli.switching import CONTROL  # noqa: PLC0415 - help needs none
    from rescind_publisher.control_client import ControlClient  # noqa: PLC0415
    from rescind_publisher.keyfiles import read_trust  # noqa: PLC0415
    from rescind_publisher.requests import TrustRequest  # noqa: PLC0415

    lines = tuple(read_trust(file).decode("ascii", "replace").splitlines())
    client = ControlClient(session.loaded.home / CONTROL)
    posted = client.post_trust(TrustRequest(lines, timeout_s))
    session.out.document({"done": "published", "version": posted.version, "sinks": posted.sinks})
    session.out.say(("published", "green"), f" trust version {posted.version}")
    session.out.fields(*((name, why or "stored") for name, why in posted.sinks.items()))
    failed = [why for why in posted.sinks.values() if why]
    return EXIT_PENDING if len(failed) == len(posted.sinks) else EXIT_OK


def _line(at: "TrustFile", publisher: str) -> "TrustedKey":
    found = [key for key in at.keys if key.publisher == publisher and key.cuts is None]
    if len(found) != 1:
        raise BadConfig(f"the trust file has {len(found)} keys in use of publisher {publisher!r}")
    return found[0]


def _read_cuts(path: Path) -> dict[str, tuple[int, str]]:
    import msgspec  # noqa: PLC0415 - help needs none

    from rescind_protocol.changes import CutsText  # noqa: PLC0415
    from rescind_protocol.limits import MAX_TRUST_BYTES  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_TRUST_BYTES), type=CutsText)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BadConfig(f"{path} is not what `rescind trust cuts` writes: {error}") from error


Change = Callable[["TrustFile"], "tuple[Iterable[TrustedKey], tuple[str, ...]]"]


def _extend(
    session: Session,
    root: Path,
    file: Path,
    change: Change,
    *,
    new_root: "SigningKey | None" = None,
) -> int:
    """Put one more version into a trust file."""
    import msgspec  # noqa: PLC0415 - help needs none

    from rescind.cli.commands.keys import present  # noqa: PLC0415
    from rescind_protocol import trust as trusts  # noqa: PLC0415
    from rescind_publisher.keyfiles import read_private, read_trust, write_trust  # noqa: PLC0415

    key = read_private(root)
    before = _open(read_trust(file), key, session)
    keys, required = change(before.file)
    wanted = msgspec.structs.replace(
        before.file,
        version=before.version + 1,
        iat=int(time.time()),
        keys=tuple(keys),
        required=required,
    )
    signed = trusts.sign(wanted, key, before=before, new_root=new_root)
    write_trust(file, signed)
    session.out.note(f"signed {file}")
    return present(session.out, trusts.extend(before, signed.splitlines()[-1]))


def _open(raw: bytes, root: "SigningKey", session: Session) -> "Trust":
    """Verify a file by the root this host knows, or by the one at hand, which signs the next."""
    from rescind_protocol import trust as trusts  # noqa: PLC0415 - help needs none
    from rescind_protocol.errors import Untrusted  # noqa: PLC0415
    from rescind_protocol.keys import public_from_text  # noqa: PLC0415

    settings = session.loaded.settings
    fabric = trusts.fabric_of(raw)
    try:
        return trusts.read(raw, root=root.public, fabric=fabric)
    except Untrusted:
        if not settings.root_key:
            raise
        return trusts.read(raw, root=public_from_text(settings.root_key), fabric=fabric)
