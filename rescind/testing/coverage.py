"""A test that no route was forgotten: `rescind.testing.assert_guarded(app)`."""

from typing import Any


def assert_guarded(app: Any) -> list[Any]:
    """Fail with the open routes, methods and tools of an application; return all of them.

    An application without any route fails, too: the check would have looked at nothing. Raises
    `CannotGuard` for what is no application that is known. See `rescind.routes`.
    """
    from rescind import routes  # noqa: PLC0415 - the simulator needs no frameworks

    found = routes.of(app)
    if not found:
        raise AssertionError("the application has no route: was it built?")
    open_ones = [f"{each.method} {each.path}" for each in found if each.open]
    if open_ones:
        raise AssertionError(f"no guard stands before {', '.join(open_ones)}")
    return found
