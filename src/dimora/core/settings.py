"""The settings of a house: one frozen object, each value knowing where it came from.

Defaults < file (TOML, `$DIMORA_HOME/dimora.toml` or `$DIMORA_CONFIG`) < environment < flags.
A value that cannot be parsed, and a key that does not exist, is an error that names its origin.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from dimora.core.durations import FOREVER, format_duration, parse_duration
from dimora.core.errors import ConfigurationError
from dimora.core.tool_tables import ToolTable, read_tools, show_tools
from dimora.core.written import (
    DEFAULT_HUB,
    Credential,
    read_credentials,
    read_hosts,
    read_proxy,
    read_text,
    read_token,
    read_url,
    read_words,
    show_proxy,
)

DEFAULT_PORT = 11434
DEFAULT_REGISTRIES = ("registry.ollama.ai", "hf.co", "huggingface.co")


class Address(NamedTuple):
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key's holder; the key itself is kept only as its sha256."""

    user: str
    sha256: str
    workspace: str = "main"
    roles: tuple[str, ...] = ("user",)


class Knob(NamedTuple):
    """How a setting is read and what it is for.

    A `secret` value is never shown; `show` says what is shown of it all the same.
    """

    parse: Callable[[Any], Any]
    help: str
    env: tuple[str, ...] = ()
    secret: bool = False
    show: Callable[[Any], str] | None = None


def _path(value: Any) -> Path:
    return Path(read_text(value)).expanduser().absolute()


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError("must be a whole number") from None
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be true or false")


def _seconds(value: Any) -> float:
    """A duration; bare numbers are seconds, negative is forever."""
    if isinstance(value, bool):
        raise ValueError("must be a duration like 5m")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return parse_duration(read_text(value))
    return FOREVER if number < 0 else number


def _share(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("must be a share such as 0.1") from None
    if isinstance(value, bool) or not 0 <= number <= 100:
        raise ValueError("must be a share such as 0.1")
    return number


_SIZE_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _bytes(value: Any) -> int:
    text = str(value).strip().upper().removesuffix("IB").removesuffix("B")
    number = text.rstrip("KMGT")
    try:
        return int(float(number) * _SIZE_UNITS[text[len(number) :]])
    except (ValueError, KeyError):
        raise ValueError("must be a size like 800M or 16G") from None


def _address(value: Any) -> Address:
    """`[scheme://]host[:port][/path]`, as OLLAMA_HOST is written."""
    text = read_text(value)
    scheme, _, rest = text.rpartition("://")
    rest = rest.split("/")[0]
    fallback = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") > 1:
        host, port = rest, ""
    else:
        host, _, port = rest.partition(":")
    if port and not (port.isdigit() and int(port) < 65536):
        raise ValueError("must be host:port with a port below 65536")
    return Address(host or "127.0.0.1", int(port) if port else fallback)


_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _api_keys(value: Any) -> tuple[ApiKey, ...]:
    """A list of tables (file), or `name:key[:role],...` (environment).

    An error names an entry by its number: where a name is forgotten, the key stands in its place.
    """
    if isinstance(value, str):
        value = [_written_key(entry) for entry in value.split(",") if entry.strip()]
    if not isinstance(value, list):
        raise ValueError("must be a list of tables with user and key")
    keys = []
    for number, entry in enumerate(value, 1):
        try:
            keys.append(_api_key(entry))
        except ValueError as why:
            raise ValueError(f"cannot be used: entry {number} {why}") from None
    return tuple(keys)


def _written_key(entry: str) -> dict[str, str] | None:
    words = [word.strip() for word in entry.split(":")]
    if len(words) > 3:
        return None
    return dict(zip(("user", "key", "role"), words, strict=False))


def _api_key(entry: Any) -> ApiKey:
    if not isinstance(entry, dict) or not entry.get("user"):
        raise ValueError("must be name:key[:role], or a table with user and key")
    known = {"user", "key", "sha256", "workspace", "role", "roles"}
    if unknown := set(entry) - known:
        raise ValueError(f"has unknown words: {', '.join(sorted(unknown))}")
    key = str(entry.get("key", ""))
    if key and len(key) < 16:
        raise ValueError("has a key that is shorter than 16 characters")
    digest = entry.get("sha256") or (key and hashlib.sha256(key.encode()).hexdigest())
    if not digest:
        raise ValueError("has no key")
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise ValueError("has a sha256 that is not 64 hexadecimal digits")
    roles = entry.get("roles", [entry.get("role", "user")])
    if not (isinstance(roles, list) and roles and all(isinstance(r, str) and r for r in roles)):
        raise ValueError("must name a role, or none at all, which means user")
    return ApiKey(
        user=str(entry["user"]),
        sha256=digest.lower(),
        workspace=str(entry.get("workspace", "main")),
        roles=tuple(roles),
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting there is. Sizes are bytes, times seconds; 0 mostly means "choose for me"."""

    home: Annotated[
        Path,
        Knob(_path, "folder of all that Dimora keeps: models, documents, logs", ("DIMORA_HOME",)),
    ] = Path("~/.dimora")
    host: Annotated[
        Address,
        Knob(_address, "address and port to serve on", ("DIMORA_HOST", "OLLAMA_HOST")),
    ] = Address("127.0.0.1", DEFAULT_PORT)
    models: Annotated[
        Path,
        Knob(
            _path,
            "model store in Ollama's layout; default: models in home",
            ("DIMORA_MODELS", "OLLAMA_MODELS"),
        ),
    ] = Path()
    default_model: Annotated[
        str, Knob(read_text, "the chat model `make run` and an empty `run` use", ("DIMORA_MODEL",))
    ] = "smollm2:135m"
    embedder: Annotated[
        str, Knob(read_text, "the embedding model for documents", ("DIMORA_EMBEDDER",))
    ] = "multilingual-e5-small"
    origins: Annotated[
        tuple[str, ...],
        Knob(
            read_words,
            "extra web origins whose pages may call the server",
            ("DIMORA_ORIGINS", "OLLAMA_ORIGINS"),
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Knob(
            read_words,
            "extra host names to accept in the Host header, for example behind a reverse proxy",
            ("DIMORA_ALLOWED_HOSTS",),
        ),
    ] = ()
    api_keys: Annotated[
        tuple[ApiKey, ...],
        Knob(_api_keys, "who may call: name:key[:role],...", ("DIMORA_API_KEYS",), secret=True),
    ] = ()
    engine: Annotated[
        str,
        Knob(
            read_text,
            "engine for every model, such as llama_cpp; empty: chosen for each",
            ("DIMORA_ENGINE",),
        ),
    ] = ""
    llama_server: Annotated[
        str,
        Knob(
            read_text,
            "llama-server executable; empty: the toolchain's or one on PATH; `none`: the built-in",
            ("DIMORA_LLAMA_SERVER",),
        ),
    ] = ""
    context_length: Annotated[
        int,
        Knob(
            _whole,
            "tokens of context when nobody says; 0 for 4096",
            ("DIMORA_CONTEXT_LENGTH", "OLLAMA_CONTEXT_LENGTH"),
        ),
    ] = 0
    num_parallel: Annotated[
        int,
        Knob(
            _whole,
            "answers a model writes at a time; 0 for 4",
            ("DIMORA_NUM_PARALLEL", "OLLAMA_NUM_PARALLEL"),
        ),
    ] = 0
    max_loaded_models: Annotated[
        int,
        Knob(
            _whole,
            "models in memory at a time; 0 for as many as fit",
            ("DIMORA_MAX_LOADED_MODELS", "OLLAMA_MAX_LOADED_MODELS"),
        ),
    ] = 0
    memory_limit_bytes: Annotated[
        int,
        Knob(
            _bytes,
            "memory for all models, such as 16G; 0 for 80% of what is free",
            ("DIMORA_MEMORY_LIMIT",),
        ),
    ] = 0
    max_queue: Annotated[
        int,
        Knob(
            _whole, "requests that may wait for a model", ("DIMORA_MAX_QUEUE", "OLLAMA_MAX_QUEUE")
        ),
    ] = 512
    max_queue_per_workspace: Annotated[
        int,
        Knob(
            _whole,
            "requests of one workspace that may wait for a model; 0 for no such limit",
            ("DIMORA_MAX_QUEUE_PER_WORKSPACE",),
        ),
    ] = 0
    keep_alive_seconds: Annotated[
        float,
        Knob(
            _seconds,
            "how long an unused model stays in memory",
            ("DIMORA_KEEP_ALIVE", "OLLAMA_KEEP_ALIVE"),
        ),
    ] = 300.0
    load_timeout_seconds: Annotated[
        float,
        Knob(
            _seconds,
            "how long loading may take",
            ("DIMORA_LOAD_TIMEOUT", "OLLAMA_LOAD_TIMEOUT"),
        ),
    ] = 300.0
    accepted_licences: Annotated[
        tuple[str, ...],
        Knob(
            read_words,
            "licences of models that are accepted here, by their names in `dimora catalogue`",
            ("DIMORA_ACCEPTED_LICENCES",),
        ),
    ] = ()
    max_body_bytes: Annotated[
        int, Knob(_bytes, "largest request body, such as 64M", ("DIMORA_MAX_BODY",))
    ] = 64 * 2**20
    strict: Annotated[
        bool,
        Knob(_truth, "refuse what would only be warned about", ("DIMORA_STRICT",)),
    ] = False
    ollama_version: Annotated[
        str,
        Knob(read_text, "the version Ollama clients are told", ("DIMORA_OLLAMA_VERSION",)),
    ] = "0.33.0"
    no_history: Annotated[
        bool,
        Knob(
            _truth,
            "keep no history of the terminal session",
            ("DIMORA_NOHISTORY", "OLLAMA_NOHISTORY"),
        ),
    ] = False
    link_files: Annotated[
        bool,
        Knob(
            _truth,
            "share local model files with the store by hard link, which makes them read-only;"
            " false copies them",
            ("DIMORA_LINK_FILES",),
        ),
    ] = True
    no_prune: Annotated[
        bool,
        Knob(
            _truth,
            "keep files of the store that no model needs",
            ("DIMORA_NOPRUNE", "OLLAMA_NOPRUNE"),
        ),
    ] = False
    registries: Annotated[
        tuple[str, ...],
        Knob(
            read_hosts,
            "hosts models may come from and go to, host[:port]; replaces the default, so name all;"
            " `*` for every public one",
            ("DIMORA_REGISTRIES",),
        ),
    ] = DEFAULT_REGISTRIES
    registry_credentials: Annotated[
        dict[str, Credential],
        Knob(
            read_credentials,
            "credentials for hosts: host=user:password, host=token, host=ed25519:FILE, or a table",
            ("DIMORA_REGISTRY_CREDENTIALS",),
            secret=True,
            show=", ".join,
        ),
    ] = {}
    hub_endpoint: Annotated[
        str,
        Knob(
            read_url,
            "the Hugging Face hub or a mirror of it",
            ("DIMORA_HUB_ENDPOINT", "HF_ENDPOINT"),
        ),
    ] = DEFAULT_HUB
    hub_token: Annotated[
        str,
        Knob(
            read_token,
            "token that is sent to the hub",
            ("DIMORA_HUB_TOKEN", "HF_TOKEN"),
            secret=True,
        ),
    ] = ""
    proxy: Annotated[
        str,
        Knob(
            read_proxy,
            "proxy for all that goes out, http://[user:password@]host:port",
            ("DIMORA_PROXY", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
            secret=True,
            show=show_proxy,
        ),
    ] = ""
    no_proxy: Annotated[
        tuple[str, ...],
        Knob(
            read_words,
            "hosts, domains and networks reached without the proxy",
            ("DIMORA_NO_PROXY", "NO_PROXY", "no_proxy"),
        ),
    ] = ()
    certificates: Annotated[
        str,
        Knob(
            read_text,
            "file or directory of certificates to trust beside the system's",
            ("DIMORA_CERTIFICATES", "SSL_CERT_FILE"),
        ),
    ] = ""
    perplexity_rise: Annotated[
        float,
        Knob(
            _share,
            "how much the perplexity of a converted model may rise (0.1 is 10%); above this you"
            " are asked",
            ("DIMORA_PERPLEXITY_RISE",),
        ),
    ] = 0.1
    top_agreement: Annotated[
        float,
        Knob(
            _share,
            "how often the converted model must agree on the likeliest next word; below this you"
            " are asked",
            ("DIMORA_TOP_AGREEMENT",),
        ),
    ] = 0.8
    trusted_keys: Annotated[
        tuple[str, ...],
        Knob(
            read_words,
            "public keys, or files of them, whose bundles may be imported beside this house's own",
            ("DIMORA_TRUSTED_KEYS",),
        ),
    ] = ()
    tools: Annotated[
        tuple[ToolTable, ...],
        Knob(
            read_tools,
            "what `dimora agent` may use: tables [[tools]] in the file, see the guide to agents",
            secret=True,
            show=show_tools,
        ),
    ] = ()
    debug: Annotated[bool, Knob(_truth, "log more", ("DIMORA_DEBUG", "OLLAMA_DEBUG"))] = False

    @property
    def models_path(self) -> Path:
        return self.models if self.models != Path() else self.home / "models"

    @property
    def toolchain_path(self) -> Path:
        return self.home / "toolchain"

    @property
    def audit_path(self) -> Path:
        return self.home / "log" / "audit.jsonl"

    @property
    def acceptances_path(self) -> Path:
        return self.home / "log" / "licences.jsonl"


class Origin(NamedTuple):
    """A setting's value as people see it, and where it came from."""

    name: str
    value: str
    source: str
    help: str


def knobs() -> dict[str, Knob]:
    """How each setting is read, by its name, in the order of Settings."""
    hints = get_type_hints(Settings, include_extras=True)
    return {
        name: get_args(hint)[1] for name, hint in hints.items() if get_origin(hint) is Annotated
    }


def load_settings(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, dict[str, str]]:
    """Settings, and the source of each value by name.

    Raises:
        ConfigurationError: a value cannot be parsed, a key is unknown, a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    gathered = _Gathered(environ)
    gathered.put_environment("home")
    if flags and flags.get("home"):
        gathered.put("home", flags["home"], "--home")
    home = gathered.values.setdefault("home", Path("~/.dimora").expanduser())
    for name, raw in _file_values(home, environ).items():
        gathered.put(name, raw, "file")
    for name in gathered.table:
        gathered.put_environment(name)
    for name, raw in (flags or {}).items():
        if raw is not None:
            gathered.put(name, raw, f"--{name.replace('_', '-')}")
    return Settings(**gathered.values), gathered.sources


class _Gathered:
    """Values read so far, each with its source; a later one wins."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.table = knobs()
        self.values: dict[str, Any] = {}
        self.sources = dict.fromkeys(self.table, "default")
        self._environ = environ

    def put(self, name: str, raw: Any, source: str) -> None:
        knob = self.table.get(name)
        if knob is None:
            raise ConfigurationError(
                f"unknown setting {name!r} from {source}",
                hint="run `dimora config show` for the settings there are",
            )
        try:
            self.values[name] = knob.parse(raw)
        except ValueError as why:
            # An address may have a password or a token in it, though none is expected there.
            is_secret = knob.secret or any(mark in str(raw) for mark in "@?")
            shown = "" if is_secret else f" is {raw!r} but"
            raise ConfigurationError(
                f"setting {name} from {source}{shown} {why}",
                hint="run `dimora config show` for all settings and what they mean",
            ) from None
        self.sources[name] = source

    def put_environment(self, name: str) -> None:
        for variable in self.table[name].env:
            if self._environ.get(variable, "").strip():
                self.put(name, self._environ[variable], f"${variable}")
                return


def _file_values(home: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("DIMORA_CONFIG", "")
    path = Path(named).expanduser() if named else home / "dimora.toml"
    if not named and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as why:
        raise ConfigurationError(
            f"the configuration file cannot be read: {why.strerror}",
            hint="check $DIMORA_CONFIG, or the rights of dimora.toml in the home",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise ConfigurationError(f"the configuration file is not valid TOML: {why}") from None


def explain(settings: Settings, sources: Mapping[str, str]) -> list[Origin]:
    """Every setting with its value and source, secrets hidden."""
    rows = []
    for name, knob in knobs().items():
        value = getattr(settings, name)
        if name == "models":
            value = settings.models_path
        if knob.show is not None:
            shown = knob.show(value)
        elif knob.secret:
            shown = ("set" if isinstance(value, str) else f"{len(value)} set") if value else ""
        elif name.endswith("_seconds"):
            shown = format_duration(value)
        elif isinstance(value, tuple) and not isinstance(value, Address):
            shown = ", ".join(value)
        elif isinstance(value, bool):
            shown = str(value).lower()
        else:
            shown = str(value)
        rows.append(Origin(name, shown, sources[name], knob.help))
    return rows
