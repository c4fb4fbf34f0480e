from __future__ import annotations

import hashlib
import typing
from pathlib import Path

import msgspec
import pytest

from dimora.core.addresses import Address
from dimora.core.durations import FOREVER
from dimora.core.errors import ConfigurationError
from dimora.core.settings import Settings, explain, knobs, load_settings


def load(tmp_path: Path, flags=None, **environ: str) -> Settings:
    return load_settings(flags or {}, {"DIMORA_HOME": str(tmp_path)} | environ)[0]


def test_every_setting_says_how_it_is_read_and_what_it_is_for():
    assert list(knobs()) == [f.name for f in msgspec.structs.fields(Settings)]
    # Tables of tools are too much for a variable, and too much power.
    assert all(knob.help and (knob.env or n == "tools") for n, knob in knobs().items())


def test_defaults_are_loopback_and_quiet(tmp_path):
    settings = load(tmp_path)
    assert settings.host == Address("127.0.0.1", 11434)
    assert settings.host.is_loopback
    assert settings.models_path == tmp_path / "models"
    assert settings.keep_alive_seconds == 300


def test_flags_beat_environment_beats_file_beats_default(tmp_path):
    (tmp_path / "dimora.toml").write_text('max_queue = 1\nnum_parallel = 1\nengine = "echo"\n')
    environ = {"DIMORA_HOME": str(tmp_path), "DIMORA_MAX_QUEUE": "2", "DIMORA_NUM_PARALLEL": "2"}
    settings, sources = load_settings({"num_parallel": 3}, environ)
    assert (settings.engine, settings.max_queue, settings.num_parallel) == ("echo", 2, 3)
    assert (sources["engine"], sources["max_queue"]) == ("file", "$DIMORA_MAX_QUEUE")
    assert (sources["num_parallel"], sources["strict"]) == ("--num-parallel", "default")


def test_our_variable_wins_over_the_one_of_ollama(tmp_path):
    both = load(tmp_path, OLLAMA_HOST="0.0.0.0", DIMORA_HOST="127.0.0.1:5")
    assert both.host == Address("127.0.0.1", 5)
    assert load(tmp_path, OLLAMA_HOST="0.0.0.0").host == Address("0.0.0.0", 11434)
    assert load(tmp_path, OLLAMA_MODELS=str(tmp_path / "m")).models_path == tmp_path / "m"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://example", ("example", 80)),
        ("https://example", ("example", 443)),
        ("http://example:99/path", ("example", 99)),
        ("[::1]:8080", ("::1", 8080)),
        ("::1", ("::1", 11434)),
        (":8080", ("127.0.0.1", 8080)),
        ('"localhost"', ("localhost", 11434)),
    ],
)
def test_addresses_are_read_as_ollama_reads_them(tmp_path, text, address):
    assert load(tmp_path, DIMORA_HOST=text).host == address


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("90", 90), ("-1", FOREVER), ("0", 0), ("1h30m", 5400), ("1e300", FOREVER)],
)
def test_keep_alive_takes_durations_and_bare_seconds(tmp_path, text, seconds):
    assert load(tmp_path, OLLAMA_KEEP_ALIVE=text).keep_alive_seconds == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIMORA_MAX_QUEUE", "many"),
        ("DIMORA_MAX_QUEUE", "-4"),
        ("DIMORA_STRICT", "perhaps"),
        ("DIMORA_MEMORY_LIMIT", "5 apples"),
        ("DIMORA_MEMORY_LIMIT", "-5G"),
        ("DIMORA_MEMORY_LIMIT", "inf"),
        ("DIMORA_HOST", "here:99999"),
        ("DIMORA_KEEP_ALIVE", "soon"),
        ("DIMORA_KEEP_ALIVE", "nan"),
    ],
)
def test_an_unparsable_value_is_an_error_that_names_its_origin(tmp_path, name, value):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **{name: value})
    assert f"${name}" in caught.value.message
    assert value in caught.value.message
    assert caught.value.hint


def test_a_part_of_a_whole_number_is_an_error(tmp_path):
    (tmp_path / "dimora.toml").write_text("max_queue = 3.5\n")
    with pytest.raises(ConfigurationError, match="whole number"):
        load(tmp_path)


def test_an_unknown_key_in_the_file_is_an_error(tmp_path):
    (tmp_path / "dimora.toml").write_text("max_que = 3\n")
    with pytest.raises(ConfigurationError, match="max_que"):
        load(tmp_path)


def test_a_broken_file_and_a_missing_named_file_are_errors(tmp_path):
    (tmp_path / "dimora.toml").write_text("a = = b")
    with pytest.raises(ConfigurationError, match="TOML"):
        load(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path, DIMORA_CONFIG=str(tmp_path / "none.toml"))


def test_keys_are_kept_as_hashes_and_never_shown(tmp_path):
    key = "a-key-of-many-letters"
    settings, sources = load_settings(
        {}, {"DIMORA_HOME": str(tmp_path), "DIMORA_API_KEYS": f"anna:{key}:manager"}
    )
    (anna,) = settings.api_keys
    assert anna.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert anna.roles == ("manager",)
    assert key not in repr(settings)
    assert not any(key in row.value for row in explain(settings, sources))


def test_keys_come_from_the_file_too(tmp_path):
    (tmp_path / "dimora.toml").write_text(
        '[[api_keys]]\nuser = "bo"\nkey = "0123456789abcdef"\nworkspace = "law"\n'
    )
    (bo,) = load(tmp_path).api_keys
    assert (bo.user, bo.workspace, bo.roles) == ("bo", "law", ("user",))


@pytest.mark.parametrize("value", ["anna:short", "anna", ":0123456789abcdef"])
def test_a_key_that_is_no_key_stops_the_start_without_showing_it(tmp_path, value):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, DIMORA_API_KEYS=value)
    assert "0123456789abcdef" not in caught.value.text


@pytest.mark.parametrize(
    "value",
    ["{0}", "{0}:short", "{0}:", "anna:{0}:", "bo:abcdefghijklmnop,{0}", "anna:{0}:user:more"],
)
def test_a_key_in_the_place_of_its_name_is_told_by_its_number(tmp_path, value):
    secret = "s3cr3t-0123456789abcdef"
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, DIMORA_API_KEYS=value.format(secret))
    assert secret not in caught.value.text
    assert f"entry {value.count(',') + 1} " in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_ENDPOINT", "https://user:s3cr3t@hub.example"),
        ("HF_ENDPOINT", "https://hub.example?token=s3cr3t"),
        ("DIMORA_REGISTRIES", "registry.example,user:s3cr3t@registry.example"),
    ],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(tmp_path, name, value):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **{name: value})
    assert "s3cr3t" not in caught.value.text
    assert f"${name} must " in caught.value.message


def test_spaces_around_the_words_of_a_key_are_no_part_of_it(tmp_path):
    spaced, plain = " anna : a-key-of-many-letters : owner , ", "anna:a-key-of-many-letters:owner"
    first, second = (load(tmp_path, DIMORA_API_KEYS=value).api_keys for value in (spaced, plain))
    assert first == second


@pytest.mark.parametrize(
    "line",
    [
        "roles = []",
        'roles = "owner"',
        "roles = [1]",
        'roles = [""]',
        'role = ""',
        'sha256 = "0123"',
        f'sha256 = "{"è" * 64}"',
        f'sha256 = "{"a" * 64}\\n"',
        f"sha256 = {'1' * 64}",
    ],
)
def test_a_table_of_a_key_that_would_give_something_else_than_it_says_is_refused(tmp_path, line):
    (tmp_path / "dimora.toml").write_text(
        f'[[api_keys]]\nuser = "bo"\nkey = "0123456789abcdef"\n{line}\n'
    )
    with pytest.raises(ConfigurationError, match="entry 1 "):
        load(tmp_path)


def test_the_hash_of_a_key_is_kept_as_it_is_compared(tmp_path):
    digest = hashlib.sha256(b"a-key-of-many-letters").hexdigest()
    (tmp_path / "dimora.toml").write_text(
        f'[[api_keys]]\nuser = "bo"\nsha256 = "{digest.upper()}"\nroles = ["reader", "user"]\n'
    )
    (bo,) = load(tmp_path).api_keys
    assert (bo.sha256, bo.roles) == (digest, ("reader", "user"))


def test_sizes_and_lists_are_read(tmp_path):
    settings = load(tmp_path, DIMORA_MEMORY_LIMIT="1.5G", OLLAMA_ORIGINS="https://a, https://b")
    assert settings.memory_limit_bytes == int(1.5 * 2**30)
    assert settings.origins == ("https://a", "https://b")


def test_settings_are_frozen(tmp_path):
    with pytest.raises(AttributeError):
        typing.cast("typing.Any", load(tmp_path)).strict = True
