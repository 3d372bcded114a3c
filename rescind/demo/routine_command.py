"""`rescind demo routine`: options, interrupts, exit code."""

import importlib.util

import click

from rescind.cli.endings import interruptible
from rescind.cli.out import Out
from rescind.errors import EXIT_FAILED, EXIT_OK, BadConfig


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")
def routine(*, as_json: bool) -> int:
    """Watch a suspension with no push at all: the last badge dies by itself.

    A registry issues badges that live for seconds, a keeper renews them, the agent is suspended.
    The guard follows nothing and is told nothing. Exits with 0 only if every claim held.
    """
    wanted = ("litestar", "uvicorn", "httpx")
    if any(importlib.util.find_spec(each) is None for each in wanted):
        raise BadConfig("this demo runs a registry: pip install 'rescind[registry]'")
    from rescind.demo.report import Claim  # noqa: PLC0415 - only when it is played
    from rescind.demo.routine import play  # noqa: PLC0415

    out, made = Out(as_json=as_json), list[Claim]()

    def seen(act: str, claims: list[Claim]) -> None:
        out.say((act, "cyan"))
        for each in claims:
            mark = ("  ✓ ", "green") if each.held else ("  ✗ ", "red")
            out.say(mark, each.said, (f" ({each.instead})" if each.instead else "", "red"))
        made.extend(claims)

    with interruptible():
        play(seen)
    failed = [each.said for each in made if not each.held]
    out.document({"claims": len(made), "failed": failed})
    if failed:
        out.say((f"{len(failed)} of {len(made)} claims did not hold", "red"))
        return EXIT_FAILED
    out.say((f"All {len(made)} claims held.", "green"))
    return EXIT_OK
