"""`rescind suspend`."""

from typing import Any

import click

from rescind.cli.common import Session, common, limited, timeout, until
from rescind.cli.reasons import explained
from rescind_protocol.limits import MAX_REASON_CHARS

HELP = """Refuse agents their next badge; the last one lives until it expires, within minutes.

No guard has to know, and no broker has to reach one: it is the registry that refuses. `rescind
reinstate agent DID` ends it. To stop an agent now, `rescind kill agent DID`.
"""


@click.command(help=HELP)
@click.argument("dids", nargs=-1, required=True, metavar="DID...")
@explained("suspended")
@click.option("--reason-user", callback=limited(MAX_REASON_CHARS), help="Shown to the agent.")
@click.option(
    "--expires", callback=until, metavar="WHEN", help="10m, 2h, 3d, or a time with its zone."
)
@timeout(2, "How long to wait for the brokers.")
@common
def suspend(
    session: Session, *, dids: tuple[str, ...], actor: str | None, timeout_s: float, **said: Any
) -> int:
    """See HELP."""
    from rescind.cli.known import strangers  # noqa: PLC0415
    from rescind.cli.switching import present_warned, switching  # noqa: PLC0415 - help needs none
    from rescind_protocol.changes import Effect  # noqa: PLC0415
    from rescind_protocol.targets import agent  # noqa: PLC0415
    from rescind_publisher.asks import Ask  # noqa: PLC0415

    asks = [Ask(target=agent(did), effect=Effect.ISSUANCE, **said) for did in dids]
    with switching(session) as (switch, doer):
        receipt = switch.kill_many(asks, actor=actor, timeout_s=timeout_s)
    for sentence in strangers([agent(did) for did in dids], session.loaded):
        session.out.warn(sentence)
    return present_warned(session.out, "suspended", receipt, doer)
