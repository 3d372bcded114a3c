"""`rescind bundle`."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescind.cli.common import Session, common, timeout
from rescind.cli.out import plain, utc
from rescind.errors import EXIT_OK, BadConfig

if TYPE_CHECKING:
    from rescind_registry.bundle.signing import BundleSigner

FORMS = ("opa", "signed", "json")
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_PEM_BYTES = 64 * 1024
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def bundle() -> None:
    """Write the revocations, or a policy, as a bundle; look into one, or verify one."""


@bundle.command(short_help="Write the revocations in force to a file.")
@click.argument("file", type=_FILE)
@click.option(
    "--form",
    type=click.Choice(FORMS),
    default="opa",
    show_default=True,
    help="For an OPA, signed by this host's publisher, or as the reference's JSON.",
)
@click.option("--key", type=_FILE, help="Private key (PEM) to sign for an OPA: RSA or P-256.")
@click.option("--keyid", default="rescind", show_default=True, help="What OPA knows the key by.")
@click.option("--scope", default="", help="What OPA expects it to be for; by default nothing.")
@timeout(5, "How long to wait for a fresh view.")
@common
def write(
    session: Session,
    *,
    file: Path,
    form: str,
    key: Path | None,
    keyid: str,
    scope: str,
    timeout_s: float,
) -> int:
    """Follow the fabric until the view is proven, and write it to FILE.

    \b
    Example:
      rescind bundle write revocations.tar.gz --key bundle.pem
    """  # noqa: D301 - click's own mark, a backspace
    _need_registry()
    from rescind import bundling  # noqa: PLC0415 - help needs none
    from rescind.cli.following import following, wait_fresh  # noqa: PLC0415
    from rescind_guard.freshness import SystemClock  # noqa: PLC0415
    from rescind_registry.bundle.asking import Form  # noqa: PLC0415
    from rescind_subscriber.errors import SourceUnavailable  # noqa: PLC0415

    signer = _signer(key, form, keyid, scope)
    with following(session.loaded) as subscriber:
        wait_fresh(subscriber, timeout_s)
        captured = subscriber.capture()
    if captured is None:
        raise SourceUnavailable("the view was not fresh for long enough: try again")
    body = bundling.write(session.loaded, captured, Form(form), signer=signer, clock=SystemClock())
    _put(file, body.raw)
    session.out.document({"file": str(file), "revision": body.revision, "bytes": len(body.raw)})
    session.out.say(("written", "green"), f"  {file}  revision {body.revision}")
    return EXIT_OK


def _signer(key: Path | None, form: str, keyid: str, scope: str) -> "BundleSigner | None":
    from rescind_registry.bundle import signing  # noqa: PLC0415 - help needs none

    if key is None:
        return None
    if form != "opa":
        raise click.UsageError("--key signs a bundle for an OPA: --form opa")
    return signing.load(key, keyid=keyid, scope=scope)


def _put(file: Path, raw: bytes) -> None:
    """Write beside, then into place: no OPA ever reads half of one."""
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(raw)
        Path(beside).chmod(0o644)
        Path(beside).replace(file)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


@bundle.command(short_help="Write a policy in Rego to a file, signed.")
@click.argument("file", type=_FILE)
@click.option(
    "--policy",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of .rego files, and perhaps a data.json.",
)
@click.option("--sign", "key", type=_FILE, required=True, help="Private key (PEM): RSA or P-256.")
@click.option("--keyid", default="rescind", show_default=True, help="What OPA knows the key by.")
@click.option("--scope", default="", help="What it is for; as policy_bundle_scope says.")
@click.option("--revision", default="", help="What to call it; by default what is in it, hashed.")
@common
def build(
    session: Session, *, file: Path, folder: Path, key: Path, keyid: str, scope: str, revision: str
) -> int:
    """Write the policy in a folder to FILE, for sidecars (policy_bundle_url) and OPAs.

    It is compiled and asked once: a policy that does not work is not written. Any web server can
    serve the file.

    \b
    Example:
      rescind bundle build policy.tar.gz --policy policy --sign policy.pem --revision 2026-11
    """  # noqa: D301 - click's own mark, a backspace
    _need_registry()
    import time  # noqa: PLC0415 - help needs none

    from rescind import bundling  # noqa: PLC0415
    from rescind_registry.bundle import signing  # noqa: PLC0415

    signer = signing.load(key, keyid=keyid, scope=scope)
    body = bundling.build(folder, signer, revision=revision, at=int(time.time()))
    _put(file, body.raw)
    session.out.document({"file": str(file), "revision": body.revision, "bytes": len(body.raw)})
    session.out.say(("written", "green"), f"  {file}  revision {body.revision}")
    return EXIT_OK


@bundle.command(short_help="Show what a bundle says, unverified.")
@click.argument("file", type=_FILE)
@common
def inspect(session: Session, *, file: Path) -> int:
    """Show what the bundle in FILE says. NOTHING of it is verified."""
    _need_registry()
    from rescind_registry.bundle import checking  # noqa: PLC0415 - help needs none

    found = checking.inspect(_read(file, MAX_FILE_BYTES))
    session.out.document({"verified": False, **plain(found)})
    session.out.fields(
        ("form", found.form), ("revision", found.revision), ("signature", found.signature)
    )
    rows = [[name, str(count)] for name, count in found.counts.items()]
    session.out.table(["what", "how many"], rows)
    return EXIT_OK


@bundle.command(short_help="Verify a bundle's signatures.")
@click.argument("file", type=_FILE)
@click.option("--key", type=_FILE, help="Public key (PEM), for a bundle that is for an OPA.")
@click.option("--scope", default="", help="What it must be signed for; by default nothing.")
@common
def verify(session: Session, *, file: Path, key: Path | None, scope: str) -> int:
    """Verify the bundle in FILE: by --key as an OPA does, else by this fabric's trust file.

    What verifies is genuine. Whether it is the newest, no file can say.
    """
    _need_registry()
    from rescind_registry.bundle import checking  # noqa: PLC0415 - help needs none

    raw = _read(file, MAX_FILE_BYTES)
    if key is not None:
        revision = checking.verify_opa(raw, _read(key, MAX_PEM_BYTES), scope=scope)
        session.out.document({"verified": True, "revision": revision})
        session.out.say(("verifies", "green"), f"  revision {revision}")
        return EXIT_OK
    from rescind import compose  # noqa: PLC0415 - as above

    found = checking.verify_signed(raw, compose.make_trust(session.loaded))
    session.out.document({"verified": True, **plain(found)})
    session.out.say(("verifies", "green"), f"  revision {found.revision}")
    session.out.fields(
        ("snapshot", _snapshot(found.publisher, found.signed_at)),
        ("revocations", str(found.revocations)),
        ("events", str(found.events)),
    )
    return EXIT_OK


def _snapshot(publisher: str | None, signed_at: int | None) -> str:
    return "none" if signed_at is None else f"by {publisher} at {utc(signed_at)}"


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise BadConfig(f"{path} is larger than {limit} bytes")
    return raw


def _need_registry() -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - help needs none

    if find_spec("jwt") is None:
        raise BadConfig("bundles need the package PyJWT: pip install 'rescind[registry]'")
