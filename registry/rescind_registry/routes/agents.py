"""Agents: enrol, list, look at, remove; suspend and reinstate them (the reference's words)."""

from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter

from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import public_from_jwk, public_from_text
from rescind_protocol.limits import MAX_ID_CHARS
from rescind_publisher.requests import EndRequest, KillSpec
from rescind_registry import acts, agents, bodies
from rescind_registry.agents import Agent
from rescind_registry.auth import caller_of, needs
from rescind_registry.bodies import rfc3339
from rescind_registry.lanes import KILLS, OTHERS
from rescind_registry.node import node_of
from rescind_registry.routes.answering import accepted, in_thread, once, refusals
from rescind_registry.standing import Standing, State
from rescind_registry.tokens import Scope

Asked = Request[Any, Any, Any]
Did = Annotated[str, PathParameter(description="The agent's DID, percent-encoded", max_length=1024)]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=128, required=False)]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]


def document(agent: Agent) -> bodies.AgentDocument:
    """Return an agent as the API shows it."""
    return bodies.AgentDocument(
        agent.did, agent.domain, str(agent.level), agent.jwk, rfc3339(agent.enrolled_at)
    )


@post("/v1/agents", opt=needs(Scope.ADMIN), status_code=201, responses=refusals(409, 415, 422))
@in_thread(OTHERS)
def enrol(
    request: Asked, data: JSONBody[bodies.EnrolBody], idempotency_key: Key = None
) -> Response[bodies.AgentDocument]:
    """Enrol an agent: from now on it can prove its key and is given badges."""
    del idempotency_key
    node, caller = node_of(request), caller_of(request)
    made = agents.make(
        data.did,
        public=_public(data.public_key),
        domain=data.domain,
        level=data.level,
        now=node.clock.wall(),
    )

    def do() -> tuple[int, bodies.AgentDocument]:
        return 201, document(acts.enrol(node, caller, made))

    return once(request, data, do)  # type: ignore[return-value]  # the document, encoded


def _public(said: dict[str, Any] | str | None) -> bytes | None:
    if said is None:
        return None
    try:
        return public_from_text(said) if isinstance(said, str) else public_from_jwk(said)
    except Malformed as error:
        raise Malformed(f"public_key: {error}") from error


@get("/v1/agents", opt=needs(Scope.READ), responses=refusals(410))
@in_thread(OTHERS)
def all_agents(
    request: Asked,
    limit: Limit = 100,
    cursor: Annotated[str, QueryParameter(max_length=MAX_ID_CHARS)] = "",
) -> bodies.AgentList:
    """List agents by DID; `nextCursor` is null on the last page."""
    found = node_of(request).agents.page(after=cursor, limit=limit + 1)
    more = found[limit - 1].did if len(found) > limit else None
    return bodies.AgentList([document(each) for each in found[:limit]], more)


@get("/v1/agents/{did:str}", opt=needs(Scope.READ), responses=refusals(404))
@in_thread(OTHERS)
def one_agent(request: Asked, did: Did) -> bodies.AgentDocument:
    """Show an agent."""
    return document(node_of(request).agents.get(did))


@delete("/v1/agents/{did:str}", opt=needs(Scope.ADMIN), status_code=200, responses=refusals(404))
@in_thread(OTHERS)
def remove(request: Asked, did: Did) -> bodies.AgentDocument:
    """Take an agent out: it is given no badge any more; the last one lives until it expires."""
    return document(acts.remove(node_of(request), caller_of(request), did))


@get("/v1/agents/{did:str}/status", opt=needs(Scope.READ), responses=refusals(404))
@in_thread(OTHERS)
def status(request: Asked, did: Did) -> bodies.AgentStatus:
    """Show whether an agent is active, suspended or disabled (killed)."""
    node = node_of(request)
    agent = node.agents.get(did)
    return _status(agent.did, node.issuer.standing(agent.did))


def _status(did: str, standing: Standing) -> bodies.AgentStatus:
    by = standing.by
    return bodies.AgentStatus(
        did,
        standing.state.value,
        None if by is None else rfc3339(by.at),
        None if by is None else by.kill.reason_user or by.kill.reason,
    )


@post(
    "/v1/agents/{did:str}/disable",
    opt=needs(Scope.KILL),
    status_code=200,
    responses=accepted(bodies.AgentStatus) | refusals(404, 409, 415, 422),
)
@in_thread(KILLS)
def disable(
    request: Asked,
    did: Did,
    data: JSONBody[bodies.ReasonBody | None] = None,
    idempotency_key: Key = None,
) -> Response[bodies.AgentStatus]:
    """Suspend an agent: its next badge is refused, the last one lives until it expires.

    To stop an agent now, `POST /v1/kills`.
    """
    del idempotency_key
    node, caller = node_of(request), caller_of(request)
    agent = node.agents.get(did)
    why = data.reason if data else None
    spec = KillSpec(
        target=targets.agent(agent.did),
        effect=Effect.ISSUANCE,
        reason_admin=why,
        reason="suspended",
    )

    def do() -> tuple[int, bodies.AgentStatus]:
        receipt = acts.kill(node, caller, (spec,))
        at = rfc3339(receipt.accepted_at)
        ids = [str(each) for each in receipt.ids]
        document = bodies.AgentStatus(agent.did, State.SUSPENDED.value, at, spec.reason, ids)
        return acts.status_of(receipt), document

    return once(request, data, do, killed=(spec,))  # type: ignore[return-value]  # encoded


@post(
    "/v1/agents/{did:str}/enable",
    opt=needs(Scope.REINSTATE),
    status_code=200,
    responses=accepted(bodies.AgentStatus) | refusals(404, 409, 415, 422),
)
@in_thread(OTHERS)
def enable(
    request: Asked,
    did: Did,
    data: JSONBody[bodies.ReasonBody | None] = None,
    idempotency_key: Key = None,
) -> Response[bodies.AgentStatus]:
    """Reinstate an agent, suspended or killed: its next badge is issued."""
    del idempotency_key
    node, caller = node_of(request), caller_of(request)
    agent = node.agents.get(did)
    order = EndRequest(target=targets.agent(agent.did), reason_admin=data.reason if data else None)

    def do() -> tuple[int, bodies.AgentStatus]:
        receipt = acts.end(node, caller, order)
        document = bodies.AgentStatus(agent.did, State.ACTIVE.value, None, None)
        return acts.status_of(receipt), document

    return once(request, data, do, ended=order.target)  # type: ignore[return-value]  # encoded


ROUTES = [enrol, all_agents, one_agent, remove, status, disable, enable]
