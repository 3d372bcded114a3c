"""`rescind reinstate` and `rescind retract`."""

from datetime import datetime

import click

from rescind.cli.common import Session, common, moment, timeout
from rescind.cli.reasons import explained
from rescind.cli.targets import SYNTAX, TargetCommand, read_targets, target_arguments
from rescind.cli.waiting import progress, wait_option
from rescind_protocol.targets import Target

REINSTATE = f"""End every kill of a target. Badges issued before stay dead; new ones pass.

{SYNTAX}
From when new badges pass is the floor: a badge issued up to it stays dead. For the local issuer of
`rescind badge issue`, a new badge passes at once. For any other issuer the floor lies 60 s ahead,
for its clock may; --floor says otherwise. A badge is not reinstated, for its time of issue never
changes: `rescind retract` takes the kill back.
"""
RETRACT = f"""Take the kills of a target back as a mistake: what they killed lives again.

{SYNTAX}
After a real incident use `rescind reinstate`: badges of before stay dead then.
"""


@click.command(cls=TargetCommand, help=REINSTATE)
@target_arguments
@click.option(
    "--floor", callback=moment, metavar="TIME", help="Badges issued up to this stay dead."
)
@explained()
@timeout(2, "How long to wait for the brokers.")
@wait_option
@common
def reinstate(
    session: Session,
    *,
    kind: str,
    words: tuple[str, ...],
    floor: datetime | None,
    reason: str,
    reason_admin: str | None,
    actor: str | None,
    timeout_s: float,
    wait_s: float,
) -> int:
    """Parse, find the floor, reinstate, present."""
    from rescind.cli.switching import present_warned, switching  # noqa: PLC0415 - help needs none

    target = read_targets(kind, words).one
    at = int(floor.timestamp()) if floor else _local_floor(session, target, timeout_s)
    with switching(session) as (switch, doer), progress(session.out, wanted=wait_s > 0) as told:
        receipt = switch.reinstate(
            target,
            floor=at,
            reason=reason,
            reason_admin=reason_admin,
            actor=actor,
            timeout_s=timeout_s,
            wait_s=wait_s,
            told=told,
        )
    return present_warned(session.out, "reinstated", receipt, doer)


def _local_floor(session: Session, target: Target, timeout_s: float) -> int | None:
    """Return the floor of a target whose badges all come from the local issuer, else None.

    None leaves it to the publisher, which also knows what only stopped the issuing: no badge was
    dead by that, and none may die by its end.
    """
    loaded = session.loaded
    if loaded.settings.issuer_key is None:
        return None
    from rescind.cli.following import following  # noqa: PLC0415 - only where there is an issuer
    from rescind.cli.issuing import LocalIssuer  # noqa: PLC0415
    from rescind.cli.registry import floor_of  # noqa: PLC0415
    from rescind_protocol import killset  # noqa: PLC0415

    with following(loaded) as subscriber:
        if not subscriber.wait_synced(timeout_s):
            return None
        found = subscriber.view.published.table.get(target.digest)
    if not (found and killset.sums(found.revocations).use):
        return None
    # The registry of this host issues for the same origin; its last badge may be the newer one.
    return LocalIssuer(loaded).floor_of(target, least=floor_of(loaded, target, found) or 0)


@click.command(cls=TargetCommand, help=RETRACT)
@target_arguments
@explained()
@timeout(2, "How long to wait for the brokers.")
@wait_option
@common
def retract(
    session: Session,
    *,
    kind: str,
    words: tuple[str, ...],
    reason: str,
    reason_admin: str | None,
    actor: str | None,
    timeout_s: float,
    wait_s: float,
) -> int:
    """Parse, retract, present."""
    from rescind.cli.switching import present_warned, switching  # noqa: PLC0415 - help needs none

    target = read_targets(kind, words).one
    with switching(session) as (switch, doer), progress(session.out, wanted=wait_s > 0) as told:
        receipt = switch.retract(
            target,
            reason=reason,
            reason_admin=reason_admin,
            actor=actor,
            timeout_s=timeout_s,
            wait_s=wait_s,
            told=told,
        )
    return present_warned(session.out, "retracted", receipt, doer)
