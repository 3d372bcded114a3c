"""`rescind status`."""

import time
from typing import TYPE_CHECKING, Any

import click

from rescind.cli import fleet as subscribers
from rescind.cli.common import Session, common, timeout
from rescind.cli.out import Out, lasting, plain, utc
from rescind.cli.targets import KINDS, SYNTAX, Named, TargetCommand, read_targets
from rescind.errors import EXIT_CANNOT_TELL, EXIT_FAILED, EXIT_OK
from rescind_protocol import targets
from rescind_protocol.errors import RescindError
from rescind_protocol.limits import SKEW_S
from rescind_protocol.targets import Target

if TYPE_CHECKING:
    from rescind.cli.inforce import Standing
    from rescind.config import Loaded
    from rescind_publisher.fleet import Fleet
    from rescind_publisher.status import Status as PublisherStatus
    from rescind_subscriber.status import Status
    from rescind_subscriber.subscriber import Subscriber
    from rescind_subscriber.unsigned.keeper import Standing as ListStanding

HELP = f"""Show how the fabric is, or whether a target is killed, by whom, since and until when.

{SYNTAX}
It follows the fabric as any guard does. A view that cannot be proven fresh is no answer: exit
code 4. A badge named by issuer and jti may be dead by a kill of its agent, session or key, which
its name does not tell: give the badge itself (`badge -`). Its key is looked up among those of the
issuers that this host trusts. An unsigned list that names the target is shown beside it, and is no
kill.
"""


@click.command(cls=TargetCommand, help=HELP)
@click.argument("kind", type=click.Choice(KINDS), metavar="[KIND]", required=False)
@click.argument("words", nargs=-1, metavar="[ID]...")
@click.option("--check", is_flag=True, help="Exit with 1 if the target is killed, 0 if not.")
@timeout(5, "How long to wait for a fresh view.")
@common
def status(
    session: Session, *, kind: str | None, words: tuple[str, ...], check: bool, timeout_s: float
) -> int:
    """Ask, present."""
    if kind is not None:
        return _of_target(session, read_targets(kind, words), check=check, timeout_s=timeout_s)
    if check:
        raise click.UsageError("--check wants a target")
    return _of_fabric(session, timeout_s)


# --- one target ---


def _of_target(session: Session, named: Named, *, check: bool, timeout_s: float) -> int:
    from rescind import compose, listing  # noqa: PLC0415 - help needs none
    from rescind.cli.following import following, wait_fresh  # noqa: PLC0415
    from rescind.cli.inforce import looked_up, standing  # noqa: PLC0415

    trust = compose.make_trust(session.loaded)
    with following(session.loaded) as subscriber:
        wait_fresh(subscriber, timeout_s)
        table = subscriber.view.published.table
    wider, iat = _by_token(session, named)
    found = standing(named.one, wider, table, trust, iat)
    lists, unknown = listing.naming(session.loaded, looked_up(named.one, wider))
    session.out.document({**plain(found), "unsigned_lists": lists})
    _show_target(session.out, found)
    for issuer in lists:
        session.out.say(("named", "yellow"), f" by the unsigned list of {issuer}: denied by it")
    for each in unknown:
        session.out.warn(f"unsigned list of {each.issuer}: {each.at} {each.trouble}")
    return EXIT_FAILED if check and found.killed else EXIT_OK


def _by_token(session: Session, named: Named) -> tuple[tuple[Target, ...], int | None]:
    """Return what else kills a badge, its signing key with it where its token was given; its `iat`.

    None where no key known here has signed it: of a forged `iat` a kill might seem to spare it.
    """
    from rescind.cli.signer import signed_claims  # noqa: PLC0415 - help needs none

    if named.token is None:
        return named.wider, None
    claims = signed_claims(session.loaded, named.token)
    if claims is None:
        session.out.warn(
            "no key that is known here has signed this badge: a kill of its key is not looked up, "
            "and a guard with these settings refuses it"
        )
        return named.wider, None
    return (*named.wider, targets.key(claims.key_thumbprint)), claims.iat


def _show_target(out: Out, found: "Standing") -> None:
    word, colour = ("KILLED", "red") if found.killed else ("not killed", "green")
    out.say((word, colour), f"  {found.target}")
    if found.suspended:
        out.say(("suspended", "yellow"), ": its issuer refuses the next badge")
    for kill in found.kills:
        _show_kill(out, kill, found.target)
    if found.floor is not None:
        out.say(f"reinstated: badges issued up to {utc(found.floor)} stay dead")


def _show_kill(out: Out, kill: dict[str, Any], target: str) -> None:
    until, before = kill.get("until"), kill.get("issued_before")
    out.say()
    out.fields(
        ("kill of", kill["target"] if kill["target"] != target else None),
        ("effect", kill["effect"] if kill["effect"] != "use" else None),
        ("by", f"{kill.get('actor', 'nobody named')}, publisher {kill.get('publisher', '?')}"),
        ("since", utc(kill["since"])),
        ("until", _until(until) if until else "reinstated"),
        ("only badges", f"issued up to {utc(before)}" if before is not None else None),
        ("reason", kill["reason"] if kill["reason"] != "unspecified" else None),
        ("for admins", kill.get("reason_admin")),
        ("for callers", kill.get("reason_user")),
        ("id", kill["id"]),
    )


def _until(until: int) -> str:
    """Say when it ends, and that guards hold it longer: they cannot know whose clock is right."""
    over = ", which is past" if until < time.time() else ""
    return f"{utc(until)}{over}; guards hold it up to {SKEW_S} s longer, for clocks that differ"


# --- the fabric ---


def _of_fabric(session: Session, timeout_s: float) -> int:
    from rescind import compose, listing  # noqa: PLC0415 - help needs none
    from rescind.cli import keytrouble  # noqa: PLC0415
    from rescind.cli.following import clock_doubt, following  # noqa: PLC0415

    loaded, out = session.loaded, session.out
    trust = compose.make_trust(loaded)
    keys = keytrouble.noted(loaded)
    publisher, fleet, trouble = _ask_publisher(loaded)
    with following(loaded) as subscriber:
        problem = _problem(subscriber, timeout_s)
        now, doubt = subscriber.status(), clock_doubt(subscriber)
        lists = listing.standings(loaded, subscriber.view)
    out.document(
        {
            "fabric": trust.fabric,
            "home": str(loaded.home),
            "fresh": not problem,
            "problem": problem and problem + doubt,
            "publisher": plain(publisher),
            "publisher_problem": trouble,
            "subscribers": plain(fleet),
            "subscriber": plain(now),
            "keys": keys,
            "unsigned_lists": plain(lists),
            "trust": {"version": trust.version, "required": list(trust.required)},
        }
    )
    out.say(("fabric ", "dim"), trust.fabric, (f"  in {loaded.home}", "dim"))
    out.fields(
        ("publisher", _publisher_line(publisher, trouble)),
        *(
            (f"sink {sink.name}", _sink_line(sink))
            for sink in (publisher.sinks if publisher else ())
        ),
        ("subscribers", subscribers.line(fleet)),
        ("view", _view_line(now)),
        ("targets", f"{now.targets} known"),
        *((f"unsigned list {each.issuer}", _list_line(each)) for each in lists),
        (
            "trust",
            f"version {trust.version}, {len(trust.signers)} keys, required: "
            + ", ".join(trust.required),
        ),
        *((name, (said, "yellow")) for name, said in keys.items()),
        *((name, (said, "yellow")) for name, said in now.trouble.items()),
    )
    subscribers.show(out, fleet)
    if problem:
        out.warn(f"cannot tell what is killed: {problem}{doubt}")
    return EXIT_CANNOT_TELL if problem else EXIT_OK


def _problem(subscriber: "Subscriber", timeout_s: float) -> str | None:
    try:
        subscriber.wait_fresh(timeout_s)
    except RescindError as error:
        return str(error)
    return None


def _ask_publisher(
    loaded: "Loaded",
) -> "tuple[PublisherStatus | None, Fleet | None, str | None]":
    """Return how it is, whom it knows, and what is wrong with asking it."""
    from rescind.cli.switching import CONTROL, unanswered  # noqa: PLC0415
    from rescind_publisher.control_client import ControlClient  # noqa: PLC0415
    from rescind_publisher.errors import (  # noqa: PLC0415
        ControlAbsent,
        ControlFailed,
        ControlSilent,
    )

    client = ControlClient(loaded.home / CONTROL)
    try:
        return client.status(), client.fleet(), None
    except ControlAbsent:
        return None, None, None
    except ControlSilent as error:
        return None, None, unanswered(loaded, error)
    except ControlFailed as error:
        return None, None, str(error)


def _publisher_line(found: "PublisherStatus | None", trouble: str | None) -> tuple[str, str]:
    if trouble:
        return trouble, "red"
    if found is None:
        return "none runs on this machine", "yellow"
    jumped = ", its clock jumped" if found.clock_jumped else ""
    said = f"{found.publisher}, pid {found.pid}, kills in force: {found.live}{jumped}"
    if found.problem:
        return f"{said}; {found.problem}", "red"
    return said, "yellow" if jumped else "green"


def _sink_line(sink: Any) -> tuple[str, str]:
    if sink.problem:
        return f"{sink.pending} pending: {sink.problem}", "yellow"
    if not sink.ready:
        return "not ready", "yellow"
    if sink.snapshot_problem:
        return f"ready, {sink.pending} pending; no snapshot: {sink.snapshot_problem}", "yellow"
    caveat = f"; {sink.caveat}" if sink.caveat else ""
    return f"ready, {sink.pending} pending{caveat}", "green"


def _view_line(now: "Status") -> tuple[str, str]:
    age = "never proven" if now.age_s is None else f"proven {lasting(now.age_s)} ago"
    return f"{now.state}, {age}", "green" if now.state == "LIVE" else "yellow"


def _list_line(found: "ListStanding") -> tuple[str, str]:
    if found.trouble:
        return f"{found.at}: {found.trouble}", "yellow"
    return f"{found.entries} entries from {found.at}; denies, proves nothing", "green"
