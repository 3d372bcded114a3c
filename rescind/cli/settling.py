"""The fabric's folder at the start of `rescind up`: made, moved to another port, or refused."""

import time

from rescind import home
from rescind.cli.common import Session
from rescind.cli.serving import addresses, check_port, free_port, move
from rescind.cli.switching import unanswered
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_publisher.control_client import ControlClient
from rescind_publisher.errors import ControlAbsent, ControlInUse, ControlSilent

PORT = 4222
"""As NATS has it (IANA)."""
PUBLISHER = "local"


def settle(session: Session, fabric: str | None, port: int | None, *, external: bool) -> Loaded:
    """Return the settings of a fabric that exists, made now if there is none.

    Raises `BadConfig`: a port that is taken, another fabric's folder, nothing to go by; and
    `ControlInUse` where a publisher runs in this folder.
    """
    loaded = session.load()
    _refuse_second(loaded)
    if loaded.file is None and home.complete(loaded.home):
        session.out.note(f"an interrupted start is completed: the fabric in {loaded.home}")
        loaded = session.load()
    port = free_port() if port == 0 else port
    if loaded.file is None and not loaded.settings.root_key:
        if external:
            raise BadConfig(
                "--external-nats wants settings: write rescind.toml (see `rescind config show`), "
                "or set RESCIND_CONFIG"
            )
        _create(session, loaded, fabric or loaded.settings.fabric, PORT if port is None else port)
        return session.load()
    if fabric is not None and loaded.origins["fabric"] == "argument":
        _check_fabric(session, fabric)
    if port is not None and not external and port != addresses(loaded)["subscriber"].port:
        check_port(port)
        move(loaded, port)
        session.out.document({"event": "port", "port": port})
        session.out.say(f"port {port} is written into {loaded.file}")
        return session.load()
    return loaded


def _check_fabric(session: Session, fabric: str) -> None:
    """Refuse another name than the folder's: its trust file is signed for that one."""
    session.overrides.pop("fabric")
    there = session.load()
    if there.settings.fabric != fabric:
        raise BadConfig(
            f"{there.home} holds fabric {there.settings.fabric!r}, not {fabric!r}: for another "
            "fabric use another folder (--home)"
        )


def _create(session: Session, loaded: Loaded, fabric: str, port: int) -> None:
    check_port(port)
    home.create(loaded.home, fabric=fabric, publisher=PUBLISHER, port=port, now=int(time.time()))
    out = session.out
    out.document({"event": "created", "home": str(loaded.home), "fabric": fabric})
    out.say(("made", "green"), f" fabric {fabric} in {loaded.home}")
    out.fields(
        ("rescind.toml", "settings and passwords (0600)"),
        ("root.key", "appoints publishers: move it off this machine when you are"),
        ("", "done trying"),
        ("publisher.key", "signs kills; approver.key is the second one for wide kills"),
        ("trust.jws", "who may kill, signed by root.key"),
        ("issuer.key", "a local issuer, for `rescind badge issue`"),
    )
    out.say()


def _refuse_second(loaded: Loaded) -> None:
    try:
        status = ControlClient(loaded.home / home.CONTROL).status()
    except ControlAbsent:
        return
    except ControlSilent as error:
        raise ControlInUse(f"{unanswered(loaded, error)}: end it first") from error
    raise ControlInUse(
        f"publisher {status.publisher!r} runs in {loaded.home} already (pid {status.pid}): "
        "use it, or end it first (if it is `rescind serve`: end it, and start that one after this)"
    )
