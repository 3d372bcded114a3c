"""The check in front of a tool: badge, view, freshness, decision; nothing here waits."""

from rescind_guard.badges import Claims
from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.freshness import Mode, Rule
from rescind_guard.guard import Guard
from rescind_guard.issuers import Issuers
from rescind_guard.profiles import Profile
from rescind_guard.revocation_cache import RevocationCache
from rescind_guard.view import View

__all__ = [
    "Claims",
    "Code",
    "Decision",
    "Guard",
    "Issuers",
    "Mode",
    "Outcome",
    "Profile",
    "RevocationCache",
    "Rule",
    "View",
]
