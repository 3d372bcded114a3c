"""What an API token's holder does to others: kill, reinstate, enrol, issue, and the audit of it.

The kill goes through the publisher, as every kill does; the answer waits until this node's own view
has it too, so that the next refresh is refused here.
"""

import difflib
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from rescind_protocol import killset, targets
from rescind_protocol.changes import RevocationId
from rescind_protocol.errors import RescindError
from rescind_protocol.table import ALL
from rescind_protocol.targets import Kind, Target
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import EndRequest, KillRequest, KillSpec
from rescind_publisher.trail import Entry
from rescind_registry.agents import Agent
from rescind_registry.errors import AgentUnknown
from rescind_registry.floors import floor_of
from rescind_registry.issuing import Minted
from rescind_registry.node import Node
from rescind_registry.tokens import Scope, Token

_log = logging.getLogger(__name__)

SEEN_WITHIN_S = 2.0
_POLL_S = 0.005
TOKEN_SHARE = 4
"""A token that is no admin's may hold one in so many of the publisher's places: stolen, it must not
take the switch from the others."""
MAX_DOUBTS = 10
"""Agents of one kill that are looked up by likeness."""
MAX_CANDIDATES = 5000
"""Names that one is compared with, those of about its length."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and from where."""

    token: Token
    address: str

    @property
    def actor(self) -> str:
        """As events and the audit name them."""
        return str(self.token)


def kill(node: Node, caller: Caller, specs: tuple[KillSpec, ...], wait_s: float = 0.0) -> Receipt:
    """Kill or suspend; raises what the publisher raises."""
    known = tuple(_with_exp(node, spec) for spec in specs)
    order = KillRequest(
        kills=known,
        actor=caller.actor,
        where=caller.address,
        wait_s=wait_s,
        share=None if Scope.ADMIN in caller.token.scopes else TOKEN_SHARE,
    )
    receipt = node.engine.submit(order)  # which writes it down
    _wait_seen(node, receipt, specs[-1].target)
    return _doubted(node, receipt, specs)


def _doubted(node: Node, receipt: Receipt, specs: tuple[KillSpec, ...]) -> Receipt:
    """Add a warning for each agent that nobody knows: a misspelt one is killed, and lives."""
    if receipt.applied is not None and receipt.applied.seen:
        return receipt
    dids = [spec.target.id for spec in specs if spec.target.kind is Kind.AGENT]
    strange = [did for did in dids if not _enrolled(node, did)][:MAX_DOUBTS]
    if not strange:
        return receipt
    names = node.agents.names()
    doubts = [f"agent {did} is not enrolled here{_near(did, names)}" for did in strange]
    return msgspec.structs.replace(receipt, warnings=(*receipt.warnings, *doubts))


def _enrolled(node: Node, did: str) -> bool:
    try:
        node.agents.get(did)
    except AgentUnknown:
        return False
    return True


def _near(did: str, names: list[str]) -> str:
    candidates = sorted(names, key=lambda each: abs(len(each) - len(did)))[:MAX_CANDIDATES]
    found = difflib.get_close_matches(did, candidates, 1, 0.7)
    return f"; did you mean {found[0]}?" if found else ": is it spelt so?"


def end(node: Node, caller: Caller, request: EndRequest) -> Receipt:
    """Reinstate or retract; the floor is ours where the badges are."""
    if not request.retract and request.floor is None:
        request = msgspec.structs.replace(request, floor=_floor(node, request.target))
    request = msgspec.structs.replace(request, actor=caller.actor, where=caller.address)
    receipt = node.engine.submit(request)
    _wait_ended(node, receipt, request.target)
    return receipt


PENDING = 202
"""Accepted and on this host's disk; no broker has said yet that it has it."""


def status_of(receipt: Receipt) -> int:
    """Return the HTTP status of what was accepted."""
    pending = not receipt.sinks or len(receipt.pending) == len(receipt.sinks)
    return PENDING if pending else 200


def note(node: Node, caller: Caller, what: str, *named: str, why: str | None = None) -> None:
    """Write an act into the audit trail; raises `AuditFailed`."""
    node.trail.append(_entry(node, caller, what, named, why))


def _entry(node: Node, caller: Caller, what: str, named: tuple[str, ...], why: str | None) -> Entry:
    return Entry(
        at=round(node.clock.wall(), 3),
        who=caller.actor,
        where=caller.address,
        what=what,
        targets=named,
        why=why,
    )


def enrol(node: Node, caller: Caller, agent: Agent) -> Agent:
    """Put an agent in; unlike a kill, not without a line in the audit trail."""
    entry = _entry(node, caller, "enrol", (agent.did,), None)
    with _refusal_noted(node, entry):
        node.agents.check(agent)
    node.trail.append(entry)
    with _refusal_noted(node, entry):  # somebody else was quicker
        return node.agents.enrol(agent)


def remove(node: Node, caller: Caller, did: str) -> Agent:
    """Take an agent out, as `enrol` puts it in."""
    entry = _entry(node, caller, "remove", (did,), None)
    with _refusal_noted(node, entry):
        found = node.agents.get(did)
    node.trail.append(entry)
    return node.agents.remove(found.did)


def issue(
    node: Node, caller: Caller, did: str, *, ttl_s: int | None, aud: tuple[str, ...] | None
) -> Minted:
    """Mint a badge on an API token's word; it is given out when the audit trail names it."""
    entry = _entry(node, caller, "issue", (did,), None)
    with _refusal_noted(node, entry):
        agent = node.agents.get(did)
        ttl_s = node.issuer.check_ttl(ttl_s)
        minted = node.issuer.mint(agent, ttl_s=ttl_s, aud=aud)
    badge = str(targets.badge(node.config.iss, minted.issued.jti))
    node.trail.append(msgspec.structs.replace(entry, targets=(agent.did, badge)))
    return minted


@contextmanager
def _refusal_noted(node: Node, entry: Entry) -> Iterator[None]:
    """Write down that an act was refused, and why."""
    try:
        yield
    except RescindError as error:
        node.trail.append(msgspec.structs.replace(entry, outcome=f"refused: {error.code}"))
        raise


def _with_exp(node: Node, spec: KillSpec) -> KillSpec:
    """Add the `exp` of a badge of ours: its kill need not outlive it by an hour (I8)."""
    target = spec.target
    if target.kind is not Kind.BADGE or target.iss != node.config.iss or spec.badge_exp:
        return spec
    issued = node.badges.get(target.id)
    return spec if issued is None else msgspec.structs.replace(spec, badge_exp=issued.exp)


def _floor(node: Node, target: Target) -> int | None:
    """Return the floor, None for issuers whose clocks are not ours."""
    if not node.config.sole_issuer:
        return None
    return floor_of(node.badges, target, node.look.entry(target), node.clock.wall())


def _wait_seen(node: Node, receipt: Receipt, target: Target) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_S
    while not node.look.knows(receipt.ids[-1:], target) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def killed_now(node: Node, specs: Iterable[KillSpec], ids: Iterable[str]) -> bool | None:
    """Whether all of these are killed, by whatever kill; None where this node cannot tell.

    `ids`: under which they were accepted, as texts. What has not come here yet is not ended.
    """
    for spec in specs:
        entry = node.look.entry(spec.target)
        before = ALL if spec.issued_before is None else spec.issued_before
        if entry is None or entry.why(before, spec.effect) is None:
            known = node.followed.capture()
            if known is None or not all(known.positions.seen(_id(each)) for each in ids):
                return None
            return False
    return True


def _id(text: str) -> RevocationId:
    log, seq, index = text.split("/")
    return RevocationId(log, int(seq), int(index))


def _wait_ended(node: Node, receipt: Receipt, target: Target) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_S
    left = list(receipt.ended)
    while time.monotonic() < deadline:
        entry = node.look.entry(target)
        left = [name for name in left if entry and killset.find(entry.revocations, name)]
        if not left:
            return
        time.sleep(_POLL_S)
