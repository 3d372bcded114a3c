"""`GET /openapi.json`: the OpenAPI document of this node, its feeds included."""

import inspect
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get

from rescind_registry import bodies
from rescind_registry.auth import PUBLIC

MADE = "openapi"
"""Where the application's state keeps the document: to make it takes the loop 15 ms, and anybody
may ask for it; nobody's kill is to wait for that."""
_REF = "#/components/schemas/{name}"
_DID = r"^[Dd][Ii][Dd]:[A-Za-z0-9]+:(?:[A-Za-z0-9._:-]|%[0-9A-F]{2})+$"
_PATTERNS = {"did": _DID, "jti": r"^\S+$"}
"""Of path parameters. What does not fit is answered by the handlers, in words."""


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return what can be asked here, and what is answered."""
    state = request.app.state
    if MADE not in state:
        state[MADE] = msgspec.json.encode(exact(request.app))
    return Response(state[MADE], media_type="application/json")


def exact(app: Litestar) -> dict[str, Any]:
    """Return the document with what Litestar leaves out of it.

    It says of every body that it is required, and loses limits and patterns that stand below the
    first level of a type. msgspec, which reads the bodies, knows them.
    """
    document = app.openapi_schema.to_schema()
    schemas = document["components"]["schemas"]
    _, known = msgspec.json.schema_components(_structs(), ref_template=_REF)
    schemas.update({name: found for name, found in known.items() if name in schemas})
    for operation in (each for path in document["paths"].values() for each in path.values()):
        if (body := operation.get("requestBody")) and _may_be_null(body):
            body["required"] = False
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] in _PATTERNS:
                parameter["schema"]["pattern"] = _PATTERNS[parameter["name"]]
    return document


def _structs() -> list[type]:
    return [each for _, each in inspect.getmembers(bodies, _is_ours)]


def _is_ours(found: object) -> bool:
    is_struct = isinstance(found, type) and issubclass(found, msgspec.Struct)
    return is_struct and found.__module__ == bodies.__name__


def _may_be_null(body: dict[str, Any]) -> bool:
    schemas = (content["schema"] for content in body["content"].values())
    return all({"type": "null"} in schema.get("oneOf", ()) for schema in schemas)


ROUTES = [openapi]
