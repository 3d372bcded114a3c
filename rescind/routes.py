"""Every route, method and tool of a service, and whether a guard stands before it.

`of(app)` reads what the application itself routes by, and walks from the outside to the inside: a
route is guarded if a guard is passed on the way to it. Nothing is called, so it is safe to ask
about a service that is in use. What cannot be looked into (a mounted application of an unknown
kind) is one row for all it may answer, and so is middleware that stands outside the guard: it may
answer before anybody looked at a badge.
"""

import logging
from typing import Any

import msgspec

from rescind.templates import glob, matches
from rescind.walk import ANY, GUARDS, MIDDLEWARE, Found, walk
from rescind_guard.integrations.asked import WEBSOCKET, judged
from rescind_guard.integrations.exempt import Exemptions, reason_of

log = logging.getLogger("rescind")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", WEBSOCKET)
"""What a route that takes any method may be asked for, of what rules name."""


class Route(msgspec.Struct, frozen=True):
    """One method of one path, or one tool, resource or prompt."""

    method: str
    """Of HTTP; `WEBSOCKET`; `tool`, `resource`, `prompt` of an MCP server; `*`: any; `middleware`
    that stands outside the guard."""
    path: str
    guarded: bool
    exempt: str | None = None
    """Why it needs no badge."""

    @property
    def open(self) -> bool:
        """Whether anyone may call it, and nobody has said that this is meant."""
        return not self.guarded and self.exempt is None


def of(app: Any) -> list[Route]:
    """Return all routes; raises `CannotGuard` for what is no application that is known."""
    return [_judge(found) for found in walk(app, "", ())]


def decorated(app: Any) -> dict[str, str]:
    """Return the routes that are exempt by their functions' marks, as `METHOD path` or `path`.

    One that a function without a mark may answer as well (on another host, by a route that matches
    first) is not among them.
    """
    found = [each for each in walk(app, "", ()) if each.method != MIDDLEWARE]
    marked = [(at, each, reason_of(each.function)) for at, each in enumerate(found)]
    return {
        _route(each): why
        for at, each, why in marked
        if why is not None and _rival(found, at) is None
    }


def _rival(found: list[Found], at: int) -> Found | None:
    """Return a route without a mark that may answer what is asked of an exempt one."""
    exempt = found[at]
    for other_at, other in enumerate(found):
        path = _on_any_host(other.path)
        is_before = other.in_order and other_at < at and matches(path, exempt.path)
        if (
            (is_before or path == exempt.path)
            and _methods_meet(other.method, exempt.method)
            and reason_of(other.function) is None
        ):
            return other
    return None


def _on_any_host(path: str) -> str:
    return f"/{path[2:].partition('/')[2]}" if path.startswith("//") else path


def _methods_meet(one: str, other: str) -> bool:
    if WEBSOCKET in (one, other):
        return one == other
    return ANY in (one, other) or judged(one) == judged(other)


def complaints(app: Any) -> list[str]:
    """Return what a guard was told and does nothing for, and what stands outside it, in sentences.

    Rules and exemptions that can match no route; marks of exemption that do not count; middleware
    that may answer before the guard. Raises `CannotGuard` as `of` does.
    """
    routes = [each for each in walk(app, "", ()) if each.method != MIDDLEWARE]
    said = outside(app)
    said += [_needless(routes, at) for at, each in enumerate(routes) if reason_of(each.function)]
    guards = {id(guard): guard for each in routes for guard in each.guards}
    said += [line for guard in guards.values() for line in _idle(guard, routes)]
    return [*dict.fromkeys(filter(None, said))]  # a guard stands at the router, too


def _needless(routes: list[Found], at: int) -> str:
    """Return why the mark on a function opens nothing; empty if it counts."""
    marked, rival = routes[at], _rival(routes, at)
    why = f"{rival.method} {rival.path} may answer it, which is not marked" if rival else ""
    if marked.path.startswith("//"):
        why = "it holds for one host, and an exemption for all"
    return f"{_route(marked)} is marked exempt and needs a badge all the same: {why}" if why else ""


def outside(app: Any) -> list[str]:
    """Return a sentence for all middleware that may answer before the guard."""
    return [
        f"{each.path} stands outside the guard and may answer without a badge: add it before "
        "rescind.protect, or mark it with rescind.exempt and a reason"
        for each in walk(app, "", ())
        if each.method == MIDDLEWARE and reason_of(each.function) is None
    ]


def _idle(guard: Any, routes: list[Found]) -> list[str]:
    """Return the rules and exemptions of one guard that match none of the routes behind it."""
    behind_it = [each for each in routes if any(one is guard for one in each.guards)]
    if any(each.method == "method" for each in behind_it):
        return []  # the tools of a lowlevel server of MCP are known to its handlers alone
    names = [
        each.path if each.method == "tool" else f"{method} {glob(each.path)}"
        for each in behind_it
        for method in (_METHODS if each.method == ANY else [judged(each.method)])
    ]
    rules = getattr(guard.guard, "unmatched_rules", None)
    said = [f"{each} matches no route or tool" for each in rules(names)] if rules else []
    for route in guard.exempt.said if isinstance(guard, GUARDS) else ():
        path = route.rpartition(" ")[2]
        if not any(matches(each.path, path) for each in behind_it):
            said.append(f"exempt: {route!r} matches no route")
    return said


def _route(found: Found) -> str:
    """Return a route as an exemption names it: a view that takes any method by its path alone."""
    return found.path if found.method == ANY else f"{judged(found.method)} {found.path}"


def exemptions(app: Any, said: Any) -> Exemptions:
    """Return what is exempt in `app`: what was said, and what is decorated.

    Looked up once, at its start or its first request; `complaints` go to the log then.
    """
    return Exemptions(said, lambda: first_look(app))


def first_look(app: Any, guarded: Any = None) -> dict[str, str]:
    """Return what is decorated in `app`, and log what `guarded`, or it, complains of."""
    for each in complaints(guarded or app):
        log.warning("%s", each)
    return decorated(app)


def _judge(found: Found) -> Route:
    why = reason_of(found.function) if not found.guards else None
    for guard in found.guards:
        known = guard.exempt.all() if isinstance(guard, GUARDS) else {}
        why = known.get(_route(found)) or known.get(found.path)
    return Route(found.method, found.path, bool(found.guards), why)
