"""`rescind kill`."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.common import Session, common, limited, moment, timeout, until
from rescind.cli.reasons import actor_option, admin_option, reason_option
from rescind.cli.targets import (
    SYNTAX,
    WIDE,
    Named,
    TargetCommand,
    doubts,
    read_targets,
    target_arguments,
)
from rescind.cli.waiting import progress, wait_option
from rescind.errors import EXIT_FAILED, EXIT_PENDING
from rescind_protocol.limits import MAX_REASON_CHARS
from rescind_protocol.targets import Kind, Target

if TYPE_CHECKING:
    from rescind_publisher.asks import Ask

BADGE_ONLY = (
    "this badge is dead; its agent can fetch a new one: to stop the agent, kill agent {agent}"
)

HELP = f"""Deny a target everywhere: every guard refuses it from now on.

{SYNTAX}
With --from FILE (`-`: standard input) the targets stand there, of any number, one a line as above
or as JSON, {{"kind": "session", "id": "8d1f"}}. Empty lines and those that begin with # are passed
over. They are killed as they are read, ten thousand at a time; a line that names no target is said,
the others are killed, and the exit code is 1. With --json one line for each request, then a sum.

\b
Examples:
  rescind kill agent did:web:acme.example:x7 --reason compromise --reason-admin INC-412
  rescind kill badge - < badge.jwt
  rescind kill session 8d1f --expires 2h --wait 2s
  rescind kill --from stolen.txt --reason compromise --reason-admin INC-412

The kill goes to the publisher that runs on this machine; if none runs, this command is one
itself. A badge's kill ends by itself after the badge does; any other lasts until `rescind
reinstate`. Without the brokers it is kept on disk and sent later: exit code 3.

With --wait it ends when every known subscriber has said that it applied the kill, or names those
that have not (exit code 5), and tells how many calls had passed before. A subscriber that was
silent for as long as the publisher has listened is not known.
"""


@click.command(cls=TargetCommand, help=HELP)
@partial(target_arguments, required=False)
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Kill the targets in a file; -: on standard input.",
)
@reason_option
@admin_option
@click.option("--reason-user", callback=limited(MAX_REASON_CHARS), help="Shown to the caller.")
@click.option(
    "--expires",
    callback=until,
    metavar="WHEN",
    help="10m, 2h, 3d, or a time with its zone; guards end it up to 60 s later.",
)
@click.option(
    "--issued-before",
    callback=moment,
    metavar="TIME",
    help="Spare badges issued later: now, or a time with its zone.",
)
@click.option(
    "--effect",
    type=click.Choice(["use", "issuance"]),
    default="use",
    show_default=True,
    help="What to stop: use now, or only the next badge.",
)
@actor_option
@click.option("--yes", is_flag=True, help="Do not ask, for key, issuer and everyone.")
@timeout(2, "How long to wait for the brokers.")
@wait_option
@common
def kill(
    session: Session,
    *,
    kind: str | None,
    words: tuple[str, ...],
    file: str | None,
    yes: bool,
    actor: str | None,
    timeout_s: float,
    wait_s: float,
    **said: Any,
) -> int:
    """Parse, ask back, kill, present."""
    from rescind.cli.known import strangers  # noqa: PLC0415 - help needs none
    from rescind.cli.switching import present, switching  # noqa: PLC0415

    if file is not None:
        if kind is not None:
            raise click.UsageError("name a target, or give --from FILE, not both")
        waits = {"actor": actor, "timeout_s": timeout_s, "wait_s": wait_s}
        return _kill_from(session, file, said, waits, yes=yes)
    if kind is None:
        raise click.UsageError("Missing argument 'KIND'.")
    named = read_targets(kind, words)
    doubtful = doubts(named.targets, session.loaded)
    if kind in WIDE and not yes and not _confirmed(kind, named.targets):
        session.out.note("nothing was killed")
        return EXIT_FAILED
    with (
        switching(session) as (switch, doer),
        progress(session.out, wanted=wait_s > 0) as told,
    ):
        asks = [_ask(target, said) for target in named.targets]
        receipt = switch.kill_many(asks, actor=actor, timeout_s=timeout_s, wait_s=wait_s, told=told)
    unknown = strangers(named.targets, session.loaded, receipt.applied)
    warnings = [*receipt.warnings, *doubtful, *unknown]
    hint = _hint(kind, named)
    code = present(
        session.out, "killed", receipt, doer, {"warnings": warnings, "hint": hint, "kind": kind}
    )
    if hint:
        session.out.note(f"note: {hint}")
    for sentence in warnings:
        session.out.warn(sentence)
    return code


def _kill_from(
    session: Session, file: str, said: dict[str, Any], waits: dict[str, Any], *, yes: bool
) -> int:
    """Kill what a file names, as it is read; present each request, and then all of them."""
    from rescind.cli import many  # noqa: PLC0415 - as above
    from rescind.cli.switching import applied_code, switching  # noqa: PLC0415
    from rescind_publisher.errors import BadRequest  # noqa: PLC0415

    out = session.out
    faults, sums = many.Faults(out), many.Sums()
    with many.opened(file) as fd, switching(session) as (switch, doer), many.bar(out, fd) as told:
        eager = not waits["wait_s"]
        found = many.batches(fd, faults, yes=yes, eager=eager, read=lambda count: told(count, 0))
        for batch, is_last in many.with_last(found, wanted=not eager):
            for doubt in doubts(tuple(batch.targets), session.loaded):
                sums.doubts.setdefault(doubt)
            asks = [_ask(target, said) for target in batch.targets]
            now = waits if is_last else waits | {"wait_s": 0.0}
            try:
                receipt = switch.kill_many(asks, **now)
            except BaseException:  # an interrupt too: what was done has to be known
                sums.warn(out)
                raise
            told(0, len(asks))
            sums.add(out, batch, receipt)
    if not sums.killed:
        raise BadRequest("there is nothing to kill: no line names a target")
    sums.present(out, faults, doer)
    if faults.count:
        return EXIT_FAILED
    return EXIT_PENDING if sums.pending else applied_code(sums.last)


def _ask(target: Target, said: dict[str, Any]) -> "Ask":
    from rescind_protocol.changes import Effect  # noqa: PLC0415
    from rescind_publisher.asks import Ask  # noqa: PLC0415

    return Ask(target=target, **{**said, "effect": Effect(said["effect"])})


def _hint(kind: str, named: Named) -> str | None:
    if kind != Kind.BADGE:
        return None
    agent = named.wider[0].id if named.wider else "DID"
    return BADGE_ONLY.format(agent=agent)


def _confirmed(kind: str, found: tuple[Target, ...]) -> bool:
    """Ask for the kind's word; off a terminal nobody could type it."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"to kill {kind} takes --yes where nobody can be asked")
    stops = "every badge there is" if kind == Kind.EVERYONE else f"every badge of {found[0]}"
    if len(found) > 1:
        stops += f" and {len(found) - 1} more"
    typed = click.prompt(f"This stops {stops}. Type {kind} to go on", err=True)
    return bool(typed == kind)
