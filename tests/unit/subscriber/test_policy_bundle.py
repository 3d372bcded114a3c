"""Policy bundles: what is refused changes nothing, and never allows."""

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rescind_guard import Code
from rescind_guard.guard import Guard
from rescind_guard.policy_files import MAX_MODULES
from rescind_guard.rego import Rego
from rescind_protocol.bundles import MANIFEST
from rescind_protocol.exact_json import canonical
from rescind_registry.bundle import archive
from rescind_subscriber.errors import PolicyUnavailable
from rescind_subscriber.policies import bundle as bundle_module
from rescind_subscriber.policies.bundle import BundleSource
from rescind_subscriber.policies.keeper import PolicyKeeper
from rescind_subscriber.policies.opened import MAX_BYTES, Trusted, open_bundle
from tests.fakes.badges import Scene
from tests.fakes.policies import SMALL
from tests.fakes.policy_bundles import (
    ALLOWS,
    AT,
    DENIES,
    RSA_SIGNER,
    SIGNER,
    STRANGER,
    Place,
    bundle,
    files,
    packed_with,
    signed,
    trusting,
)
from tests.fakes.waiting import wait_until


class Kept:
    """A place, a policy from its bundle, and a guard that asks it."""

    def __init__(
        self, place: Place, kept: Path | None = None, trusted: Trusted | None = None
    ) -> None:
        self.place, self.policy = place, Rego()
        source = BundleSource(place, trusted or trusting(), kept)
        self.keeper = PolicyKeeper(self.policy, source)
        self.keeper.load()
        scene = Scene()
        self.guard: Guard = scene.guard(policy=self.policy)
        self._badge = scene.issuer.badge()

    def gets(self, has: bytes | PolicyUnavailable) -> Code:
        """Look at the place when it has this; return what a call gets then."""
        self.place.has = has
        self.keeper.step()
        return self.code()

    def code(self) -> Code:
        """Return what a call gets."""
        return self.guard.check(self._badge, tool="search").code


def tampered() -> bytes:
    """Return a bundle in which somebody has opened the door."""
    return archive.pack(signed(files(DENIES)) | {"policy.rego": ALLOWS.encode()})


def truncated() -> bytes:
    """Return half of a good one."""
    good = bundle()
    return good[: len(good) // 2]


def cut_tar() -> bytes:
    """Return a tar that ends within a file, well compressed."""
    return gzip.compress(gzip.decompress(bundle())[:700])


def linked(kind: bytes) -> bytes:
    """Return a good one with a link beside the policy."""
    link = tarfile.TarInfo("more.rego")
    link.type, link.linkname = kind, "/etc/passwd"
    return packed_with(link, signed(files()))


def named(name: str) -> bytes:
    """Return a good one, signed, with a file of this name."""
    return archive.pack(signed(files() | {name: b"package x"}))


def many_modules() -> bytes:
    """Return a signed one with a module too many."""
    more = {f"m{number}.rego": b"package m" for number in range(MAX_MODULES)}
    return archive.pack(signed(files() | more))


REFUSED: dict[str, Callable[[], bytes]] = {
    "policy.rego is not what was signed": tampered,
    "is not signed: there is no .signatures.json": lambda: archive.pack(files()),
    "does not verify by a key that is given": lambda: bundle(signer=STRANGER),
    "is not what was signed": lambda: archive.pack(
        {**signed(files()), "policy.rego": ALLOWS.encode() + b"#"}
    ),
    "has other files than": lambda: archive.pack(signed(files()) | {"more.rego": b"package x"}),
    "not a bundle: ": truncated,
    "not a bundle: unexpected end of data": cut_tar,
    "not a bundle": lambda: b"",
    "leads out of it: '../up.rego'": lambda: named("../up.rego"),
    "neither file nor folder": lambda: linked(tarfile.SYMTYPE),
    "neither file nor folder ": lambda: linked(tarfile.LNKTYPE),
    "unpacks to more than": lambda: archive.pack(signed(files() | {"README": b"a" * MAX_BYTES})),
    "bytes at most": lambda: b"a" * (MAX_BYTES + 1),
    "more than 1024 files": lambda: archive.pack(
        signed(files() | {f"{number}.txt": b"" for number in range(1024)})
    ),
    "over 256 modules": many_modules,
    "over 65536 bytes": lambda: archive.pack(
        signed(files(data_json=b'{"a":"' + b"x" * 65536 + b'"}'))
    ),
    "is not read here": lambda: archive.pack(signed(files() | {"data.yaml": b"a: 1"})),
    "no revision that could be shown": lambda: archive.pack(
        signed(files() | {MANIFEST: b'{"revision":"\\u0007"}'})
    ),
    "there is no .rego file": lambda: archive.pack(signed({"README": b"none"})),
    "does not compile": lambda: bundle("package capiscio.policy\nx := {"),
    "is undefined": lambda: bundle("package other\nx := 1"),
}


@pytest.mark.parametrize("says", REFUSED)
@pytest.mark.parametrize("before", [DENIES, ALLOWS, None])
def test_a_bad_bundle_changes_nothing(says: str, before: str | None) -> None:
    """What was in force decides on; where nothing was, every call is denied. Never an allow."""
    kept = Kept(Place(PolicyUnavailable("nobody there")))
    codes = {DENIES: Code.TOOL_POLICY_DENIED, ALLOWS: Code.OK, None: Code.TOOL_POLICY_FAILED}
    if before is not None:
        kept.gets(bundle(before))
    assert kept.gets(REFUSED[says]()) is codes[before]
    why = kept.policy.fault if before is None else kept.policy.trouble
    assert says.strip() in (why or "")
    assert "\n" not in (why or "")
    assert kept.gets(kept.place.has) is codes[before]  # not modified: it is bad still
    assert (kept.policy.fault if before is None else kept.policy.trouble) == why
    assert kept.gets(bundle(DENIES, at=AT + 1)) is Code.TOOL_POLICY_DENIED
    assert (kept.policy.fault, kept.policy.trouble) == (None, None)


def test_a_tampered_bundle_would_open_the_door_if_nobody_looked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: without the signature's check the same bytes allow."""
    kept = Kept(Place(tampered()))

    def trusting_all(members: dict[str, bytes], *_: object, **__: object) -> object:
        del members
        return type("Said", (), {"iat": None})

    monkeypatch.setattr("rescind_subscriber.policies.opened.verify", trusting_all)
    assert kept.gets(tampered()) is Code.OK


def test_both_kinds_of_keys_sign_and_a_second_key_takes_over() -> None:
    """RSA and P-256; both are given while one takes over from the other."""
    kept = Kept(Place(bundle(SMALL)), trusted=trusting(SIGNER, RSA_SIGNER))
    assert kept.gets(bundle(SMALL, revision="a")) is Code.OK
    assert kept.policy.version.endswith("@a")
    assert kept.gets(bundle(DENIES, signer=RSA_SIGNER)) is Code.TOOL_POLICY_DENIED


def test_an_older_bundle_is_no_news() -> None:
    """Whoever serves it cannot go back to yesterday's policy; to do so, sign it anew."""
    kept = Kept(Place(bundle(DENIES, at=AT)))
    assert kept.gets(bundle(DENIES, at=AT)) is Code.TOOL_POLICY_DENIED
    assert kept.gets(bundle(ALLOWS, at=AT - 1)) is Code.TOOL_POLICY_DENIED
    assert "was signed 1 s before the one in force" in (kept.policy.trouble or "")
    assert kept.gets(bundle(ALLOWS, at=None)) is Code.TOOL_POLICY_DENIED
    assert "does not say when it was signed" in (kept.policy.trouble or "")
    assert kept.gets(bundle(ALLOWS, at=AT + 1)) is Code.OK


def test_an_older_bundle_would_be_taken_if_nobody_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control."""
    monkeypatch.setattr(bundle_module, "check_newer", lambda *_: None)
    kept = Kept(Place(bundle(DENIES, at=AT)))
    assert kept.gets(bundle(DENIES, at=AT)) is Code.TOOL_POLICY_DENIED
    assert kept.gets(bundle(ALLOWS, at=AT - 1)) is Code.OK


def test_bundles_without_a_time_have_no_order() -> None:
    """As an OPA's own tools sign them: the newest is what the server has."""
    kept = Kept(Place(bundle(DENIES, at=None)))
    kept.gets(bundle(DENIES, at=None))
    assert kept.gets(bundle(ALLOWS, at=None)) is Code.OK


def test_a_restart_without_a_server_decides_as_before(tmp_path: Path) -> None:
    """By the bundle that was in force, verified again; nor does it take an older one."""
    file, away = tmp_path / "policies" / "a.bundle", PolicyUnavailable("nobody there")
    assert Kept(Place(away), file).code() is Code.TOOL_POLICY_FAILED
    Kept(Place(b""), file).gets(bundle(DENIES))
    kept = Kept(Place(away), file)
    assert kept.code() is Code.TOOL_POLICY_DENIED
    assert kept.gets(away) is Code.TOOL_POLICY_DENIED
    assert kept.policy.trouble == "nobody there"
    assert kept.gets(bundle(ALLOWS, at=AT - 1)) is Code.TOOL_POLICY_DENIED
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("raw", [b"", b"garbage", tampered(), bundle(ALLOWS, signer=STRANGER)])
def test_what_lies_on_the_disk_is_not_trusted(tmp_path: Path, raw: bytes) -> None:
    """Whoever may write there cannot allow anything; the server heals it."""
    file = tmp_path / "a.bundle"
    file.write_bytes(raw)
    kept = Kept(Place(PolicyUnavailable("nobody there")), file)
    assert kept.code() is Code.TOOL_POLICY_FAILED
    assert kept.gets(bundle(DENIES)) is Code.TOOL_POLICY_DENIED
    assert open_bundle(file.read_bytes(), trusting()).modules.revision == "1"


def test_a_key_that_is_taken_away_takes_its_policy_along(tmp_path: Path) -> None:
    """From the next start on: nothing that it signed is in force, and so nothing is allowed."""
    file = tmp_path / "a.bundle"
    kept = Kept(Place(bundle(ALLOWS)), file)
    assert kept.gets(bundle(ALLOWS)) is Code.OK
    after = Kept(Place(bundle(ALLOWS)), file, trusting(STRANGER))
    assert after.gets(bundle(ALLOWS)) is Code.TOOL_POLICY_FAILED
    assert after.gets(bundle(ALLOWS, signer=STRANGER)) is Code.OK


def test_a_defect_is_shown_until_there_is_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look finds nothing new, and must not call current what was never opened."""
    kept = Kept(Place(bundle(ALLOWS)))
    assert kept.gets(bundle(ALLOWS)) is Code.OK
    with monkeypatch.context() as patched:
        patched.setattr(bundle_module, "open_bundle", raising(ValueError("words of a stranger")))
        kept.gets(bundle(DENIES, at=AT + 1))
        assert kept.policy.trouble == "a defect: ValueError"
    assert kept.gets(kept.place.has) is Code.OK
    assert kept.policy.trouble == "a defect: ValueError"
    assert kept.gets(bundle(DENIES, at=AT + 2)) is Code.TOOL_POLICY_DENIED
    assert kept.policy.trouble is None


def test_the_thread_goes_on_after_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ends would keep the old policy for ever."""
    place = Place(bundle(DENIES))
    source = BundleSource(place, trusting(), every_s=0.001)
    keeper = PolicyKeeper(policy := Rego(), source)
    with monkeypatch.context() as patched:
        patched.setattr(source, "look", raising(KeyError("x")))
        keeper.start()
        wait_until(lambda: policy.fault == "a defect: KeyError")
    wait_until(lambda: policy.fault is None)
    keeper.stop()


def raising(error: Exception) -> Callable[..., None]:
    """Return what raises this, whatever it is called with."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_bundle_nested_to_any_depth_is_refused_and_stays_so() -> None:
    """Whoever spoils a file so that it is read and not hashed has it refused, not forgotten."""
    spoilt = signed(files(DENIES, data_json=b"{}"), at=AT + 1)
    kept = Kept(Place(bundle(ALLOWS)))
    assert kept.gets(bundle(ALLOWS)) is Code.OK
    for depth in range(800, 1010):
        kept.gets(archive.pack(spoilt | {"data.json": b"[" * depth + b"]" * depth}))
        kept.keeper.step()
        assert (kept.policy.trouble or "").startswith("the bundle is refused: ")
    assert kept.gets(archive.pack(spoilt)) is Code.TOOL_POLICY_DENIED  # the control


def test_weather_is_shown_and_passes() -> None:
    """A server that is away changes nothing but what is said."""
    kept = Kept(Place(bundle(ALLOWS)))
    kept.keeper.step()
    assert kept.gets(PolicyUnavailable("it is away")) is Code.OK
    assert kept.policy.trouble == "it is away"
    assert kept.gets(bundle(ALLOWS)) is Code.OK
    assert kept.policy.trouble is None


def test_weather_hides_no_refusal() -> None:
    """What was refused before the server went away is refused when it is back."""
    kept = Kept(Place(bundle(DENIES)))
    kept.keeper.step()
    kept.gets(tampered())
    kept.gets(PolicyUnavailable("it is away"))
    kept.gets(tampered())
    assert "is not what was signed" in (kept.policy.trouble or "")


@pytest.mark.parametrize("tags", [True, False])
def test_the_same_bundle_is_not_compiled_again(tags: bool) -> None:  # noqa: FBT001 - the server's
    """By its entity tag, or by its bytes where a server sends none."""
    kept = Kept(Place(bundle(), tags=tags))
    for _ in range(3):
        kept.keeper.step()
    assert kept.policy._in_force.generation == 1
    assert [bool(each) for each in kept.place.known] == [False, tags, tags]


def test_data_lies_where_its_folder_says() -> None:
    """As in an OPA: `teams/data.json` is `data.teams`."""
    source = (
        'package capiscio.policy\nimport rego.v1\ndefault decision := "DENY"\n'
        'decision := "ALLOW" if input.action.mcp_tool in data.teams.tools'
    )
    members = files(source) | {"teams/data.json": canonical({"tools": ["search"]})}
    kept = Kept(Place(b""))
    assert kept.gets(archive.pack(signed(members))) is Code.OK
    twice = members | {"data.json": canonical({"teams": {"tools": []}})}
    assert kept.gets(archive.pack(signed(twice, at=AT + 1))) is Code.OK
    assert "says again what another file says" in (kept.policy.trouble or "")
