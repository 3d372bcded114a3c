"""`GET /v1/bundles/{id}` over HTTP: what `Bundles` answers, as a response."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from rescind_protocol import bundles
from rescind_registry.bundle.asking import SUFFIX, Ask, read
from rescind_registry.bundle.bundles import NOT_MODIFIED, Answer, Bundles

NOT_FOUND = 404
_STATUSES = {
    400: "The request is malformed",
    401: "No API token, or one that is not known",
    403: "The API token may not read",
    404: "No such bundle",
    429: "Too many failures from this address",
    500: "A defect of the registry",
    503: "Not now: try again",
}


class Refusal(msgspec.Struct, frozen=True):
    """The reference's form of an error (interop.md §3)."""

    error: str


class BundleDocument(msgspec.Struct, frozen=True):
    """The bundle as clients of the reference read it."""

    data: dict[str, Any]
    modules: dict[str, str]
    revision: str


def routes(fabric: str, bundles_of_node: Bundles) -> list[ControllerRouterHandler]:
    """Return the routes; the bundle's id is the fabric's."""

    @get(
        "/v1/bundles/{bundle_id:str}",
        operation_id="GetBundle",
        opt={"scope": "read"},
        summary="The revocations in force, as an OPA bundle, JSON, or signed by their publishers",
        response_headers=[
            ResponseHeader(name="ETag", documentation_only=True, description="The revision"),
            ResponseHeader(
                name=bundles.HEADS,
                documentation_only=True,
                description="The newest signed head of each publisher, apart by commas",
            ),
        ],
        responses={
            200: ResponseSpec(
                BundleDocument, description="JSON, or an archive", generate_examples=False
            ),
            304: ResponseSpec(
                None, description="The client has this revision", generate_examples=False
            ),
            **{
                status: ResponseSpec(Refusal, description=words, generate_examples=False)
                for status, words in _STATUSES.items()
            },
        },
    )
    async def get_bundle(
        request: Request[Any, Any, Any],
        bundle_id: FromPath[str],
        mode: Annotated[
            Literal["snapshot", "delta"] | None,
            QueryParameter(
                description="snapshot: never a delta, as an OPA that persists bundles needs"
            ),
        ] = None,
    ) -> Response[Any]:
        if bundle_id.removesuffix(SUFFIX) != fabric:
            why = f"there is no such bundle here: the one there is has the fabric's name, {fabric}"
            return Response(Refusal(why), status_code=NOT_FOUND, media_type=bundles.JSON)
        ask = read(
            {name.lower(): value for name, value in request.headers.items()},
            suffixed=bundle_id.endswith(SUFFIX),
            delta=mode != "snapshot",
        )
        answer = await _answer(bundles_of_node, ask, request)
        media_type = answer.headers.pop("content-type", None)
        return Response(
            answer.body or None,
            status_code=answer.status,
            headers=answer.headers,
            media_type=media_type,
        )

    return [get_bundle]


async def _answer(bundles_of_node: Bundles, ask: Ask, request: Request[Any, Any, Any]) -> Answer:
    """Answer; a client that goes away meanwhile takes no place among those who wait."""
    if not ask.wait_s:
        return await bundles_of_node.answer(ask)
    answer = asyncio.create_task(bundles_of_node.answer(ask))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else Answer(NOT_MODIFIED, {})
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _gone(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
