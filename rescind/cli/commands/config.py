"""`rescind config`."""

import click

from rescind.cli.common import Session, common, timeout
from rescind.cli.out import plain
from rescind.errors import EXIT_FAILED, EXIT_OK


@click.group()
def config() -> None:
    """Show the settings, and check that they work.

    What wins: options of the command, then RESCIND_* variables, then one file, then defaults. The
    file is the one named by RESCIND_CONFIG, else rescind.toml in the fabric's folder (RESCIND_HOME,
    by default ~/.local/state/rescind); never one in the current directory.
    """


@config.command(short_help="Show every setting and its origin.")
@common
def show(session: Session) -> int:
    """Show every setting and where it came from; secrets are hidden."""
    loaded, out = session.loaded, session.out
    values = loaded.shown()
    origins = {name: loaded.origins.get(name, "default") for name in values}
    out.document(
        {
            "file": str(loaded.file) if loaded.file else None,
            "settings": {
                name: {"value": value, "from": origins[name]} for name, value in values.items()
            },
        }
    )
    file = str(loaded.file)
    out.say(("file ", "dim"), file if loaded.file else "none")
    out.table(
        ["setting", "value", "from"],
        [
            [name, _text(value), ("file" if origins[name] == file else origins[name], "")]
            for name, value in values.items()
        ],
    )
    return EXIT_OK


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {said}" for name, said in value.items()) or "none"
    return "" if value is None else str(value)


@config.command(short_help="Check files, keys, clocks and NATS.")
@timeout(5, "How long to wait for a fresh view.")
@common
def check(session: Session, *, timeout_s: float) -> int:
    """Check files, keys, trust, issuers, clocks and NATS; each line is ok or says what to do."""
    from rescind.cli import checks  # noqa: PLC0415 - help needs none

    lines = []
    for line in checks.run(session.loaded, wait_s=timeout_s):
        lines.append(line)
        word, colour = ("ok  ", "green") if line.ok else ("FAIL", "red")
        session.out.say((word, colour), f"  {line.what}: {line.detail}")
    failed = sum(not line.ok for line in lines)
    session.out.document({"ok": not failed, "checks": plain(lines)})
    if failed:
        session.out.note(f"{failed} of {len(lines)} checks failed")
    return EXIT_FAILED if failed else EXIT_OK
