from __future__ import annotations

import msgspec
import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.options import (
    DEFAULTS,
    LOAD_FIELDS,
    LoadOptions,
    Options,
    Sampling,
    options_from,
    parse_parameter,
    sampling_from,
)


def names(kind) -> set[str]:
    return {f.name for f in msgspec.structs.fields(kind)}


def test_every_option_either_loads_or_samples():
    assert names(Options) == set(LOAD_FIELDS) | (names(Sampling) - {"shift", "logprobs"})
    assert set(LOAD_FIELDS) - {"engine"} <= names(LoadOptions)


def test_the_defaults_said_twice_are_the_same():
    sampling = Sampling()
    for name, value in DEFAULTS.as_dict().items():
        if name in names(Sampling):
            assert getattr(sampling, name) == value, name


def test_options_come_with_a_warning_for_each_name_that_means_nothing():
    options, warnings = options_from({"top_k": 3, "mirostat": 1, "colour": "red", "seed": None})
    assert options == Options(top_k=3)
    assert len(warnings) == 2
    assert "mirostat" in warnings[0]
    assert "colour" in warnings[1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"num_ctx": "large"}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": 1.5}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": [1]}, 'option "stop" must be of type an array of strings'),
        ({"engine": 3}, 'option "engine" must be of type string'),
    ],
)
def test_a_wrong_type_is_a_bad_request_in_known_words(value, words):
    with pytest.raises(BadRequest) as caught:
        options_from(value)
    assert caught.value.message == words
    assert caught.value.param == next(iter(value))


def test_whole_floats_count_as_integers_and_integers_as_floats():
    assert options_from({"num_ctx": 2048.0, "temperature": 1})[0] == Options(
        num_ctx=2048, temperature=1.0
    )


def test_logit_bias_takes_token_ids_as_json_writes_them():
    assert options_from({"logit_bias": {"12": -100}})[0].logit_bias == {12: -100.0}


def test_requests_override_models_override_defaults():
    model = Options(temperature=0.1, top_k=5)
    merged = Options(temperature=0.9).over(model)
    sampling = sampling_from(merged, shift=False, logprobs=2)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.9, 5, 0.9)
    assert (sampling.shift, sampling.logprobs) == (False, 2)


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("num_ctx", "2048", 2048),
        ("temperature", "0.5", 0.5),
        ("use_mmap", "false", False),
        ("stop", "<end>", ["<end>"]),
        ("engine", "echo", "echo"),
    ],
)
def test_parameter_lines_are_read(name, words, value):
    assert parse_parameter(name, words) == value


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("colour", "red", "unknown parameter 'colour'"),
        ("num_ctx", "many", "invalid int value [many]"),
        ("top_p", "x", "invalid float value [x]"),
        ("use_mmap", "perhaps", "invalid bool value [perhaps]"),
    ],
)
def test_bad_parameter_lines_say_what_is_wrong(name, words, message):
    with pytest.raises(BadRequest) as caught:
        parse_parameter(name, words)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "options",
    [
        Options(repeat_penalty=0.0),
        Options(repeat_penalty=-1.0),
        Options(repeat_penalty=1e-50),
        Options(frequency_penalty=-1e39),
        Options(presence_penalty=float("inf")),
        Options(temperature=float("nan")),
        Options(logit_bias={1: 0.5, 2: 1e300}),
        Options(min_p=1e10),
    ],
)
def test_numbers_no_engine_can_reckon_with_are_refused_by_name(options):
    with pytest.raises(BadRequest) as caught:
        sampling_from(options, shift=True, logprobs=None)
    assert caught.value.status == 400
    assert caught.value.param == next(iter(options.as_dict()))
    assert caught.value.param in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0, "top_k": 0, "top_p": 0, "min_p": 0, "typical_p": 0, "seed": 0},
        {"top_k": -1, "repeat_last_n": -1, "num_predict": -1, "num_keep": -1, "seed": -42},
        {"num_predict": -2, "repeat_last_n": 0, "repeat_penalty": 2, "seed": 2**62},
        {"presence_penalty": -2, "frequency_penalty": 2, "logit_bias": {"5": -100, "6": -1e9}},
        {"mirostat": 2, "mirostat_tau": 5.0, "tfs_z": 0.5, "top_p": 1.5},
    ],
)
def test_what_clients_really_send_is_taken(values):
    options, _ = options_from(values)
    sampling = sampling_from(options, shift=True, logprobs=None)
    assert options.as_dict().items() <= msgspec.structs.asdict(sampling).items()


@pytest.mark.parametrize("temperature", [1e-40, 0.0, -0.5])
def test_next_to_no_temperature_is_none(temperature):
    sampling = sampling_from(Options(temperature=temperature), shift=True, logprobs=None)
    assert sampling.temperature == 0.0
