"""What all routes share: how a refusal is documented, and how a repeated request is answered."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec

from rescind_protocol.targets import Target
from rescind_publisher.requests import KillSpec
from rescind_registry import acts
from rescind_registry.answered import Answer
from rescind_registry.auth import caller_of
from rescind_registry.errors import KeyOutlived
from rescind_registry.lanes import Lane
from rescind_registry.node import node_of
from rescind_registry.problems import JSON, PROBLEM, Problem, Refusal

KEY = "Idempotency-Key"
_WORDS = {
    400: "the request is malformed",
    401: "no API token, or a bad one",
    403: "the API token has not the scope, or the agent is suspended or killed",
    404: "not known here",
    409: "contradicts what is so already",
    410: "the cursor is not known: begin without one",
    413: "too large",
    415: "not application/json",
    422: "the Idempotency-Key was used with another request",
    429: "too many failures from this address: Retry-After says how long to wait",
    500: "a defect of the registry",
    503: "this node cannot tell, or cannot write: Retry-After says when to try again",
}


P = ParamSpec("P")
T = TypeVar("T")


def in_thread(lane: Lane) -> Callable[[Callable[P, T]], Callable[P, Awaitable[T]]]:
    """Let a handler that waits for a disk or for the publisher wait in a thread of a lane.

    Litestar's own `sync_to_thread` wraps a handler twice that is registered twice, as one with two
    paths is, and then answers with a coroutine (2.25).
    """

    def wrap(handler: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        @wraps(handler)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return await lane.run(partial(handler, *args, **kwargs))

        return run

    return wrap


def refusals(*more: int, own: bool = False, public: bool = False) -> dict[int, ResponseSpec]:
    """Return the documentation of a route's refusals; those that every route has are in it."""
    statuses = {400, 413, 500, 503, *more} | (set() if public else {401, 403, 429})
    shape, media = (Problem, PROBLEM) if own else (Refusal, JSON)
    return {
        status: ResponseSpec(
            data_container=shape,
            description=_WORDS[status],
            media_type=media,
            generate_examples=False,
        )
        for status in sorted(statuses)
    }


def accepted(shape: type) -> dict[int, ResponseSpec]:
    """Return the documentation of what is accepted, and pending."""
    said = "accepted and on this host's disk; no broker has said yet that it has it"
    return {acts.PENDING: ResponseSpec(shape, description=said, generate_examples=False)}


REPLAYED = "Idempotency-Replayed"
"""Header of an answer that was given before."""


def once(
    request: Request[Any, Any, Any],
    body: Any,
    do: Callable[[], tuple[int, Any]],
    *,
    killed: tuple[KillSpec, ...] = (),
    ended: Target | None = None,
) -> Response[bytes]:
    """Do what is asked, or repeat the answer to the same request under the same key.

    A repeated answer says that it is one, and what is so now: whether all that it `killed` is, or
    whether what it `ended` is killed again. Raises `KeyOutlived` for a kill that is not in force.
    """
    node, caller = node_of(request), caller_of(request)
    said = f"{request.method} {request.url.path}\n".encode() + msgspec.json.encode(body)

    def answer() -> Answer:
        status, document = do()
        return Answer(status, msgspec.json.encode(document))

    found = node.answered.once(
        caller.token.id, request.headers.get(KEY), said, node.clock.wall(), answer
    )
    if not found.replayed:
        return Response(found.body, status_code=found.status, media_type=JSON)
    document = msgspec.json.decode(found.body) | {"replayed": True}
    specs = killed or (() if ended is None else (KillSpec(target=ended),))
    if specs:
        document["killed_now"] = now = acts.killed_now(node, specs, document.get("ids", ()))
        if killed and now is False:
            raise KeyOutlived(
                "what was killed under this Idempotency-Key is not killed any more: the kill was "
                "ended or has expired, and nothing was done now; to kill again take a new key"
            )
    return Response(
        msgspec.json.encode(document),
        status_code=found.status,
        media_type=JSON,
        headers={REPLAYED: "true"},
    )
