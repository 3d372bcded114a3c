"""`rescind demo routine` and `rescind demo channels`: options, interrupts, exit code."""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from rescind.cli.endings import interruptible
from rescind.cli.out import Out
from rescind.errors import EXIT_FAILED, EXIT_OK, BadConfig

if TYPE_CHECKING:
    from rescind.demo.report import Claim

Play = Callable[[Callable[[str, "list[Claim]"], None]], None]
"""Plays acts, and tells what each claimed."""
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")


@click.command()
@_AS_JSON
def routine(*, as_json: bool) -> int:
    """Watch a suspension with no push at all: the last badge dies by itself.

    A registry issues badges that live for seconds, a keeper renews them, the agent is suspended.
    The guard follows nothing and is told nothing. Exits with 0 only if every claim held.
    """
    _check_installed("litestar", "uvicorn", "httpx2")
    from rescind.demo.routine import play  # noqa: PLC0415 - only when it is played

    return _perform(play, Out(as_json=as_json))


@click.command()
@_AS_JSON
def channels(*, as_json: bool) -> int:
    """Watch a kill through each channel: NATS, Redis, SSE, gRPC, the bundle.

    For each a sidecar follows by nothing else, in a process of its own, and a kill goes from POST
    /v1/kills to its guard's deny. Exits with 0 only if every claim held. Without a redis-server on
    PATH it says that it leaves Redis out.
    """
    _check_installed("litestar", "uvicorn", "httpx2", "grpc")
    from rescind.demo.channels import play  # noqa: PLC0415 - only when it is played

    return _perform(play, Out(as_json=as_json))


def _check_installed(*packages: str) -> None:
    if any(importlib.util.find_spec(each) is None for each in packages):
        raise BadConfig("this demo runs a registry: pip install 'rescind[registry,grpc]'")


def _perform(play: Play, out: Out) -> int:
    made: list[Claim] = []

    def seen(act: str, claims: "list[Claim]") -> None:
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
