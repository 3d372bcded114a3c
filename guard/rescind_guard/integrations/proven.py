"""What a guard leaves for another one behind it: a guarded MCP server in a guarded FastAPI.

The outer guard takes the badge out of the headers. What it took stands in the scope of ASGI, or in
the environment of WSGI, for the inner guard alone, which checks the same badge by its own view and
its own rules: both bind. A caller cannot put it there: a request has text, and no objects.

A guard that meets its own work (`protect` puts one outside and one at the router) has nothing to do
while the request still asks for the same.
"""

from collections.abc import Mapping
from typing import Any

from rescind_guard.integrations import carriage
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import BadCarriage

KEY = "rescind.proven"
_BRIDGED = "asgi.scope"
"""Where a2wsgi keeps the scope of ASGI in the environment of WSGI."""

Header = tuple[str, str]


class Proven:
    """The badge that a guard took out of a request, and what was asked for with it."""

    __slots__ = ("_asked", "_guard", "_headers", "exempt")

    def __init__(
        self,
        guard: object,
        headers: list[Header],
        *,
        bearer: Bearer,
        asked: tuple[str, ...],
        exempt: bool,
    ) -> None:
        """`headers`: as they came. No badge is kept where it is left open which one speaks."""
        self._guard, self._asked, self.exempt = guard, asked, exempt
        try:
            badge = carriage.header_badge(headers, bearer=bearer)
            hops = carriage.header_map(headers)
        except BadCarriage:
            badge = hops = None
        pairs = ((carriage.BADGE_HEADER, badge), (carriage.MAP_HEADER, hops))
        self._headers = tuple((name, said) for name, said in pairs if said is not None)

    def __repr__(self) -> str:
        return "<Proven>"  # never the badge

    def settles(self, guard: object, asked: tuple[str, ...], *, exempt: bool) -> bool:
        """Whether this very guard has decided this very question already."""
        return self._guard is guard and self._asked == asked and (exempt or not self.exempt)

    def headers(self) -> tuple[Header, ...]:
        """Return the headers that were taken out."""
        return self._headers


def of(request: Mapping[str, Any]) -> Proven | None:
    """Return what the guard outside left in a scope of ASGI or an environment of WSGI."""
    found = request.get(KEY)
    if found is None and isinstance(bridged := request.get(_BRIDGED), Mapping):
        found = bridged.get(KEY)
    return found if isinstance(found, Proven) else None


def headers(request: Mapping[str, Any]) -> tuple[Header, ...]:
    """Return the headers that the guard outside took out; none where there is no such guard."""
    found = of(request)
    return found.headers() if found is not None else ()
