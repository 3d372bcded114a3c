"""A test that no route was forgotten: `rescind.testing.assert_guarded(app)`."""

import warnings
from typing import Any


def assert_guarded(app: Any) -> list[Any]:
    """Fail with the open routes, methods and tools of an application; return all of them.

    Middleware that stands outside the guard is open, too: it may answer before a badge is seen.
    An application without any route fails: the check would have looked at nothing. Warns of rules
    and exemptions that match nothing. Raises `CannotGuard` for what is no application that is
    known. See `rescind.routes`.
    """
    from rescind import routes  # noqa: PLC0415 - the simulator needs no frameworks

    found = routes.of(app)
    if not found:
        raise AssertionError("the application has no route: was it built?")
    open_ones = [f"{each.method} {each.path}" for each in found if each.open]
    if open_ones:
        why = "".join(f"; {each}" for each in routes.outside(app))
        raise AssertionError(f"no guard stands before {', '.join(open_ones)}{why}")
    for each in routes.complaints(app):
        warnings.warn(each, stacklevel=2)
    return found
