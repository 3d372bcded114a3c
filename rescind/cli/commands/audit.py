"""`rescind audit`."""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.common import Session, common, moment
from rescind.cli.out import Out, plain, utc
from rescind.errors import EXIT_OK

if TYPE_CHECKING:
    from rescind_publisher.trail import Entry

_SHOWN_TARGETS = 3
TRAIL, LOG = "trail", "log"


@click.group()
def audit() -> None:
    """Show, export and verify the audit trail: who did what, why, and from where.

    Each line names the hash of the one before it. `verify` finds what was changed, taken out or put
    in; that the end was cut off shows only to who has kept the last hash elsewhere (--head).
    """


def _filtered(command: Any) -> Any:
    command = click.option("--target", metavar="TEXT", help="Only acts on targets with this text.")(
        command
    )
    command = click.option(
        "--from",
        "origin",
        type=click.Choice([TRAIL, LOG]),
        default=TRAIL,
        show_default=True,
        help="This host's trail, or what all publishers signed, read from the brokers.",
    )(command)
    return click.option(
        "--since", callback=moment, metavar="TIME", help="Only acts since then; a time, or now."
    )(command)


@audit.command(short_help="Show acts.")
@_filtered
@common
def show(session: Session, *, since: datetime | None, target: str | None, origin: str) -> int:
    """Show acts, oldest first; with --json one document a line."""
    found = list(_matching(session, since, target, origin))
    for each in found:
        session.out.document(plain(each))
        _show(session.out, each)
    if not found:
        session.out.note(_nothing(session, origin))
    return EXIT_OK


def _nothing(session: Session, origin: str) -> str:
    if origin == LOG:
        return "the signed log has no such act"
    from rescind.cli.registry import trail_of  # noqa: PLC0415 - help needs none

    path = trail_of(session.loaded).path
    if path.exists():
        return f"no such act is in {path}"
    return (
        f"no act was written down on this host yet ({path}): what other hosts did is in their "
        "trails, and in the signed log: --from log"
    )


@audit.command(short_help="Write acts to a file, as they stand.")
@_filtered
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common
def export(
    session: Session, *, file: Path, since: datetime | None, target: str | None, origin: str
) -> int:
    """Write acts to FILE as JSON lines; FILE must not exist. All of them verify as they are."""
    import msgspec  # noqa: PLC0415 - help needs none

    found = _matching(session, since, target, origin)
    found = iter(list(found)) if origin == LOG else found  # no file is left where none can be read
    count = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o600), "wb") as out:
        for count, each in enumerate(found, 1):  # noqa: B007
            out.write(msgspec.json.encode(each) + b"\n")
    session.out.document({"file": str(file), "lines": count})
    session.out.say(("written", "green"), f" {count} acts to {file}")
    return EXIT_OK


@audit.command(short_help="Verify the chain.")
@click.option("--head", metavar="HASH", help="A hash that was kept elsewhere: it must be in it.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An exported file, instead of this host's.",
)
@common
def verify(session: Session, *, head: str | None, file: Path | None) -> int:
    """Verify that no line was changed, taken out or put in; show the last hash, to be kept."""
    from rescind.cli.registry import trail_of  # noqa: PLC0415 - help needs none
    from rescind_publisher import trail as trails  # noqa: PLC0415

    trail = trails.Trail(file) if file else trail_of(session.loaded)
    count, last = trails.verify(trail.entries(), head)
    session.out.document({"lines": count, "head": last})
    session.out.say(("verified", "green"), f" {count} acts")
    session.out.fields(("head", last))
    return EXIT_OK


def _matching(
    session: Session, since: datetime | None, target: str | None, origin: str
) -> Iterator["Entry"]:
    begin = since.timestamp() if since else 0.0
    for each in _entries(session, origin):
        if each.at >= begin and (target is None or any(target in name for name in each.targets)):
            yield each


def _entries(session: Session, origin: str) -> "Iterable[Entry]":
    if origin == LOG:
        from rescind.cli.signed_log import entries  # noqa: PLC0415 - help needs none

        return entries(session.loaded)
    from rescind.cli.registry import trail_of  # noqa: PLC0415

    return trail_of(session.loaded).entries()


def _show(out: Out, each: "Entry") -> None:
    """Write an act as a few short lines: a table of it has no room on a terminal."""
    more = len(each.targets) - _SHOWN_TARGETS
    refused = "" if each.outcome == "done" else f"  {each.outcome}"
    out.say((f"{utc(each.at)}  ", "dim"), each.what, (refused, "red"))
    handed = each.by if each.by and not each.by.startswith(f"{each.who} (") else None
    out.fields(
        *(("on", name) for name in each.targets[:_SHOWN_TARGETS]),
        ("and", f"{more} more" if more > 0 else None),
        ("asked by", each.who),
        ("done by", handed if handed != each.who else None),
        ("from", each.where),
        ("reason", each.reason),
        ("why", each.why),
    )
