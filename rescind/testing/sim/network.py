"""The virtual network: what is sent arrives later, twice, or never; so also out of order."""

from collections.abc import Callable
from random import Random
from typing import Any

from rescind.testing.clock import Time

_SLOW_TIMES = 20


class Network:
    """Carries calls between hosts, which it knows by name."""

    def __init__(self, time: Time, random: Random, delay_s: float) -> None:
        self.storm = 0.0
        """The share of messages that is lost, and of those that come twice or late."""
        self._time, self._random, self._delay_s = time, random, delay_s
        self._cuts: dict[frozenset[str], int] = {}

    def send(self, src: str, dst: str, call: Callable[..., None], *args: Any) -> None:
        """Let `call` happen at `dst`, if the message gets there."""
        if self._cuts and frozenset((src, dst)) in self._cuts:
            return
        delay_s = self._delay_s * (0.5 + self._random.random())
        if self.storm:
            luck = self._random.random()
            if luck < self.storm / 2:
                return
            if luck < self.storm:
                self._time.after(delay_s * _SLOW_TIMES, call, *args)
            elif luck > 1 - self.storm / 2:
                self._time.after(delay_s * 2, call, *args)
        self._time.after(delay_s, call, *args)

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts, until as many `mend` as `cut`."""
        pair = frozenset((one, other))
        self._cuts[pair] = self._cuts.get(pair, 0) + 1

    def mend(self, one: str, other: str) -> None:
        """End one cut."""
        pair = frozenset((one, other))
        left = self._cuts.pop(pair, 1) - 1
        if left:
            self._cuts[pair] = left

    def linked(self, one: str, other: str) -> bool:
        """Whether anything passes."""
        return frozenset((one, other)) not in self._cuts
