"""Routes that need no badge: said in the program, each with its reason, and listed by the audit.

    @app.get("/healthz")
    @rescind.exempt("a probe of the load balancer, which says nothing about orders")
    def healthz(): ...

or `rescind.protect(app, exempt={"/healthz": "a probe of the load balancer"})`. An exemption is a
path without parameters, compared byte by byte, for all methods or for one (`"GET /healthz"`, which
HEAD is, too; a decorated function's route: for its own methods). A *killed* badge is refused there.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rescind_guard.decision import Decision
from rescind_guard.integrations.asked import GET, HEAD, asked
from rescind_guard.integrations.errors import CannotGuard

ATTRIBUTE = "__rescind_exempt__"
Marked = TypeVar("Marked", bound=Callable[..., Any])


def exempt(reason: str) -> Callable[[Marked], Marked]:
    """Mark the function of a route; raises `CannotGuard` without a reason.

    Put it nearest to the function: what other decorators return is not what is looked at.
    """
    check_reason(reason)

    def mark(function: Marked) -> Marked:
        setattr(function, ATTRIBUTE, reason)
        return function

    return mark


def reason_of(function: object) -> str | None:
    """Return why a function is exempt, None if it is not."""
    while function is not None:
        reason = getattr(function, ATTRIBUTE, None)
        if isinstance(reason, str):
            return reason
        function = getattr(function, "__wrapped__", None) or getattr(function, "fn", None)
    return None


def check_reason(reason: object) -> None:
    """Raise `CannotGuard` for what is no reason."""
    if not isinstance(reason, str) or not reason.strip():
        raise CannotGuard(
            "an exemption needs its reason, in words: rescind.exempt('a health probe')"
        )


class Exemptions:
    """The exempt routes of one application: those that were said, and those that are decorated."""

    def __init__(
        self,
        said: Mapping[str, str] | None = None,
        decorated: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """`decorated` is asked once, at the first request: routes are added until then.

        Raises `CannotGuard` for an exemption that is none.
        """
        self.said = {_checked(route): reason for route, reason in (said or {}).items()}
        for reason in self.said.values():
            check_reason(reason)
        self._decorated = decorated

    def all(self) -> dict[str, str]:
        """Return every exempt route and its reason."""
        if self._decorated is not None:
            self.said |= {
                route: why for route, why in self._decorated().items() if _is_fixed(route)
            }
            self._decorated = None
        return self.said

    def covers(self, asked: str) -> bool:
        """Whether what is asked for, as `asked` says it, is exempt."""
        found = self.all()
        return bool(found) and (asked in found or asked.partition(" ")[2] in found)


def _is_fixed(route: str) -> bool:
    return not set(route) & set("{}<>*()^$")


def _checked(route: str) -> str:
    """Return a route in the form that `covers` compares."""
    method, _, path = route.rpartition(" ")
    one = asked(method or GET, path)
    if isinstance(one, Decision) or not _is_fixed(route) or method.upper() == HEAD:
        raise CannotGuard(
            "an exempt route is a path without parameters in its plain form, or METHOD and path "
            f"(GET for HEAD), not {route!r}"
        )
    return one if method else path
