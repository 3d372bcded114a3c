"""Where a policy comes from, and who takes it: the types between a place and a guard's policy."""

from typing import Protocol

from rescind_guard.policy_files import Modules


class Taker(Protocol):
    """A policy that others can be put in place of: `rescind_guard.rego.Rego`."""

    fault: str | None
    """Why nothing can be evaluated; every call is denied."""

    @property
    def version(self) -> str:
        """Which one is in force."""

    def take(self, modules: Modules) -> None:
        """Put these in force; raises `PolicyFailed`, and then nothing is changed."""

    def confirm(self) -> None:
        """Know that what is in force is the newest."""

    def fail(self, why: str) -> None:
        """Know that a newer policy cannot be had, or not be used."""


class PolicySource(Protocol):
    """One place; one thread alone asks it."""

    every_s: float
    """Seconds between two looks."""

    def load(self) -> Modules | None:
        """Return what there is without a network, None if nothing; raises `PolicyFailed`."""

    def look(self) -> Modules | None:
        """Return what is there now; None: nothing was changed since the last time.

        Raises `PolicyFailed` for what is no policy, `PolicyUnavailable` for weather.
        """

    def taken(self) -> None:
        """Know that what was returned last is in force."""
