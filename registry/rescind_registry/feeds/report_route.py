"""`POST /v1/reports`: what a subscriber that follows over HTTP has applied."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from rescind_protocol.limits import MAX_REPORT_BYTES
from rescind_registry.auth import address_of, needs
from rescind_registry.feeds.applied import Reports
from rescind_registry.routes.answering import refusals
from rescind_registry.tokens import Scope

PATH = "/v1/reports"


def route(reports: Reports) -> HTTPRouteHandler:
    """Return the route for `app.build`."""

    @post(
        PATH,
        operation_id="TakeReport",
        opt=needs(Scope.READ),
        status_code=202,
        request_max_body_size=MAX_REPORT_BYTES,
        responses=refusals(415, own=True),
    )
    async def take_report(request: Request[Any, Any, Any], data: JSONBody[dict[str, Any]]) -> None:
        """Hand a subscriber's report on to the publishers: a claim, which may be lost."""
        del data  # read as it was sent, once more: what a later version says is handed on too
        reports.take(await request.body(), address_of(request))

    return take_report
