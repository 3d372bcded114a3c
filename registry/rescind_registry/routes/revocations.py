"""`GET /v1/revocations`: the kills in force, in pages, from the followed log."""

from typing import Annotated, Literal

from litestar import get
from litestar.params import QueryParameter

from rescind_protocol.changes import Effect, Revocation
from rescind_protocol.targets import Kind
from rescind_registry import bodies, cursors
from rescind_registry.auth import needs
from rescind_registry.bodies import rfc3339, unix
from rescind_registry.errors import CannotTell
from rescind_registry.lanes import OTHERS
from rescind_registry.node import node_of
from rescind_registry.routes.agents import Asked, Limit
from rescind_registry.routes.answering import in_thread, refusals
from rescind_registry.tokens import Scope

Cursor = Annotated[str | None, QueryParameter(max_length=cursors.MAX_CHARS, required=False)]
Since = Annotated[
    str | None,
    QueryParameter(
        max_length=cursors.MAX_CHARS,
        required=False,
        description="A time (only kills said since then), or a nextCursor",
    ),
]


@get("/v1/revocations", opt=needs(Scope.READ), responses=refusals(410))
@in_thread(OTHERS)
def revocations(
    request: Asked,
    limit: Limit = 100,
    cursor: Cursor = None,
    since: Since = None,
    kind: Annotated[
        Literal["badge", "all"], QueryParameter(description="Of badges, or all")
    ] = "badge",
) -> bodies.RevocationList:
    """List the kills in force of badges, or of every target, beyond a cursor.

    Go on with `nextCursor` until it is null; later with `cursor`, for what is new by then.
    """
    node = node_of(request)
    now = node.followed.capture()
    if now is None:
        raise CannotTell("this node cannot prove that it knows every kill: try again later")
    at, cursor = _since(since, cursor)
    found, reached, more = cursors.page(now, cursors.read(cursor, now), limit)
    shown = [each for each in found if each.at >= at and (kind == "all" or _is_badge(each))]
    reached_now = cursors.write(reached)
    return bodies.RevocationList(
        revocations=[_document(each) for each in shown],
        next_cursor=reached_now if more else None,
        cursor=reached_now,
        synced_at=rfc3339(node.followed.view.published.as_of_wall),
    )


def _since(since: str | None, cursor: str | None) -> tuple[int, str | None]:
    """Read the reference's `since`, which clients give a time or the cursor they got."""
    if not since:
        return 0, cursor
    if since[0].isdecimal():
        return unix("since", since) or 0, cursor
    return 0, cursor or since


def _is_badge(found: Revocation) -> bool:
    return found.kill.target.kind is Kind.BADGE and found.kill.effect is Effect.USE


def _document(found: Revocation) -> bodies.Revoked:
    kill = found.kill
    return bodies.Revoked(
        target=bodies.TargetBody(kill.target.kind, kill.target.iss, kill.target.id),
        effect=kill.effect,
        revoked_at=rfc3339(found.at),
        reason=kill.reason_user or kill.reason,
        id=str(found.id),
        jti=kill.target.id if _is_badge(found) else None,
        expires_at=None if kill.expires_at is None else rfc3339(kill.expires_at),
    )


ROUTES = [revocations]
