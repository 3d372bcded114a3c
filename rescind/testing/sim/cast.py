"""Who is killed: a few agents with a few badges each, the same in every schedule.

Their badges are signed once in a process: signing is most of the cost of making one.
"""

from functools import cache

from rescind.testing.badges import TestBadge, mint
from rescind.testing.clock import START
from rescind_protocol import targets
from rescind_protocol.targets import Target

AGENTS = ("did:web:test.example:a", "did:web:test.example:b")
SESSION = "session-1"
TTL_S = 3600
AGE_S = 60
"""The second badge of each agent was issued so long before the first."""


@cache
def badges(age_s: int) -> tuple[TestBadge, ...]:
    """Two badges of each agent: level 3, and the older one level 1 in a session."""
    now = int(START) - age_s
    return tuple(
        badge
        for sub in AGENTS
        for badge in (
            mint(sub, iat=now, ttl_s=TTL_S, level=3),
            mint(sub, iat=now - AGE_S, ttl_s=TTL_S, level=1, sid=SESSION),
        )
    )


@cache
def victims(badge_age_s: int) -> tuple[Target, ...]:
    """What may be killed; agents twice, so that several say something of the same one."""
    return (
        *map(targets.agent, AGENTS),
        *map(targets.agent, AGENTS),
        *(badge.target for badge in badges(badge_age_s)),
        targets.session(SESSION),
        targets.everyone(),
    )


VICTIMS = 10
"""How many there are."""
