"""`NatsListener`: reports by one plain subscription, on a connection of its own."""

from rescind_protocol import subjects
from rescind_publisher.listeners.linked import LinkedListener
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.nats_link import Link, NatsOptions


class NatsListener(LinkedListener):
    """The reports of one fabric on one NATS system."""

    def __init__(self, fabric: str, options: NatsOptions, *, name: str = "nats") -> None:
        super().__init__(name)
        self._subject = subjects.reports(fabric)
        self._problem = ""
        self._link: Link = Link(
            options, on_up=self._up, on_down=self._deaf, on_problem=self._noticed_problem
        )

    def __repr__(self) -> str:
        return f"<NatsListener {self.name} {self._link.options.shown}>"

    async def _up(self) -> None:
        self._problem = ""
        await self._link.listen(self._subject, lambda _subject, raw, _headers: self._heard(raw))
        await self._link.flush()
        if self._problem:  # said before the flush was answered: we would be deaf
            raise SourceRefused(self._problem)
        self._listening()

    def _noticed_problem(self, why: str) -> None:
        self._problem = why
