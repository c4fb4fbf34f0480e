"""The settings of a house: one frozen object, each value knowing where it came from.

Defaults < file (TOML, `$DIMORA_HOME/dimora.toml` or `$DIMORA_CONFIG`) < environment < flags.
A value that cannot be parsed, and a key that does not exist, is an error that names its origin.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from dimora.core.addresses import DEFAULT_PORT, Address, read_address
from dimora.core.api_keys import ApiKey, read_api_keys
from dimora.core.durations import format_duration
from dimora.core.errors import ConfigurationError
from dimora.core.tool_tables import ToolTable, read_tools, show_tools
from dimora.core.written import (
    DEFAULT_HUB,
    Credential,
    read_bytes,
    read_credentials,
    read_hosts,
    read_path,
    read_proxy,
    read_seconds,
    read_share,
    read_text,
    read_token,
    read_truth,
    read_url,
    read_whole,
    read_words,
    show_proxy,
)

DEFAULT_REGISTRIES = ("registry.ollama.ai", "hf.co", "huggingface.co")


class Knob(NamedTuple):
    """How a setting is read and what it is for.

    A `secret` value is never shown; `show` says what is shown of it all the same.
    """

    parse: Callable[[Any], Any]
    help: str
    env: tuple[str, ...] = ()
    secret: bool = False
    show: Callable[[Any], str] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting there is. Sizes are bytes, times seconds; 0 mostly means "choose for me"."""

    home: Annotated[
        Path,
        Knob(
            read_path, "folder of all that Dimora keeps: models, documents, logs", ("DIMORA_HOME",)
        ),
    ] = Path("~/.dimora")
    host: Annotated[
        Address,
        Knob(read_address, "address and port to serve on", ("DIMORA_HOST", "OLLAMA_HOST")),
    ] = Address("127.0.0.1", DEFAULT_PORT)
    models: Annotated[
        Path,
        Knob(
            read_path,
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
        Knob(read_api_keys, "who may call: name:key[:role],...", ("DIMORA_API_KEYS",), secret=True),
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
            read_whole,
            "tokens of context when nobody says; 0 for 4096",
            ("DIMORA_CONTEXT_LENGTH", "OLLAMA_CONTEXT_LENGTH"),
        ),
    ] = 0
    num_parallel: Annotated[
        int,
        Knob(
            read_whole,
            "answers a model writes at a time; 0 for 4",
            ("DIMORA_NUM_PARALLEL", "OLLAMA_NUM_PARALLEL"),
        ),
    ] = 0
    max_loaded_models: Annotated[
        int,
        Knob(
            read_whole,
            "models in memory at a time; 0 for as many as fit",
            ("DIMORA_MAX_LOADED_MODELS", "OLLAMA_MAX_LOADED_MODELS"),
        ),
    ] = 0
    memory_limit_bytes: Annotated[
        int,
        Knob(
            read_bytes,
            "memory for all models, such as 16G; 0 for 80% of what is free",
            ("DIMORA_MEMORY_LIMIT",),
        ),
    ] = 0
    max_queue: Annotated[
        int,
        Knob(
            read_whole,
            "requests that may wait for a model",
            ("DIMORA_MAX_QUEUE", "OLLAMA_MAX_QUEUE"),
        ),
    ] = 512
    max_queue_per_workspace: Annotated[
        int,
        Knob(
            read_whole,
            "requests of one workspace that may wait for a model; 0 for no such limit",
            ("DIMORA_MAX_QUEUE_PER_WORKSPACE",),
        ),
    ] = 0
    keep_alive_seconds: Annotated[
        float,
        Knob(
            read_seconds,
            "how long an unused model stays in memory",
            ("DIMORA_KEEP_ALIVE", "OLLAMA_KEEP_ALIVE"),
        ),
    ] = 300.0
    load_timeout_seconds: Annotated[
        float,
        Knob(
            read_seconds,
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
        int, Knob(read_bytes, "largest request body, such as 64M", ("DIMORA_MAX_BODY",))
    ] = 64 * 2**20
    strict: Annotated[
        bool,
        Knob(read_truth, "refuse what would only be warned about", ("DIMORA_STRICT",)),
    ] = False
    ollama_version: Annotated[
        str,
        Knob(read_text, "the version Ollama clients are told", ("DIMORA_OLLAMA_VERSION",)),
    ] = "0.33.0"
    no_history: Annotated[
        bool,
        Knob(
            read_truth,
            "keep no history of the terminal session",
            ("DIMORA_NOHISTORY", "OLLAMA_NOHISTORY"),
        ),
    ] = False
    link_files: Annotated[
        bool,
        Knob(
            read_truth,
            "share local model files with the store by hard link, which makes them read-only;"
            " false copies them",
            ("DIMORA_LINK_FILES",),
        ),
    ] = True
    no_prune: Annotated[
        bool,
        Knob(
            read_truth,
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
            read_share,
            "how much the perplexity of a converted model may rise (0.1 is 10%); above this you"
            " are asked",
            ("DIMORA_PERPLEXITY_RISE",),
        ),
    ] = 0.1
    top_agreement: Annotated[
        float,
        Knob(
            read_share,
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
    debug: Annotated[bool, Knob(read_truth, "log more", ("DIMORA_DEBUG", "OLLAMA_DEBUG"))] = False

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
