"""What every command shares: `--json`, `--home`, the settings, and how values are read."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.out import Out

if TYPE_CHECKING:
    from rescind.config import Loaded

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_LONGEST = timedelta(days=36_500)


class Session:
    """One call of a command: where it writes, and its settings once they are needed."""

    def __init__(self, out: Out, home: str | None) -> None:
        self.out = out
        self._home = home
        self.overrides: dict[str, Any] = {}

    @cached_property
    def loaded(self) -> "Loaded":
        """The settings; raises `BadConfig`."""
        found = self.load()
        for doubt in found.doubts:
            self.out.warn(doubt)
        return found

    def load(self) -> "Loaded":
        """Read the settings anew."""
        from rescind import config  # noqa: PLC0415 - help needs none

        return config.load({"home": self._home, **self.overrides})


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `Session` and the options that all have."""

    def run(*, as_json: bool, home: str | None, **more: Any) -> Any:
        return command(Session(Out(as_json=as_json), home), **more)

    update_wrapper(run, command)
    folder = click.Path(file_okay=False)
    run = click.option("--home", type=folder, help="The fabric's folder (RESCIND_HOME).")(run)
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")(run)


def timeout(default: float, text: str) -> Callable[..., Any]:
    """Return the option `--timeout`, in seconds."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0, 60),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


def limited(most: int) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses a longer text, which no subscriber could read."""

    def check(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        if value is not None and len(value) > most:
            raise click.BadParameter(f"{len(value)} characters, limit {most}")
        return value

    return check


def moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """Read `now`, unix seconds, or ISO 8601 with its zone."""
    return None if value is None else _moment(value, "2031-01-31T12:00:00Z, or now")


def _moment(value: str, forms: str) -> datetime:
    if value == "now":
        return datetime.now(UTC)
    try:
        if value.isdecimal():
            return datetime.fromtimestamp(int(value), UTC)
        found = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(f"{value!r} is no time: write {forms}") from error
    if found.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no zone: write {value}Z for UTC")
    return found


def until(_: click.Context, __: click.Parameter, value: str | None) -> datetime | timedelta | None:
    """Read a duration from now (`10m`, `2h`, `3d`), or a moment."""
    if value is None:
        return None
    found = _DURATION.fullmatch(value)
    if found is None:
        if value.isdecimal():
            raise click.BadParameter(f"{value!r} has no unit: write {value}s, {value}m or {value}h")
        return _moment(value, "10m, 2h, 3d, or 2031-01-31T12:00:00Z")
    span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if span > _LONGEST:
        raise click.BadParameter(f"{value!r} is too long: leave it out, and it lasts until ended")
    if not span:
        raise click.BadParameter("the kill would be over before it began")
    return span


def read_token() -> str:
    """Return the badge on standard input; on a terminal it is asked for and not echoed."""
    from rescind_protocol.limits import MAX_BADGE_BYTES  # noqa: PLC0415 - help needs none

    if sys.stdin.isatty():
        token: str = click.prompt("Badge (not shown)", hide_input=True, err=True)
    else:
        raw = sys.stdin.buffer.read(2 * MAX_BADGE_BYTES)
        token = raw.decode("ascii", "replace")
    token = token.strip()
    if not token:
        raise click.UsageError("no badge came on standard input")
    return token.removeprefix("Bearer ").strip()
