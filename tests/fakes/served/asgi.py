"""A Starlette application, for servers of ASGI."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import rescind
from tests.fakes.served import WHY, told


async def who(_: Request) -> PlainTextResponse:
    """What is guarded."""
    return PlainTextResponse(str(os.getpid()))


@rescind.exempt(WHY)
async def tell(request: Request) -> JSONResponse:
    """See `told`."""
    return JSONResponse(told(sidecar, request.headers.get("X-Asked")))


app = Starlette(routes=[Route("/who", who), Route("/told", tell)])
sidecar = rescind.protect(app)
