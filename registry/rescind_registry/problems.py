"""Errors as HTTP: the one place where they become a status and a document.

Problem details (RFC 9457) on our own paths, `{"error": …}` on the reference's (interop.md §3).
"""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from rescind_protocol.errors import RescindError
from rescind_registry.errors import TooManyFailures

_log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
JSON = "application/json"
_REFERENCE = (
    "/v1/agents",
    "/v1/badges",
    "/v1/sdk",
    "/v1/revocations",
    "/v1/bundles",
    "/v1/events",
    "/.well-known",
)
RETRY_S = 5
"""What a client is told to wait that met a node which cannot tell."""

STATUS = {
    "MALFORMED": 400,
    "BAD_REQUEST": 400,
    "TOKEN_INVALID": 401,
    "SCOPE_MISSING": 403,
    "AGENT_DISABLED": 403,
    "PROOF_FAILED": 403,
    "NOT_PERMITTED": 403,
    "QUOTA_EXCEEDED": 403,
    "AGENT_UNKNOWN": 404,
    "BADGE_UNKNOWN": 404,
    "AGENT_EXISTS": 409,
    "NOTHING_LIVE": 409,
    "STILL_RUNNING": 409,
    "IDEMPOTENCY_KEY_OUTLIVED": 409,
    "CURSOR_GONE": 410,
    "TOO_LARGE": 413,
    "MEDIA_TYPE": 415,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "TOO_MANY_FAILURES": 429,
}
"""By stable name; all others are our fault or the weather's: 503, try again."""


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 §3, with our stable name of the error as `code`."""

    title: str
    status: int
    detail: str
    code: str
    type: str = "about:blank"


class Refusal(msgspec.Struct, frozen=True):
    """How the reference says it; `code` is our stable name."""

    error: str
    code: str


def is_reference(path: str) -> bool:
    """Whether a path is one of the reference's API."""
    return path.startswith(_REFERENCE)


def on_error(request: Request[Any, Any, Any], error: RescindError) -> Response[Any]:
    """Answer with what one of our errors says."""
    status = STATUS.get(error.code, 503)
    headers: dict[str, str] = {}
    if isinstance(error, TooManyFailures):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status == 503:  # noqa: PLR2004 - as above
        headers["Retry-After"] = str(RETRY_S)
    elif status == 401:  # noqa: PLR2004 - RFC 9110 §11.6.1
        headers["WWW-Authenticate"] = "Bearer"
    return answer(request.url.path, status, error.code, str(error), headers)


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer to what the framework refused: no such path, method, or a body of another shape."""
    status = error.status_code
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE"}.get(status, "MALFORMED")
    headers = dict(error.headers or {})
    return answer(request.url.path, status, code, _sentence(request, error), headers)


def on_nesting(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    """Answer to JSON that is nested deeper than it can be read (RFC 8259 §9)."""
    del error
    return answer(request.url.path, 400, "MALFORMED", "the body is nested too deep", {})


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer to what nobody foresaw, without a word of what it was."""
    _log.error("a request failed in an unforeseen way", exc_info=error)
    return answer(request.url.path, 500, "INTERNAL", "the registry failed; its log says how", {})


def answer(
    path: str, status: int, code: str, sentence: str, headers: dict[str, str]
) -> Response[Any]:
    """Return the document that belongs to a path."""
    if is_reference(path):
        document: Any = Refusal(sentence, code)
        return Response(document, status_code=status, media_type=JSON, headers=headers)
    document = Problem(code.replace("_", " ").capitalize(), status, sentence, code)
    return Response(document, status_code=status, media_type=PROBLEM, headers=headers)


def _sentence(request: Request[Any, Any, Any], error: HTTPException) -> str:
    """Return which member of the request is wrong, and how."""
    if error.status_code == 404:  # noqa: PLR2004 - RFC 9110 §15.5.5
        return f"there is no path {request.url.path[:200]}: GET /openapi.json lists them"
    if error.status_code == 405:  # noqa: PLR2004 - RFC 9110 §15.5.6
        return f"this path does not take {request.method}"
    if error.status_code == 413:  # noqa: PLR2004 - RFC 9110 §15.5.14
        return "the body is too large: make several requests of it"
    extra = error.extra if isinstance(error.extra, list) else []
    if any(each.get("message") == "'data'" for each in extra):  # how the framework says it
        return "there is no body: this path takes JSON"
    parts = [
        f"{each.get('key', 'body')}: {each.get('message', '')}"
        for each in extra
        if isinstance(each, dict)
    ]
    return "; ".join(parts) or f"the body cannot be read: {error.detail}"
