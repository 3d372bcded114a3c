"""`rescind badge`."""

from typing import Any

import click

from rescind.cli.common import Session, common, read_token
from rescind.cli.out import Out, plain, utc
from rescind.errors import EXIT_OK
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_BADGE_TTL_S

TTL_S = 300
"""RFC-002: the default; 60 to 3600 s."""
MIN_TTL_S = 60


@click.group()
def badge() -> None:
    """Issue a badge for trying, or look into one."""


@badge.command(short_help="Issue a badge of the local issuer.")
@click.option("--sub", required=True, metavar="DID", help="The agent.")
@click.option("--level", type=click.IntRange(1, 4), default=2, show_default=True)
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(MIN_TTL_S, MAX_BADGE_TTL_S),
    default=TTL_S,
    show_default=True,
    metavar="SECONDS",
    help=f"Life of the badge, {MIN_TTL_S} to {MAX_BADGE_TTL_S}.",
)
@click.option("--aud", multiple=True, metavar="NAME", help="Audience; may be given again.")
@click.option("--sid", metavar="SID", help="Session.")
@common
def issue(
    session: Session, *, sub: str, level: int, ttl_s: int, aud: tuple[str, ...], sid: str | None
) -> int:
    """Write a new badge of the local issuer to standard output, for trying things out.

    \b
    Example:
      rescind badge issue --sub did:web:acme.example:x7 | rescind explain
    """  # noqa: D301 - click's own mark, a backspace
    from rescind.cli.issuing import LocalIssuer  # noqa: PLC0415 - help needs none

    issuer = LocalIssuer(session.loaded)
    minted = issuer.mint(sub, level=level, ttl_s=ttl_s, aud=aud, sid=sid)
    session.out.document(plain(minted))
    session.out.say(minted.badge)
    session.out.note(
        f"badge {minted.jti} of {minted.sub}, by {minted.iss}, until {utc(minted.expires_at)}"
    )
    return EXIT_OK


@badge.command(short_help="Show what a badge says, unverified.")
@common
def inspect(session: Session) -> int:
    """Show what the badge on standard input says. NOTHING of it is verified.

    For a verdict use `rescind explain`.
    """
    from rescind_guard import parsing  # noqa: PLC0415 - help needs none
    from rescind_guard.errors import Refused  # noqa: PLC0415
    from rescind_guard.jwk import BADGE_ALGORITHMS  # noqa: PLC0415
    from rescind_protocol import jws  # noqa: PLC0415
    from rescind_protocol.encoding import check_json  # noqa: PLC0415

    token = read_token()
    raw = token.encode("ascii", "replace")
    parts = jws.read(raw, limit=MAX_BADGE_BYTES, algorithms=BADGE_ALGORITHMS)
    header, claims = plain(parts.header), check_json(parts.payload)
    try:
        parsing.read(token)
        problem = None
    except Refused as refused:
        problem = str(refused)
    session.out.document(
        {"verified": False, "header": header, "claims": claims, "problem": problem}
    )
    _show(session.out, header, claims, problem)
    return EXIT_OK


def _show(out: Out, header: dict[str, Any], claims: Any, problem: str | None) -> None:
    out.say(("UNVERIFIED", "yellow"), ": anybody can write this; `rescind explain` judges it")
    out.fields(*((name, _text(name, value)) for name, value in header.items() if value))
    out.say()
    members = claims if isinstance(claims, dict) else {"payload": claims}
    out.fields(*((name, _text(name, value)) for name, value in members.items()))
    if problem:
        out.say()
        out.say(("a guard would refuse it", "red"), f": {problem}")


def _text(name: str, value: Any) -> str:
    import json  # noqa: PLC0415

    if name in ("iat", "exp", "nbf") and isinstance(value, int) and 0 < value < 2**40:
        return f"{value}  {utc(value)}"
    return value if isinstance(value, str) else json.dumps(value)
