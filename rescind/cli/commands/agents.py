"""`rescind agents`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescind.cli.common import Session, common, timeout
from rescind.cli.out import plain, utc
from rescind.errors import EXIT_OK
from rescind_protocol.errors import RescindError

if TYPE_CHECKING:
    from rescind_registry.agents import Agent

PAGE = 1000
COLOURS = {"active": "green", "suspended": "yellow", "disabled": "red", "cannot tell": "yellow"}
CANNOT_TELL = "cannot tell"


@click.group()
def agents() -> None:
    """Enrol agents in this host's registry, list and remove them.

    An enrolled agent that proves its key is given badges (`rescind serve`). `rescind suspend` and
    `rescind kill` stop that; how an agent stands is what the log says.
    """


@agents.command(short_help="Enrol an agent.")
@click.argument("did")
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Its public key, as JWK (`rescind keys new`); a did:key needs none.",
)
@click.option("--domain", help="Its domain; for a did:web the one in its name.")
@click.option("--level", type=click.IntRange(1, 4), default=1, show_default=True)
@common
def enrol(
    session: Session, *, did: str, key_file: Path | None, domain: str | None, level: int
) -> int:
    """Enrol an agent: from now on it can prove its key and is given badges."""
    from rescind.cli.registry import note, opened  # noqa: PLC0415 - help needs none
    from rescind_publisher.keyfiles import read_public  # noqa: PLC0415
    from rescind_registry.agents import Agents, make  # noqa: PLC0415

    public = read_public(key_file) if key_file else None
    made = make(did, public=public, domain=domain, level=level, now=time.time())
    with opened(session.loaded) as store:
        made = Agents(store).enrol(made)
    note(session.loaded, "enrol", made.did)
    session.out.document(plain(made))
    session.out.say(("enrolled", "green"), f" {made.did}")
    session.out.fields(
        ("domain", made.domain), ("level", str(made.level)), ("key", made.jwk["kid"])
    )
    return EXIT_OK


@agents.command(short_help="Remove an agent.")
@click.argument("did")
@common
def remove(session: Session, *, did: str) -> int:
    """Remove an agent: it is given no badge any more; the last one lives until it expires."""
    from rescind.cli.registry import note, opened  # noqa: PLC0415 - help needs none
    from rescind_registry.agents import Agents  # noqa: PLC0415

    with opened(session.loaded) as store:
        found = Agents(store).remove(did)
    note(session.loaded, "remove", found.did)
    session.out.document(plain(found))
    session.out.say(("removed", "yellow"), f" {found.did}")
    return EXIT_OK


@agents.command("list", short_help="List agents and how they stand.")
@timeout(2, "How long to wait for a fresh view.")
@common
def list_(session: Session, *, timeout_s: float) -> int:
    """List every agent, and whether it is active, suspended or disabled (killed)."""
    from rescind.cli.registry import opened  # noqa: PLC0415 - help needs none
    from rescind_registry.agents import Agents  # noqa: PLC0415

    found: list[Agent] = []
    with opened(session.loaded) as store:
        while page := Agents(store).page(after=found[-1].did if found else "", limit=PAGE):
            found += page
    states = _states(session, found, timeout_s)
    session.out.document({"agents": [{**plain(each), "state": states[each.did]} for each in found]})
    session.out.table(
        ("agent", "domain", "level", "enrolled", "state"),
        [
            (
                each.did,
                each.domain,
                str(each.level),
                utc(each.enrolled_at),
                (states[each.did], COLOURS[states[each.did]]),
            )
            for each in found
        ],
    )
    return EXIT_OK


def _states(session: Session, found: "list[Agent]", timeout_s: float) -> dict[str, str]:
    """Look every agent up in a view of the log; "cannot tell" where none is fresh."""
    from rescind import home  # noqa: PLC0415 - help needs none
    from rescind.cli.following import following, wait_fresh  # noqa: PLC0415
    from rescind.cli.registry import keyring_of  # noqa: PLC0415
    from rescind_registry.standing import Look  # noqa: PLC0415

    unknown = dict.fromkeys((each.did for each in found), CANNOT_TELL)
    if not found:
        return unknown
    keyring = keyring_of(session.loaded)
    key = keyring.signing(time.time()).kid if keyring.times() else ""
    iss = session.loaded.settings.registry_issuer or home.LOCAL_ISSUER
    try:
        with following(session.loaded) as subscriber:
            wait_fresh(subscriber, timeout_s)
            look = Look(subscriber)
            return {
                each.did: look.agent(each.did, iss=iss, key_thumbprint=key).state.value
                for each in found
            }
    except RescindError as error:
        session.out.warn(f"cannot tell how they stand: {error}")
        return unknown
