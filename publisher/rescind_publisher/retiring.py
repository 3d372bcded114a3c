"""From "this publisher is gone" to what is signed. The pure step: no I/O, no lock.

It names, for each of the publisher's logs, the last event that is known here, by number and digest.
What is not known here would be given up by that, so it is refused where that may be something.
"""

from rescind_protocol.changes import Retire
from rescind_protocol.limits import MAX_CUT_LOGS
from rescind_protocol.positions import to_text
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.trust import Signer, Trust
from rescind_publisher.errors import BadRequest
from rescind_publisher.plans import Plan
from rescind_publisher.requests import RetireRequest, text
from rescind_subscriber.known import Known


def plan(
    request: RetireRequest, known: Known, *, trust: Trust, signer: Signer, silent_s: float
) -> Plan:
    """Plan a retirement; raises `BadRequest`, naming what is wrong and what to do.

    `silent_s`: how long a publisher that is gone has been silent at least.
    """
    name = request.publisher
    key = trust.heading(name)
    if key is None:
        raise BadRequest(f"the trust file knows no publisher {name!r} that signs heads")
    if key == signer.kid:
        raise BadRequest("a publisher cannot retire itself: ask another one to")
    heard = known.heads.get(name)
    if heard is not None and heard.age_s < silent_s:
        raise BadRequest(
            f"publisher {name!r} is alive: its last head is {heard.age_s:.1f} s old; stop it first"
        )
    doubts = _doubts(name, key, known)
    if doubts and not request.force:
        raise BadRequest("; ".join([*doubts, "to give up what is missing, say --force"]))
    ends = {
        log: at
        for log, at in known.positions.vector.items()
        if log.startswith(key[:LOG_PREFIX_CHARS])
    }
    if len(ends) > MAX_CUT_LOGS:
        raise BadRequest(f"{name!r} has {len(ends)} logs, limit {MAX_CUT_LOGS}: revoke its key")
    retired = Retire(
        publisher=name,
        key=key,
        logs=to_text(ends),
        reason=request.reason,
        reason_admin=text("reason_admin", request.reason_admin),
        actor=text("actor", request.actor),
    )
    said = tuple(f"log {log} ends at event {at.seq}" for log, at in sorted(ends.items()))
    return Plan((), (retired,), warnings=(*doubts, *said))


def _doubts(name: str, key: str, known: Known) -> tuple[str, ...]:
    """Return what may be missing here of what it has said."""
    found = list(known.problems)
    heard = known.heads.get(name)
    if heard is None:
        found.append(
            f"no head of {name!r} was heard since this publisher started: it cannot tell what was "
            "said last, nor who is gone"
        )
    for log, at in heard.head.logs.items() if heard is not None else ():
        mine = known.positions.vector.get(log)
        if at.seq and (mine is None or mine.seq < at.seq):
            found.append(f"its last head names event {at.seq} of log {log}, which is not here")
    found += [
        f"events of log {log} are missing in between"
        for log in known.positions.above
        if log.startswith(key[:LOG_PREFIX_CHARS])
    ]
    if any(log.startswith(key[:LOG_PREFIX_CHARS]) for log in known.positions.forked):
        found.append("one of its logs has two histories: its key may be stolen, revoke it instead")
    return tuple(found)
