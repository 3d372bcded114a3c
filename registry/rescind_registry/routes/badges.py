"""Badges: issue one by token, or by proof of the agent's key; ask for one; revoke one."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import JSONBody, PathParameter

from rescind_protocol import targets
from rescind_protocol.errors import Malformed
from rescind_protocol.table import ALL
from rescind_publisher.requests import KillSpec
from rescind_registry import acts, bodies
from rescind_registry.agents import Agent
from rescind_registry.auth import PUBLIC, address_of, caller_of, needs
from rescind_registry.bodies import rfc3339
from rescind_registry.errors import BadgeUnknown, CannotTell, ProofFailed
from rescind_registry.issuing import Minted
from rescind_registry.lanes import KILLS, OTHERS, STRANGERS
from rescind_registry.node import Node, node_of
from rescind_registry.proofs import Wish
from rescind_registry.routes.agents import Asked, Did, Key
from rescind_registry.routes.answering import accepted, in_thread, once, refusals
from rescind_registry.tokens import Scope

Jti = Annotated[str, PathParameter(description="The badge's jti", max_length=512)]
NO_BADGE = bodies.BadgeBody()
MAX_PUBLIC_BODY_BYTES = 64 * 1024
"""What a stranger may send: a proof of `bodies.ProofBody` takes a quarter of it."""


def _document(minted: Minted) -> bodies.BadgeDocument:
    expires_at = rfc3339(minted.issued.exp)
    data = bodies.BadgeData(
        minted.token,
        minted.issued.jti,
        minted.agent.did,
        str(minted.agent.level),
        expires_at,
        minted.ial,
        level=str(minted.agent.level),
        assurance=f"IAL-{minted.ial}",
        expires=expires_at,
        cnf=None if minted.kid is None else {"kid": minted.kid},
    )
    return bodies.BadgeDocument(minted.token, minted.issued.jti, expires_at, data)


@post(
    "/v1/agents/{did:str}/badge",
    opt=needs(Scope.ISSUE),
    status_code=200,
    responses=refusals(404, 415),
)
@in_thread(OTHERS)
def issue(
    request: Asked, did: Did, data: JSONBody[bodies.BadgeBody | None] = None
) -> bodies.BadgeDocument:
    """Issue a badge to an agent on the word of an API token (`ial` "0")."""
    node, caller, wanted = node_of(request), caller_of(request), data or NO_BADGE
    if wanted.wants_proof:
        raise Malformed("a proof goes to …/badge/pop: here badges are issued on a token's word")
    return _document(acts.issue(node, caller, did, ttl_s=wanted.ttl_s, aud=wanted.aud))


@post(
    "/v1/agents/{did:str}/badge/challenge",
    opt=PUBLIC,
    status_code=200,
    request_max_body_size=MAX_PUBLIC_BODY_BYTES,
    responses=refusals(415, public=True),
)
@in_thread(STRANGERS)
def challenge(
    request: Asked, did: Did, data: JSONBody[bodies.BadgeBody | None] = None
) -> bodies.ChallengeDocument:
    """Ask what to sign, to prove that the agent holds its key (RFC-003).

    Whether the agent is enrolled is told to nobody here: its proof will fail if it is not.
    """
    node, wanted = node_of(request), data or NO_BADGE
    agent = node.agents.find(did)
    wish = Wish(agent.did, node.issuer.check_ttl(wanted.ttl_s), wanted.aud)
    made = node.proofs.challenge(wish, node.clock.wall())
    return bodies.ChallengeDocument(
        challenge_id=made.id,
        nonce=made.nonce,
        challenge_expires_at=rfc3339(made.expires_at),
        expires_at=rfc3339(made.expires_at),
        aud=node.config.iss,
        proof_aud=node.config.iss,
        htu=_htu(node, agent),
        htm="POST",
        badge_aud=wish.aud,
        badge_ttl=wish.ttl_s,
    )


def _htu(node: Node, agent: Agent) -> str:
    return f"{node.config.origin}/v1/agents/{agent.did}/badge/pop"


@post(
    "/v1/agents/{did:str}/badge/pop",
    opt=PUBLIC,
    status_code=200,
    request_max_body_size=MAX_PUBLIC_BODY_BYTES,
    responses=refusals(403, 415, 429, public=True),
)
@in_thread(STRANGERS)
def pop(request: Asked, did: Did, data: JSONBody[bodies.ProofBody]) -> bodies.BadgeDocument:
    """Issue a badge to an agent that proves its key (`ial` "1"); suspended or killed: 403."""
    node, address = node_of(request), address_of(request)
    now = node.clock.wall()
    agent = node.agents.find(did)
    try:
        wish, kid = node.proofs.redeem(
            data.challenge_id, data.proof_jws, agent, htu=_htu(node, agent), now=now
        )
    except ProofFailed:
        node.failures.failed(address, now)
        raise
    return _document(node.issuer.mint(agent, ttl_s=wish.ttl_s, aud=wish.aud, kid=kid))


@get("/v1/badges/{jti:str}/status", opt=needs(Scope.READ), responses=refusals(404))
@in_thread(OTHERS)
def status(request: Asked, jti: Jti) -> bodies.BadgeStatus:
    """Show whether a badge of this registry is revoked, by itself or through its agent.

    A known kill is told also while this node is not fresh; what is not known to be killed is not.
    """
    node = node_of(request)
    target = targets.badge(node.config.iss, jti)
    issued = node.badges.get(target.id)
    wider = [] if issued is None else [targets.agent(issued.did)]
    wider += [targets.issuer(node.config.iss), targets.everyone()]
    for each in (target, *wider):
        entry = node.look.entry(each)
        by = entry.why(issued.iat if issued else ALL) if entry else None
        dead = entry is not None and (issued.iat if issued else ALL) <= entry.cut
        if dead or by:
            return _revoked(target.id, issued, by)
    if issued is None:
        raise BadgeUnknown(f"no badge {target.id[:80]} was issued here lately")
    if not node.followed.fresh:
        raise CannotTell("this node cannot prove that it knows every kill: try again later")
    return bodies.BadgeStatus(
        target.id,
        issued.did,
        revoked=False,
        reason=None,
        revoked_at=None,
        expires_at=rfc3339(issued.exp),
    )


def _revoked(jti: str, issued: Any, by: Any) -> bodies.BadgeStatus:
    return bodies.BadgeStatus(
        jti,
        issued.did if issued else None,
        revoked=True,
        reason=(by.kill.reason_user or by.kill.reason) if by else "reinstated",
        revoked_at=rfc3339(by.at) if by else None,
        expires_at=rfc3339(issued.exp) if issued else None,
    )


@post(
    ["/v1/badges/{jti:str}/revoke", "/v1/sdk/badges/{jti:str}/revoke"],
    opt=needs(Scope.KILL),
    status_code=200,
    responses=accepted(bodies.RevokedDocument) | refusals(409, 415, 422),
)
@in_thread(KILLS)
def revoke(
    request: Asked,
    jti: Jti,
    data: JSONBody[bodies.ReasonBody | None] = None,
    idempotency_key: Key = None,
) -> Response[bodies.RevokedDocument]:
    """Kill a badge of this registry; also one that another node issued, and that is not known here.

    Its agent can fetch a new one: to stop the agent, `POST /v1/kills`.
    """
    del idempotency_key
    node, caller = node_of(request), caller_of(request)
    target = targets.badge(node.config.iss, jti)
    # The reference's API shows the reason it was given to everybody who may ask.
    spec = KillSpec(target=target, reason_user=data.reason if data else None, reason="revoked")

    def do() -> tuple[int, bodies.RevokedDocument]:
        receipt = acts.kill(node, caller, (spec,))
        at = rfc3339(receipt.accepted_at)
        ids = [str(each) for each in receipt.ids]
        document = bodies.RevokedDocument(target.id, revoked=True, revoked_at=at, ids=ids)
        return acts.status_of(receipt), document

    return once(request, data, do, killed=(spec,))  # type: ignore[return-value]  # encoded


ROUTES = [issue, challenge, pop, status, revoke]
