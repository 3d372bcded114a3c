"""Settings: from arguments, `RESCIND_*` variables, one TOML file, defaults, in this order.

The file is the one named by `RESCIND_CONFIG`, else `rescind.toml` in the fabric's folder
(`RESCIND_HOME`, by default `~/.local/state/rescind`), where `rescind up` writes it. Never one found
in the current directory: whoever may write there would configure the kill switch.
Relative paths are relative to the file that says them, or to the folder.
"""

import difflib
import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from rescind import naming
from rescind.errors import BadConfig
from rescind_protocol import redact
from rescind_protocol.limits import (
    HEAD_INTERVAL_S,
    MAX_STALENESS_S,
    SCRUB_EVERY_S,
    SNAPSHOT_EVENTS,
    SNAPSHOT_EVERY_S,
)

log = logging.getLogger("rescind")

PREFIX = "RESCIND_"
FILE_SUFFIX = "_FILE"
MAX_SECRET_BYTES = 64 * 1024
FILE_NAME = "rescind.toml"
WEB = "web"
"""As an issuer's value: its keys are fetched."""
SELF = "self"
"""As an agent's value in `issuers`: its did:key is its key."""
NO_FILE = (WEB, SELF)
STDOUT, STDERR, OTEL = LOG_WORDS = ("stdout", "stderr", "otel")
"""As `decision_log`: no file."""
ENFORCEMENT_MODE = "enforcement_mode"
REFERENCE_MODE = "CAPISCIO_ENFORCEMENT_MODE"
"""The reference's variable for it (RFC-008 §10.5), for who has it set already."""
_RESEMBLES = 0.9
"""Of a whole name, its prefix with it: a letter or two too few, too many, or in the wrong place."""
_NATS_USERS = ("PUBLISHER", "SUBSCRIBER", "SYSTEM")
"""Whose passwords `deploy/nats` takes from the environment."""


class Is(Enum):
    """What a setting's text is, where that is more than a text: it stands in the setting's type."""

    ADDRESS = auto()
    """One or more URLs, which may hold a user, a password, or a token in a query."""
    SECRET = auto()
    """Never shown."""
    FILE = auto()
    """A path, relative to the file that says it; one of `LOG_WORDS` or `NO_FILE` is none."""


Address = Annotated[str, Is.ADDRESS]
Secret = Annotated[str, Is.SECRET]
File = Annotated[str, Is.FILE]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting there is; each is a key of the file and `RESCIND_<NAME>` in the environment."""

    fabric: str = "default"
    """Name of the fabric: 1 to 32 letters, digits, '-' and '_'."""
    home: str = ""
    """Folder of the fabric on this host: keys, trust file, spool, local snapshots."""

    trust_file: File = "trust.jws"
    """Who may kill; signed by the root."""
    root_key: str = ""
    """The root's public key, base64url: what the trust file is verified with."""

    nats_url: Address = "nats://127.0.0.1:4222"
    """Where subscribers connect: one or more addresses, with user and password or token."""
    nats_ca_file: File | None = None
    """Certificates (PEM) that may have signed the NATS servers'; TLS is insisted on, as by `tls://`."""
    nats_cert_file: File | None = None
    """Client certificate (PEM) for NATS."""
    nats_key_file: File | None = None
    """Private key of that certificate (0600)."""
    nats_creds_file: File | None = None
    """Credentials file of a NATS user (JWT and seed), in place of user and password."""
    nats_nkey_file: File | None = None
    """Seed file of a NATS user by nkey."""
    redis_url: Address | None = None
    """A Redis or Valkey to follow beside NATS, with user and password. Without: NATS alone."""
    sources: tuple[str, ...] = ()
    """Any of nats, redis, sse, grpc and bundle, to follow; by default the brokers that are set."""
    feed_url: Address | None = None
    """A registry node to follow by `sse` or `bundle`: https://HOST:PORT."""
    feed_grpc_url: Address | None = None
    """The same node's gRPC feed: https://HOST:PORT."""
    bundle_every_s: float = 10.0
    """Seconds between two requests for the bundle; by long poll, how long one waits."""
    bundle_long_poll: bool = False
    """Whether the node is to answer a request for the bundle when there is something new."""
    feed_token: Secret | None = None
    """An API token of that node with the scope `read`."""
    feed_ca_file: File | None = None
    """Certificates (PEM) that may have signed the node's; by default the system's."""
    name: str = ""
    """Name of this service among those of its host, in receipts; by default after its program."""
    heartbeat_s: float = HEAD_INTERVAL_S
    """Seconds between two heads of a publisher."""
    stale_after_s: float = MAX_STALENESS_S
    """Seconds after which an unproven view is stale; 300 at most."""
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """Port on 127.0.0.1 of this process's /metrics, /healthz and /readyz; 0: any that is free."""

    issuers: dict[Address, File] = {}
    """Trusted issuers: origin = path of its JWKS, or `web`. Variable: `origin=path,origin=web`."""
    keys_every_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 300.0
    """Seconds between two fetches of the keys of an issuer of `web`."""
    keys_private: bool = False
    """Whether keys may be fetched from private addresses."""
    did_web_domains: tuple[str, ...] = ()
    """Patterns of domains whose agents' DID documents are fetched (`cnf.kid`); none: nobody's."""
    keys_ca_file: File | None = None
    """Certificates (PEM) that may have signed the issuers' servers'; by default the system's."""
    unsigned_lists: dict[Address, Address] = {}
    """Issuer = address of an unsigned list of its revoked badges, which only ever denies them."""
    unsigned_list_tokens: dict[Address, Secret] = {}
    """Issuer = token that its unsigned list is asked for with. Variables: `origin=…,origin=…`."""
    unsigned_list_every_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0
    """Seconds between two requests for an unsigned list."""
    unsigned_list_private: bool = False
    """Whether unsigned lists may be fetched from private addresses."""
    unsigned_list_ca_file: File | None = None
    """Certificates (PEM) that may have signed the lists' servers'; by default the system's."""
    deny_suspended: bool = False
    """Whether agents that are only suspended (no new badges) are refused at once."""
    profile: str = "connected"
    """connected, air-gapped (fetches nothing), or dev (test issuers, badges without `key`)."""
    audience: str | None = None
    """What this service is called in a badge's `aud`."""
    mode: str = "best_effort"
    """strict, best_effort, or observe (records everything, denies only known kills)."""
    strict_tools: tuple[str, ...] = ()
    """Tools that need a fresh view at every level. Variable: names with commas between them."""
    minimum_level: int = 0
    """Trust level below which a badge is refused, 0 to 4."""
    tools_allowed: tuple[str, ...] = ()
    """Patterns (`orders.*`) of the tools that may be called; none: all. Variable: with commas."""
    tools_denied: tuple[str, ...] = ()
    """Patterns of tools that nobody may call, whatever else allows them."""
    tool_levels: dict[str, int] = {}
    """Pattern of tools = trust level they need. Variable: `payments.*=3,admin.*=4`."""
    policy_folder: File | None = None
    """Folder of `.rego` files that are asked about each call; needs `rescind[rego]`."""
    policy_bundle_url: Address | None = None
    """A signed bundle of such files, fetched in the background: https://HOST/policy.tar.gz."""
    policy_bundle_key: File | None = None
    """Public keys (PEM: RSA or P-256) of whoever signs that bundle; without, it is refused."""
    policy_bundle_scope: str = ""
    """What it must be signed for (OPA's `scope`)."""
    policy_bundle_every_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0
    """Seconds between two looks for a newer one."""
    policy_bundle_token: Secret | None = None
    """A bearer token for its server."""
    policy_bundle_ca_file: File | None = None
    """Certificates (PEM) that may have signed the server's; by default the system's."""
    enforcement_mode: str = "EM-STRICT"
    """EM-STRICT, EM-DELEGATE, EM-GUARD or EM-OBSERVE; `CAPISCIO_ENFORCEMENT_MODE` counts too."""
    decision_log: File | None = None
    """Where each decision is recorded: a file's path, stdout, stderr, or otel (`rescind[otel]`)."""
    accept_self_signed: bool = False
    """Whether level 0 badges of any did:key are accepted; in profile dev alone."""
    lenient: bool = False
    """Whether badges without `typ`, as the reference issuer writes them, or UUID are accepted."""

    publisher: str = "local"
    """Id of this host's publisher in the trust file."""
    publisher_nats_url: Address | None = None
    """Where the publisher connects; `nats_url` if not given."""
    publisher_nats_cert_file: File | None = None
    """The publisher's client certificate, where it is not that of the subscribers."""
    publisher_nats_key_file: File | None = None
    """Private key of that certificate (0600)."""
    publisher_nats_creds_file: File | None = None
    """The publisher's credentials file."""
    publisher_nats_nkey_file: File | None = None
    """The publisher's seed file."""
    system_nats_url: Address | None = None
    """System account, to check how the server stores; not needed to work."""
    publisher_redis_url: Address | None = None
    """Where the publisher writes beside NATS; `redis_url` if not given."""
    system_redis_url: Address | None = None
    """A user that may ask Redis when it writes to disk; not needed to work."""
    publisher_key: File = "publisher.key"
    """Private key that signs kills (0600)."""
    approver_key: File | None = None
    """Second private key, for kills of an issuer or of everyone (0600)."""
    issuer_key: File | None = None
    """Private key of the local issuer, for trying things out (0600)."""
    replicas: int = 1
    """Copies of the stream in a NATS cluster."""
    snapshot_every_s: float = SNAPSHOT_EVERY_S
    """Seconds between two snapshots in the brokers, where there is anything new."""
    snapshot_events: int = SNAPSHOT_EVENTS
    """So many new events are reason for a snapshot at once."""
    scrub_every_s: float = SCRUB_EVERY_S
    """Seconds between two comparisons of all that the brokers hold with the spool."""

    authz_listen: str = "unix:authz.sock"
    """Where `rescind sidecar` answers proxies: unix:PATH, or 127.0.0.1:PORT."""
    authz_group: str | None = None
    """A group of this machine that may connect to that socket, too (0660)."""

    registry_listen: str = "127.0.0.1:8410"
    """HOST:PORT where `rescind serve` listens; beyond the loopback only with TLS."""
    registry_grpc_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """Port of the registry's gRPC feed, on the same host; without, it is not served."""
    registry_issuer: Address | None = None
    """Origin that the registry's badges name as `iss`; by default the local issuer of `up`."""
    bundle_key: File | None = None
    """Private key (PEM: RSA or P-256, 0600) that signs the registry's bundles for OPAs."""
    bundle_keyid: str = "rescind"
    """What OPAs know that key by."""
    registry_url: Address | None = None
    """How agents reach the registry, where that is not how it listens (behind a proxy)."""
    registry_tls_cert: File | None = None
    """Certificate chain of the registry, PEM."""
    registry_tls_key: File | None = None
    """Private key of that certificate, PEM (0600)."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown(self).items())})"


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each came from."""

    settings: Settings
    origins: dict[str, str]
    file: Path | None
    home: Path
    """The folder, absolute."""
    doubts: tuple[str, ...] = ()
    """Sentences: variables that look like a setting, and are none."""
    again: Callable[[], "Loaded"] | None = None
    """Reads the settings as they are written now."""

    def latest(self, name: str) -> str | None:
        """Return a setting as it is written now, None where it cannot be read: for a rotation."""
        if self.again is None:
            return None
        try:
            value: str | None = getattr(self.again().settings, name)
        except BadConfig:
            return None
        return value

    def path(self, value: str) -> Path:
        """Resolve a path of the settings."""
        return self.home / Path(value).expanduser()

    @property
    def jwks_files(self) -> dict[str, Path]:
        """The issuers whose keys are files, and which."""
        given = self.settings.issuers
        return {iss: self.path(said) for iss, said in given.items() if said not in NO_FILE}

    def shown(self) -> dict[str, object]:
        """Return all settings with their secrets hidden."""
        return shown(self.settings)


class _Kind(msgspec.Struct, frozen=True):
    """What a setting's type says: of its text, or of its keys and values."""

    whole: Is | None = None
    key: Is | None = None
    value: Is | None = None
    container: type = str


def _kinds() -> dict[str, _Kind]:
    """Read the types of all settings: what is said nowhere else cannot be forgotten elsewhere."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: _kind(hints[name]) for name in Settings.__struct_fields__}


def _kind(hint: Any) -> _Kind:
    arms = [arm for arm in get_args(hint) if arm is not NoneType]
    plain = arms[0] if isinstance(hint, UnionType) or get_origin(hint) is Union else hint
    container = get_origin(plain)
    if container is dict:
        key, value = map(_mark, get_args(plain))
        return _Kind(key=key, value=value, container=dict)
    if container is tuple:
        return _Kind(value=_mark(get_args(plain)[0]), container=tuple)
    return _Kind(whole=_mark(plain))


def _mark(hint: Any) -> Is | None:
    marks = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Is)]
    return marks[0] if marks else None


_KINDS = _kinds()
_IN_FILES = [name for name, kind in _KINDS.items() if kind.whole in (Is.ADDRESS, Is.SECRET)]
"""Settings that a file may hold: `RESCIND_<NAME>_FILE` names it."""


def shown(settings: Settings) -> dict[str, object]:
    """Return all settings as they may be shown: each by its type, an address in any text besides.

    The second for a text that nobody took for an address, and somebody wrote one into it.
    """
    return {name: _shown(_KINDS[name], getattr(settings, name)) for name in _KINDS}


def _shown(kind: _Kind, value: object) -> object:
    if isinstance(value, dict):
        return {_text(kind.key, name): _text(kind.value, said) for name, said in value.items()}
    if isinstance(value, tuple):
        return tuple(_text(kind.value, said) for said in value)
    return _text(kind.whole, value)


def _text(mark: Is | None, value: object) -> object:
    if not isinstance(value, str):
        return value
    if mark is Is.SECRET:
        return redact.HIDDEN
    return redact.address(value) if mark is Is.ADDRESS else redact.text(value)


def default_home(env: Mapping[str, str]) -> Path:
    """Return the fabric's folder (XDG Base Directory: state)."""
    try:
        base = env.get("XDG_STATE_HOME") or Path(env.get("HOME", "~")).expanduser() / ".local/state"
    except RuntimeError as error:  # a container's user without an entry in /etc/passwd
        raise BadConfig(
            f"this user has no home directory: name the fabric's folder, {PREFIX}HOME=/path"
        ) from error
    return Path(base) / "rescind"


def load(
    overrides: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    quietly: bool = False,
) -> Loaded:
    """Read the settings; raises `BadConfig` naming the setting, where it stands, and a remedy."""
    env = os.environ if env is None else env
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    home = Path(given.get("home") or env.get(PREFIX + "HOME") or default_home(env)).absolute()
    file = _find_file(env, home)
    layers = [
        (str(file), _read_file(file, home) if file else {}),
        ("environment", _read_environment(env)),
        ("argument", given),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            values[name], origins[name] = value, origin
    values["home"] = str(home)
    values["name"] = values.get("name") or naming.of_process()
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadConfig(_explain(str(error), origins)) from error
    doubts = _doubts(env)
    for doubt in doubts if not quietly else ():
        log.warning("%s", doubt)

    def again() -> Loaded:  # whose repr, unlike a partial's, shows nothing of what it closes over
        return load(given, env, quietly=True)

    return Loaded(settings, origins, file, home, doubts, again)


def _find_file(env: Mapping[str, str], home: Path) -> Path | None:
    named = env.get(PREFIX + "CONFIG")
    if named:
        if not Path(named).is_file():
            raise BadConfig(f"{PREFIX}CONFIG names {named}, which is not a file")
        return Path(named).absolute()
    file = home / FILE_NAME
    if file.exists() and not file.is_file():
        raise BadConfig(f"{file} is not a file: the settings should be there")
    return file if file.is_file() else None


def _read_file(file: Path, home: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise BadConfig(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{file} is not TOML: {error}") from error
    _check_names(values, str(file))
    if file.parent != home:
        values = {name: _from_folder(name, value, file.parent) for name, value in values.items()}
    return values


def _from_folder(name: str, value: Any, folder: Path) -> Any:
    kind = _KINDS[name]
    if isinstance(value, dict) and kind.value is Is.FILE:
        return {key: _from_file(str(said), folder) for key, said in value.items()}
    return _from_file(value, folder) if isinstance(value, str) and kind.whole is Is.FILE else value


def _from_file(said: str, folder: Path) -> str:
    return said if said in (*LOG_WORDS, *NO_FILE) else str(folder / Path(said).expanduser())


_FORMS = {
    "issuers": "origin=path,origin=path",
    "tool_levels": "pattern=level,pattern=level",
    "unsigned_lists": "origin=address,origin=address",
    "unsigned_list_tokens": "origin=token,origin=token",
}
"""How a variable gives pairs, for the sentence that says so."""


def _read_environment(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: env[PREFIX + name.upper()]
        for name in Settings.__struct_fields__
        if PREFIX + name.upper() in env
    }
    for name in _IN_FILES:
        variable = PREFIX + name.upper()
        if (path := env.get(variable + FILE_SUFFIX)) and name in values:
            raise BadConfig(f"{variable} and {variable}{FILE_SUFFIX} are both set: leave one out")
        if path:
            values[name] = _read_secret(Path(path), variable + FILE_SUFFIX)
    for name, said in values.items():
        if _KINDS[name].container is tuple:
            values[name] = tuple(filter(None, map(str.strip, said.split(","))))
        elif _KINDS[name].container is dict:
            variable = PREFIX + name.upper()
            values[name] = _read_pairs(said, variable, _FORMS.get(name, "name=value,name=value"))
    if ENFORCEMENT_MODE not in values and env.get(REFERENCE_MODE):
        values[ENFORCEMENT_MODE] = env[REFERENCE_MODE]
    return values


def _read_secret(path: Path, variable: str) -> str:
    """Return what a file says, as Docker and Kubernetes mount secrets; raises `BadConfig`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise BadConfig(f"{variable} names {path}, which cannot be read: {why}") from error


def _doubts(env: Mapping[str, str]) -> tuple[str, ...]:
    """Only what resembles a setting: Kubernetes, too, sets `RESCIND_...` for a service's name."""
    known = [PREFIX + name.upper() for name in Settings.__struct_fields__]
    known += [PREFIX + name.upper() + FILE_SUFFIX for name in _IN_FILES]
    known += [PREFIX + "CONFIG", *(f"{PREFIX}NATS_{user}_PASSWORD" for user in _NATS_USERS)]
    near = {
        name: difflib.get_close_matches(name, known, 1, _RESEMBLES)
        for name in env
        if name.startswith(PREFIX) and name not in known
    }
    return tuple(
        f"{name} is no setting and does nothing; did you mean {found[0]}?"
        for name, found in sorted(near.items())
        if found
    )


def _read_pairs(said: str, variable: str, form: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in said.split(",") if part.strip()]
    if any(not separator for _, separator, _ in pairs):
        raise BadConfig(f"{variable}: write {form}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _check_names(values: Mapping[str, Any], where: str) -> None:
    known = Settings.__struct_fields__
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadConfig(f"{where}: there is no setting {name!r}{hint}")


def _explain(error: str, origins: Mapping[str, str]) -> str:
    """Turn msgspec's `Expected `int`, got `str` - at `$.x`` into a sentence."""
    what, _, at = error.partition(" - at `$.")
    name = at.rstrip("`").partition(".")[0].partition("[")[0]
    return f"setting {name!r} ({origins.get(name, 'default')}): {what}" if name else error
