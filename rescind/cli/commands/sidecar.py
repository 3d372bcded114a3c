"""`rescind sidecar`."""

import importlib.util
import time

import click

from rescind.cli.common import Session, common
from rescind.errors import EXIT_FAILED, EXIT_OK, BadConfig

POLL_S = 0.5


@click.command()
@click.option("--listen", metavar="ADDRESS", help="unix:PATH or 127.0.0.1:PORT (authz_listen).")
@click.option("--group", metavar="NAME", help="Who else may connect to the socket (authz_group).")
@common
def sidecar(session: Session, *, listen: str | None, group: str | None) -> int:
    """Answer Envoy's ext_authz and nginx's auth_request; until Ctrl-C.

    For services in any language: the proxy asks about each request, and passes on who calls in
    X-Rescind-Agent. It listens on a Unix socket (0600) or on the loopback, never beyond.
    """
    if importlib.util.find_spec("uvicorn") is None:
        raise BadConfig("a sidecar needs the package uvicorn: pip install 'rescind[authz]'")
    from rescind import authz  # noqa: PLC0415 - help needs none
    from rescind.cli.endings import going_on  # noqa: PLC0415
    from rescind.sidecar import Sidecar  # noqa: PLC0415

    session.overrides.update(authz_listen=listen, authz_group=group)
    loaded = session.loaded
    settings, home = loaded.settings, loaded.home
    with going_on(as_json=session.out.as_json):
        try:
            given = {name: said for name, said in session.overrides.items() if said is not None}
            with Sidecar(home=str(home), **given) as running:
                listener = authz.listen(
                    settings.authz_listen, folder=home, group=settings.authz_group
                )
                app = authz.Authz(running.guard)
                with authz.Server(app, listener) as server:
                    address = authz.address(settings.authz_listen, home)
                    session.out.document({"event": "listening", "address": address})
                    session.out.say(("listening", "green"), f"  {address}")
                    while server.running:
                        time.sleep(POLL_S)
        except KeyboardInterrupt:
            return EXIT_OK
    return EXIT_FAILED
