"""`POST /v1/kills` and `POST /v1/reinstatements`: everything that a kill can say."""

from functools import partial

from litestar import Response, post
from litestar.params import JSONBody
from msgspec.structs import replace

from rescind_protocol import targets
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import SKEW_S
from rescind_protocol.targets import Kind, Target
from rescind_protocol.trust import TWO_KEY_KINDS
from rescind_publisher.control import NO_WAIT
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import EndRequest, KillSpec
from rescind_registry import acts, bodies
from rescind_registry.acts import Caller
from rescind_registry.auth import caller_of, needs
from rescind_registry.bodies import rfc3339, unix
from rescind_registry.errors import ScopeMissing
from rescind_registry.lanes import KILLS, OTHERS, WAITS
from rescind_registry.node import Node, node_of
from rescind_registry.routes.agents import Asked, Key
from rescind_registry.routes.answering import accepted, in_thread, once, refusals
from rescind_registry.tokens import Scope


def target_of(said: bodies.TargetBody) -> Target:
    """Return the target in its canonical form; raises `Malformed`."""
    if said.iss and said.kind not in (Kind.BADGE, Kind.ISSUER):
        raise Malformed(f"a target of kind {said.kind.value} has no iss")
    if said.id and said.kind in (Kind.ISSUER, Kind.EVERYONE):
        raise Malformed(f"a target of kind {said.kind.value} has no id")
    match said.kind:
        case Kind.BADGE:
            return targets.badge(said.iss, said.id)
        case Kind.AGENT:
            return targets.agent(said.id)
        case Kind.SESSION:
            return targets.session(said.id)
        case Kind.KEY:
            return targets.key(said.id)
        case Kind.ISSUER:
            return targets.issuer(said.iss)
        case Kind.EVERYONE:
            return targets.everyone()


def document(receipt: Receipt) -> tuple[int, bodies.ReceiptDocument]:
    """Return the status and the document of a receipt."""
    said = receipt.to_dict()
    since = receipt.new_badges_from
    return acts.status_of(receipt), bodies.ReceiptDocument(
        ids=said["ids"],
        targets=said["targets"],
        accepted_at=rfc3339(receipt.accepted_at),
        message=said["message"],
        durable=list(receipt.durable),
        pending=said["pending"],
        ended=said["ended"],
        in_force=said["in_force"],
        new_badges_from=None if since is None else rfc3339(since + 1),
        warnings=list(receipt.warnings),
        applied=said.get("applied"),
    )


@post(
    "/v1/kills",
    opt=needs(Scope.KILL),
    status_code=200,
    responses=accepted(bodies.ReceiptDocument) | refusals(409, 415, 422, own=True),
)
async def kill(
    request: Asked, data: JSONBody[bodies.KillBody], idempotency_key: Key = None
) -> Response[bodies.ReceiptDocument]:
    """Deny some targets everywhere, from now on; all of them are accepted, or none.

    A kill of an issuer or of everyone needs the scope `admin`. 202: on this host's disk, and no
    broker has it yet.
    """
    del idempotency_key
    if not data.wait_s:
        return await KILLS.run(partial(_kill, request, data))
    if WAITS.free:
        return await WAITS.run(partial(_kill, request, data, wait_s=data.wait_s))
    return await KILLS.run(partial(_kill, request, data, warning=NO_WAIT))


def _kill(
    request: Asked, data: bodies.KillBody, *, wait_s: float = 0.0, warning: str | None = None
) -> Response[bodies.ReceiptDocument]:
    node, caller = node_of(request), caller_of(request)
    _check_wide(node, caller, "kill", *(each.kind for each in data.aims))
    specs = tuple(_spec(data, each) for each in data.aims)

    def do() -> tuple[int, bodies.ReceiptDocument]:
        receipt = acts.kill(node, caller, specs, wait_s)
        if warning:
            receipt = replace(receipt, warnings=(*receipt.warnings, warning))
        return document(receipt)

    return once(request, data, do, killed=specs)  # type: ignore[return-value]  # encoded


def _check_wide(node: Node, caller: Caller, what: str, *kinds: Kind) -> None:
    """Raise `ScopeMissing` for a wide act by a token that is no admin's.

    The approver's key may lie on this host, and would approve whatever a stolen token asks (ADR 6);
    and whoever ends the kill of everyone has every stolen badge pass again.
    """
    wide = [kind for kind in kinds if kind in TWO_KEY_KINDS]
    if wide and Scope.ADMIN not in caller.token.scopes:
        acts.note(node, caller, "refused", f"{what} of kind {wide[0]}")
        raise ScopeMissing(
            f"a {what} of an issuer or of everyone needs an API token of scope 'admin'"
        )


def _check_floor(node: Node, caller: Caller, floor: int | None) -> None:
    """Raise `ScopeMissing` for a floor ahead by a token that may not kill.

    Badges that are yet to be issued are dead up to it: a kill by another name.
    """
    ahead = floor is not None and floor > node.clock.wall() + SKEW_S
    if ahead and not {Scope.KILL, Scope.ADMIN}.intersection(caller.token.scopes):
        acts.note(node, caller, "refused", "reinstatement with a floor ahead")
        raise ScopeMissing(
            f"a floor more than {SKEW_S} s ahead kills badges that are yet to be issued: "
            "that needs an API token of scope 'kill'"
        )


def _spec(body: bodies.KillBody, said: bodies.TargetBody) -> KillSpec:
    return KillSpec(
        target=target_of(said),
        effect=body.effect,
        issued_before=unix("issued_before", body.issued_before),
        expires_at=unix("expires", body.expires),
        expires_in_s=body.expires_in_s,
        reason=body.reason,
        reason_user=body.reason_user,
        reason_admin=body.reason_admin,
    )


@post(
    "/v1/reinstatements",
    opt=needs(Scope.REINSTATE),
    status_code=200,
    responses=accepted(bodies.ReceiptDocument) | refusals(409, 415, 422, own=True),
)
@in_thread(OTHERS)
def reinstate(
    request: Asked, data: JSONBody[bodies.EndBody], idempotency_key: Key = None
) -> Response[bodies.ReceiptDocument]:
    """End every kill of a target: badges issued so far stay dead, new ones pass.

    With `retract` it was a mistake: what it killed lives again.
    """
    del idempotency_key
    node, caller = node_of(request), caller_of(request)
    _check_wide(node, caller, "reinstatement", *(each.kind for each in data.aims))
    _check_floor(node, caller, unix("floor", data.floor))
    order = EndRequest(
        target=target_of(data.aims[0]),
        retract=data.retract,
        floor=unix("floor", data.floor),
        reason=data.reason,
        reason_user=data.reason_user,
        reason_admin=data.reason_admin,
    )
    return once(  # type: ignore[return-value]  # the document, encoded
        request, data, lambda: document(acts.end(node, caller, order)), ended=order.target
    )


ROUTES = [kill, reinstate]
