"""What a listener to reports is: the types between the roster and a transport."""

from typing import Protocol


class Ears(Protocol):
    """What a listener calls: plain functions, on its event loop, that never block or raise."""

    def heard(self, raw: bytes, /) -> None:
        """Take one report."""

    def listening(self) -> None:
        """Know that reports come in from now on."""

    def deaf(self, why: str, /) -> None:
        """Know that reports may be missed; `why` is a sentence."""


class Listener(Protocol):
    """One transport's reports of subscribers."""

    name: str

    async def start(self, ears: Ears) -> None:
        """Listen and keep reconnecting for ever; raises `SinkRefused` for what will not heal."""

    async def stop(self) -> None:
        """Close; nothing is called on the ears afterwards. May be started again."""
