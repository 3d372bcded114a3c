"""Clocks that stand where a test puts them."""

from tests.fakes.fabric import NOW


class FakeClock:
    """Two clocks that move together, unless a test moves one alone."""

    def __init__(self, wall: float = NOW) -> None:
        self.wall_s, self.boot_s = wall, 1000.0

    def wall(self) -> float:
        """Unix seconds."""
        return self.wall_s

    def boot(self) -> float:
        """Seconds since the boot."""
        return self.boot_s

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.wall_s += seconds
        self.boot_s += seconds
