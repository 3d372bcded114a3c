"""`rescind.KillSwitch` and `rescind.AsyncKillSwitch`: the publisher's faces, from settings."""

from typing import Any

from rescind import config
from rescind.publishing import make_engine
from rescind_publisher import async_switch, switch


class KillSwitch(switch.KillSwitch):
    """Kill, reinstate, retract, from settings (`RESCIND_*`, file, arguments).

    Hands everything to the publisher that runs on this host (`rescind up`), if one answers; else it
    is a publisher itself, with the spool and the key that the settings name.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(make_engine(config.load(settings)))


class AsyncKillSwitch(async_switch.AsyncKillSwitch):
    """The same, for programs with an event loop."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(make_engine(config.load(settings)))
