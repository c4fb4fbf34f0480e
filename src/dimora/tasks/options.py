"""Options of loading and sampling, in the words of Modelfile PARAMETER lines.

Those words are the house's own, so that a model's file, a request and the engine's settings need
no translation between them. Every option is said once here: name, type, default, and whether a
change of it means loading the model anew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dimora.core.errors import BadRequest


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options as far as somebody set them; None (or empty) means not set."""

    # How the model is loaded.
    engine: str | None = None
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    draft_num_predict: int | None = None
    # How one answer is sampled.
    num_keep: int | None = None
    seed: int | None = None
    num_predict: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    logit_bias: dict[int, float] | None = None

    def over(self, lower: Options) -> Options:
        """These options where set, else those of `lower`."""
        merged = {
            f: mine if (mine := getattr(self, f)) is not None else getattr(lower, f)
            for f in self.__struct_fields__
        }
        return Options(**merged)

    def as_dict(self) -> dict[str, Any]:
        """Only what is set."""
        return {f: v for f in self.__struct_fields__ if (v := getattr(self, f)) is not None}


# Upstream reads prompts in batches of 512. An engine notices a client who left between two batches,
# and 128 lets it stop within a second on two cores, for about 4 % of the reading speed.
DEFAULTS = Options(
    num_batch=128,
    num_gpu=-1,
    num_thread=0,
    draft_num_predict=4,
    num_keep=4,
    seed=-1,
    num_predict=-1,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    typical_p=1.0,
    repeat_last_n=64,
    temperature=0.8,
    repeat_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
)

LOAD_FIELDS = (
    "engine",
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)

# Names Ollama once had; they are accepted, do nothing, and are warned about.
RETIRED = frozenset(
    {
        "f16_kv",
        "logits_all",
        "low_vram",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "numa",
        "num_gqa",
        "penalize_newline",
        "tfs_z",
        "use_mlock",
        "vocab_only",
    }
)

_TYPE_WORDS = {
    "int | None": "integer",
    "float | None": "float32",
    "bool | None": "boolean",
    "str | None": "string",
    "tuple[str, ...] | None": "an array of strings",
    "dict[int, float] | None": "object",
}


def options_from(values: Mapping[str, Any]) -> tuple[Options, tuple[str, ...]]:
    """Options from a JSON object, with a warning for each name that means nothing.

    `null` values are ignored. A whole float counts as an integer, as JSON writers differ.

    Raises:
        BadRequest: a value has the wrong type, in Ollama's words.
    """
    found: dict[str, Any] = {}
    warnings: list[str] = []
    for name, value in values.items():
        if name in RETIRED:
            warnings.append(f"option {name!r} is no longer used and was ignored")
        elif name not in Options.__annotations__:
            warnings.append(f"unknown option {name!r} was ignored")
        elif value is not None:
            found[name] = _checked(name, value)
    return Options(**found), tuple(warnings)


def _checked(name: str, value: Any) -> Any:
    kind = Options.__annotations__[name]
    if kind.startswith("int") and isinstance(value, float) and value.is_integer():
        value = int(value)
    if name == "stop" and isinstance(value, str):
        value = [value]
    try:
        return msgspec.convert(value, type=_FIELD_TYPES[name], strict=name != "logit_bias")
    except msgspec.ValidationError:
        raise BadRequest(
            f'option "{name}" must be of type {_TYPE_WORDS[kind]}', param=name
        ) from None


_FIELD_TYPES = {f.name: f.type for f in msgspec.structs.fields(Options)}


def parse_parameter(name: str, words: str) -> Any:
    """The value of a `PARAMETER name words` line or a `/set parameter` command.

    Raises:
        BadRequest: no option has this name, or `words` is not a value of its type.
    """
    kind = Options.__annotations__.get(name)
    if kind is None:
        raise BadRequest(f"unknown parameter '{name}'", param=name)
    if kind.startswith("tuple"):
        return [words]
    if kind.startswith("str"):
        return words
    word = re.split(r"\W", kind)[0]
    try:
        return _READERS[word](words.strip())
    except (ValueError, KeyError):
        raise BadRequest(f"invalid {word} value [{words[:100]}]", param=name) from None


def _read_integer(words: str) -> int:
    """A whole number that fits a machine word."""
    number = int(words)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _read_number(words: str) -> float:
    number = float(words)
    if not math.isfinite(number):
        raise ValueError
    return number


_READERS: dict[str, Callable[[str], Any]] = {
    "bool": lambda words: {"true": True, "1": True, "false": False, "0": False}[words.lower()],
    "int": _read_integer,
    "float": _read_number,
    "dict": lambda words: msgspec.json.decode(words, type=dict[int, float]),
}


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is loaded with. `num_ctx` tokens for each of `parallel` answers at a time.

    `draft_num_predict` is how many tokens a draft model guesses ahead. `memory_limit_bytes` is for
    all models together, 0 for what the machine has.
    """

    num_ctx: int
    parallel: int = 1
    num_batch: int = 128
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    draft_num_predict: int = 4
    memory_limit_bytes: int = 0


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How one answer is written; every value is set. Words as in Options.

    `num_predict` is the most tokens to write, -1 for as many as the window has room for.
    `shift` lets the engine drop old tokens when the window fills while writing.
    `logprobs` is None for none, else how many alternatives to report per token (0: only its own).
    """

    seed: int = -1
    num_predict: int = -1
    num_keep: int = 4
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    temperature: float = 0.8
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    logit_bias: dict[int, float] = {}
    shift: bool = True
    logprobs: int | None = None


# Scores of tokens are numbers of 32 bits: beyond this, what is done to them may end in none.
_LARGEST = 1e9


def sampling_from(options: Options, *, shift: bool, logprobs: int | None) -> Sampling:
    """Sampling with the defaults of the house where nothing is set.

    Raises:
        BadRequest: a value that no engine can reckon with.
    """
    full = options.over(DEFAULTS).as_dict()
    known = {f: full[f] for f in Sampling.__struct_fields__ if f in full}
    for name, value in known.items():
        numbers = value.values() if isinstance(value, dict) else [value]
        if not all(abs(n) <= _LARGEST for n in numbers if isinstance(n, float)):
            raise BadRequest(f'option "{name}" must be between -1e9 and 1e9', param=name)
    if known["repeat_penalty"] < 1 / _LARGEST:
        raise BadRequest(
            'option "repeat_penalty" must be above 0',
            hint="1 punishes nothing",
            param="repeat_penalty",
        )
    if known["temperature"] < 1 / _LARGEST:
        # As good as none, and engines divide by it.
        known["temperature"] = 0.0
    return Sampling(**known, shift=shift, logprobs=logprobs)
