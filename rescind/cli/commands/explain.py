"""`rescind explain`."""

import time
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.common import Session, common, read_token, timeout
from rescind.cli.out import Out, plain
from rescind.errors import EXIT_CANNOT_TELL, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from rescind_guard.decision import Decision
    from rescind_guard.explain import Step

COLOURS = {"OK": "green", "NOT_REACHED": "dim", "REVOCATION_CHECK_FAILED": "yellow"}
DETAIL_CHARS = 44
"""What is left of 80 columns beside number, name and code; a longer detail gets its own line."""


@click.command()
@click.option("--tool", metavar="NAME", help="The tool that would be called.")
@timeout(5, "How long to wait for a fresh view.")
@common
def explain(session: Session, *, tool: str | None, timeout_s: float) -> int:
    """Show each numbered step of a guard's decision on the badge on standard input.

    Follows the fabric and decides by the settings of this host, as a guard in a server would. The
    badge itself is never shown. Exit code 0 if it is allowed, 1 if not.

    \b
    Example:
      rescind badge issue --sub did:web:acme.example:x7 | rescind explain
    """  # noqa: D301 - click's own mark, a backspace
    from rescind import compose, listing, policies  # noqa: PLC0415 - help needs none
    from rescind.cli.following import following, wait_fresh  # noqa: PLC0415
    from rescind_guard.codes import Outcome  # noqa: PLC0415
    from rescind_guard.explain import Explanation  # noqa: PLC0415
    from rescind_subscriber.errors import SourceUnavailable  # noqa: PLC0415

    token = read_token()
    with following(session.loaded) as subscriber:
        keys = compose.make_keys(session.loaded, subscriber.view)
        if keys is not None:
            keys.load()
            keys.step()
        lists = listing.make(session.loaded, subscriber.view, keep=False)
        if lists is not None:
            lists.step()
            for what, why in lists.troubles.items():
                session.out.warn(f"{what}: {why}; what it names is not known here")
        guard = compose.make_guard(
            session.loaded,
            subscriber.view,
            keys=keys.view if keys else None,
            policy=policies.make(session.loaded, fetch=True),
        )
        try:
            wait_fresh(subscriber, timeout_s)
        except SourceUnavailable as error:
            session.out.warn(str(error))
        steps = Explanation(guard, subscriber.view.published, time.time()).run(token, tool)
        decision = guard.check(token, tool=tool)
    session.out.document(_document(decision, steps))
    _show(session.out, decision, steps)
    if decision.outcome is Outcome.CANNOT_TELL:
        return EXIT_CANNOT_TELL
    return EXIT_OK if decision else EXIT_FAILED


def _document(decision: "Decision", steps: "list[Step]") -> dict[str, Any]:
    return {
        "allowed": bool(decision),
        "outcome": decision.outcome.value,
        "code": decision.code.value,
        "reason": decision.reason,
        "revocation": str(decision.revocation) if decision.revocation else None,
        "unsigned_list": decision.unsigned_list,
        "reason_user": decision.reason_user,
        "warnings": list(decision.warnings),
        "steps": plain(steps),
    }


def _show(out: Out, decision: "Decision", steps: "list[Step]") -> None:
    for step in steps:
        colour = COLOURS.get(step.code, "red")
        fits = len(step.detail) <= DETAIL_CHARS - len(step.code)
        beside = f"  {step.detail}" if step.detail and fits else ""
        out.say(f"{step.number:>2}  {step.what:<28}  ", (step.code, colour), beside)
        if not fits:
            out.say("      ", (step.detail, "dim"))
    out.say()
    word = decision.outcome.value.replace("_", " ").upper()
    colour = {"allow": "green", "deny": "red"}.get(decision.outcome.value, "yellow")
    out.say((word, colour), f"  {decision.code}: {decision.reason}")
    for warning in decision.warnings:
        out.say(("warning", "yellow"), f"  {warning}")
