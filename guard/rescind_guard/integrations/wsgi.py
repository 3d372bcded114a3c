"""A guard in front of a WSGI application (PEP 3333): Flask, Django, any other.

    app = GuardWSGI(app, guard)

The rules are those of `asgi`, with two differences that threads make. The handler always runs to
its end, and its answer is withheld when the badge was killed meanwhile. A response that streams
ends with the next part that the application gives; an idle one cannot be interrupted. A WebSocket
is cut off, whatever its handler waits for: see `upgrades`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from rescind_guard.decision import Decision
from rescind_guard.integrations import asked, behind, carriage, cors, http, proven, upgrades
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.exempt import Exemptions
from rescind_guard.integrations.http import Guards, Header
from rescind_guard.integrations.upgrades import Connection
from rescind_protocol.errors import RescindError

Environ = dict[str, Any]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

ENVIRON_KEY = "rescind.decision"
_PREFIX = "HTTP_"


class CutOff(RescindError):
    """A response ends here, for its badge was killed; the server closes the connection."""

    code = "BADGE_REVOKED"


class GuardWSGI:
    """Checks each request to `app`; the module's docstring has the rules."""

    def __init__(
        self,
        app: App,
        guard: Guards,
        *,
        bearer: Bearer = "badge",
        exempt: Mapping[str, str] | Exemptions | None = None,
    ) -> None:
        """`exempt`: route → reason. Raises `CannotGuard` for an exemption that is none."""
        self.app, self.guard, self.bearer = app, guard, bearer
        self.exempt = exempt if isinstance(exempt, Exemptions) else Exemptions(exempt)
        self._lenient: bool | None = None
        """Not known before the first request: routes are added until then."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Admit the request, run the application, look at all it returns."""
        decision, left = self.admit(environ)
        if decision is None:
            return self.app(environ, start_response)
        if left is None:
            return self.refuse(decision, environ, start_response)
        clean = {name: said for name, said in environ.items() if self._is_kept(name, said)}
        clean |= {ENVIRON_KEY: decision, proven.KEY: left}
        # Exempt is not immune: a good badge may be killed.
        if left.exempt and decision.claims is None:
            return self.app(clean, start_response)
        connection = upgrades.connection_of(clean) if upgrades.is_upgrade(clean) else None
        if connection is None:
            if upgrades.is_websocket(clean):
                return self.refuse(upgrades.REFUSED, environ, start_response)
            clean = upgrades.hidden(clean)
        answer = _Answer(self, decision, environ, start_response, connection)
        return answer.of(self.app, clean)

    def admit(
        self, environ: Environ, question: str | Decision | None = None
    ) -> tuple[Decision | None, proven.Proven | None]:
        """Return the decision, and what is left for a guard behind this one if it allows.

        No decision: this guard has taken it already, and nothing else is asked for since.
        `question`: what a router asks, if that is known (`asked.asked`).
        """
        question = self._question(environ) if question is None else question
        if isinstance(question, Decision):
            return question, None
        exempt = self.exempt.covers(question)
        outer = proven.of(environ)
        if outer is not None and outer.settles(self.guard, (question,), exempt=exempt):
            return None, None
        headers = [*_headers(environ), *proven.headers(environ)]
        tool = asked.without_slash(question) if self._is_lenient() else question
        decision = http.decide(self.guard, headers, tool=tool, bearer=self.bearer, exempt=exempt)
        if not decision:
            return decision, None
        return decision, proven.Proven(
            self.guard, headers, bearer=self.bearer, asked=(question,), exempt=exempt
        )

    def refuse(
        self, decision: Decision, environ: Environ, start_response: StartResponse
    ) -> list[bytes]:
        """Answer with a refusal, as the application's CORS layer has it."""
        answer = cors.on_wsgi(self.app, environ, http.refused(decision))
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(answer.headers))
        return [] if environ.get("REQUEST_METHOD") == asked.HEAD else [answer.body]

    def _is_lenient(self) -> bool:
        """Whether Flask takes a path with and without a slash at its end for one route."""
        if self._lenient is None:
            url_map = getattr(behind.routes_by(self.app)[1], "url_map", None)
            rules = url_map.iter_rules() if url_map is not None else ()
            self._lenient = any(each.strict_slashes is False for each in rules)
        return self._lenient

    def _question(self, environ: Environ) -> str | Decision:
        """Return what is asked for: `SCRIPT_NAME` is a prefix by which nobody routes (PEP 3333)."""
        path = str(environ.get("PATH_INFO") or "/")
        path = path.encode("latin-1", "replace").decode("utf-8", "replace")  # bytes as latin-1
        return asked.asked(str(environ.get("REQUEST_METHOD", "")), path)

    def _is_kept(self, name: str, said: Any) -> bool:
        if not name.startswith(_PREFIX):
            return True
        raw = str(said).encode("latin-1", "replace")
        return http.is_kept(_plain(name).encode("latin-1", "replace"), raw, bearer=self.bearer)


def _plain(name: str) -> str:
    return name.removeprefix(_PREFIX).replace("_", "-").lower()


def _headers(environ: Environ) -> list[Header]:
    wanted = (carriage.BADGE_HEADER, carriage.MAP_HEADER, carriage.AUTHORIZATION)
    found = [(_plain(name), said) for name, said in environ.items() if name.startswith(_PREFIX)]
    return [(name, str(said)) for name, said in found if name in wanted]


class _Answer:
    """The response of one admitted request: held back until its first part is looked at."""

    def __init__(
        self,
        at: GuardWSGI,
        decision: Decision,
        environ: Environ,
        start: StartResponse,
        connection: Connection | None,
    ) -> None:
        self._at, self._decision, self._environ, self._start = at, decision, environ, start
        self._connection = connection
        self._work = at.guard.watch(decision, lambda _: connection.end()) if connection else None
        self._held: tuple[Any, ...] | None = None
        self._begun = False
        self._write: Write | None = None
        """What the server gave to write with; some give nothing (granian)."""
        self._found: Iterable[bytes] = ()

    def of(self, app: App, environ: Environ) -> "_Answer":
        """Run the application; what it returns is in this."""
        try:
            self._found = app(environ, self.start)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Let go of the response, as a server has to when it is done (PEP 3333)."""
        found, self._found = self._found, ()
        if self._work is not None:
            self._work.close()
        if self._connection is not None:
            if self._held is None:  # it was taken over; nothing is to run on it unwatched
                self._connection.end()
            self._connection.close()
        if hasattr(found, "close"):
            found.close()

    def start(self, status: str, headers: list[Header], *exc: Any) -> Write:
        """Take what the application would start its response with."""
        if self._begun:
            return self._start(status, headers, *exc)
        self._held = (status, headers, *exc)
        return self.write

    def write(self, part: bytes) -> None:
        """Write as PEP 3333 has it for old applications; raises `CutOff`."""
        if (refusal := self._refusal()) is not None:
            raise CutOff(refusal.reason)
        self._begin()
        if self._write is None:
            raise CutOff("this server gives its applications nothing to write with")
        self._write(part)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts of the body, or the refusal in place of the first."""
        try:
            for part in self._found:
                if (refusal := self._refusal()) is not None:
                    yield from self._withhold(refusal)
                    return
                self._begin()
                yield part
            if not self._begun and (refusal := self._refusal()) is not None:
                yield from self._withhold(refusal)
            elif self._held is not None:
                self._begin()
        finally:
            self.close()

    def _refusal(self) -> Decision | None:
        now = http.safely(lambda: self._at.guard.recheck(self._decision))
        return None if now else now

    def _withhold(self, refusal: Decision) -> list[bytes]:
        if not self._begun:
            return self._at.refuse(refusal, self._environ, self._start)
        if _is_event_stream(self._held):
            return []  # events have no end to miss
        raise CutOff(refusal.reason)

    def _begin(self) -> None:
        if self._held is None:
            raise CutOff("the application gave a body before it started its response")
        if not self._begun:
            self._begun = True
            self._write = self._start(*self._held)


def _is_event_stream(held: tuple[Any, ...] | None) -> bool:
    headers = held[1] if held else ()
    named = {str(name).lower(): str(value) for name, value in headers}
    return named.get("content-type", "").startswith("text/event-stream")
