"""Whether there is room for what is asked. The pure rule.

As strict as the subscribers are: an event they refuse would leave its log uncovered. Taking kills
back is never refused: it makes room.
"""

from collections.abc import Iterable

from rescind_protocol import places
from rescind_protocol.changes import Change, Kill
from rescind_protocol.live import Live
from rescind_publisher.chain import Voice
from rescind_publisher.errors import QuotaExceeded


def check(
    changes: Iterable[Change], live: Live, voice: Voice, *, doubted: int, share: int | None
) -> None:
    """Raise `QuotaExceeded` where these kills find no place beside those in force.

    `doubted`: places of kills that may lie on the disk; `share`: whoever asks may hold one in so
    many of the places.
    """
    kills = [change for change in changes if isinstance(change, Kill)]
    held, most = live.held(voice.key.kid), voice.quota
    more = sum(map(places.of, kills))
    if kills and not places.fit(most, held + doubted, kills):
        doubt = f", and {doubted} may lie on the disk" if doubted else ""
        raise QuotaExceeded(
            f"this key holds {held} of {most} places{doubt}; {more} more are beyond its quota in "
            "the trust file: reinstate what need not be killed any more"
        )
    actor = kills[0].actor if kills and share else None
    if actor is not None:
        its, most_of_it = live.by_actor.get(actor, 0), most // (share or 1)
        if its + more > most_of_it:
            raise QuotaExceeded(
                f"{actor} holds {its} of the {most_of_it} places that it may hold of the "
                f"publisher's {most}; {more} more are beyond that"
            )
