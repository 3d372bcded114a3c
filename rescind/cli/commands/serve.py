"""`rescind serve`."""

import time

import click

from rescind.cli.common import Session, common
from rescind.errors import EXIT_FAILED, EXIT_OK

POLL_S = 0.5


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (registry_listen).")
@common
def serve(session: Session, *, listen: str | None) -> int:
    """Run a registry node: badges, the HTTP API, feeds; until Ctrl-C.

    It kills through the publisher that runs on this machine (`rescind up`); if none runs, it is
    one itself. It listens on the loopback; beyond it only with TLS (registry_tls_cert and
    registry_tls_key), and always asks for an API token (`rescind token make`).
    """
    from rescind.cli.endings import going_on  # noqa: PLC0415 - help needs none
    from rescind.cli.registry_server import serving  # noqa: PLC0415

    session.overrides["registry_listen"] = listen
    with going_on(as_json=session.out.as_json):
        try:
            with serving(session.out, session.loaded) as server:
                while server.running:
                    time.sleep(POLL_S)
        except KeyboardInterrupt:
            return EXIT_OK
    return EXIT_FAILED
