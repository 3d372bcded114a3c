"""Unsigned lists and the signed log, in any order: the union, and each ends its own alone."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from rescind_guard import Code
from rescind_guard.unsigned import UnsignedList
from rescind_protocol import targets
from rescind_protocol.changes import RevocationId
from rescind_protocol.targets import Target
from tests.fakes.badges import AGENT, ISSUER, OTHER, Scene, read_jti
from tests.fakes.lists import listed, show

_SCENE = Scene()
TOKENS = {
    (iss, number): (_SCENE.issuer if iss == ISSUER else _SCENE.other).badge(sub=f"{AGENT}{number}")
    for iss in (ISSUER, OTHER)
    for number in range(2)
}


def names(iss: str, number: int) -> tuple[Target, Target]:
    """Return the targets that a badge can be named by here."""
    jti = read_jti(TOKENS[iss, number])
    return targets.badge(iss, jti), targets.agent(f"{AGENT}{number}")


ALL_NAMES = sorted({name for key in TOKENS for name in names(*key)}, key=str)
name = st.sampled_from(ALL_NAMES)
Step = tuple[str, object]
kill = st.tuples(st.just("kill"), name)
retract = st.tuples(st.just("retract"), name)
replace = st.tuples(st.sampled_from([ISSUER, OTHER]), st.frozensets(name, max_size=4))
steps = st.lists(st.one_of(kill, retract, replace), max_size=12)


class Model:
    """A guard over a view, and beside it what is killed and listed, as plain sets."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.guard = self.scene.guard()
        self.killed: dict[Target, list[RevocationId]] = {}
        self.listed: dict[str, frozenset[Target]] = {}

    def take(self, step: Step) -> None:
        """Do one step, really and in the model."""
        what, said = step
        if what == "kill":
            assert isinstance(said, Target)
            self.killed.setdefault(said, []).append(self.scene.revocations.kill(said))
        elif what == "retract":
            assert isinstance(said, Target)
            if gone := self.killed.pop(said, None):
                self.scene.revocations.retract(said, *gone)
        else:
            assert isinstance(said, frozenset)
            self.listed[what] = said
            lists = (listed(*each, issuer=iss) for iss, each in self.listed.items())
            show(self.scene.revocations.view, *lists)

    def denied(self) -> dict[tuple[str, int], bool]:
        """Return what the guard denies."""
        found = {key: self.guard.check(token) for key, token in TOKENS.items()}
        assert {each.code for each in found.values()} <= {Code.OK, Code.BADGE_REVOKED}
        return {key: not each for key, each in found.items()}

    def expected(self) -> dict[tuple[str, int], bool]:
        """Return what is to be denied: what is killed, or listed by the badge's own issuer."""
        return {
            key: bool(
                {*self.killed, *self.listed.get(key[0], frozenset())}.intersection(names(*key))
            )
            for key in TOKENS
        }


@settings(max_examples=60)
@given(steps)
def test_the_guard_denies_the_union_after_every_step(done: list[Step]) -> None:
    """So no list ever frees what a kill denies, and no end of a kill what a list denies."""
    model = Model()
    for step in done:
        model.take(step)
        assert model.denied() == model.expected()


@settings(max_examples=60)
@given(steps, st.randoms(use_true_random=False))
def test_the_order_of_lists_and_events_does_not_matter(done: list[Step], random: Random) -> None:
    """Lists keep their own order, and so do events; how the two interleave changes nothing."""
    events = [step for step in done if step[0] in ("kill", "retract")]
    lists = [step for step in done if step[0] not in ("kill", "retract")]
    models = [Model(), Model()]
    for step in done:
        models[0].take(step)
    while events or lists:
        models[1].take((random.choice([each for each in (events, lists) if each])).pop(0))
    assert models[0].denied() == models[1].denied()


def test_what_would_be_freed_by_a_list_that_replaced_kills_is_found() -> None:
    """Negative control: a guard that goes by lists alone breaks the first property."""
    model = Model()
    target = names(ISSUER, 0)[0]
    model.take(("kill", target))
    model.scene.revocations.view.swap(Scene().revocations.view.published.table)
    model.listed[ISSUER] = frozenset()
    show(model.scene.revocations.view, UnsignedList(ISSUER, {}))
    assert model.denied() != model.expected()
