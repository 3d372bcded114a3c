"""`rescind retire`."""

import click

from rescind.cli.common import Session, common, timeout
from rescind.cli.reasons import explained

HELP = """Go on without a publisher that is gone for good.

The publisher that runs here says so to all: nothing waits for PUBLISHER's heads any more. It names
the last event of each of its logs that is known here; beyond that all is void, everywhere alike.
Kills before it stay in force. Needs the right `retire`.

Refused while PUBLISHER is heard, and where its last head names events that are not here, or none
was heard since the publisher here started: events may lie in its spool alone. Should it come back,
it says its own again in a new log.
"""


@click.command(help=HELP)
@click.argument("publisher")
@click.option("--force", is_flag=True, help="Give up what may be missing here.")
@explained()
@timeout(2, "How long to wait for the brokers.")
@common
def retire(
    session: Session,
    *,
    publisher: str,
    force: bool,
    reason: str,
    reason_admin: str | None,
    actor: str | None,
    timeout_s: float,
) -> int:
    """Ask, present."""
    from rescind.cli.switching import present, switching  # noqa: PLC0415 - help needs none

    with switching(session) as (switch, doer):
        receipt = switch.retire(
            publisher,
            force=force,
            reason=reason,
            reason_admin=reason_admin,
            actor=actor,
            timeout_s=timeout_s,
        )
    for sentence in receipt.warnings:
        session.out.note(sentence)
    return present(session.out, "retired", receipt, doer, {"warnings": list(receipt.warnings)})
