"""`rescind token`."""

import os
import stat
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from rescind.cli.common import Session, common, until
from rescind.cli.out import plain, utc
from rescind.errors import EXIT_OK

if TYPE_CHECKING:
    from rescind_registry.tokens import Token

SCOPES = ("kill", "reinstate", "read", "issue", "admin")
"""As in `rescind_registry.tokens`."""


@click.group()
def token() -> None:
    """Make, list and revoke API tokens of this host's registry.

    \b
    Scopes:
      kill        kill and suspend; an issuer or everyone only with admin
      reinstate   reinstate and retract
      read        ask how agents and badges stand, and follow feeds
      issue       fetch badges for agents that do not prove their key
      admin       all of it; enrol and remove agents
    """  # noqa: D301 - click's own mark, a backspace


@token.command(short_help="Make a token, and show it once.")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    help="What it is for; may be given again.",
)
@click.option("--expires", callback=until, metavar="WHEN", help="10m, 2h, 3d, or a time.")
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to a new file that only you can read, and do not show it.",
)
@common
def make(
    session: Session,
    *,
    name: str,
    scopes: tuple[str, ...],
    expires: datetime | timedelta | None,
    file: Path | None,
) -> int:
    """Make a token called NAME. It is shown this once; only a hash of it is kept.

    It is shown on a terminal and given to a pipe, as in TOKEN=$(rescind token make ci). Into a file
    it goes by --to alone, for a file by redirection is one that others may read.
    """
    from rescind.cli.registry import note, opened  # noqa: PLC0415 - help needs none
    from rescind_registry.tokens import Scope, Tokens  # noqa: PLC0415

    if file is None and _is_file(sys.stdout):
        raise click.UsageError("standard output is a file: give --to FILE, which only you can read")
    if file is not None and file.exists():
        raise click.UsageError(f"{file} exists; it is not replaced")
    now = time.time()
    with opened(session.loaded) as store:
        wanted = tuple(map(Scope, scopes))
        secret, made = Tokens(store).make(name, wanted, now=now, ttl_s=_ttl_s(expires, now))
    note(session.loaded, "token.make", str(made), why=", ".join(made.scopes))
    if file is None:
        session.out.document({"token": secret, **plain(made)})
        session.out.say(secret)
    else:
        from rescind_publisher.keyfiles import write_secret  # noqa: PLC0415

        write_secret(file, secret.encode() + b"\n")
        session.out.document({"token_file": str(file), **plain(made)})
        session.out.say(("written", "green"), f" to {file}")
    session.out.note(f"token {made} for {', '.join(made.scopes)}: it is not shown again")
    return EXIT_OK


def _is_file(stream: IO[str]) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # it is none of this process
        return False


def _ttl_s(expires: datetime | timedelta | None, now: float) -> int | None:
    if isinstance(expires, datetime):
        left = int(expires.timestamp() - now)
        if left <= 0:
            raise click.BadParameter("the token would be over before it began")
        return left
    return None if expires is None else int(expires.total_seconds())


@token.command("list", short_help="List tokens, without their secrets.")
@common
def list_(session: Session) -> int:
    """List every token of this host's registry, without its secret."""
    from rescind.cli.registry import opened  # noqa: PLC0415 - help needs none
    from rescind_registry.tokens import Tokens  # noqa: PLC0415

    with opened(session.loaded) as store:
        found = Tokens(store).all()
    session.out.document({"tokens": plain(found)})
    session.out.table(
        ("id", "name", "scopes", "made", "state"),
        [
            (each.id, each.name, ", ".join(each.scopes), utc(each.made_at), _state(each))
            for each in found
        ],
    )
    return EXIT_OK


def _state(found: "Token") -> tuple[str, str]:
    if found.revoked_at is not None:
        return f"revoked {utc(found.revoked_at)}", "red"
    if found.expires_at is None:
        return "good", "green"
    over = found.expires_at < time.time()
    return f"{'expired' if over else 'good until'} {utc(found.expires_at)}", "red" if over else ""


@token.command(short_help="Revoke a token.")
@click.argument("ident", metavar="ID")
@common
def revoke(session: Session, *, ident: str) -> int:
    """Revoke the token with this ID: from now on it is worthless."""
    from rescind.cli.registry import note, opened  # noqa: PLC0415 - help needs none
    from rescind_registry.tokens import Tokens  # noqa: PLC0415

    with opened(session.loaded) as store:
        found = Tokens(store).revoke(ident, time.time())
    note(session.loaded, "token.revoke", str(found))
    session.out.document(plain(found))
    session.out.say(("revoked", "red"), f" {found}")
    return EXIT_OK
