"""The two clocks that freshness is measured with, as a type; roles bring the real ones."""

from typing import Protocol


class Clock(Protocol):
    """Wall time can jump; the boot clock cannot, and goes on while a host is suspended."""

    def wall(self) -> float:
        """Unix seconds."""
        ...

    def boot(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...
