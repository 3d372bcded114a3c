"""Settings: what wins, what is refused, what is hidden."""

from pathlib import Path

import pytest

from rescind import compose, config
from rescind.errors import BadConfig
from rescind_guard.view import View


def write(folder: Path, text: str) -> dict[str, str]:
    """Write a settings file into a folder, and return the environment that finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rescind.toml").write_text(text)
    return {"RESCIND_HOME": str(folder)}


def test_arguments_win_over_variables_over_file_over_defaults(tmp_path: Path) -> None:
    """The four layers stand in their documented order, and each value knows its origin."""
    env = write(tmp_path, 'fabric = "file"\nname = "file"\naudience = "file"\n')
    env |= {"RESCIND_NAME": "variable", "RESCIND_AUDIENCE": "variable"}
    loaded = config.load({"audience": "argument"}, env)
    got = loaded.settings
    assert (got.fabric, got.name, got.audience, got.publisher) == (
        "file",
        "variable",
        "argument",
        "local",
    )
    assert loaded.origins["fabric"] == str(tmp_path / "rescind.toml")
    assert loaded.origins["name"] == "environment"
    assert loaded.origins["audience"] == "argument"
    assert "publisher" not in loaded.origins


def test_a_file_in_the_current_directory_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to the current directory does not configure the kill switch."""
    write(tmp_path / "cwd", 'fabric = "attacker"\n')
    monkeypatch.chdir(tmp_path / "cwd")
    assert config.load(env={"HOME": str(tmp_path)}).settings.fabric == "default"


def test_an_unknown_setting_names_the_nearest_known_one(tmp_path: Path) -> None:
    """A misspelt key is refused with a hint, not ignored."""
    env = write(tmp_path, 'fabrik = "x"\n')
    with pytest.raises(BadConfig, match=r"no setting 'fabrik'; did you mean 'fabric'\?"):
        config.load(env=env)


def test_a_misspelt_variable_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would be ignored without a word; the ones that Kubernetes sets for a service are not."""
    env = {"RESCIND_HOME": str(tmp_path), "RESCIND_ROOTKEY": "x", "RESCIND_ISSUER": "y"}
    loaded = config.load(env=env)
    assert [doubt.partition(";")[2] for doubt in loaded.doubts] == [
        " did you mean RESCIND_ISSUERS?",
        " did you mean RESCIND_ROOT_KEY?",
    ]
    assert all(doubt in caplog.text for doubt in loaded.doubts)
    service = ("PORT", "SERVICE_HOST", "PORT_4222_TCP_ADDR", "NATS_SERVICE_PORT", "REDIS_PORT")
    known = {"RESCIND_NATS_PUBLISHER_PASSWORD": "x", "RESCIND_NAME": "n", "HOME": str(tmp_path)}
    assert not config.load(env=known | {f"RESCIND_{name}": "x" for name in service}).doubts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fabric = 3\n", r"setting 'fabric' \(.*rescind.toml\): Expected `str`, got `int`"),
        ('heartbeat_s = "soon"\n', r"setting 'heartbeat_s' .*: Expected `float`"),
        ("fabric = \n", r"is not TOML"),
    ],
)
def test_a_wrong_value_names_setting_and_place(tmp_path: Path, text: str, says: str) -> None:
    """A value of the wrong type, or a broken file, is one sentence."""
    with pytest.raises(BadConfig, match=says):
        config.load(env=write(tmp_path, text))


def test_variables_are_converted(tmp_path: Path) -> None:
    """Numbers, booleans and issuers can be given as variables."""
    env = {
        "HOME": str(tmp_path),
        "RESCIND_HEARTBEAT_S": "0.5",
        "RESCIND_LENIENT": "true",
        "RESCIND_MINIMUM_LEVEL": "2",
        "RESCIND_ISSUERS": "https://a.example=a.json, https://b.example=b.json",
    }
    got = config.load(env=env).settings
    assert (got.heartbeat_s, got.lenient, got.minimum_level) == (0.5, True, 2)
    assert got.issuers == {"https://a.example": "a.json", "https://b.example": "b.json"}


def test_strict_tools_reach_the_guard(tmp_path: Path) -> None:
    """From the file, from a variable, or as any collection of names; one text is a mistake."""
    env = write(tmp_path, 'strict_tools = ["refund", "wire"]\n')
    assert config.load(env=env).settings.strict_tools == ("refund", "wire")
    more = env | {"RESCIND_STRICT_TOOLS": " refund, ,close "}
    assert config.load(env=more).settings.strict_tools == ("refund", "close")
    loaded = config.load(
        {"strict_tools": {"wire"}, "accept_self_signed": True, "profile": "dev"}, env
    )
    guard = compose.make_guard(loaded, View())
    assert guard._rule.needs_fresh(0, "wire")
    assert not guard._rule.needs_fresh(0, "refund")
    with pytest.raises(BadConfig, match="strict_tools"):
        config.load({"strict_tools": "refund"}, env)


def test_issuers_without_a_path_are_refused(tmp_path: Path) -> None:
    """An issuer with no key set is a mistake, not an empty key set."""
    env = {"HOME": str(tmp_path), "RESCIND_ISSUERS": "https://a.example"}
    with pytest.raises(BadConfig, match="origin=path"):
        config.load(env=env)


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path) -> None:
    """A file elsewhere may name files beside it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/guard.toml").write_text('trust_file = "trust.jws"\n')
    env = {
        "RESCIND_HOME": str(tmp_path / "home"),
        "RESCIND_CONFIG": str(tmp_path / "etc/guard.toml"),
    }
    loaded = config.load(env=env)
    assert loaded.path(loaded.settings.trust_file) == tmp_path / "etc/trust.jws"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """`RESCIND_CONFIG` that points nowhere never falls back to defaults."""
    with pytest.raises(BadConfig, match="is not a file"):
        config.load(env={"RESCIND_CONFIG": str(tmp_path / "none.toml")})


def test_secrets_are_hidden_when_shown(tmp_path: Path) -> None:
    """What stands before the @ of an address is never shown, of any address."""
    url = "nats://u:secret1@a:4222,tls://secret2@b:4222,nats://c:4222"
    shown = config.load({"nats_url": url}, {"HOME": str(tmp_path)}).shown()["nats_url"]
    assert shown == "nats://********@a:4222,tls://********@b:4222,nats://c:4222"


def test_passwords_of_redis_are_hidden() -> None:
    """Many hosts behind one user, and a password with a comma: what stands before the @ goes."""
    url = "redis+sentinel://u:pa,ss@h1:26379,h2:26379/main"
    shown = config.load({"redis_url": url}, {}).shown()
    assert shown["redis_url"] == "redis+sentinel://********@h1:26379,h2:26379/main"
    assert shown["publisher_redis_url"] is None
