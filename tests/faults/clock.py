"""A clock that can be set: for processes under test, which get their clocks injected."""

from rescind_guard.freshness import SystemClock


class ShiftedClock:
    """The host's clocks, both later by `passed_s`, and the wall clock wrong by `wrong_s`."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        """Time that has passed for everybody: every process's clocks are moved by as much."""
        self.wrong_s = 0.0
        """How wrong this process's wall clock is; its boot clock cannot jump."""
        self._system = SystemClock()

    def wall(self) -> float:
        """Unix seconds, as this process has them."""
        return self._system.wall() + self.passed_s + self.wrong_s

    def boot(self) -> float:
        """Seconds since boot."""
        return self._system.boot() + self.passed_s
