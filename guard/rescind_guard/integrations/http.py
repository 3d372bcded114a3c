"""What every place that speaks HTTP does alike: which badge, which answer, which headers.

- 401 with `WWW-Authenticate` for a badge that is missing, not good, or killed (RFC 6750 §3.1 has
  one code for all; `code` in the body tells them apart), 403 for a good badge that may not do
  this, 503 with `Retry-After` when it cannot be told. MCP is another matter: `mcp_challenge`.
- A refusal says code, reason and `reason_user`. `reason_admin` never reaches a decision.
- Behind the guard there is no badge any more, and no `X-Rescind-*` but ours: whatever a caller sent
  under these names is taken out, or written over, also where we have nothing to say.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from urllib.parse import quote

import msgspec

from rescind_guard import forks
from rescind_guard.codes import CANNOT_TELL, Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.inflight import End, Work
from rescind_guard.integrations import carriage
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import BadCarriage

log = logging.getLogger(__name__)

OWN_PREFIX = "x-rescind-"
CODE_HEADER = "x-rescind-code"
RETRY_AFTER_S = 1
"""When to ask again after "cannot tell": publishers send heads every second (I4)."""

UNAUTHORIZED, FORBIDDEN, UNAVAILABLE = 401, 403, 503
_FORBIDDEN = frozenset(
    {
        Code.BADGE_AGENT_DISABLED,
        Code.TOOL_TRUST_INSUFFICIENT,
        Code.TOOL_NOT_FOUND,
        Code.TOOL_POLICY_DENIED,
        Code.TOOL_POLICY_FAILED,
        Code.TOOL_SCOPE_INSUFFICIENT,
    }
)
"""Who asks is known, and may not: another such badge would not help (RFC 9110 §15.5.4)."""
_VISIBLE = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

Header = tuple[str, str]


class Guards(Protocol):
    """What a place asks; `rescind_guard.Guard` answers. Plain functions that never wait."""

    def check(
        self, token: str | None, *, tool: str | None = None, badge_map: str | None = None
    ) -> Decision:
        """Decide whether the bearer of `token`, with these hops behind it, may do this."""

    def recheck(self, decision: Decision) -> Decision:
        """Decide whether what was allowed still stands."""

    def admits_exempt(self, token: str | None) -> Decision:
        """Allow, unless `token` is known to be killed."""

    def watch(self, decision: Decision, end: End, *, until_expiry: bool = False) -> Work:
        """Tell when it does not stand any more."""


class Answer(msgspec.Struct, frozen=True):
    """A refusal as HTTP has it."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def status_of(decision: Decision) -> int:
    """Return the status of a refusal."""
    if decision.outcome is Outcome.CANNOT_TELL:
        return UNAVAILABLE
    return UNAUTHORIZED if is_about_badge(decision.code) else FORBIDDEN


def is_about_badge(code: Code) -> bool:
    """Return whether another badge might help, or any: what RFC 9110 §15.5.2 calls 401."""
    return code not in _FORBIDDEN and code not in CANNOT_TELL


def challenge(code: Code) -> str:
    """Return the `WWW-Authenticate` of a 401; RFC 6750 §3: no error where no token came."""
    return "Bearer" if code is Code.TOOL_AUTH_MISSING else 'Bearer error="invalid_token"'


def refused(decision: Decision) -> Answer:
    """Return the answer that a refused caller gets."""
    status, code = status_of(decision), decision.code.value
    reason = decision.reason
    if decision.reason_user:
        reason = f"{reason}: {decision.reason_user}"
    said: dict[str, object] = {"error": reason, "code": code}
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    headers.append((CODE_HEADER, code))
    if status == UNAUTHORIZED:
        headers.append(("www-authenticate", challenge(decision.code)))
    if status == UNAVAILABLE:
        said["retry_after_s"] = RETRY_AFTER_S
        headers.append(("retry-after", str(RETRY_AFTER_S)))
    body = msgspec.json.encode(said)
    return Answer(status, (*headers, ("content-length", str(len(body)))), body)


def decide(
    guard: Guards, headers: Iterable[Header], *, tool: str | None, bearer: Bearer, exempt: bool
) -> Decision:
    """Decide on a request by its headers. Never raises: what breaks is "cannot tell"."""
    forks.seen()
    pairs = list(headers)
    try:
        badge = carriage.header_badge(pairs, bearer=bearer)
        hops = carriage.header_map(pairs)
    except BadCarriage as bad:
        return Decision(Outcome.DENY, Code.BADGE_MALFORMED, str(bad))
    if exempt:
        return safely(lambda: guard.admits_exempt(badge))
    return safely(lambda: guard.check(badge, tool=tool, badge_map=hops))


def safely(ask: Callable[[], Decision]) -> Decision:
    """Ask; a guard that breaks refuses, and its exception's words stay here."""
    try:
        return ask()
    except Exception as broken:  # noqa: BLE001 - whatever broke, the answer is no
        log.error("the guard failed: %s", type(broken).__name__)  # noqa: TRY400 - no token in a trace
        return Decision(
            Outcome.CANNOT_TELL, Code.REVOCATION_CHECK_FAILED, "the badge could not be checked"
        )


def is_kept(name: bytes, value: bytes, *, bearer: Bearer) -> bool:
    """Return whether a handler may see this raw header: it is no badge, and not one of ours."""
    own = name.lower().replace(b"_", b"-").startswith(OWN_PREFIX.encode())
    return not own and not carriage.carries_badge(name, value, bearer=bearer)


def identity(decision: Decision) -> tuple[Header, ...]:
    """Return who calls, for the service behind a proxy; an empty value where nothing is known.

    All of them, always: a proxy writes over what the caller sent only where it has something to
    write. Percent-encoded where not visible ASCII, so that no value ends its header.
    """
    claims = decision.claims
    said: Mapping[str, str] = (
        {}
        if claims is None
        else {
            "agent": claims.sub,
            "issuer": claims.iss,
            "badge": claims.jti,
            "level": str(claims.level),
            "session": claims.sid or "",
        }
    )
    names = ("agent", "issuer", "badge", "level", "session")
    known = tuple((OWN_PREFIX + name, quote(said.get(name, ""), safe=_VISIBLE)) for name in names)
    return ((CODE_HEADER, decision.code.value), *known)
