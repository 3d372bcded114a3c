"""`rescind audit-routes`."""

import importlib
import sys
from typing import Any

import click

from rescind.cli.common import Session, common
from rescind.errors import EXIT_FAILED, EXIT_OK


@click.command("audit-routes")
@click.argument("app", metavar="MODULE:APP")
@common
def audit_routes(session: Session, *, app: str) -> int:
    """List every route, method and tool of a service, and whether a guard stands before it.

    Imports the module, as a server would, and calls no handler. A guard counts if it is there after
    the import. Exit code 1 if any route is open: neither guarded nor exempt with a reason.
    Middleware outside the guard is open, too. Warns of rules and exemptions that match nothing.

    \b
    Example:
      rescind audit-routes orders.main:app
    """  # noqa: D301 - click's own mark, a backspace
    from rescind import routes  # noqa: PLC0415 - help needs none

    loaded = _load(app)
    found, warnings = routes.of(loaded), routes.complaints(loaded)
    open_ones = [each for each in found if each.open]
    listed = [
        {
            "method": e.method,
            "path": e.path,
            "guarded": e.guarded,
            "exempt": e.exempt,
            "open": e.open,
        }
        for e in found
    ]
    session.out.document({"routes": listed, "open": len(open_ones), "warnings": warnings})
    for each in found:
        word, colour = ("OPEN", "red") if each.open else ("guarded", "green")
        if each.exempt is not None:
            word, colour = "exempt", "yellow"
        why = f"  ({each.exempt})" if each.exempt else ""
        session.out.say((f"{word:<8}", colour), f" {each.method:<10} {each.path}{why}")
    for line in warnings:
        session.out.say(("warning ", "yellow"), f" {line}")
    session.out.say(f"{len(found)} routes, {len(open_ones)} open")
    return EXIT_OK if found and not open_ones else EXIT_FAILED


def _load(said: str) -> Any:
    """Import what is to be looked at, from the current folder too; every fault is one sentence."""
    module, _, names = said.partition(":")
    if not module or not names:
        raise click.UsageError(f"write MODULE:APP, as in orders.main:app, not {said!r}")
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise click.UsageError(
            f"{said} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return found
