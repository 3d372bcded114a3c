"""Whether a sum of live kills that differs is a defect (attack A3.4, ADR 7). Pure.

A publisher takes what others have ended out of its sum, perhaps before that is here. So a sum must
differ still when all others are proven covered up to then, and a skew beyond.
"""

from collections.abc import Iterable

from rescind_protocol.limits import SKEW_S


class Sums:
    """When the sum of each publisher began to differ."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def is_wrong(
        self, publisher: str, time_s: float, *, agrees: bool | None, others: Iterable[float | None]
    ) -> bool:
        """Take note of a head of this signed time; whether nothing but a defect can be why.

        `agrees`: None where the two are not comparable; `others`: the signed times up to which the
        other required publishers are proven, None where one is not.
        """
        if agrees:
            self._since.pop(publisher, None)
        if agrees is not False:
            return False
        since = self._since.setdefault(publisher, time_s)
        return all(proven is not None and proven >= since + SKEW_S for proven in others)
